"""Meta connections: accepting, login, activation, PING and the end (tinc: net.c, meta.c, protocol_auth.c).

Each TCP connection is a `Connection` here and a `MetaConnection` (its protocol) inside. Whom to dial
is `dialling`'s business.
"""

from __future__ import annotations

import enum
import math
from functools import partial
from typing import TYPE_CHECKING, Final

from pytinc.config.settings import HostSettings
from pytinc.errors import ProtocolError
from pytinc.node import requests
from pytinc.node.actions import CloseMeta, Dial, SendMeta
from pytinc.node.peer import NEVER, Peer
from pytinc.protocol.graph import Edge
from pytinc.protocol.invitation import InvitationClaimed, InviteeKey
from pytinc.protocol.meta import (
    Authenticated,
    FrameReceived,
    Identified,
    MetaConnection,
    MetaEvent,
    Received,
    SptpsPacketReceived,
    State,
)
from pytinc.wire.address import Address
from pytinc.wire.names import is_valid_name
from pytinc.wire.requests import (
    Ack,
    Number,
    OptionBits,
    Ping,
    Request,
    options_version,
    parse_number,
)
from pytinc.wire.version import PROTOCOL_MINOR

if TYPE_CHECKING:
    from pytinc.node.dialling import Entry
    from pytinc.node.node import Node

MAX_HALF_OPEN: Final = 512
"""Connections that have not finished their login; the newest is refused beyond this, so that strangers
cannot use up memory in the PingTimeout seconds each of them has."""
REQUEST_LEVEL: Final = 4
"""Debug level at which every request is logged with its contents, as in tinc (daemon.md 6.3)."""
SIMULTANEOUS: Final = 3.0
"""Seconds within which two activations with one peer count as both ends dialling each other at once."""


class ConnectionStatus(enum.IntFlag):
    """Status bits as dumps show them (control.md 4.6)."""

    PINGED = 0x1
    CONNECTING = 0x4
    MST = 0x100


class Connection:
    """One meta connection and what the node keeps about it."""

    __slots__ = (
        "activated_at",
        "edge",
        "host_mtime",
        "last_ping",
        "local",
        "meta",
        "number",
        "options",
        "outgoing",
        "peer",
        "pinged",
        "remote",
        "started",
        "weight",
    )

    def __init__(
        self, number: int, meta: MetaConnection, remote: Address, local: Address, now: float
    ) -> None:
        self.number = number
        self.meta = meta
        self.remote = remote
        self.local = local
        self.peer: Peer | None = None
        """The node at the other end, from activation on."""
        self.outgoing: Entry | None = None
        """The outgoing entry this connection serves."""
        self.host_mtime: float | None = None
        """When the host file that the peer was believed by had been modified; None while it is unknown."""
        self.options = 0
        self.weight = 0
        self.edge: Edge | None = None
        self.pinged = False
        self.last_ping = now
        self.started = now
        self.activated_at = NEVER

    @property
    def name(self) -> str:
        """Name of the peer as far as it is known (it may not be proved yet)."""
        return self.meta.name or "<unknown>"

    @property
    def activated(self) -> bool:
        """The login is complete; an edge exists."""
        return self.meta.state is State.ACTIVE

    @property
    def dialled(self) -> bool:
        """We opened this connection."""
        return self.meta.dialled is not None

    @property
    def version(self) -> int:
        """Protocol minor of the peer."""
        return options_version(self.options)

    def describe(self) -> str:
        """Return name and address as log lines show them."""
        return f"{self.name} ({self.remote})"


def _without_secrets(number: Number, line: str) -> str:
    """Return a request as it may be logged, its secret word (if it may have one) replaced by three dots.

    ANS_KEY between legacy nodes, for which we only relay, holds a session key; and a control client that came
    to the wrong socket greets with its cookie.
    """
    words = line.split()
    if number is Number.ANS_KEY:
        return " ".join([*words[:3], "...", *words[4:]])
    if number is Number.ID and not is_valid_name(words[1]):
        return " ".join([words[0], words[1][0] + "...", *words[2:]])
    return line


