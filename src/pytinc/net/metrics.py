"""The listener for Prometheus (MetricsListen): the daemon's statistics over HTTP; off by default.

It answers only ``GET /metrics``, one request per connection. There is no login, so the text contains no
secrets; but every client that can connect learns the names of the nodes. Clients are not trusted: the size of
a request, the time for request and answer, and the number of connections have bounds, and the text is made at
most once a second, however many clients ask. The library prometheus-client makes it; it is loaded only here,
and only when it is needed. With a thousand nodes this takes a tenth of a second, so a thread does it, from an
immutable snapshot of the node: packets do not wait for it.
"""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, cast

import pytinc
from pytinc.errors import DeviceError
from pytinc.net.log import reason
from pytinc.net.statistics import DaemonStats
from pytinc.node.path_kind import PathKind
from pytinc.node.stats import NodeStats, PeerStats
from pytinc.vip.views import GuardSummary, MemberState, PolicyView, VirtualIpView
from pytinc.wire.address import Address, from_sockaddr

if TYPE_CHECKING:
    from prometheus_client.core import Metric

BACKLOG: Final = 8
MAX_CLIENTS: Final = 8
"""Most connections at once: a scraper or two, and a person. More would use up our descriptors."""
MAX_REQUEST: Final = 8192
"""Bytes of a request with all its headers; other servers allow the same for one line."""
TIMEOUT: Final = 10.0
"""Seconds from the connection to the end of the answer; Prometheus gives up after the same time."""
FRESH: Final = 1.0
"""Seconds for which the same text answers further requests."""

_PATH: Final = "/metrics"
_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
}


def require_library() -> None:
    """Raise `DeviceError`, in words for the user, if prometheus-client is not installed."""
    try:
        # Import everything that is used later: after a change of the root directory nothing can be loaded.
        import prometheus_client.core  # noqa: F401
    except ImportError as error:
        raise DeviceError(
            "MetricsListen needs the Python library prometheus-client, which is not installed: "
            "install pytinc[metrics], or remove that line"
        ) from error


def bind_metrics_socket(address: Address) -> socket.socket:
    """Listen at a numeric address. Raises `DeviceError`."""
    family = socket.AF_INET6 if address.family == 6 else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address.sockaddr())
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        raise DeviceError(f"Can't bind to {address}/tcp for MetricsListen: {reason(error)}") from error
    return made


class MetricsServer:
    """Listens and holds the clients."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        statistics: Callable[[], DaemonStats],
        *,
        timeout: float = TIMEOUT,
    ) -> None:
        self.loop = loop
        self.timeout = timeout
        self._statistics = statistics
        self._clients: dict[MetricsClient, None] = {}
        self._server: asyncio.AbstractServer | None = None
        self._text = b""
        self._text_at = -math.inf
        self._waiting: list[Callable[[bytes], None]] = []
        """Clients that wait for the text that is being made."""

    async def start(self, listening: socket.socket) -> Address:
        """Start to serve on a socket from `bind_metrics_socket`; return its address."""
        self._server = await self.loop.create_server(lambda: MetricsClient(self), sock=listening)
        return from_sockaddr(listening.getsockname())

    def close(self) -> None:
        """Stop serving, and abort the present connections."""
        if self._server is not None:
            self._server.close()
        for client in list(self._clients):
            client.abort()

    def connected(self, client: MetricsClient) -> bool:
        """Add a client if there is room."""
        if len(self._clients) >= MAX_CLIENTS:
            return False
        self._clients[client] = None
        return True

    def disconnected(self, client: MetricsClient) -> None:
        """Forget a client."""
        self._clients.pop(client, None)

    def ask(self, give: Callable[[bytes], None]) -> None:
        """Call ``give`` with the present text, or with one made a moment ago."""
        if self.loop.time() - self._text_at < FRESH:
            give(self._text)
            return
        self._waiting.append(give)
        if len(self._waiting) == 1:
            making = self.loop.run_in_executor(None, exposition, self._statistics())
            making.add_done_callback(self._made)

    def _made(self, making: asyncio.Future[bytes]) -> None:
        waiting, self._waiting = self._waiting, []
        if making.cancelled():  # the daemon ends
            return
        self._text, self._text_at = making.result(), self.loop.time()
        for give in waiting:
            give(self._text)


class MetricsClient(asyncio.Protocol):
    """One connection: a request, an answer, the end."""

    def __init__(self, server: MetricsServer) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._buffer = bytearray()
        self._answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the request for a limited time."""
        # uvloop's transports do not derive from asyncio.Transport, but have the same methods.
        transport = cast(asyncio.Transport, transport)
        if not self._server.connected(self):
            transport.abort()
            return
        self._transport = transport
        self._timer = self._server.loop.call_later(self._server.timeout, self.abort)

    def data_received(self, data: bytes) -> None:
        """Answer once the headers are complete; the rest is ignored."""
        if self._answered:
            return
        self._buffer += data
        if b"\r\n\r\n" in self._buffer or b"\n\n" in self._buffer:
            self._answer(_status_of(bytes(self._buffer).partition(b"\n")[0]))
        elif len(self._buffer) > MAX_REQUEST:
            self._answer(431)

    def eof_received(self) -> bool:
        """Send the rest of the answer to a client that has closed its side."""
        return self._answered

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        self._server.disconnected(self)

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def _answer(self, status: int) -> None:
        self._answered = True
        self._buffer.clear()
        if status == 200:
            self._server.ask(lambda text: self._send(status, _content_type(), text))
        else:
            self._send(status, "text/plain; charset=utf-8", f"{_REASONS[status]}\n".encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        if self._transport is None:  # left before the text was made
            return
        allow = "Allow: GET\r\n" if status == 405 else ""
        head = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
            f"{allow}X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
        )
        self._transport.write(head.encode("ascii") + body)
        # Closes when everything is sent, or when the timer ends.
        self._transport.close()


