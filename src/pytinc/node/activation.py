"""The end of the login: both sides send ACK, and an edge comes into being (tinc: send_ack(), ack_h())."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pytinc.config.settings import HostSettings
from pytinc.node.admission import Admission
from pytinc.node.changes import ConnectionActivated
from pytinc.node.connections import Connections
from pytinc.node.core import Core
from pytinc.node.corrections import Corrections
from pytinc.node.meta_output import MetaOutput
from pytinc.node.records import NEVER, Connection, Peer
from pytinc.node.rules import own_options
from pytinc.node.subnets import Subnets
from pytinc.node.topology import Topology
from pytinc.protocol.graph import Edge
from pytinc.wire.bits import OptionBits
from pytinc.wire.requests import Ack
from pytinc.wire.version import PROTOCOL_MINOR

DUPLICATE_WINDOW: Final = 60.0
"""Two replaced connections of one peer within so many seconds are logged: two machines may have its key."""
SIMULTANEOUS: Final = 3.0
"""Two activations with one peer within so many seconds mean that both ends dialled each other at once."""


class Activation:
    """Makes a neighbour of a peer that has logged in."""

    def __init__(
        self,
        core: Core,
        admission: Admission,
        meta_output: MetaOutput,
        topology: Topology,
        subnets: Subnets,
        connections: Connections,
        corrections: Corrections,
    ) -> None:
        self._core = core
        self._admission = admission
        self._meta_output = meta_output
        self._topology = topology
        self._subnets = subnets
        self._connections = connections
        self._corrections = corrections
        self._replaced: dict[str, float] = {}
        """When a connection of each peer was last replaced by a new one. The peers have host files."""

    def send_ack(self, connection: Connection, now: float) -> None:
        """Send ACK: UDP port, estimated weight, options (docs/protocol-meta.md, "ACK")."""
        core = self._core
        host = core.hosts.host_settings(connection.name)
        connection.options = self._options_for(host)
        connection.weight = self._weight_for(host, connection, now)
        connection.meta.send(
            Ack(self._udp_port(connection), connection.weight, connection.options | PROTOCOL_MINOR << 24)
        )
        self._meta_output.touch(connection)

    def _options_for(self, host: HostSettings | None) -> int:
        options = own_options(self._core.settings)
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
        if self._core.settings.weight is not None:
            return self._core.settings.weight
        return round((now - connection.started) * 1000)

    def _udp_port(self, connection: Connection) -> str:
        """Return the port of our UDP socket of the connection's family."""
        sockets = self._core.sockets
        for family, bound in sockets:
            if family == connection.local.family:
                return bound.port
        return sockets[0][1].port if sockets else self._core.settings.port

    def activate(self, connection: Connection, ack: Ack, now: float) -> None:
        """Accept the peer's ACK: from now on there is an edge (tinc: ack_h()).

        See docs/protocol-meta.md, "Activation".
        """
        core = self._core
        peer = self._topology.peer(connection.name, limited=False)  # it has a host file
        waiting: list[str] = []
        if peer.connection is not None:
            waiting = [line for line, introduces in peer.connection.news.items() if not introduces]
            if not self._replace(peer.connection, connection, now):
                return
        self._admission.logged_in(peer.name, connection.remote)
        connection.peer = peer
        peer.connection = connection
        peer.slot.connection = connection.number
        connection.activated_at = now
        connection.endings = self._topology.endings.total, self._subnets.endings.total
        self._join_options(connection, peer, ack)
        connection.meta.activate()
        core.log(1, "notice", f"Connection with {connection.describe()} activated")
        core.changes.note(ConnectionActivated(connection))
        connection.meta.send_lines(waiting)
        self._send_everything(connection, now)
        self._add_edge(connection, peer, ack, now)

    def _replace(self, old: Connection, new: Connection, now: float) -> bool:
        """Decide between two connections with one peer; True if the new one goes on.

        The newest activation wins, as in tinc. Only when both ends dialled each other at the same
        moment does the one dialled by the node whose name sorts first survive, so that two pytinc
        nodes do not each close the other's choice.
        """
        core = self._core
        core.log(1, "notice", f"Established a second connection with {new.describe()}, closing one of them")
        at_once = now - old.activated_at < SIMULTANEOUS and old.dialled != new.dialled
        keep_dialled = core.me.name < new.name
        loser, winner = (new, old) if at_once and old.dialled == keep_dialled else (old, new)
        if loser.outgoing is not None and winner.outgoing is None:
            winner.outgoing = loser.outgoing
            winner.outgoing.connection = winner
            loser.outgoing = None
        if not at_once:
            last = self._replaced.get(new.name, NEVER)
            self._replaced[new.name] = now
            if now - last < DUPLICATE_WINDOW:
                core.complain(
                    f"{new.name} logs in again and again, now from {new.remote} while connected from "
                    f"{old.remote}: two machines may have its name and key",
                    now,
                )
        self._connections.terminate(loser, report=False)
        return winner is new

    def _join_options(self, connection: Connection, peer: Peer, ack: Ack) -> None:
        core = self._core
        own, theirs = connection.options, ack.options
        if not own & theirs & OptionBits.PMTU_DISCOVERY:
            own &= ~OptionBits.PMTU_DISCOVERY
            theirs &= ~OptionBits.PMTU_DISCOVERY
        host = core.hosts.host_settings(peer.name)
        options = own | theirs
        if host is not None and host.clamp_mss is not None:
            options &= ~OptionBits.CLAMP_MSS
            options |= OptionBits.CLAMP_MSS if host.clamp_mss else 0
        connection.options = options
        for limit in (host.pmtu if host is not None else None, core.settings.pmtu):
            if limit is not None:
                peer.path.limit_mtu(limit)

    def _add_edge(self, connection: Connection, peer: Peer, ack: Ack, now: float) -> None:
        core = self._core
        # All nodes learn this port: a port that no packet can be sent to is left out, as tinc does with 0.
        is_port = connection.remote.with_port(ack.port).is_usable
        port = str(int(ack.port)) if is_port else connection.remote.port
        weight = int((ack.weight + connection.weight) / 2)
        if self._corrections.is_disputed((core.me.name, peer.name)):
            # Some nodes still have the former edge, and pass on only an edge that differs from it.
            weight += 1
        edge = Edge(
            core.me.name,
            peer.name,
            connection.remote.with_port(port),
            # Behind an exec proxy there is none. tinc's peers do not understand tinc's own empty address
            # (docs/protocol-meta.md, "ADD_EDGE and DEL_EDGE").
            connection.local.with_port(self._udp_port(connection)) if connection.local.family else None,
            connection.options,
            weight,
        )
        connection.edge = edge
        self._topology.graph.set_edge(edge)
        edge.line, edge.announced = self._topology.announce(edge).format(), now
        if core.settings.tunnel_server:
            self._meta_output.send_line(connection, edge.line)
        else:
            # The peer and this node exchange requests as soon as the peer has this edge, so it is sent
            # without delay.
            self._meta_output.send_line(connection, edge.line)
            self._meta_output.broadcast_line(edge.line, connection)

    def _send_everything(self, connection: Connection, now: float) -> None:
        """Tell a new neighbour all subnets and edges (tinc: send_everything())."""
        core = self._core
        if core.settings.tunnel_server:
            for subnet in self._subnets.table.of(core.me.name):
                connection.meta.send(self._subnets.announce(core.me.name, subnet))
        else:
            self._meta_output.introduce(connection, self._introductions(now), now)
        self._meta_output.touch(connection)

    def _introductions(self, now: float) -> Iterator[str]:
        for name in sorted(self._core.peers):
            for subnet in self._subnets.table.of(name):
                yield self._subnets.introduction(name, subnet, now)
            for edge in self._topology.graph.edges_from(name):
                yield self._topology.introduction(edge, now)
