"""The node: the interface of the core. Events in, actions and packets out; no I/O, no clock.

The shell (`pytinc.net.shell`) calls one method for each thing that happens, always with ``now`` (seconds, as
`pytinc.net.timers.uptime`), then sends `Node.output`, carries out `take_actions()`, and comes back at
`next_deadline()`. The node consists of parts with one subject each. A part is given the parts that it needs,
which never need it in turn. From the lowest to the highest:

* `core`, `records`, `changes`: the state that all parts share: settings, peers, connections, actions, changes
* `flood`: announcements and ends that came before; `admission`: clients that may open a meta connection;
  `request_log`; `public_keys`, `address_caches`; `storms`, `loops`: nodes that flood too many frames, and
  flooded frames that come back
* `meta_output`: the output of meta connections (tinc: meta.c)
* `topology`: the graph, and which nodes are reachable (tinc: graph.c)
* `subnets`: own subnets and learned MACs (tinc: protocol_subnet.c, route.c)
* `forwarding`: the forwarding table; `scripts`: the scripts that run when nodes and subnets come and go;
  `corrections`: announcements that are wrong; `invitations`: strangers with an invitation
* `addresses`, `sessions`, `probes`, `path_info`: UDP addresses, keys, UDP discovery and path MTU, UDP_INFO
  and MTU_INFO (tinc: net_packet.c, protocol_key.c); `tunnels`: these four together
* `guard`: shared addresses and their clients (`pytinc.vip`)
* `connections`: meta connections from beginning to end, PING (tinc: net.c); `activation`: the end of the
  login; `dialling`: which nodes to connect to, AutoConnect (tinc: net_socket.c, autoconnect.c)
* `tcp_packets`: records that come by TCP; `half_edges`: announcements that are lost; `requests_*`: the
  handlers of each meta request
* `purge`: forgetting nodes; `timers`: what is due at certain times; `history`: the events for programs that
  watch the node; `followers`: who is told of which change of the mesh
* `meta_events`, `upcalls`: pass input of connections and reports of the data path to all these
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from pytinc.config.settings import Settings
from pytinc.crypto.keys import PrivateKey
from pytinc.datapath.datapath import DataPath
from pytinc.datapath.output import Output
from pytinc.datapath.short_way import ShortWay
from pytinc.datapath.table import ForwardingTable
from pytinc.node.actions import Action
from pytinc.node.activation import Activation
from pytinc.node.address_caches import AddressCaches
from pytinc.node.addresses import Addresses
from pytinc.node.admission import Admission
from pytinc.node.connections import Connections
from pytinc.node.core import Core
from pytinc.node.corrections import Corrections
from pytinc.node.dialling import Dialling
from pytinc.node.flood import SeenCache
from pytinc.node.followers import Followers
from pytinc.node.forwarding import Forwarding
from pytinc.node.guard import NodeGuard
from pytinc.node.half_edges import HalfEdges
from pytinc.node.history import History
from pytinc.node.hosts import HostSource
from pytinc.node.invitations import Invitations
from pytinc.node.loops import Loops
from pytinc.node.meta_events import MetaEvents
from pytinc.node.meta_output import MetaOutput
from pytinc.node.path_info import PathInfo
from pytinc.node.probes import Probes
from pytinc.node.public_keys import PublicKeys
from pytinc.node.purge import Purge
from pytinc.node.records import Peer
from pytinc.node.request_log import RequestLog
from pytinc.node.requests import Requests
from pytinc.node.requests_edge import EdgeRequests
from pytinc.node.requests_key import KeyRequests
from pytinc.node.requests_misc import MiscRequests
from pytinc.node.requests_subnet import SubnetRequests
from pytinc.node.scripts import Scripts
from pytinc.node.sessions import Sessions
from pytinc.node.storms import Storms
from pytinc.node.subnets import Subnets
from pytinc.node.tcp_packets import TcpPackets
from pytinc.node.timers import Clockwork, Periodic
from pytinc.node.topology import Topology
from pytinc.node.tunnels import Tunnels
from pytinc.node.upcalls import UpcallHandler
from pytinc.wire.address import Address, SockAddr

if TYPE_CHECKING:
    from pytinc.datapath.runs import DatagramRun, FrameRun
    from pytinc.vip.health import Outcome
    from pytinc.vip.views import GuardSummary, GuardView, PolicyView
    from pytinc.wire.virtual_ip import Check

PERIODIC_INTERVAL: Final = 5.0
AGEING_INTERVAL: Final = 10.0
HALF_EDGE_INTERVAL: Final = 2.0
"""The interval is short enough to repair a table soon, and long enough not to ask for announcements that are
on their way."""
PING_CHECK_INTERVAL: Final = 1.0


class Node:
    """One tinc node. It makes the parts, passes events to the parts they concern, and settles the changes."""

    def __init__(
        self,
        settings: Settings,
        private_key: PrivateKey,
        hosts: HostSource,
        *,
        random_bytes: Callable[[int], bytes],
        random_float: Callable[[], float],
        path_mtu: Callable[[SockAddr], int | None],
        queued: Callable[[int], int],
        wall_clock: Callable[[], float],
        own_address: Callable[[bytes], bytes | None] | None = None,
        insecure: bool = False,
        takes_super_frames: bool = False,
        prefers_aes: bool = False,
    ) -> None:
        """Make a node that does nothing yet.

        ``path_mtu`` gives the IP MTU the kernel knows for a destination, ``queued`` the bytes that wait in
        the output of a meta connection, ``own_address`` the address of this host towards another one (router
        mode). ``insecure``: meta connections in plain text. ``takes_super_frames``: the device takes them as
        they come from other nodes. ``prefers_aes``: the CPU is faster with AES-256-GCM than with
        ChaCha20-Poly1305.
        """
        self.core = core = Core(
            settings,
            private_key,
            hosts,
            random_bytes=random_bytes,
            random_float=random_float,
            path_mtu=path_mtu,
            queued=queued,
            wall_clock=wall_clock,
            insecure=insecure,
            takes_super_frames=takes_super_frames,
            prefers_aes=prefers_aes,
        )
        table = core.table
        if table.rules.router:
            table.own_address = own_address
        self._datapath = DataPath(table)
        self.inbound = self._datapath.inbound

        self.history = history = History(core)
        self.meta_output = out = MetaOutput(core)
        self.public_keys = PublicKeys(core)
        self.topology = topology = Topology(core, out)
        self.subnets = subnets = Subnets(core, topology, out)
        forwarding = Forwarding(core, topology, subnets.table)
        self._scripts = scripts = Scripts(core, subnets.table)
        # Tunnels.
        caches = AddressCaches(core)
        self.addresses = addresses = Addresses(core, topology)
        self.sessions = sessions = Sessions(core, out, self.public_keys)
        self.probes = probes = Probes(core, topology, addresses, caches)
        self.path_info = path_info = PathInfo(core, out)
        self.tunnels = tunnels = Tunnels(
            core, addresses, sessions, probes, path_info, self._datapath.send_held
        )
        storms = Storms(core)
        loops = Loops(core)
        self._tcp_packets = TcpPackets(core, self.inbound, path_info)
        self.guard = NodeGuard(core, out, subnets.table, forwarding, probes, tunnels, self._datapath.inject)
        # Connections.
        self.seen = SeenCache()
        self._request_log = RequestLog(core)
        self._invitations = Invitations(core, topology)
        self._admission = Admission(core)
        self.connections = connections = Connections(
            core,
            self._admission,
            out,
            self.public_keys,
            self.seen,
            self._request_log,
            topology,
            tunnels,
            self._invitations,
        )
        self.corrections = Corrections(core, out, topology, subnets)
        self._activation = Activation(
            core, self._admission, out, topology, subnets, connections, self.corrections
        )
        self.dialling = Dialling(core, topology, caches, connections)
        # Requests.
        edges = EdgeRequests(core, out, topology, self.seen, self.corrections)
        self.half_edges = HalfEdges(core, out, topology, edges)
        requests = Requests(
            core,
            edges,
            SubnetRequests(core, out, topology, subnets, self.seen, self.corrections),
            KeyRequests(
                core,
                out,
                self.seen,
                self.half_edges,
                path_info,
                sessions,
                tunnels,
                self._tcp_packets,
                self.guard,
                self._update_graph,
            ),
            MiscRequests(
                core, out, connections, self.dialling, addresses, path_info, self.guard, self._update_graph
            ),
        )
        # What comes in.
        self._meta_events = MetaEvents(
            core,
            out,
            self.inbound,
            self._tcp_packets,
            connections,
            self._activation,
            self._invitations,
            requests,
        )
        self._upcalls = UpcallHandler(
            core,
            out,
            subnets,
            addresses,
            sessions,
            probes,
            path_info,
            tunnels,
            self.guard,
            storms,
            loops,
            self.dialling,
        )
        self._purge = Purge(core, out, topology, subnets, self._update_graph)

        self._clockwork = Clockwork(
            core,
            (
                self.guard,  # first: whatever else is to be done must not make it late
                self.dialling,
                self.corrections,
                Periodic(
                    core,
                    lambda: PING_CHECK_INTERVAL,
                    (connections.check_all, history.look),
                    first=lambda: core.settings.ping_timeout,
                ),
                Periodic(
                    core,
                    lambda: PERIODIC_INTERVAL,
                    (topology.check_contradictions, self.dialling.auto_connect),
                    first=lambda: 0.0,
                ),
                Periodic(core, lambda: AGEING_INTERVAL, (self._age_seen, subnets.age)),
                Periodic(core, lambda: HALF_EDGE_INTERVAL, (self.half_edges.look,)),
                Periodic(core, lambda: max(core.settings.key_expire, 1), (sessions.rekey_all,)),
                tunnels,
                storms,
                loops,
                out,
            ),
        )
        self._deadlines = (topology.next_deadline, *self._clockwork.deadlines)
        core.changes.tell = Followers(
            core,
            addresses,
            sessions,
            forwarding,
            scripts,
            caches,
            history,
            self.guard,
            self.dialling,
            tunnels,
            storms,
            loops,
        ).tell
        core.apply_settings()

    # -- what commands and metrics may read --

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.core.settings

    @property
    def hosts(self) -> HostSource:
        """The access to host files."""
        return self.core.hosts

    @hosts.setter
    def hosts(self, hosts: HostSource) -> None:
        self.core.hosts = hosts

    @property
    def me(self) -> Peer:
        """The own node."""
        return self.core.me

    @property
    def peers(self) -> dict[str, Peer]:
        """All nodes by name."""
        return self.core.peers

    @property
    def table(self) -> ForwardingTable:
        """The forwarding table."""
        return self.core.table

    @property
    def short_way(self) -> ShortWay | None:
        """Takes single packets; None in a router. `frames` and `datagrams` take what it refuses."""
        return self._datapath.short_way

    @property
    def output(self) -> Output:
        """The frames and datagrams to send."""
        return self.core.output

    # -- what the shell and the daemon call --

    def set_sockets(self, sockets: Sequence[tuple[int, Address]]) -> None:
        """Set the listening sockets: family (4 or 6) and bound address of each, by index."""
        self.core.sockets = tuple(sockets)

    def set_hwaddr(self, hwaddr: bytes | None) -> None:
        """Set the device's MAC address; None for a tun, which has none."""
        self.table.hwaddr = hwaddr

    def start(self, now: float) -> None:
        """Announce own subnets to ourselves, start the timers and the outgoing connections."""
        self.core.me.last_state_change = int(self.core.wall_clock())
        self.topology.load_hosts()
        self._admission.load()
        self._invitations.load()
        self.subnets.start()
        self.core.changes.settle(now)
        self.connections.start(now)
        self._clockwork.start(now)
        self.dialling.start(now)
        self.guard.configure(now)
        self._settle(now)

    def withdraw(self, now: float) -> None:
        """Lead the clients of shared addresses elsewhere before the stop; this ends with `Withdrawn`."""
        self.guard.withdraw(now)
        self._settle(now)

    def known_addresses(self) -> list[bytes]:
        """Return the addresses in use: `address_added` and `address_removed` are about them."""
        return self.guard.known_addresses()

    def address_added(self, address: bytes, now: float) -> None:
        """The host got an IP address (4 or 16 bytes)."""
        self.guard.address_added(address, now)
        self._settle(now)

    def address_removed(self, address: bytes, macs: frozenset[bytes], now: float) -> None:
        """The host, whose interfaces have these MAC addresses, gave up an IP address (4 or 16 bytes)."""
        self.guard.address_removed(address, macs, now)
        self._settle(now)

    def guard_view(self, now: float) -> GuardView:
        """Return the view of the guard of shared addresses."""
        return self.guard.view(now)

    def guard_summary(self) -> GuardSummary:
        """Return the numbers of the guard alone."""
        return self.guard.summary()

    def policy_view(self, now: float) -> PolicyView:
        """Return the virtual IPs that have members, with the members that serve them."""
        return self.guard.policy_view(now)

    def check_result(self, key: tuple[bytes, str | None], check: Check, outcome: Outcome, now: float) -> None:
        """A health check of a virtual IP has run; ``key`` as `VirtualIP.key`."""
        self.guard.check_result(key, check, outcome, now)
        self._settle(now)

    def next_check(self, key: tuple[bytes, str | None], check: Check) -> float:
        """Return in how many seconds a health check of a virtual IP is to run again."""
        return self.guard.next_check(key, check)

    def vip_drain(self, now: float) -> None:
        """Let other members serve all virtual IPs."""
        self.guard.drain(now, on=True)
        self._settle(now)

    def vip_undrain(self, now: float) -> None:
        """Serve virtual IPs again when it is this node's turn."""
        self.guard.drain(now, on=False)
        self._settle(now)

    def vip_move(self, address: bytes, target: str, now: float) -> None:
        """Make a member serve a virtual IP; PolicyError says why that is impossible."""
        self.guard.move(address, target, now)
        self._settle(now)

    def vip_freeze(self, address: bytes, now: float) -> None:
        """Keep a virtual IP where it is; PolicyError says why that is impossible."""
        self.guard.freeze(address, now, on=True)
        self._settle(now)

    def vip_thaw(self, address: bytes, now: float) -> None:
        """Let a virtual IP move again; PolicyError says why that is impossible."""
        self.guard.freeze(address, now, on=False)
        self._settle(now)

    def vip_rebalance(self, address: bytes, now: float) -> None:
        """Share the clients of a virtual IP evenly; PolicyError says why that is impossible."""
        self.guard.rebalance(address, now)
        self._settle(now)

    def stop(self, now: float) -> None:
        """Close all meta connections without a word and run the down scripts."""
        self.dialling.stop()
        self.connections.close_all()
        self._update_graph(now)
        for subnet in self.subnets.table.of(self.me.name):
            self._scripts.subnet(self.me, subnet, up=False)
        self._settle(now)

    def reload(self, settings: Settings, now: float) -> None:
        """Take over changed settings and host files (docs/tinc-program.md, "Reload")."""
        self.history.add("reload")
        self.core.settings = settings
        self.core.apply_settings()
        self.topology.load_hosts()
        self._admission.load()
        self._invitations.load()
        self.subnets.reload()
        self.core.changes.settle(now)
        self.dialling.reload(now)
        self.connections.close_changed()
        self.core.changes.settle(now)
        self.guard.configure(now)
        self._settle(now)

    def network_came_up(self, now: float) -> None:
        """An interface of the host has got a link or an address."""
        self.dialling.network_came_up(now)
        self._settle(now)

    def retry(self, now: float) -> None:
        """Try all waiting outgoing connections at once (SIGALRM, control "retry")."""
        # First give up what is half-way, so that it does not hit the attempts that begin here.
        self.connections.time_out_dialled()
        self.connections.check_all(now)
        self.core.changes.settle(now)
        self.dialling.retry(now)
        self._settle(now)

    def purge(self, now: float) -> None:
        """Forget unreachable nodes, telling the peers (docs/protocol-meta.md, "Purge")."""
        self._purge.run(now)
        # Announcements of those nodes are new to us again, even as lines that came before.
        self.seen.clear()
        self._settle(now)

    def disconnect(self, name: str, now: float) -> bool:
        """Close every meta connection with ``name``; tell whether there was one."""
        found = self.connections.close_named(name)
        self._settle(now)
        return found

    def meta_accepted(self, remote: Address, local: Address, now: float) -> int:
        """A TCP connection came in. Returns its number; it may be refused by a `CloseMeta` action."""
        number = self.connections.accepted(remote, local, now)
        self._settle(now)
        return number

    def meta_connected(self, connection: int, local: Address, now: float) -> None:
        """A `Dial` succeeded; ``local`` is our address on it."""
        self.connections.connected(connection, local, now)
        self._settle(now)

    def meta_data(self, connection: int, data: bytes, now: float) -> None:
        """Bytes arrived on a meta connection."""
        self.seen.now = now
        self._meta_events.data(connection, data, now)
        self._settle(now)

    def meta_closed(self, connection: int, reason: str, now: float) -> None:
        """A meta connection ended (EOF, error) or a `Dial` failed."""
        self.connections.closed(connection, reason)
        self._settle(now)

    def resolved(self, peer: str, addresses: Sequence[Address], now: float) -> None:
        """A `Resolve` is answered; no addresses means that it failed."""
        self.dialling.resolved(peer, addresses, now)
        self._settle(now)

    def frames(self, frames: Sequence[bytes | FrameRun], now: float, *, refused: bool = False) -> bool:
        """Ethernet frames were read from the device; return True if they caused more than packets to send.

        If not, which is the usual case, there are no actions and the deadline is what it was. ``refused``:
        there is one frame, and `short_way` does not take it.
        """
        self._datapath.frames_from_device(frames, now, self.output, refused=refused)
        return self.settle_packets(now)

    def datagrams(
        self,
        datagrams: Sequence[bytes],
        addresses: Sequence[SockAddr],
        socket: int,
        now: float,
        *,
        refused: bool = False,
    ) -> bool:
        """UDP datagrams were read from the socket with index ``socket``; for the rest see `frames`."""
        self._datapath.datagrams(datagrams, addresses, socket, now, self.output, refused=refused)
        return self.settle_packets(now)

    def datagram_run(self, run: DatagramRun, address: SockAddr, socket: int, now: float) -> bool:
        """Datagrams of one length came in one piece of memory; return as for `frames`."""
        self.inbound.datagram_run(run, address, socket, now, self.output)
        return self.settle_packets(now)

    def datagram_too_big(self, peer: str, size: int, now: float) -> None:
        """The kernel refused a UDP payload of ``size`` bytes to ``peer`` (EMSGSIZE)."""
        self.probes.datagram_too_big(peer, size, now)
        self._settle(now)

    def tick(self, now: float) -> None:
        """Do what is due."""
        self._clockwork.tick(now)
        self._settle(now)

    def next_deadline(self) -> float:
        """Return when `tick` wants to be called."""
        return min([next_deadline() for next_deadline in self._deadlines])

    @property
    def capture(self) -> list[bytes] | None:
        """Frames that entered the switch or router, while a pcap client listens (else None)."""
        return self.table.capture

    @capture.setter
    def capture(self, frames: list[bytes] | None) -> None:
        self.table.capture = frames
        self.table.forget_ways()

    def script_ended(self, name: str, status: int | None, seconds: float, error: str | None) -> None:
        """A script of the configuration directory has run, or could not be started (``status`` None)."""
        self.history.script(name, status, seconds, error)

    def trace_requests(self, wanted: bool) -> None:
        """Start or stop logging each request sent or received, at level `REQUEST_LEVEL`."""
        self._request_log.switch(wanted)

    def take_actions(self) -> list[Action]:
        """Return what the shell has to do, in order, and forget it."""
        return self.core.take_actions()

    # -- what follows --

    def _age_seen(self, now: float) -> None:
        self.seen.age(now - self.settings.ping_interval)

    def settle_packets(self, now: float) -> bool:
        """Finish a batch of packets: only upcalls need more. Return as for `frames`."""
        if not self.core.output.upcalls:
            return False
        self._settle(now)
        return True

    def _settle(self, now: float) -> None:
        """Finish an event: changes, upcalls, the graph if edges changed, output of connections."""
        self.table.forget_ways()
        changes = self.core.changes
        changes.settle(now)
        self._upcalls.handle(now)
        changes.settle(now)
        self.topology.settle(now)
        changes.settle(now)
        self._upcalls.handle(now)
        changes.settle(now)
        self.meta_output.flush(now)

    def _update_graph(self, now: float) -> None:
        """Bring reachability up to date now, in the middle of an event."""
        self.topology.update(now)
        self.core.changes.settle(now)
