"""The node: the front door of the core. Events in, actions and packets out; no I/O, no clock.

The shell (`pytinc.net.shell`) calls one method for each thing that happens, always with ``now`` (loop
time in seconds), then sends `Node.output`, carries out `take_actions()`, and comes back at
`next_deadline()`. What the node knows is spread over parts with one subject each:

* `connections`: meta connections from greeting to close, PING, duplicates (tinc: net.c, protocol_auth.c)
* `invitations`: what strangers with an invitation get (tinc: protocol_auth.c)
* `dialling`: whom to connect to, address cache, AutoConnect (tinc: net_socket.c, autoconnect.c)
* `topology`: graph, reachability, scripts, forwarding table (tinc: graph.c)
* `subnets`: own subnets and learned MACs (tinc: protocol_subnet.c, route.c)
* `tunnels`: keys, UDP discovery, path MTU, UDP_INFO and MTU_INFO (tinc: net_packet.c, protocol_key.c)
* `guard`: shared addresses, and what becomes of their clients (`pytinc.vip`)
* `requests_*`: what each meta request does
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from pytinc.config.settings import HostSettings, Settings
from pytinc.crypto.keys import PrivateKey, PublicKey
from pytinc.datapath.inbound import Inbound
from pytinc.datapath.outbound import Outbound
from pytinc.datapath.output import Output
from pytinc.datapath.peer_slot import PeerSlot
from pytinc.datapath.router import Router
from pytinc.datapath.table import ForwardingTable
from pytinc.errors import AuthenticationError
from pytinc.node.actions import Action, Log
from pytinc.node.connections import Connections
from pytinc.node.corrections import Corrections
from pytinc.node.dialling import Dialling
from pytinc.node.flood import Deletions, SeenCache
from pytinc.node.forwarding import switch_rules
from pytinc.node.guard import NodeGuard, hears_neighbours
from pytinc.node.half_edges import HalfEdges
from pytinc.node.invitations import InvitationFiles, Invitations
from pytinc.node.peer import Peer
from pytinc.node.subnets import Subnets
from pytinc.node.timers import Timers
from pytinc.node.topology import Topology
from pytinc.node.tunnels import Tunnels
from pytinc.protocol.pmtu import PathMtu, PathSettings
from pytinc.wire.address import Address, SockAddr
from pytinc.wire.capabilities import Capability
from pytinc.wire.requests import OptionBits, Request
from pytinc.wire.version import PROTOCOL_MINOR

if TYPE_CHECKING:
    from pytinc.datapath.runs import DatagramRun, FrameRun
    from pytinc.vip.views import GuardSummary, GuardView

COMPLAINT_INTERVAL: Final = 600.0
MAX_COMPLAINTS: Final = 64
"""Different complaints logged in full within `COMPLAINT_INTERVAL`; nobody reads more of them."""
MAX_COMPLAINT_LENGTH: Final = 300
"""Characters; names and errors in a complaint are the peer's words."""
MAX_JITTER: Final = 0.131071
"""Seconds; tinc spreads its timers by a random 0 to 131,071 microseconds."""


class HostSource(InvitationFiles, Protocol):
    """Where the node finds host files: `pytinc.config.store.ConfigTree`; a dictionary in tests."""

    def host_settings(self, name: str) -> HostSettings | None:
        """Return the host configuration of ``name``, None if there is no readable file."""

    def host_names(self) -> list[str]:
        """Return the names that have a host file."""

    def host_mtime(self, name: str) -> float | None:
        """Return when the host file of ``name`` was last modified (wall clock)."""

    def load_address_cache(self, name: str) -> tuple[Address, ...]:
        """Return the cached addresses of ``name``, most recent first."""


