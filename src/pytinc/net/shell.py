"""The shell around the node: the one place where events go in and actions are carried out (style: pure core).

Every event takes the same path: the shell calls the node, then `Shell.settle`, which sends the output of the
data path, performs the node's actions in order, passes on captured frames and arms the one deadline. The node
is never called while it is working, nor while its actions are being performed: failures of actions are
reported from the loop. Ordinary packets that arrive alone do not reach the node at all
(`pytinc.datapath.short_way`).

The daemon (`pytinc.daemon.service`) makes a `Shell`, and calls `start`, `open` and `close` in this order.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from pytinc.config.settings import Settings
from pytinc.control.messages import (
    ConnectionRow,
    EdgeRow,
    NodeRow,
    Request,
    SubnetRow,
    TrafficRow,
)
from pytinc.control.vips import Order
from pytinc.net import shared, statistics, vips
from pytinc.net.checks import HealthChecks, StartScript
from pytinc.net.file_writer import FileWriter
from pytinc.net.hostnames import HostNames
from pytinc.net.log import LogFunction
from pytinc.net.marks import groups_by_mark
from pytinc.net.meta import MetaStreams
from pytinc.net.own_addresses import OwnAddresses
from pytinc.net.resolver import Resolver
from pytinc.net.sockets import FAMILIES, Listener
from pytinc.net.statistics import DaemonStats
from pytinc.net.tap import DeviceFeed, FrameDevice
from pytinc.net.timers import Deadline, uptime
from pytinc.net.udp import UdpSockets
from pytinc.node import views
from pytinc.node.actions import (
    Action,
    AppendPublicKey,
    CloseMeta,
    Dial,
    Log,
    Resolve,
    RunScript,
    SaveAddressCache,
    SendDatagram,
    SendMeta,
    Withdrawn,
)
from pytinc.node.hosts import HostSource
from pytinc.node.node import Node
from pytinc.node.stats import node_stats
from pytinc.vip.health import Outcome
from pytinc.wire.address import Address, SockAddr
from pytinc.wire.virtual_ip import Check

if TYPE_CHECKING:
    from pytinc.datapath.runs import DatagramRun, FrameRun

LONGEST_WITHDRAWAL: Final = 3.0
"""Seconds after which the daemon stops even if the node is not done: far more than it needs."""
MAX_CAPTURED: Final = 1024
"""Frames kept for pcap clients between two events; one event produces far fewer."""


class HostFiles(HostSource, Protocol):
    """Stores the keys and addresses that the node learns; `pytinc.config.store.ConfigTree` in the daemon.

    These methods are called in a thread.
    """

    def append_public_key(self, name: str, key_text: str) -> None:
        """Add a learned key to a host file that exists and names no key."""

    def save_address_cache(self, name: str, addresses: tuple[Address, ...]) -> None:
        """Replace the address cache of a node."""


class Shell:
    """Connects the node with device, sockets, files and scripts."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        node: Node,
        device: FrameDevice,
        listeners: Sequence[Listener],
        *,
        files: HostFiles,
        netname: str | None = None,
        log: LogFunction,
        run_script: Callable[[str, Mapping[str, str]], None],
        start_check: StartScript,
        on_fatal: Callable[[str], None],
        deliver_capture: Callable[[list[bytes]], None],
        events_added: Callable[[], None],
        clock: Callable[[], float] = uptime,
    ) -> None:
        self.node = node
        self._short_way = node.short_way
        self._output = node.output
        self._files = files
        self._writer = FileWriter(loop, log)
        self._loop = loop
        self._log = log
        self._clock = clock
        self._run_script = run_script
        self._start_check = start_check
        self._deliver_capture = deliver_capture
        self._events_added = events_added
        self._told = 0
        """The number of the latest event that clients were told of."""
        self._listeners = listeners
        self._device = DeviceFeed(
            loop,
            device,
            on_frames=self._frames,
            on_lone=self._lone_frame,
            on_fatal=on_fatal,
            log=log,
            clock=clock,
        )
        self._udp = UdpSockets.of_listeners(
            loop,
            listeners,
            on_datagrams=self._datagrams,
            on_run=self._datagram_run,
            on_lone=self._lone_datagram,
            log=log,
            offload=node.settings.offload,
        )
        self._own_addresses = OwnAddresses(
            loop,
            watched=node.known_addresses,
            on_change=self._address_changed,
            on_up=self._network_came_up,
            log=log,
        )
        self._resolver = Resolver(loop)
        self._checks: HealthChecks | None = None
        """None until a virtual IP has any."""
        self.meta = MetaStreams(
            loop, self, node.settings, resolver=self._resolver, netname=netname, log=log, clock=clock
        )
        self._names = HostNames(loop, clock)
        self._deadline = Deadline(loop, clock, self._tick)
        self._started_at = clock()
        self._too_big: dict[str, int] = {}
        self._withdrawn = asyncio.Event()
        self._held: list[Action] | None = []
        """Actions that wait until the daemon is ready: nothing is dialled earlier."""
        self._perform: dict[type[Action], Callable[[Any], None]] = {
            Dial: self._on_dial,
            Resolve: self._on_resolve,
            SendMeta: self._on_send_meta,
            CloseMeta: self._on_close_meta,
            SendDatagram: self._on_send_datagram,
            RunScript: self._on_run_script,
            AppendPublicKey: self._on_append_public_key,
            SaveAddressCache: self._on_save_address_cache,
            Withdrawn: self._on_withdrawn,
            Log: self._on_log,
        }

    # -- life --

    def start(self) -> None:
        """Start the node. Its own subnet-up scripts are queued; nothing is read, sent or dialled yet."""
        self.node.start(self._clock())
        self.settle()

    def open(self) -> None:
        """Start to read from device and sockets, and to dial."""
        self._device.start()
        self._udp.start()
        self._own_addresses.start()
        self._find_missing(self.node.settings)
        self.meta.listen(self._listeners)
        held, self._held = self._held or [], None
        for action in held:
            self._perform[type(action)](action)
        self._run_checks(self.node.settings)
        self._deadline.arm(self.node.next_deadline())

    async def withdraw(self) -> None:
        """Lead the clients of shared addresses to other nodes before `close`; traffic continues."""
        self.node.withdraw(self._clock())
        self.settle()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._withdrawn.wait(), LONGEST_WITHDRAWAL)

    def close(self) -> None:
        """Stop the node, which queues its down scripts, and close all connections and sockets.

        The device stays open: scripts that take the interface down need it.
        """
        self._deadline.cancel()
        self._device.stop()
        self._udp.stop()
        self._own_addresses.stop()
        if self._checks is not None:
            self._checks.stop()
        self._held = None
        self.node.stop(self._clock())
        self.settle()
        self._deadline.cancel()
        self._writer.close()
        self.meta.close_all()
        for listener in self._listeners:
            listener.close()

    def settle(self) -> None:
        """Perform the node's actions, then arm its next deadline."""
        node = self.node
        self._send_output()
        for action in node.take_actions():
            self._perform[type(action)](action)
        if node.capture:
            captured, node.capture = node.capture, []
            self._deliver_capture(captured[:MAX_CAPTURED])
        self._tell_of_events()
        if self._held is None:
            self._deadline.arm(node.next_deadline())

    def _tell_of_events(self) -> None:
        last = self.node.history.ring.last
        if last != self._told:
            self._told = last
            self._events_added()

    def _send_output(self) -> None:
        output = self._output
        if output.frames:
            self._device.write_batch(output.frames)
        if output.datagrams:
            for path, datagrams in output.datagrams:
                refused = self._udp.send_batch(path.socket, path.address, datagrams)
                if refused is not None:
                    self._note_too_big(path.relay.name, refused)
            self.node.table.segments = self._udp.segments
        output.clear()

    # -- events of the network --

    def _lone_frame(self, frame: bytes) -> bool:
        """Handle a frame of the device, by the short way if possible; False: nothing was done."""
        short_way = self._short_way
        if short_way is None or self.node.settings.priority_inheritance:
            return False
        now = self._clock()
        sent = short_way.frame(frame, now)
        if sent is None:
            self._settle_packets(more=self.node.frames((frame,), now, refused=True))
            return True
        path, datagram = sent
        if not self._udp.send(path.socket, path.address, datagram):
            self._note_too_big(path.relay.name, len(datagram))
        return True

    def _lone_datagram(self, datagram: bytes, address: SockAddr, socket: int) -> bool:
        """Handle a datagram, by the short way if possible; False: nothing was done."""
        short_way = self._short_way
        if short_way is None:
            return False
        now = self._clock()
        frame = short_way.datagram(datagram, address, socket, now, self._output)
        if frame is None:
            more = self.node.datagrams((datagram,), (address,), socket, now, refused=True)
            self._settle_packets(more=more)
        elif frame:
            self._device.write(frame)
        else:
            self._settle_packets(more=self.node.settle_packets(now))
        return True

    def _frames(self, frames: Sequence[bytes | FrameRun]) -> None:
        if self.node.settings.priority_inheritance:
            self._marked_frames(frames)
        else:
            self._settle_packets(more=self.node.frames(frames, self._clock()))

    def _marked_frames(self, frames: Sequence[bytes | FrameRun]) -> None:
        """Handle frames of the device, and give each datagram the mark of the frame that it carries."""
        for mark, group in groups_by_mark(frames):
            more = self.node.frames(group, self._clock())
            self._udp.mark = mark
            self._send_output()
            self._udp.mark = 0
            self._settle_packets(more=more)

    def _datagrams(self, datagrams: Sequence[bytes], addresses: Sequence[SockAddr], socket: int) -> None:
        self._settle_packets(more=self.node.datagrams(datagrams, addresses, socket, self._clock()))

    def _datagram_run(self, run: DatagramRun, address: SockAddr, socket: int) -> None:
        self._settle_packets(more=self.node.datagram_run(run, address, socket, self._clock()))

    def _settle_packets(self, *, more: bool) -> None:
        """Do what `settle` does; take a short cut if there are only packets, as in most events."""
        if more or self.node.capture:
            self.settle()
        else:
            self._send_output()

    def _tick(self) -> None:
        self.node.tick(self._clock())
        self.settle()

    def meta_accepted(self, remote: Address, local: Address, add: Callable[[int], None]) -> None:
        """A TCP connection came in; ``add`` gets its number before the node's actions are carried out."""
        add(self.node.meta_accepted(remote, local, self._clock()))
        self.settle()

    def meta_connected(self, connection: int, local: Address) -> None:
        """A dialled TCP connection is up."""
        self.node.meta_connected(connection, local, self._clock())
        self.settle()

    def meta_data(self, connection: int, data: bytes) -> None:
        """Bytes arrived on a TCP connection."""
        self.node.meta_data(connection, data, self._clock())
        self.settle()

    def meta_closed(self, connection: int, reason: str) -> None:
        """A TCP connection ended or could not be made."""
        self.node.meta_closed(connection, reason, self._clock())
        self.settle()

    def _address_changed(self, address: bytes, lost_by: frozenset[bytes] | None) -> None:
        now = self._clock()
        if lost_by is None:
            self.node.address_added(address, now)
        else:
            self.node.address_removed(address, lost_by, now)
        self.settle()

    def _run_checks(self, settings: Settings) -> None:
        if self._checks is None:
            if not any(vip.checks for vip in settings.virtual_ips):
                return
            self._checks = HealthChecks(
                self._loop,
                on_result=self._checked,
                script=self._start_check,
                resolver=self._resolver,
                log=self._log,
            )
        self._checks.set(settings.virtual_ips, self.node.next_check)

    def _checked(self, key: tuple[bytes, str | None], check: Check, outcome: Outcome) -> None:
        self.node.check_result(key, check, outcome, self._clock())
        self.settle()

    def _resolved(self, asked: Resolve, addresses: Sequence[Address]) -> None:
        if not addresses:
            self._log(1, "error", f"No address found for {asked.host} port {asked.port} of {asked.peer}")
        self.node.resolved(asked.peer, addresses, self._clock())
        self.settle()

    def _note_too_big(self, peer: str, size: int) -> None:
        """Remember a refused datagram; the node is told once its present actions are done."""
        if not self._too_big:
            self._loop.call_soon(self._report_too_big)
        self._too_big[peer] = min(size, self._too_big.get(peer, size))

    def _report_too_big(self) -> None:
        refused, self._too_big = self._too_big, {}
        now = self._clock()
        for peer, size in refused.items():
            self.node.datagram_too_big(peer, size, now)
        self.settle()

    # -- requests of the daemon --

    def reload(self, settings: Settings) -> None:
        """Apply changed settings and host files."""
        self.meta.settings = settings
        self.node.reload(settings, self._clock())
        self.settle()
        self._find_missing(settings)
        self._run_checks(settings)

    def _find_missing(self, settings: Settings) -> None:
        """Tell the node which virtual addresses the host lacks: it cannot serve them."""
        self._own_addresses.report_missing(each.address for each in settings.virtual_ips if each.node is None)

    def _network_came_up(self) -> None:
        self.node.network_came_up(self._clock())
        self.settle()

    def retry(self) -> None:
        """Try waiting outgoing connections immediately."""
        self.node.retry(self._clock())
        self.settle()

    def purge(self) -> None:
        """Forget unreachable nodes."""
        self.node.purge(self._clock())
        self.settle()

    def disconnect(self, name: str) -> bool:
        """Close the meta connections with a node; return whether there were any."""
        found = self.node.disconnect(name, self._clock())
        self.settle()
        return found

    def vip_order(self, order: Order) -> None:
        """Carry out an order about virtual IPs. Raises `PolicyError`."""
        vips.carry_out(order, self.node, self._clock())
        self.settle()

    def capture(self, *, wanted: bool) -> None:
        """Start or stop collecting frames for pcap clients."""
        if wanted:
            if self.node.capture is None:
                self.node.capture = []
        else:
            self.node.capture = None

    def script_ended(self, name: str, status: int | None, seconds: float, error: str | None) -> None:
        """A script has run, or could not be started (``status`` None). The shell may be closed already."""
        self.node.script_ended(name, status, seconds, error)
        self._tell_of_events()

    def use_files(self, files: HostFiles) -> None:
        """Use another directory for files, because the root directory has changed."""
        self._files = self.node.hosts = files

    # -- actions of the node --

    def _on_dial(self, action: Dial) -> None:
        if self._held is not None:
            self._held.append(action)
        else:
            self.meta.dial(action.connection, action.peer, action.address)

    def _on_resolve(self, action: Resolve) -> None:
        if self._held is not None:
            self._held.append(action)
            return
        family = FAMILIES[self.node.settings.address_family]
        self._resolver.resolve(
            action.host, action.port, family, lambda addresses: self._resolved(action, addresses)
        )

    def _on_send_meta(self, action: SendMeta) -> None:
        self.meta.send(action.connection, action.data)

    def _on_close_meta(self, action: CloseMeta) -> None:
        if self._held is not None:
            self._held.append(action)
        else:
            self.meta.close(action.connection, tarpit=action.tarpit)

    def _on_send_datagram(self, action: SendDatagram) -> None:
        if not self._udp.send(action.socket, action.address, action.data):
            self._note_too_big(action.peer, len(action.data))

    def _on_run_script(self, action: RunScript) -> None:
        self._run_script(action.name, action.environment)

    def _on_append_public_key(self, action: AppendPublicKey) -> None:
        self._writer.add(
            f"hosts/{action.peer}",
            lambda: self._files.append_public_key(action.peer, action.key),
            0,
            "error",
        )

    def _on_save_address_cache(self, action: SaveAddressCache) -> None:
        # The cache is only a short cut, and a daemon without privileges may never be able to write it.
        self._writer.add(
            f"cache/{action.peer}",
            lambda: self._files.save_address_cache(action.peer, action.addresses),
            1,
            "warning",
        )

    def _on_withdrawn(self, action: Withdrawn) -> None:
        self._withdrawn.set()

    def _on_log(self, action: Log) -> None:
        message = action.message
        if self.node.settings.hostnames:
            message = self._names.in_text(message)
        self._log(action.level, action.priority, message)

    def _shown(self, address: Address) -> Address:
        """Return an address as dumps show it."""
        return self._names.of(address) if self.node.settings.hostnames else address

    # -- dumps --

    def dump(self, request: Request, control_rows: list[tuple[float, ConnectionRow]]) -> list[str]:
        """Return the lines of a dump, without its end (docs/protocol-control.md, "Dumps")."""
        node = self.node
        match request:
            case Request.DUMP_NODES:
                return [_node_row(view, self._shown(view.address)).format() for view in views.nodes(node)]
            case Request.DUMP_EDGES:
                return [self._edge_row(view).format() for view in views.edges(node)]
            case Request.DUMP_SUBNETS:
                return [SubnetRow(*view).format() for view in views.subnets(node)]
            case Request.DUMP_TRAFFIC:
                return [TrafficRow(*view).format() for view in views.traffic(node)]
            case Request.DUMP_STATISTICS:
                return statistics.rows(self.statistics())
            case Request.DUMP_SHARED:
                return shared.rows(self.node.guard_view(self._clock()))
            case Request.DUMP_VIPS:
                return vips.rows(self.node.policy_view(self._clock()))
            case _:
                return self._connection_lines(control_rows)

    def trace_frames(self, wanted: bool) -> None:
        """Start or stop logging each frame that is read from or written to the device."""
        self._device.traced = wanted

    def statistics(self) -> DaemonStats:
        """Return the statistics of the daemon."""
        now = self._clock()
        return DaemonStats(
            node_stats(self.node, now),
            now - self._started_at,
            self._deadline.lag.recent(now),
            self._device.offloads,
            self._udp.offloads,
            self.node.guard_summary(),
            self.node.policy_view(now),
        )

    def _connection_lines(self, control_rows: list[tuple[float, ConnectionRow]]) -> list[str]:
        rows = list(control_rows)
        for view in views.connections(self.node):
            descriptor, opened = self.meta.describe(view.number)
            address = self._shown(view.address)
            rows.append((opened, ConnectionRow(view.name, address, view.options, descriptor, view.status)))
        return [row.format() for _, row in sorted(rows, key=lambda entry: entry[0])]

    def _edge_row(self, view: views.EdgeView) -> EdgeRow:
        shown, local = self._shown(view.address), self._shown(view.local_address)
        return EdgeRow(*view._replace(address=shown, local_address=local))


def _node_row(view: views.NodeView, address: Address) -> NodeRow:
    return NodeRow(
        name=view.name,
        node_id=view.id.hex(),
        address=address,
        compression=view.compression,
        options=view.options,
        status=view.status,
        nexthop=view.nexthop,
        via=view.via,
        distance=view.distance,
        pmtu=view.mtu,
        min_mtu=view.minmtu,
        max_mtu=view.maxmtu,
        last_state_change=view.last_state_change,
        rtt_us=view.udp_ping_rtt,
        rx_packets=view.in_packets,
        rx_bytes=view.in_bytes,
        tx_packets=view.out_packets,
        tx_bytes=view.out_bytes,
    )
