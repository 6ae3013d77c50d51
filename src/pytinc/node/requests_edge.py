"""ADD_EDGE and DEL_EDGE (tinc: protocol_edge.c, meta.md 2.5-2.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytinc.protocol.graph import Edge
from pytinc.wire.requests import AddEdge, DelEdge

if TYPE_CHECKING:
    from pytinc.node.connections import Connection
    from pytinc.node.node import Node


def _is_foreign(node: Node, connection: Connection, request: AddEdge | DelEdge) -> bool:
    """Tell whether a TunnelServer must not hear of this edge from this peer."""
    ends = {request.source, request.target}
    return node.settings.tunnel_server and not ends & {node.me.name, connection.name}


def on_add_edge(node: Node, connection: Connection, request: AddEdge, line: str, now: float) -> None:
    """Take up or change an edge between other nodes, or correct a claim about ours."""
    if node.seen.seen(line, now) or _is_foreign(node, connection, request):
        return
    local_address = request.local_address
    node.topology.check_words(
        request.source, request.target, *request.address, *(() if local_address is None else local_address)
    )
    node.peer(request.source)
    node.peer(request.target)
    graph = node.topology.graph
    edge = graph.edge(request.source, request.target)
    if edge is not None and _says_the_same(edge, request):
        return
    if request.source == node.me.name:
        _correct_add(node, connection, edge, request, now)
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
    node.connections.forward(line, connection)


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


def _correct_add(node: Node, connection: Connection, edge: Edge | None, request: AddEdge, now: float) -> None:
    """Someone else speaks for our edges: tell the sender how it is."""
    if edge is None:
        node.topology.contradicting_adds += 1
    if node.topology.is_paused(now) or not node.corrections.may_speak((request.source, request.target), now):
        return
    if edge is None:
        node.connections.send(connection, node.topology.withdraw(request.source, request.target))
    else:
        node.connections.send(connection, node.topology.announce(edge))


def on_del_edge(node: Node, connection: Connection, request: DelEdge, line: str, now: float) -> None:
    """Forget an edge between other nodes, or correct a claim about ours."""
    graph, ends = node.topology.graph, (request.source, request.target)
    edge = graph.edge(*ends)
    words: str | None = line
    if node.seen.seen(line, now):
        if edge is None or edge.origin != connection.number:
            return
        # The peer that told us of the edge withdraws it, in words that had come another way before:
        # what it told was out of date (see `Deletions`). New words reach whom we told.
        may_speak = node.corrections.may_speak(ends, now)
        words = node.topology.withdraw(*ends).format() if may_speak else None
    if _is_foreign(node, connection, request):
        return
    if edge is None:
        if node.deletions.is_recent(ends, now):
            node.connections.forward(line, connection)
        return
    if request.source == node.me.name:
        node.topology.contradicting_deletes += 1
        if not node.topology.is_paused(now) and node.corrections.may_speak(ends, now):
            node.connections.send(connection, node.topology.announce(edge))
        return
    if words is not None:
        node.connections.forward(words, connection)
    graph.delete_edge(*ends)
    node.deletions.note(ends, now)
    if request.target != node.me.name:
        node.topology.drop_when_unreachable(request.target)