class Burst:
    """A leaky bucket that limits how fast strangers may connect (MaxConnectionBurst, meta.md 1.1)."""

    def __init__(self) -> None:
        self._level = 0.0
        self._last = NEVER

    def is_exceeded(self, limit: int, now: float) -> bool:
        """Count one connection; tell whether it is one too many.

        What is refused does not count: who knocks all the time must not keep the bucket full for others.
        """
        self._level = max(0.0, self._level - (now - self._last))
        self._last = now
        if self._level + 1 > limit:
            return True
        self._level += 1
        return False


class Connections:
    """All meta connections, by number and in the order of their making."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._by_number: dict[int, Connection] = {}
        self._next_number = 0
        self._to_flush: dict[int, Connection] = {}
        self._burst = Burst()
        self._last_check = math.inf
        self._tracing = False

    def trace_requests(self, wanted: bool) -> None:
        """Log every request from now on, or no longer: `REQUEST_LEVEL` is wanted by somebody.

        It is switched at each connection, so that requests cost nothing more while nobody wants the lines.
        """
        self._tracing = wanted
        for connection in self._by_number.values():
            self._trace(connection)

    def _trace(self, connection: Connection) -> None:
        connection.meta.trace = partial(self._log_request, connection) if self._tracing else None

    def start(self, now: float) -> None:
        """From now on a sleep is noticed."""
        self._last_check = now

    def all(self) -> list[Connection]:
        """Return the connections, oldest first."""
        return list(self._by_number.values())

    def get(self, number: int) -> Connection | None:
        """Return a connection by its number; None once it has ended."""
        return self._by_number.get(number)

    @property
    def activated(self) -> list[Connection]:
        """Return the connections whose login is complete."""
        return [connection for connection in self._by_number.values() if connection.activated]

    # -- beginnings --

    def accepted(self, remote: Address, local: Address, now: float) -> int:
        """Take in a TCP connection, or refuse it when there are too many at once."""
        number = self._number()
        node = self._node
        half_open = sum(not connection.activated for connection in self._by_number.values())
        if half_open >= MAX_HALF_OPEN or (
            not _is_loopback(remote) and self._burst.is_exceeded(node.settings.max_connection_burst, now)
        ):
            node.act(CloseMeta(number, tarpit=True))
            return number
        connection = self._make(number, None, remote, local, now)
        node.log(1, "notice", f"Connection from {connection.remote}")
        return number

    def dial(self, entry: Entry, address: Address, now: float) -> Connection:
        """Open a connection for an outgoing entry."""
        connection = self._make(self._number(), entry.name, address, Address("", "0"), now)
        connection.outgoing = entry
        connection.host_mtime = self._node.hosts.host_mtime(entry.name)
        self._node.log(1, "info", f"Trying to connect to {entry.name} ({address})")
        self._node.act(Dial(connection.number, entry.name, address))
        return connection

    def connected(self, number: int, local: Address, now: float) -> None:
        """Greet the peer: the connection we dialled is up."""
        connection = self._by_number.get(number)
        if connection is None:
            return
        self._node.log(1, "info", f"Connected to {connection.describe()}")
        connection.local = local
        connection.last_ping = connection.started = now
        connection.meta.connected()
        self._touch(connection)

    def _make(
        self, number: int, dialled: str | None, remote: Address, local: Address, now: float
    ) -> Connection:
        node = self._node
        meta = MetaConnection(
            node.me.name,
            dialled,
            node.private_key,
            node.login_key,
            node.random_bytes,
            invitation_key=node.invitations.key,
            insecure=node.insecure,
        )
        meta.is_old_news = node.seen.__contains__
        connection = Connection(number, meta, remote, local, now)
        self._trace(connection)
        self._by_number[number] = connection
        return connection

    def _log_request(self, connection: Connection, direction: str, line: str) -> None:
        """Log a request in tinc's words."""
        number = parse_number(line)
        to = "to" if direction == "Sending" else "from"
        text = f"{direction} {number.name} {to} {connection.describe()}: {_without_secrets(number, line)}"
        self._node.log(REQUEST_LEVEL, "debug", text)

    def _number(self) -> int:
        self._next_number += 1
        return self._next_number

    # -- data in --

    def data(self, number: int, data: bytes, now: float) -> None:
        """Process bytes from a peer; whatever breaks the protocol ends the connection."""
        connection = self._by_number.get(number)
        if connection is None:
            return
        try:
            connection.meta.feed(data)
            self._touch(connection)
            while number in self._by_number:
                event = connection.meta.next_event()
                if event is None:
                    break
                self._on_event(connection, event, now)
        except ProtocolError as error:
            self._node.complain(
                f"Error while processing data from {connection.name} ({connection.remote.host}): {error}", now
            )
            # Who joins shall hear at once that it failed; tinc 1.1pre18 waits for ever otherwise.
            self.terminate(connection, now, tarpit=connection.meta.state is not State.INVITATION)

    def _on_event(self, connection: Connection, event: MetaEvent, now: float) -> None:
        match event:
            case Identified():
                connection.host_mtime = self._node.hosts.host_mtime(connection.name)
                if not connection.dialled:
                    connection.started = now  # our own ID has just gone out: the weight counts from here
            case Authenticated():
                self._send_ack(connection, now)
            case Received(Ack() as ack):
                self._activate(connection, ack, now)
            case Received(request, line):
                requests.handle(self._node, connection, request, line, now)
            case FrameReceived(frame):
                assert connection.peer is not None
                self._node.inbound.frames_from_neighbour(
                    connection.peer.slot, [frame], now, self._node.output
                )
            case SptpsPacketReceived(data):
                assert connection.peer is not None
                self._node.tunnels.sptps_packet(connection.peer, data, now)
            case InvitationClaimed(file_name):
                self._node.invitations.claim(connection, file_name)
            case InviteeKey(key):
                self._node.invitations.register(connection, key)

    # -- activation --

    def _send_ack(self, connection: Connection, now: float) -> None:
        """Send ACK: UDP port, estimated weight, options (meta.md 1.4)."""
        node = self._node
        host = node.hosts.host_settings(connection.name)
        connection.options = self._options_for(host)
        connection.weight = self._weight_for(host, connection, now)
        connection.meta.send(
            Ack(self._udp_port(connection), connection.weight, connection.options | PROTOCOL_MINOR << 24)
        )
        self._touch(connection)

    def _options_for(self, host: HostSettings | None) -> int:
        options = self._node.own_options()
        if host is not None:
            if host.indirect_data:
                options |= OptionBits.INDIRECT
            if host.tcp_only:
                options |= OptionBits.TCPONLY | OptionBits.INDIRECT
            if host.clamp_mss is not None:
                options &= ~OptionBits.CLAMP_MSS
                options |= OptionBits.CLAMP_MSS if host.clamp_mss else 0
        if options & OptionBits.TCPONLY:
            options &= ~OptionBits.PMTU_DISCOVERY
        return options

    def _weight_for(self, host: HostSettings | None, connection: Connection, now: float) -> int:
        if host is not None and host.weight is not None:
            return host.weight
        if self._node.settings.weight is not None:
            return self._node.settings.weight
        return round((now - connection.started) * 1000)

    def _udp_port(self, connection: Connection) -> str:
        """Return the port of our UDP socket of the connection's family."""
        sockets = self._node.sockets
        for family, bound in sockets:
            if family == connection.local.family:
                return bound.port
        return sockets[0][1].port if sockets else self._node.settings.port

    def _activate(self, connection: Connection, ack: Ack, now: float) -> None:
        """Accept the peer's ACK: from now on there is an edge (meta.md 1.5, tinc: ack_h())."""
        node = self._node
        peer = node.peer(connection.name, limited=False)  # it has a host file
        if peer.connection is not None and not self._replace(peer.connection, connection, now):
            return
        connection.peer = peer
        peer.connection = connection
        peer.slot.connection = connection.number
        connection.activated_at = now
        self._join_options(connection, peer, ack)
        connection.meta.activate()
        node.log(1, "notice", f"Connection with {connection.describe()} activated")
        self._send_everything(connection, now)
        self._add_edge(connection, peer, ack, now)

    def _replace(self, old: Connection, new: Connection, now: float) -> bool:
        """Decide between two connections with one peer; True if the new one goes on.

        The newest activation wins, as in tinc. Only when both ends dialled each other at the same
        moment does the one dialled by the node whose name sorts first survive, so that two pytinc
        nodes do not each close the other's choice.
        """
        node = self._node
        node.log(1, "notice", f"Established a second connection with {new.describe()}, closing one of them")
        at_once = now - old.activated_at < SIMULTANEOUS and old.dialled != new.dialled
        keep_dialled = node.me.name < new.name
        loser, winner = (new, old) if at_once and old.dialled == keep_dialled else (old, new)
        if loser.outgoing is not None and winner.outgoing is None:
            winner.outgoing = loser.outgoing
            winner.outgoing.connection = winner
            loser.outgoing = None
        self.terminate(loser, now, report=False)
        return winner is new

    def _join_options(self, connection: Connection, peer: Peer, ack: Ack) -> None:
        node = self._node
        own, theirs = connection.options, ack.options
        if not own & theirs & OptionBits.PMTU_DISCOVERY:
            own &= ~OptionBits.PMTU_DISCOVERY
            theirs &= ~OptionBits.PMTU_DISCOVERY
        host = node.hosts.host_settings(peer.name)
        options = own | theirs
        if host is not None and host.clamp_mss is not None:
            options &= ~OptionBits.CLAMP_MSS
            options |= OptionBits.CLAMP_MSS if host.clamp_mss else 0
        connection.options = options
        for limit in (host.pmtu if host is not None else None, node.settings.pmtu):
            if limit is not None:
                peer.path.limit_mtu(limit)

    def _add_edge(self, connection: Connection, peer: Peer, ack: Ack, now: float) -> None:
        node = self._node
        # All nodes are told this port: one that no packet can be sent to is left out, as 0 is in tinc.
        is_port = connection.remote.with_port(ack.port).is_usable
        port = str(int(ack.port)) if is_port else connection.remote.port
        edge = Edge(
            node.me.name,
            peer.name,
            connection.remote.with_port(port),
            # By an exec proxy there is none. tinc's empty one is not understood by its peers (meta.md 2.5).
            connection.local.with_port(self._udp_port(connection)) if connection.local.family else None,
            connection.options,
            int((ack.weight + connection.weight) / 2),
        )
        connection.edge = edge
        node.topology.graph.set_edge(edge)
        edge.line, edge.announced = node.topology.announce(edge).format(), now
        if node.settings.tunnel_server:
            self.send_line(connection, edge.line)
        else:
            self.broadcast(edge.line, None)

    def _send_everything(self, connection: Connection, now: float) -> None:
        """Tell a new neighbour all subnets and edges (tinc: send_everything())."""
        node = self._node
        if node.settings.tunnel_server:
            for subnet in node.subnets.table.of(node.me.name):
                connection.meta.send(node.subnets.announce(node.me.name, subnet))
        else:
            for name in sorted(node.peers):
                for subnet in node.subnets.table.of(name):
                    connection.meta.send_line(node.subnets.introduction(name, subnet, now))
                for edge in node.topology.graph.edges_from(name):
                    connection.meta.send_line(node.topology.introduction(edge, now))
        self._touch(connection)

    # -- data out --

    def send(self, connection: Connection, request: Request) -> None:
        """Send a request to one peer."""
        connection.meta.send(request)
        self._touch(connection)

    def send_line(self, connection: Connection, line: str) -> None:
        """Send the text of a request as it came."""
        connection.meta.send_line(line)
        self._touch(connection)

    def broadcast(self, line: str, origin: Connection | None) -> None:
        """Send a line to every activated connection but the one it came from."""
        for connection in self._by_number.values():
            if connection is not origin and connection.activated:
                connection.meta.send_line(line)
                self._touch(connection)

    def forward(self, line: str, origin: Connection) -> None:
        """Pass a flooded request on, unless this is a TunnelServer."""
        if not self._node.settings.tunnel_server:
            self.broadcast(line, origin)

    def send_frame(self, connection: Connection, frame: bytes) -> None:
        """Send a plain frame (PACKET), subject to random early drop."""
        if not self._drops_early(connection):
            connection.meta.send_frame(frame)
            self._touch(connection)

    def send_sptps_packet(self, connection: Connection, data: bytes) -> None:
        """Send a sealed record with its ids (SPTPS_PACKET), subject to random early drop."""
        if not self._drops_early(connection):
            connection.meta.send_sptps_packet(data)
            self._touch(connection)

    def _drops_early(self, connection: Connection) -> bool:
        """Drop at random once the output queue is half full, always when it is full (dataplane.md 3.5)."""
        half = max(self._node.settings.max_output_buffer_size / 2, 1)
        excess = self._node.queued(connection.number) - half
        return excess > 0 and excess > self._node.random_float() * half

    def _touch(self, connection: Connection) -> None:
        self._to_flush[connection.number] = connection

    def flush(self) -> None:
        """Hand the output of all connections to the shell."""
        for connection in self._to_flush.values():
            data = connection.meta.take_output()
            if data and connection.number in self._by_number:
                self._node.act(SendMeta(connection.number, data))
        self._to_flush.clear()

    # -- the end --

    def closed(self, number: int, reason: str, now: float) -> None:
        """The shell says that a connection is over, or that a dial failed."""
        connection = self._by_number.get(number)
        if connection is None:
            return
        if connection.meta.state is State.CONNECTING:
            self._node.log(1, "error", f"Could not connect to {connection.describe()}: {reason}")
        else:
            self._node.log(1, "notice", f"Connection closed by {connection.describe()}: {reason}")
        self.terminate(connection, now, tarpit=True)

    def terminate(
        self, connection: Connection, now: float, *, report: bool = True, tarpit: bool = False
    ) -> None:
        """End a connection: withdraw its edge, tell the others, go on with the next address (meta.md 1.7)."""
        node = self._node
        if self._by_number.pop(connection.number, None) is None:
            return
        node.log(1, "notice", f"Closing connection with {connection.describe()}")
        self._to_flush.pop(connection.number, None)
        peer = connection.peer
        if peer is not None and peer.connection is connection:
            peer.connection = None
            peer.slot.connection = None
            node.guard.connection_closed(peer, now)
        if connection.edge is not None and peer is not None:
            graph = node.topology.graph
            if report and not node.settings.tunnel_server:
                node.broadcast(node.topology.withdraw(node.me.name, peer.name))
            if graph.edge(node.me.name, peer.name) is connection.edge:
                graph.delete_edge(node.me.name, peer.name)
            if report:
                node.topology.drop_when_unreachable(peer.name)
        node.act(CloseMeta(connection.number, tarpit))
        if connection.outgoing is not None:
            node.dialling.connection_ended(connection.outgoing, now)

    def close_all(self, now: float) -> None:
        """Close everything silently: neighbours notice the EOF (daemon exit)."""
        for connection in self.all():
            connection.outgoing = None
            self.terminate(connection, now, report=False)

    def close_named(self, name: str, now: float) -> bool:
        """Close every connection with ``name``."""
        found = [connection for connection in self.all() if connection.name == name]
        for connection in found:
            self.terminate(connection, now)
        return bool(found)

    def close_changed(self, now: float) -> None:
        """Close connections whose host file is gone or was changed since they were made (config.md 7).

        Times of files are only compared with each other: the wall clock may have been set meanwhile.
        """
        node = self._node
        for connection in self.all():
            modified = node.hosts.host_mtime(connection.name)
            if modified is None or modified != connection.host_mtime:
                node.log(1, "info", f"Host config file of {connection.name} has been changed")
                self.terminate(connection, now)

    # -- PING --

    def check_all(self, now: float) -> None:
        """Time out what is silent and ping what is idle (meta.md 5.2, tinc: timeout_handler())."""
        node = self._node
        last, self._last_check = self._last_check, now
        if now - last > 2 * node.settings.udp_discovery_timeout:
            self._awake(now - last, now)
            return
        for connection in self.all():
            if connection.last_ping + node.settings.ping_timeout <= now:
                self._check(connection, now)

    def _awake(self, seconds: float, now: float) -> None:
        """Begin anew after the machine was suspended or the process stopped: the peers have given us up.

        tinc goes on with the next address and the back-off of before; we dial at once, as if just started.
        """
        node = self._node
        node.log(0, "warning", f"Awaking from dead after {seconds:.0f} seconds of sleep")
        node.dialling.forget_failures()
        for connection in self.all():
            self.terminate(connection, now)
        node.dialling.retry(now)

    def _check(self, connection: Connection, now: float) -> None:
        node = self._node
        if not connection.activated:
            if connection.meta.state is State.CONNECTING:
                node.log(1, "warning", f"Timeout while connecting to {connection.describe()}")
            else:
                node.log(1, "warning", f"Timeout from {connection.describe()} during authentication")
            is_stranger = connection.meta.state not in (State.CONNECTING, State.INVITATION)
            self.terminate(connection, now, tarpit=is_stranger)
            return
        assert connection.peer is not None
        # tinc searches with traffic only; what has begun may as well be finished.
        node.tunnels.upkeep(connection.peer, now, search_mtu=connection.peer.path.is_searching)
        if connection.pinged:
            node.log(1, "info", f"{connection.describe()} didn't respond to PING in time")
            self.terminate(connection, now)
        elif connection.last_ping + node.settings.ping_interval <= now:
            self.ping(connection, now)

    def ping(self, connection: Connection, now: float) -> None:
        """Send a PING; without an answer within PingTimeout the connection ends."""
        if not connection.pinged:
            connection.pinged = True
            connection.last_ping = now
            self.send(connection, Ping())

    def time_out_dialled(self, now: float) -> None:
        """Give up connections still being set up (retry)."""
        for connection in self.all():
            if connection.dialled and not connection.activated:
                connection.last_ping = NEVER

    def pong(self, connection: Connection, now: float) -> None:
        """A PONG came: the connection lives, and its address is worth remembering."""
        connection.pinged = False
        if connection.peer is not None:
            self._node.guard.meta_answered(connection.peer, now)
        if connection.outgoing is not None and connection.peer is not None:
            self._node.dialling.proved(connection.outgoing, connection.peer, connection.remote)

    def status(self, connection: Connection) -> int:
        """Return the status bits for a dump."""
        bits = ConnectionStatus(0)
        if connection.pinged:
            bits |= ConnectionStatus.PINGED
        if connection.meta.state is State.CONNECTING:
            bits |= ConnectionStatus.CONNECTING
        if connection.peer is not None and connection.peer.slot in self._node.table.tree:
            bits |= ConnectionStatus.MST
        return int(bits)


def _is_loopback(address: Address) -> bool:
    return address.host.startswith("127.") or address.host == "::1"
