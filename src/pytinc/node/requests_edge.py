"""ADD_EDGE and DEL_EDGE (tinc: protocol_edge.c; docs/protocol-meta.md, "ADD_EDGE and DEL_EDGE")."""

from __future__ import annotations

from pytinc.node.core import Core
from pytinc.node.corrections import Corrections
from pytinc.node.flood import SeenCache
from pytinc.node.meta_output import MetaOutput
from pytinc.node.records import Connection
from pytinc.node.topology import Topology
from pytinc.protocol.graph import Edge
from pytinc.wire.requests import AddEdge, DelEdge, Request


class EdgeRequests:
    """Acts on announcements of edges."""

    def __init__(
        self,
        core: Core,
        meta_output: MetaOutput,
        topology: Topology,
        seen: SeenCache,
        corrections: Corrections,
    ) -> None:
        self._core = core
        self._meta_output = meta_output
        self._topology = topology
        self._seen = seen
        self._corrections = corrections

    def _is_foreign(self, connection: Connection, request: AddEdge | DelEdge) -> bool:
        """Tell whether a TunnelServer must not hear of this edge from this peer."""
        ends = {request.source, request.target}
        return self._core.settings.tunnel_server and not ends & {self._core.me.name, connection.name}

    def on_add_edge(self, connection: Connection, request: AddEdge, line: str, now: float) -> None:
        """Take up or change an edge between other nodes, or correct a claim about ours."""
        if self._seen.seen(line, now):
            ends, endings = (request.source, request.target), self._topology.endings
            if self._topology.graph.edge(*ends) is None:
                self._meta_output.tell_of_end(connection, endings, ends, connection.endings[0], now)
            return
        if self._is_foreign(connection, request):
            return
        local_address = request.local_address
        self._topology.check_words(
            request.source,
            request.target,
            *request.address,
            *(() if local_address is None else local_address),
        )
        self._topology.peer(request.source)
        self._topology.peer(request.target)
        graph = self._topology.graph
        edge = graph.edge(request.source, request.target)
        if edge is not None and self._says_the_same(edge, request):
            if edge.local_address == local_address:
                self._meta_output.heard_as(connection, edge.line)
            return
        if request.source == self._core.me.name:
            self._correct_add(connection, edge, request, now)
            return
        if local_address is None and edge is not None:
            local_address = edge.local_address
        new = Edge(
            request.source,
            request.target,
            request.address,
            local_address,
            request.options,
            request.weight,
        )
        new.line, new.announced, new.origin = line, now, connection.number
        graph.set_edge(new)
        self._meta_output.forward(line, connection)

    @staticmethod
    def _says_the_same(edge: Edge, request: AddEdge) -> bool:
        return (
            edge.weight == request.weight
            and edge.options == request.options
            and edge.address == request.address
            and (
                request.local_address is None
                or not request.local_address.family
                or edge.local_address == request.local_address
            )
        )

    def _correct_add(self, connection: Connection, edge: Edge | None, request: AddEdge, now: float) -> None:
        """Another node announces one of our edges wrongly: send the truth to all."""
        if edge is None:
            self._topology.contradicting_adds += 1
        if self._topology.is_paused(now) or not self._corrections.may_speak(
            (request.source, request.target), now
        ):
            return
        if edge is None:
            truth: Request = self._topology.withdraw(request.source, request.target)
        else:
            truth = self._topology.announce(edge)
        self._meta_output.correct(truth, connection)

    def on_del_edge(self, connection: Connection, request: DelEdge, line: str, now: float) -> None:
        """Forget an edge between other nodes, or correct a claim about ours."""
        graph, ends = self._topology.graph, (request.source, request.target)
        edge = graph.edge(*ends)
        self._meta_output.heard(connection, line)
        if edge is not None:
            self._meta_output.heard_as(connection, edge.line)
        if not self._seen.seen(line, now):
            self._corrections.heard(ends)
        elif edge is not None and edge.origin == connection.number:
            # The peer that announced the edge to us withdraws it, with a line that came through another node
            # before: its announcement was out of date. pytinc nodes that we told of the edge accept the same
            # line from us, but C nodes need a new one.
            self._corrections.speak_later(ends, now)
        else:
            return
        if self._is_foreign(connection, request):
            return
        if edge is None:
            if request.source != self._core.me.name and all(name in self._core.peers for name in ends):
                # Other nodes may have the edge, and must get this line before the owner's next ADD_EDGE.
                self._meta_output.forward(line, connection)
            return
        if request.source == self._core.me.name:
            self._topology.contradicting_deletes += 1
            if not self._topology.is_paused(now) and self._corrections.may_speak(ends, now):
                self._meta_output.correct(self._topology.announce(edge), connection)
            return
        self._meta_output.forward(line, connection)
        self._topology.endings.note(ends, line)
        graph.delete_edge(*ends)
        if request.target != self._core.me.name:
            self._topology.drop_when_unreachable(request.target)
