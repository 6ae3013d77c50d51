"""Nodes that flood by tinc's rules (docs/protocol-meta.md), to compare with ours and to mix with them.

A new neighbour gets each edge in a new line, every line leaves at once, a deletion of something unknown or
in known words goes no further, a false announcement of an edge is corrected at once, every time, and for the
sender only, an edge that a dead link leaves behind is looked for only once, and no node asks about half
edges.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from pytinc.node.corrections import Corrections
from pytinc.node.half_edges import HalfEdges
from pytinc.node.meta_output import MetaOutput
from pytinc.node.records import Connection
from pytinc.node.requests_edge import EdgeRequests
from pytinc.node.requests_subnet import SubnetRequests
from pytinc.node.subnets import Subnets
from pytinc.node.topology import Topology
from pytinc.protocol.graph import Edge
from pytinc.wire.requests import AddEdge, DelEdge, DelSubnet
from pytinc.wire.subnet import Subnet


@contextmanager
def tinc_rules(names: Collection[str] | None = None) -> Iterator[None]:
    """Let these nodes (all, if None) flood as tinc does."""
    kept = [(owner, name, getattr(owner, name)) for owner, name, _ in _RULES]
    for (owner, name, ours), (_, _, theirs) in zip(kept, _RULES, strict=True):
        setattr(owner, name, _either(ours, theirs, names))
    try:
        yield
    finally:
        for owner, name, ours in kept:
            setattr(owner, name, ours)


def _either(
    ours: Callable[..., Any], theirs: Callable[..., Any], names: Collection[str] | None
) -> Callable[..., Any]:
    def method(part: Any, *arguments: Any) -> Any:
        if names is None or part._core.me.name in names:
            return theirs(ours, part, *arguments)
        return ours(part, *arguments)

    return method


def _edge(ours: object, topology: Topology, edge: Edge, now: float) -> str:
    return topology.announce(edge).format()


def _subnet(ours: object, subnets: Subnets, owner: str, subnet: Subnet, now: float) -> str:
    return subnets.announce(owner, subnet).format()


def _orphans(ours: Callable[[Topology], None], topology: Topology) -> None:
    ours(topology)
    topology._orphans.clear()


def _correct(requests: EdgeRequests, connection: Connection, source: str, target: str) -> None:
    """Tell the sender, and nobody else, how it is."""
    topology = requests._topology
    edge = topology.graph.edge(source, target)
    truth = topology.withdraw(source, target) if edge is None else topology.announce(edge)
    requests._meta_output.send(connection, truth)


def _add_edge(
    ours: Callable[..., None],
    requests: EdgeRequests,
    connection: Connection,
    request: AddEdge,
    line: str,
    now: float,
) -> None:
    if request.source != requests._core.me.name:
        ours(requests, connection, request, line, now)
    elif not requests._seen.seen(line, now):
        edge = requests._topology.graph.edge(request.source, request.target)
        if edge is None or not requests._says_the_same(edge, request):
            _correct(requests, connection, request.source, request.target)


def _del_edge(
    ours: Callable[..., None],
    requests: EdgeRequests,
    connection: Connection,
    request: DelEdge,
    line: str,
    now: float,
) -> None:
    if line in requests._seen or requests._topology.graph.edge(request.source, request.target) is None:
        return
    if request.source == requests._core.me.name:
        requests._seen.seen(line, now)
        _correct(requests, connection, request.source, request.target)
    else:
        ours(requests, connection, request, line, now)


def _del_subnet(
    ours: Callable[..., None],
    requests: SubnetRequests,
    connection: Connection,
    request: DelSubnet,
    line: str,
    now: float,
) -> None:
    if line not in requests._seen and requests._subnets.table.has(request.owner, request.subnet):
        ours(requests, connection, request, line, now)


def _queue(
    ours: object,
    output: MetaOutput,
    connection: Connection,
    line: str,
    is_introduction: bool,
) -> None:
    connection.meta.send_line(line)
    output.touch(connection)


def _always(ours: object, corrections: Corrections, thing: object, now: float) -> bool:
    return True


def _nothing(ours: object, part: object, *arguments: object) -> None:
    pass


_RULES: tuple[tuple[type, str, Callable[..., Any]], ...] = (
    (Topology, "introduction", _edge),
    (Subnets, "introduction", _subnet),
    (Topology, "_drop_orphans", _orphans),
    (EdgeRequests, "on_add_edge", _add_edge),
    (EdgeRequests, "on_del_edge", _del_edge),
    (SubnetRequests, "on_del_subnet", _del_subnet),
    (Corrections, "may_speak", _always),
    (MetaOutput, "_queue", _queue),
    (HalfEdges, "look", _nothing),
)