def _status_of(line: bytes) -> int:
    """Return the status for the first line of a request."""
    words = line.decode("latin-1").split()
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return 400
    if words[1].partition("?")[0] != _PATH:
        return 404
    return 200 if words[0] == "GET" else 405


# -- the text --


def _content_type() -> str:
    from prometheus_client import CONTENT_TYPE_LATEST

    return CONTENT_TYPE_LATEST


def exposition(stats: DaemonStats) -> bytes:
    """Return statistics in Prometheus' text format."""
    from prometheus_client import CollectorRegistry, generate_latest

    # Not the library's own registry, which has process metrics that we do not want.
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(stats))
    return generate_latest(registry)


class _Collector:
    """The collector that the library asks for metrics."""

    def __init__(self, stats: DaemonStats) -> None:
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        yield from _of_daemon(self._stats)
        yield from _of_node(self._stats.node)
        yield from _of_guard(self._stats.guard)
        if self._stats.policy.addresses:
            yield from _of_policy(self._stats.policy)
        yield from _of_peers([peer for peer in self._stats.node.peers if peer.path is not PathKind.SELF])


def _of_daemon(stats: DaemonStats) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily

    yield InfoMetricFamily(
        "pytinc", "The daemon.", value={"name": stats.node.name, "version": pytinc.__version__}
    )
    yield GaugeMetricFamily("pytinc_uptime_seconds", "Time since the daemon's start.", stats.uptime_s)
    offloads = GaugeMetricFamily("pytinc_offload", "1 for each offload in use.", labels=["where", "offload"])
    for where, names in (("device", stats.device_offloads), ("udp", stats.udp_offloads)):
        for name in names:
            offloads.add_metric([where, name], 1)
    yield offloads
    if stats.lag.samples:
        text = "Delay of the event loop in the last minute,"
        yield GaugeMetricFamily("pytinc_loop_lag_max_seconds", f"{text} maximum.", stats.lag.maximum)
        yield GaugeMetricFamily("pytinc_loop_lag_mean_seconds", f"{text} average.", stats.lag.mean)


def _of_node(node: NodeStats) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    yield GaugeMetricFamily("pytinc_connections", "Meta connections.", node.connections)
    yield GaugeMetricFamily("pytinc_macs", "Known MAC addresses of all nodes.", node.macs)
    yield GaugeMetricFamily("pytinc_own_macs", "MAC addresses behind the own device.", node.own_macs)
    learned, moved, claimed = (
        "MAC addresses learned from the own device.",
        "MAC addresses that moved from one node to another.",
        "MAC addresses that one node claimed from another with a lower weight.",
    )
    yield CounterMetricFamily("pytinc_macs_learned", learned, node.macs_learned)
    yield CounterMetricFamily("pytinc_macs_moved", moved, node.macs_moved)
    yield CounterMetricFamily("pytinc_macs_claimed", claimed, node.macs_claimed)
    returned = "Frames sent to all that came back: there is a loop."
    yield CounterMetricFamily("pytinc_frames_returned", returned, node.frames_returned)
    yield CounterMetricFamily(
        "pytinc_graph_runs", "Times that the paths through the mesh were worked out.", node.graph_runs
    )
    requests = CounterMetricFamily(
        "pytinc_meta_requests", "Requests on meta connections.", labels=["direction", "request"]
    )
    for direction, counts in (("in", node.requests_in), ("out", node.requests_out)):
        for request, count in counts.items():
            requests.add_metric([direction, request], count)
    yield requests
    drops = CounterMetricFamily("pytinc_dropped_packets", "Dropped frames and datagrams.", labels=["reason"])
    for why, count in node.drops.items():
        drops.add_metric([why], count)
    yield drops
    own = next(peer for peer in node.peers if peer.path is PathKind.SELF)
    for name, text, value in (
        ("pytinc_device_received_packets", "Frames read from the device.", own.rx_packets),
        ("pytinc_device_received_bytes", "Bytes read from the device.", own.rx_bytes),
        ("pytinc_device_sent_packets", "Frames written to the device.", own.tx_packets),
        ("pytinc_device_sent_bytes", "Bytes written to the device.", own.tx_bytes),
    ):
        yield CounterMetricFamily(name, text, value)