class Node:
    """One tinc node. All state of the mesh as this node sees it hangs here."""

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
    ) -> None:
        self.settings = settings
        self.private_key = private_key
        self.hosts = hosts
        self.random_bytes = random_bytes
        self.random_float = random_float
        self.path_mtu = path_mtu
        """Gives the IP MTU the kernel knows for a destination, None if it does not tell."""
        self.queued = queued
        """Gives how many bytes wait in the output of a meta connection."""
        self.wall_clock = wall_clock
        self.insecure = insecure
        """``--bypass-security``: meta connections in plain text."""
        self.takes_super_frames = takes_super_frames
        """The device takes super-frames as they come from other nodes."""
        self.sockets: tuple[tuple[int, Address], ...] = ()
        """Family (4 or 6) and bound address of each listening socket."""
        self.output = Output()
        self._actions: list[Action] = []
        self._complaints: dict[str, float] = {}

        me_slot = PeerSlot(settings.name, is_me=True)
        self.table = ForwardingTable(me_slot, switch_rules(settings))
        if self.table.rules.router:
            self.table.own_address = own_address
        self.outbound = (Router if self.table.rules.router else Outbound)(self.table)
        self.inbound = Inbound(self.table, self.outbound)
        self.peers: dict[str, Peer] = {}
        path = PathMtu(self._path_settings(), me_slot)
        self.me = self.peers[settings.name] = Peer(settings.name, me_slot, path)
        self.seen = SeenCache()
        self.deletions = Deletions()
        self.corrections = Corrections(self)
        self.topology = Topology(self)
        self.half_edges = HalfEdges(self)
        self.subnets = Subnets(self)
        self.tunnels = Tunnels(self)
        self.dialling = Dialling(self)
        self.invitations = Invitations(self)
        self.connections = Connections(self)
        self.guard = NodeGuard(self)
        self.timers = Timers(self)
        self._apply_settings()

    # -- what the shell calls --

    def set_sockets(self, sockets: Sequence[tuple[int, Address]]) -> None:
        """Tell which sockets listen: family (4 or 6) and bound address of each, by index."""
        self.sockets = tuple(sockets)

    def set_hwaddr(self, hwaddr: bytes | None) -> None:
        """Tell the MAC address of the device; None if it is one without (tun)."""
        self.table.hwaddr = hwaddr

    def start(self, now: float) -> None:
        """Announce own subnets to ourselves, start the timers and the outgoing connections."""
        self.me.last_state_change = int(self.wall_clock())
        self.topology.load_hosts()
        self.invitations.load()
        self.subnets.start(now)
        self.connections.start(now)
        self.timers.start(now)
        self.dialling.start(now)
        self.guard.configure(now)
        self._settle(now)

    def withdraw(self, now: float) -> None:
        """Lead the clients of shared addresses elsewhere before the stop; `Withdrawn` tells the end."""
        self.guard.withdraw(now)
        self._settle(now)

    def shared_addresses(self) -> list[bytes]:
        """Return the shared addresses: `address_added` and `address_removed` are about them."""
        return self.guard.shared_addresses()

    def address_added(self, address: bytes, now: float) -> None:
        """The host got an IP address (4 or 16 bytes)."""
        self.guard.address_added(address, now)
        self._settle(now)

    def address_removed(self, address: bytes, macs: frozenset[bytes], now: float) -> None:
        """The host, whose interfaces have these MAC addresses, gave up an IP address (4 or 16 bytes)."""
        self.guard.address_removed(address, macs, now)
        self._settle(now)

    def guard_view(self, now: float) -> GuardView:
        """Return what the guard of shared addresses knows."""
        return self.guard.view(now)

    def guard_summary(self) -> GuardSummary:
        """Return the numbers of the guard alone."""
        return self.guard.summary()

    def stop(self, now: float) -> None:
        """Close all meta connections without a word and run the down scripts."""
        self.dialling.stop()
        self.connections.close_all(now)
        self.topology.update(now)
        self.subnets.stop()
        self._settle(now)

    def reload(self, settings: Settings, now: float) -> None:
        """Take over changed settings and host files (config.md 7)."""
        self.settings = settings
        self._apply_settings()
        self.topology.load_hosts()
        self.invitations.load()
        self.subnets.reload(now)
        self.dialling.reload(now)
        self.connections.close_changed(now)
        self.guard.configure(now)
        self._settle(now)

    def retry(self, now: float) -> None:
        """Try all waiting outgoing connections at once (SIGALRM, control "retry")."""
        # First give up what is half-way, so that it does not hit the attempts that begin here.
        self.connections.time_out_dialled(now)
        self.connections.check_all(now)
        self.dialling.retry(now)
        self._settle(now)

    def purge(self, now: float) -> None:
        """Forget unreachable nodes, telling the peers (meta.md 4.5)."""
        self.topology.purge(now)
        self._settle(now)

    def disconnect(self, name: str, now: float) -> bool:
        """Close every meta connection with ``name``; tell whether there was one."""
        found = self.connections.close_named(name, now)
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
        self.connections.data(connection, data, now)
        self._settle(now)

    def meta_closed(self, connection: int, reason: str, now: float) -> None:
        """A meta connection ended (EOF, error) or a `Dial` failed."""
        self.connections.closed(connection, reason, now)
        self._settle(now)

    def resolved(self, peer: str, addresses: Sequence[Address], now: float) -> None:
        """A `Resolve` is answered; no addresses means that it failed."""
        self.dialling.resolved(peer, addresses, now)
        self._settle(now)

    def frames(self, frames: Sequence[bytes | FrameRun], now: float) -> bool:
        """Ethernet frames were read from the device; return whether more came of it than packets to send.

        If not, which is the usual case, there are no actions and the deadline is what it was.
        """
        self.outbound.frames_from_device(frames, now, self.output)
        return self._settle_packets(now)

    def datagrams(
        self, datagrams: Sequence[bytes], addresses: Sequence[SockAddr], socket: int, now: float
    ) -> bool:
        """UDP datagrams were read from the socket with index ``socket``; return as for `frames`."""
        self.inbound.datagrams(datagrams, addresses, socket, now, self.output)
        return self._settle_packets(now)

    def datagram_run(self, run: DatagramRun, address: SockAddr, socket: int, now: float) -> bool:
        """Datagrams of one length came in one piece of memory; return as for `frames`."""
        self.inbound.datagram_run(run, address, socket, now, self.output)
        return self._settle_packets(now)

    def datagram_too_big(self, peer: str, size: int, now: float) -> None:
        """The kernel refused a UDP payload of ``size`` bytes to ``peer`` (EMSGSIZE)."""
        self.tunnels.datagram_too_big(peer, size, now)
        self._settle(now)

    def tick(self, now: float) -> None:
        """Do what is due."""
        self.timers.run(now)
        self._settle(now)

    def next_deadline(self) -> float:
        """Return when `tick` wants to be called."""
        return self.timers.next_deadline()

    @property
    def capture(self) -> list[bytes] | None:
        """Frames that pass the switch, while a pcap client listens (else None)."""
        return self.table.capture

    @capture.setter
    def capture(self, frames: list[bytes] | None) -> None:
        self.table.capture = frames

    def trace_requests(self, wanted: bool) -> None:
        """Log every request that connections send or get, or no longer, at level `REQUEST_LEVEL`."""
        self.connections.trace_requests(wanted)

    def take_actions(self) -> list[Action]:
        """Return what the shell has to do, in order, and forget it."""
        actions, self._actions = self._actions, []
        return actions

    # -- what the parts use --

    def act(self, action: Action) -> None:
        """Ask the shell for something."""
        self._actions.append(action)

    def log(self, level: int, priority: str, message: str) -> None:
        """Write a log line at tinc's debug ``level``."""
        self._actions.append(Log(level, priority, message))

    def complain(self, message: str, now: float) -> None:
        """Log what a peer provoked at level 0 the first time, and repeats of the last ten minutes at level 2.

        A peer must not be able to fill our log, with ever new words neither: once `MAX_COMPLAINTS` were
        logged within that time, all others count as repeats.
        """
        message = message[:MAX_COMPLAINT_LENGTH]
        complaints = self._complaints
        while complaints and now - complaints[oldest := next(iter(complaints))] >= COMPLAINT_INTERVAL:
            del complaints[oldest]
        repeated = message in complaints or len(complaints) >= MAX_COMPLAINTS
        if not repeated:
            complaints[message] = now
        self.log(2 if repeated else 0, "error", message)

    def peer(self, name: str, *, limited: bool = True) -> Peer:
        """Return the node ``name``, made if it is new.

        `LimitError` when there are too many. Nodes of our own configuration are not ``limited``: those that
        peers make up must not keep them out.
        """
        peer = self.peers.get(name)
        if peer is None:
            self.topology.graph.add_node(name, limited=limited)
            slot = self.table.add(name)
            peer = self.peers[name] = Peer(name, slot, PathMtu(self._path_settings(), slot))
        return peer

    def of_slot(self, slot: PeerSlot) -> Peer:
        """Return the node behind a slot of the forwarding table."""
        return self.peers[slot.name]

    def nonce(self) -> int:
        """Return 32 random bits: no two announcements may be equal."""
        return int.from_bytes(self.random_bytes(4), "big")

    def jitter(self) -> float:
        """Return the random seconds that spread a timer."""
        return self.random_float() * MAX_JITTER

    def broadcast(self, request: Request) -> None:
        """Send a request to every activated meta connection."""
        self.connections.broadcast(request.format(), None)

    def public_key(self, name: str) -> PublicKey | None:
        """Return the Ed25519 key of ``name``: of its host file, else a learned one; None if there is none."""
        host = self.hosts.host_settings(name)
        if host is not None and host.public_key is not None:
            return PublicKey(host.public_key)
        # One that was learned just now, or could not be written there.
        peer = self.peers.get(name)
        return None if peer is None or peer.learned_key is None else PublicKey.from_text(peer.learned_key)

    def login_key(self, name: str) -> PublicKey | None:
        """Return the key a peer must log in with; `AuthenticationError` if it has no host file."""
        if self.hosts.host_settings(name) is None:
            raise AuthenticationError(f"peer has unknown identity ({name}): no readable host file")
        return self.public_key(name)

    def own_options(self) -> int:
        """Return the option bits that hold for every peer of ours."""
        options = 0
        if self.settings.indirect_data:
            options |= OptionBits.INDIRECT
        if self.settings.tcp_only:
            options |= OptionBits.TCPONLY | OptionBits.INDIRECT
        if self.settings.pmtu_discovery and not options & OptionBits.TCPONLY:
            options |= OptionBits.PMTU_DISCOVERY
        if self.settings.clamp_mss:
            options |= OptionBits.CLAMP_MSS
        return options

    def _path_settings(self) -> PathSettings:
        settings = self.settings
        return PathSettings(
            udp_discovery=settings.udp_discovery,
            interval=settings.udp_discovery_interval,
            keepalive_interval=settings.udp_discovery_keepalive_interval,
            timeout=settings.udp_discovery_timeout,
            local_discovery=settings.local_discovery,
            ping_interval=settings.ping_interval,
            capabilities=self._capabilities(),
        )

    def _capabilities(self) -> Capability:
        capabilities = Capability.NONE
        if self.settings.neighbour_guard and hears_neighbours(self.settings):
            capabilities |= Capability.GUARD
        if self.settings.fast_tag:
            capabilities |= Capability.FAST_TAG
            # A router looks at each packet.
            if self.takes_super_frames and not self.table.rules.router:
                capabilities |= Capability.SUPER_FRAMES
        return capabilities

    def _apply_settings(self) -> None:
        self.table.rules = switch_rules(self.settings)
        self.me.options = self.own_options() | (PROTOCOL_MINOR << 24)
        self.table.me.clamp_mss = self.settings.clamp_mss
        paths = self._path_settings()
        for peer in self.peers.values():
            peer.path.settings = paths

    def _settle_packets(self, now: float) -> bool:
        """Finish an event of the data path, of which nothing is left to do but for upcalls."""
        if not self.output.upcalls:
            return False
        self._settle(now)
        return True

    def _settle(self, now: float) -> None:
        """Finish an event: upcalls of the data path, the graph if edges changed, output of connections."""
        self.tunnels.handle_output(now)
        self.topology.settle(now)
        self.tunnels.handle_output(now)
        self.connections.flush()
