"""Writes to meta connections: to one peer, to all, or towards a node (tinc: meta.c, send_request()).

All text that one event puts on one connection leaves in one write (`flush`).

In a large mesh, announcements are gathered: the first one leaves at once, those that follow within
`NEWS_REST` leave together. Meanwhile the neighbour sends many of them itself, and these need not be sent
back. So in a storm of changes most announcements cross each link once instead of in both directions, and many
arrive together.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from typing import Final

from pytinc.node.actions import SendMeta
from pytinc.node.core import Core
from pytinc.node.flood import Endings
from pytinc.node.records import Connection, Peer
from pytinc.wire import b64
from pytinc.wire.requests import MAX_LINE_LENGTH, Number, Ping, Pong, ReqKey, Request

NEWS_REST: Final = 0.05
"""Seconds between two batches of announcements on one connection: longer than most round trips."""
MAX_NEWS: Final = 20_000
"""Most announcements that wait for one connection; at this number they leave at once."""
SPTPS_PACKET_VERSION: Final = 7
"""Protocol minor from which on sealed records are sent in binary (SPTPS_PACKET), not as text."""


class MetaOutput:
    """Writes requests and packets to the meta connections."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._to_flush: dict[int, Connection] = {}
        self._with_news: dict[int, Connection] = {}
        """Connections for which announcements wait, ..."""
        self._next = math.inf
        """... and when the first of them may leave."""

    # -- requests --

    def send(self, connection: Connection, request: Request) -> None:
        """Send a request to one peer."""
        if connection.news and not isinstance(request, Ping | Pong):
            self._release(connection)  # these announcements may introduce the node that the request is about
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
        is_large = self._core.is_large
        for connection in self._core.connections.values():
            if connection is not origin and connection.activated:
                if is_large or connection.news:  # never before the announcements that wait
                    self._queue(connection, line, False)
                else:
                    connection.meta.send_line(line)
                    self.touch(connection)

    def forward(self, line: str, origin: Connection) -> None:
        """Pass a flooded request on, unless this is a TunnelServer."""
        if not self._core.settings.tunnel_server:
            self.broadcast_line(line, origin)

    def tell(self, connection: Connection, line: str) -> None:
        """Send an announcement to one peer, behind those that wait for it."""
        if connection.news:
            self._queue(connection, line, False)
        else:
            self.send_line(connection, line)

    def tell_of_end(
        self, connection: Connection, endings: Endings, thing: Hashable, before: int, now: float
    ) -> None:
        """Tell a new neighbour that an edge or subnet has ended, if it introduces it with a known line.

        The neighbour was cut off at that time, when ``endings.total`` was ``before`` or less. Other nodes
        drop its line because they know it, so only this node can tell it. All others know the request that
        ended the edge or subnet, so that travels no further.
        """
        if connection.is_introducing(now) and (line := endings.of(thing, before)) is not None:
            self.tell(connection, line)

    def correct(self, request: Request, sender: Connection) -> None:
        """Send a correction to all neighbours (as a TunnelServer: only to the sender of the error)."""
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
        if connection is None:
            return
        if connection.news and (connection.peer is not peer or line.split(" ", 2)[1] != self._core.me.name):
            self._release(connection)  # as in `send`
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

    # -- announcements of a large mesh --

    def introduce(self, connection: Connection, lines: Iterable[str], now: float) -> None:
        """Introduce the whole mesh to a new neighbour.

        In a large mesh, the dialled side waits a moment for the announcements of the other one.
        """
        if self._core.is_large:
            connection.news_free = now if connection.dialled else now + NEWS_REST
            for line in lines:
                self._queue(connection, line, True)
        else:
            for line in lines:
                connection.meta.send_line(line)
        self.touch(connection)

    @staticmethod
    def heard(connection: Connection, line: str) -> None:
        """The peer has sent us this very line: it need not get it from us."""
        connection.news.pop(line, None)

    @staticmethod
    def heard_as(connection: Connection, line: str | None) -> None:
        """The peer has sent an equivalent line: drop ``line`` if it only introduces the mesh.

        A line that announces a change stays, because the change may be later than the peer's line.
        """
        if line is not None and connection.news.get(line):
            del connection.news[line]

    def _queue(self, connection: Connection, line: str, is_introduction: bool) -> None:
        news = connection.news
        if not news:
            self._with_news[connection.number] = connection
            self._next = min(self._next, connection.news_free)
        else:
            news.pop(line, None)  # a repeated line moves behind the lines that were added meanwhile
        news[line] = is_introduction
        if len(news) >= MAX_NEWS:
            self._release(connection)

    def _release(self, connection: Connection) -> None:
        """Send the announcements that wait for a connection."""
        connection.meta.send_lines(connection.news)
        connection.news.clear()
        self._with_news.pop(connection.number, None)
        self.touch(connection)

    def _release_due(self, now: float) -> None:
        for connection in list(self._with_news.values()):
            if connection.news_free <= now:
                if connection.news:
                    connection.news_free = now + NEWS_REST
                self._release(connection)
        self._next = min((each.news_free for each in self._with_news.values()), default=math.inf)

    def next_deadline(self) -> float:
        """Return when announcements that wait may leave."""
        return self._next

    def tick(self, now: float) -> None:
        """Do nothing: `flush`, which ends each event, sends what is due."""

    # -- to the shell --

    def touch(self, connection: Connection) -> None:
        """Note that the protocol of a connection may have something to write; `flush` collects it."""
        self._to_flush[connection.number] = connection

    def forget(self, connection: Connection) -> None:
        """Drop the output of a connection that has ended."""
        self._to_flush.pop(connection.number, None)
        self._with_news.pop(connection.number, None)
        connection.news.clear()

    def flush(self, now: float) -> None:
        """Hand the output of all connections to the shell, with the announcements that are due."""
        if now >= self._next:
            self._release_due(now)
        for connection in self._to_flush.values():
            data = connection.meta.take_output()
            if data and connection.number in self._core.connections:
                self._core.act(SendMeta(connection.number, data))
        self._to_flush.clear()