def _of_guard(guard: GuardSummary) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    counters = guard.counters
    for name, text, value in (
        (
            "pytinc_failovers",
            "Times that clients of an address were led to another node.",
            counters.failovers,
        ),
        (
            "pytinc_suspicions",
            "Times that a watched node was suspected because it missed probes.",
            counters.suspicions,
        ),
        ("pytinc_false_suspicions", "Suspicions after which the node answered.", counters.false_suspicions),
        ("pytinc_guard_probes", "Probes sent to watched nodes.", counters.probes),
        ("pytinc_guard_probe_bytes", "UDP payload of these probes.", counters.probe_bytes),
        ("pytinc_guard_questions", "Questions asked in clients' names.", counters.questions),
    ):
        yield CounterMetricFamily(name, text, value)
    yield GaugeMetricFamily("pytinc_shared_addresses", "Addresses that several nodes hold.", guard.shared)
    yield GaugeMetricFamily("pytinc_watched_peers", "Nodes that are being probed.", guard.watched)
    if guard.last_failover_s is not None:
        took = guard.last_failover_s
        yield GaugeMetricFamily("pytinc_last_failover_seconds", "Duration of the last failover.", took)


_HEALTHY: Final = (MemberState.BACKUP, MemberState.ACTIVE, MemberState.DRAIN)
_VIP_GAUGES: Final[tuple[tuple[str, str, Callable[[VirtualIpView], int]], ...]] = (
    (
        "pytinc_vip_term",
        "The number of the present claim: it grows with each take-over, freeze and thaw.",
        lambda vip: vip.term,
    ),
    (
        "pytinc_vip_members",
        "Members that can be reached and are not silent.",
        lambda vip: sum(member.alive for member in vip.members),
    ),
    ("pytinc_vip_frozen", "1 if the owner keeps the address by an operator's order.", lambda vip: vip.frozen),
    (
        "pytinc_vip_config_mismatch",
        "1 if members want the clients to be shared in different ways.",
        lambda vip: len({member.balance for member in vip.members if member.alive}) > 1,
    ),
    (
        "pytinc_vip_held",
        "1 if this node preempts nobody because it did too often.",
        lambda vip: vip.held_s > 0,
    ),
    (
        "pytinc_vip_clients",
        "Stations that use the address, as far as this node knows.",
        lambda vip: vip.clients,
    ),
)


def _of_policy(policy: PolicyView) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    yield GaugeMetricFamily(
        "pytinc_vip_draining", "1 if this node was told to serve nothing.", policy.draining
    )
    yield GaugeMetricFamily(
        "pytinc_vip_flows", "Flows of this node's stations that it shares among members.", policy.flows
    )
    yield CounterMetricFamily(
        "pytinc_vip_flows_evicted",
        "Flows that were forgotten before their time, as there were too many.",
        policy.flows_evicted,
    )
    for name, text, value_of in _VIP_GAUGES:
        gauge = GaugeMetricFamily(name, text, labels=["address"])
        for vip in policy.addresses:
            gauge.add_metric([vip.address], value_of(vip))
        yield gauge
    transitions = CounterMetricFamily(
        "pytinc_vip_transitions",
        "Changes of the owner.",
        labels=["address", "reason"],
    )
    for vip in policy.addresses:
        for kind, count in vip.transition_counts:
            transitions.add_metric([vip.address, kind], count)
    yield transitions
    yield _vip_states(policy.addresses)
    yield from _vip_members(policy.addresses)
    yield from _vip_checks(policy.addresses)


def _vip_states(vips: tuple[VirtualIpView, ...]) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    states = GaugeMetricFamily("pytinc_vip_state", "1 for the own state.", labels=["address", "state"])
    for vip in vips:
        if vip.state is not None:
            for state in MemberState:
                states.add_metric([vip.address, state.value], vip.state is state)
    return states


