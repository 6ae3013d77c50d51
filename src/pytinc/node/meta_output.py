"""What goes out on meta connections: to one peer, to all, or towards a node (tinc: meta.c, send_request()).

All text that one event puts on one connection leaves in one write (`flush`).
"""

from __future__ import annotations

from pytinc.node.actions import SendMeta
from pytinc.node.core import Core
from pytinc.node.records import Connection, Peer
from pytinc.wire import b64
from pytinc.wire.requests import MAX_LINE_LENGTH, Number, Ping, ReqKey, Request

SPTPS_PACKET_VERSION = 7
"""Protocol minor from which on sealed records go as they are (SPTPS_PACKET), not as text."""


class MetaOutput:
    """Writes requests and packets to the meta connections."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._to_flush: dict[int, Connection] = {}

    # -- requests --

    def send(self, connection: Connection, request: Request) -> None:
        """Send a request to one peer."""
        connection.meta.send(request)
        self.touch(connection)

    def send_line(self, connection: Connection, line: str) -> None:
        """Send the text of a request as it came."""
        connection.meta.send_line(line)
        self.touch(connection)

    def broadcast(self, request: Request) -> None:
        """Send a request to every activated connection."""
        self.broadcast_line(request.format(), None)

    def broadcast_line(self, line: str, origin: Connection | None) -> None:
        """Send a line to every activated connection but the one it came from."""
        for connection in self._core.connections.values():
            if connection is not origin and connection.activated:
                connection.meta.send_line(line)
                self.touch(connection)

    def forward(self, line: str, origin: Connection) -> None:
        """Pass a flooded request on, unless this is a TunnelServer."""
        if not self._core.settings.tunnel_server:
            self.broadcast_line(line, origin)

    def correct(self, request: Request, sender: Connection) -> None:
        """Send what is true to all neighbours (a TunnelServer: to the sender of what is false only)."""
        if self._core.settings.tunnel_server:
            self.send(sender, request)
        else:
            self.broadcast(request)

    def ping(self, connection: Connection, now: float) -> None:
        """Send a PING; without an answer within PingTimeout the connection ends."""
        if not connection.pinged:
            connection.pinged = True
            connection.last_ping = now
            self.send(connection, Ping())

    # -- along the mesh --

    def next_hop(self, peer: Peer) -> Connection | None:
        """Return the connection on which requests for ``peer`` leave; None where no path leads there."""
        if peer.route is None:
            return None
        return self._core.peers[peer.route.nexthop].connection

    def send_towards(self, peer: Peer, line: str) -> None:
        """Send a request towards ``peer``; it is lost where no path leads there."""
        connection = self.next_hop(peer)
        if connection is not None:
            self.send_line(connection, line)

    # -- packets --

    def send_frame(self, connection: Connection, frame: bytes) -> None:
        """Send a plain frame (PACKET), subject to random early drop."""
        if not self._drops_early(connection):
            connection.meta.send_frame(frame)
            self.touch(connection)

    def send_record(self, target: Peer, source: Peer, record: bytes) -> None:
        """Send a sealed record from ``source`` towards ``target`` by TCP, subject to random early drop."""
        connection = self.next_hop(target)
        if connection is None:
            return
        if connection.version >= SPTPS_PACKET_VERSION:
            self.send_sptps_packet(connection, target.slot.id + source.slot.id + record)
        else:
            line = ReqKey(source.name, target.name, Number.SPTPS_PACKET, b64.encode(record)).format()
            # A line cannot hold the longest records (nor can tinc's).
            if len(line) <= MAX_LINE_LENGTH:
                self.send_line(connection, line)

    def send_sptps_packet(self, connection: Connection, data: bytes) -> None:
        """Send a sealed record with its ids (SPTPS_PACKET), subject to random early drop."""
        if not self._drops_early(connection):
            connection.meta.send_sptps_packet(data)
            self.touch(connection)

    def _drops_early(self, connection: Connection) -> bool:
        """Drop at random once the output queue is half full, always when it is full.

        See docs/protocol-data.md, "Early drop".
        """
        half = max(self._core.settings.max_output_buffer_size / 2, 1)
        excess = self._core.queued(connection.number) - half
        return excess > 0 and excess > self._core.random_float() * half

    # -- to the shell --

    def touch(self, connection: Connection) -> None:
        """Note that the protocol of a connection may have something to write; `flush` collects it."""
        self._to_flush[connection.number] = connection

    def forget(self, connection: Connection) -> None:
        """Drop what a connection that ended still had to write."""
        self._to_flush.pop(connection.number, None)

    def flush(self) -> None:
        """Hand the output of all connections to the shell."""
        for connection in self._to_flush.values():
            data = connection.meta.take_output()
            if data and connection.number in self._core.connections:
                self._core.act(SendMeta(connection.number, data))
        self._to_flush.clear()