def _vip_members(vips: tuple[VirtualIpView, ...]) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    labels = ["address", "node"]
    owners = GaugeMetricFamily("pytinc_vip_owner", "1 for the member that serves the address.", labels=labels)
    up = GaugeMetricFamily(
        "pytinc_vip_member_up", "1 if the member is reachable and not silent.", labels=labels
    )
    healthy = GaugeMetricFamily(
        "pytinc_vip_member_healthy", "1 if the member says that it is well.", labels=labels
    )
    clients = GaugeMetricFamily(
        "pytinc_vip_member_clients", "Clients of the member, where the members share them.", labels=labels
    )
    flows = GaugeMetricFamily(
        "pytinc_vip_member_flows",
        "Flows of this node's stations that the member has, where the members share them.",
        labels=labels,
    )
    for vip in vips:
        members = [member.node for member in vip.members]
        for name in dict.fromkeys(members if vip.owner is None else [*members, vip.owner]):
            owners.add_metric([vip.address, name], vip.owner == name)
        for member in vip.members:
            key = [vip.address, member.node]
            up.add_metric(key, member.alive)
            healthy.add_metric(key, member.state in _HEALTHY)
            if member.clients is not None:
                clients.add_metric(key, member.clients)
            if member.flows is not None:
                flows.add_metric(key, member.flows)
    yield from (owners, up, healthy, clients, flows)


def _vip_checks(vips: tuple[VirtualIpView, ...]) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    labels = ["address", "check", "node"]
    up = GaugeMetricFamily("pytinc_vip_check_up", "1 if the health check is good.", labels=labels)
    took = GaugeMetricFamily("pytinc_vip_check_seconds", "Duration of the check's last run.", labels=labels)
    for vip in vips:
        # The same check twice would be the same series twice, which is no valid text.
        for (text, node), check in {(each.text, each.node): each for each in vip.checks}.items():
            key = [vip.address, text, node or ""]
            if check.well is not None:
                up.add_metric(key, check.well)
            if check.seconds is not None:
                took.add_metric(key, check.seconds)
    yield from (up, took)


_PEER_GAUGES: Final[tuple[tuple[str, str, Callable[[PeerStats], float | None]], ...]] = (
    ("pytinc_peer_reachable", "1 if the node is reachable.", lambda peer: int(peer.reachable)),
    (
        "pytinc_peer_rtt_seconds",
        "Round trip time of the last UDP probe.",
        lambda peer: None if peer.rtt_us is None else peer.rtt_us / 1e6,
    ),
    ("pytinc_peer_pmtu_bytes", "Longest frame that UDP carries.", lambda peer: peer.pmtu),
    ("pytinc_peer_key_age_seconds", "Time since the key came into force.", lambda peer: peer.key_age_s),
    (
        "pytinc_peer_fast_tag_sending",
        "1 if data for the node gets the fast tag.",
        lambda peer: peer.fast_tag_sending,
    ),
    (
        "pytinc_peer_fast_tag_accepting",
        "1 if we have announced to the node that we accept the fast tag.",
        lambda peer: peer.fast_tag_accepting,
    ),
    (
        "pytinc_peer_super_frames_sending",
        "1 if super-frames for the node are sent uncut.",
        lambda peer: peer.super_frames_sending,
    ),
    (
        "pytinc_peer_super_frames_accepting",
        "1 if we announce to the node that we accept super-frames.",
        lambda peer: peer.super_frames_accepting,
    ),
    ("pytinc_peer_macs", "MAC addresses that the node owns.", lambda peer: peer.macs),
)
"""Name, help text and value; a node without a value has no sample."""
_PEER_COUNTERS: Final[tuple[tuple[str, str, Callable[[PeerStats], int]], ...]] = (
    ("pytinc_peer_received_packets", "Frames received from the node.", lambda peer: peer.rx_packets),
    ("pytinc_peer_received_bytes", "Bytes received from the node.", lambda peer: peer.rx_bytes),
    ("pytinc_peer_sent_packets", "Frames sent to the node.", lambda peer: peer.tx_packets),
    ("pytinc_peer_sent_bytes", "Bytes sent to the node.", lambda peer: peer.tx_bytes),
)


def _of_peers(peers: list[PeerStats]) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    paths = GaugeMetricFamily("pytinc_peer_path", "1 for the path that frames take.", labels=["peer", "path"])
    for peer in peers:
        for kind in PathKind:
            if kind is not PathKind.SELF:
                paths.add_metric([peer.name, kind.value], int(peer.path is kind))
    yield paths
    for name, text, gauge_of in _PEER_GAUGES:
        gauge = GaugeMetricFamily(name, text, labels=["peer"])
        for peer in peers:
            value = gauge_of(peer)
            if value is not None:
                gauge.add_metric([peer.name], value)
        yield gauge
    for name, text, count_of in _PEER_COUNTERS:
        counter = CounterMetricFamily(name, text, labels=["peer"])
        for peer in peers:
            counter.add_metric([peer.name], count_of(peer))
        yield counter
    drops = CounterMetricFamily(
        "pytinc_peer_dropped_packets",
        "Dropped frames to or from the node, as far as the node is known.",
        labels=["peer", "reason"],
    )
    for peer in peers:
        for why, count in peer.drops.items():
            drops.add_metric([peer.name, why], count)
    yield drops
