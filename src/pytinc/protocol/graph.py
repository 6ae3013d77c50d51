"""Nodes and edges: shortest paths, reachability and spanning tree as tinc computes them.

See docs/protocol-meta.md, "Graph".

An edge counts only if its reverse exists, too. All nodes of a mixed mesh must compute compatible results, so
ties are broken as the C code breaks them: by the order of names.

Every change makes `Graph` `dirty` until the next run; the graph keeps no history. `pytinc.node.topology` acts
on changes of reachability.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Collection, Iterator
from operator import attrgetter
from typing import Final, NamedTuple

from pytinc.errors import LimitError
from pytinc.wire.address import Address
from pytinc.wire.bits import OptionBits

MAX_NODES: Final = 10_000
"""Ten times the largest mesh we plan for. Nodes that a peer invents beyond this limit are ignored."""
MAX_EDGES: Final = 200_000
"""Twenty for each node; AutoConnect gives three to six."""
MAX_STEPS: Final = 1_000_000
"""Edges examined in one run by tinc's rule, about half a second of work. In an honest mesh a run examines
each edge a few times. A peer can choose weights that make a run visit nodes again and again (with negative
weights even for ever); this limit keeps the daemon running."""

_INDIRECT: Final = OptionBits.INDIRECT


class Edge:
    """One direction of a meta connection. An edge in a graph is never changed, only replaced."""

    __slots__ = (
        "address",
        "announced",
        "line",
        "local_address",
        "options",
        "origin",
        "source",
        "target",
        "weight",
    )

    def __init__(
        self,
        source: str,
        target: str,
        address: Address,
        local_address: Address | None,
        options: int,
        weight: int,
    ) -> None:
        self.source = source
        self.target = target
        self.address = address
        """Where ``source`` reaches ``target`` by UDP."""
        self.local_address = local_address
        """The address of ``source`` on that connection."""
        self.options = options
        self.weight = weight
        self.line: str | None = None
        """The ADD_EDGE line that announced it, for forwarding."""
        self.announced = 0.0
        """When that line arrived."""
        self.origin: int | None = None
        """The number of the connection it arrived on; None for an edge of our own."""

    def __repr__(self) -> str:
        """Both ends."""
        return f"<Edge {self.source} to {self.target}>"


class Route(NamedTuple):
    """How a reachable node is reached from here."""

    nexthop: str
    """The neighbour that meta requests go to."""
    via: str
    """The last node on the path that UDP can be sent to directly; the own node if there is none."""
    distance: int
    weighted_distance: int
    indirect: bool
    options: int
    """Options of the edge that leads to the node; the own node has 0."""
    address: Address | None
    """The address in that edge."""


class Graph:
    """All nodes and edges this node has heard of."""

    def __init__(self, me: str) -> None:
        self.me = me
        self.dirty = True
        self._edges: dict[str, dict[str, Edge]] = {me: {}}
        self._sorted: dict[str, list[Edge]] = {}
        """Edges of each node in the order of their targets; computed on demand, dropped when one of them
        changes."""
        self._count = 0
        self._missing: dict[tuple[str, str], None] = {}
        """Ends of edges that are missing although their reverses exist; in order of their loss."""
        self._links: list[tuple[int, str, str]] = []
        """Weight and ends of each link that has both edges, sorted: those of the edge that comes first."""
        self._link_of: dict[tuple[str, str], tuple[int, str, str]] = {}
        """Its place in that list, by its ends in the order of their names."""

    # -- nodes and edges --

    @property
    def nodes(self) -> Collection[str]:
        """Names of all nodes."""
        return self._edges.keys()

    def add_node(self, name: str, *, limited: bool = True) -> None:
        """Add a node. `LimitError` when there are too many, unless ``limited`` is false."""
        if name in self._edges:
            return
        if limited and len(self._edges) >= MAX_NODES:
            raise LimitError(f"more than {MAX_NODES} nodes")
        self._edges[name] = {}

    def remove_node(self, name: str) -> None:
        """Forget a node and the edges that start there. Edges that end there stay, without effect."""
        gone = self._edges.pop(name, {})
        self._count -= len(gone)
        for target in gone:
            self._note_missing(name, target)
            self._sort_link(name, target)
        self._sorted.pop(name, None)
        self.dirty = True

    def edge(self, source: str, target: str) -> Edge | None:
        """Return the edge between two nodes in this direction."""
        return self._edges.get(source, {}).get(target)

    def set_edge(self, edge: Edge) -> None:
        """Add an edge, or replace the one with the same ends. `LimitError` when there are too many.

        Our own edges always fit (two for each node): edges that others invent must not keep our neighbours
        out.
        """
        is_new = self.edge(edge.source, edge.target) is None
        if is_new and self._count >= MAX_EDGES and self.me not in (edge.source, edge.target):
            raise LimitError(f"more than {MAX_EDGES} edges")
        self.add_node(edge.source)
        self.add_node(edge.target)
        self._edges[edge.source][edge.target] = edge
        self._count += is_new
        self._sorted.pop(edge.source, None)
        if is_new:
            self._note_found(edge.source, edge.target)
        self._sort_link(edge.source, edge.target)
        self._note_change(edge.source, edge.target)

    def delete_edge(self, source: str, target: str) -> None:
        """Remove an edge if it exists."""
        if self._edges.get(source, {}).pop(target, None) is not None:
            self._count -= 1
            self._sorted.pop(source, None)
            self._note_missing(source, target)
            self._sort_link(source, target)
            self._note_change(source, target)

    def _sort_link(self, one: str, other: str) -> None:
        """Give the link between two nodes its place in the order of links, if it has both edges."""
        ends = (one, other) if one < other else (other, one)
        old = self._link_of.pop(ends, None)
        there, back = self.edge(one, other), self.edge(other, one)
        new = None
        if there is not None and back is not None:
            # Of the two edges of a link, the later in the order never joins the tree.
            new = min((there.weight, one, other), (back.weight, other, one))
            self._link_of[ends] = new
        if new != old:
            if old is not None:
                del self._links[bisect_left(self._links, old)]
            if new is not None:
                insort(self._links, new)

    def _note_found(self, source: str, target: str) -> None:
        if source in self._edges.get(target, ()):
            self._missing.pop((source, target), None)
        else:
            self._missing[target, source] = None

    def _note_missing(self, source: str, target: str) -> None:
        if source in self._edges.get(target, ()):
            self._missing[source, target] = None
        else:
            self._missing.pop((target, source), None)

    def _note_change(self, source: str, target: str) -> None:
        """Mark the graph as changed if the edge's reverse exists: a single direction has no effect."""
        self.dirty = self.dirty or source in self._edges.get(target, ())

    def edges_from(self, name: str) -> list[Edge]:
        """Return the edges that start at a node, in order of the names of their targets."""
        edges = self._sorted.get(name)
        if edges is None:
            known = self._edges.get(name)
            if known is None:
                return []
            edges = self._sorted[name] = sorted(known.values(), key=attrgetter("target"))
        return edges

    def edges(self) -> Iterator[Edge]:
        """Yield all edges, ordered by the names of their sources, then of their targets."""
        for name in sorted(self._edges):
            yield from self.edges_from(name)

    def missing_edges(self) -> Collection[tuple[str, str]]:
        """Return source and target of each edge that is missing although its reverse exists."""
        return self._missing.keys()

    # -- shortest paths --

    def run(self) -> dict[str, Route]:
        """Return the route to every reachable node, the own one included (tinc: sssp_bfs()).

        Fewest hops first, then the smaller sum of weights, then the first found. A path without INDIRECT
        edges replaces one with such edges even if it is longer. 1,000 nodes with 5,000 connections take some
        ten milliseconds (benchmarks/graph.py). The function is long because it writes out the rule of
        docs/protocol-meta.md, "Shortest paths", and is the hot loop of every change.
        """
        self.dirty = False
        me, all_edges = self.me, self._edges
        routes: dict[str, Route] = {me: Route(me, me, 0, 0, False, 0, None)}
        queue = deque([me])
        visited: set[str] = set()
        steps = 0
        while queue:
            name = queue.popleft()
            if steps >= MAX_STEPS and name in visited:
                continue  # every other node is still visited once, so that none becomes unreachable
            visited.add(name)
            here = routes[name]
            hops = here.distance + 1
            edges = self.edges_from(name)
            steps += len(edges)
            for edge in edges:
                target = edge.target
                old = routes.get(target)
                if old is not None and old.distance < hops and not old.indirect:
                    continue  # most edges lead back, and the own node is such a target, too
                if name not in all_edges.get(target, ()):
                    continue
                indirect = here.indirect or bool(edge.options & _INDIRECT)
                weighted = here.weighted_distance + edge.weight
                nexthop = target if here.nexthop == me else here.nexthop
                if old is not None:
                    better = old.distance == hops and old.weighted_distance > weighted
                    if (not old.indirect or indirect) and not better:
                        continue
                    if not better:
                        nexthop, weighted = old.nexthop, old.weighted_distance
                via = here.via if indirect else target
                routes[target] = Route(nexthop, via, hops, weighted, indirect, edge.options, edge.address)
                queue.append(target)
        return routes

    # -- spanning tree --

    def tree_neighbours(self, me: str, connected: Collection[str]) -> set[str]:
        """Return the neighbours whose connection is in the minimum spanning tree (tinc: mst_kruskal()).

        Only broadcast frames use the tree. ``connected`` names the nodes we have a connection with.
        """
        return {
            target if source == me else source
            for source, target in self._forest()
            if (source == me and target in connected) or (target == me and source in connected)
        }

    def tree(self) -> list[tuple[str, str]]:
        """Return the edges of the minimum spanning tree of the reachable nodes.

        Edges are sorted by weight, then by the names of their ends. tinc grows the tree from one node: each
        step adds the first edge with exactly one marked end (docs/protocol-meta.md, "Spanning tree"). No two
        edges have the same place in the order, so there is only one such tree.
        """
        reachable = self._reachable()
        return [ends for ends in self._forest() if ends[0] in reachable]

    def _forest(self) -> list[tuple[str, str]]:
        """Return the edges of the minimum spanning trees of all parts of the mesh, in order.

        This is Kruskal's algorithm: an edge joins if its ends are in different trees. Of two trees that
        become one, the nodes of the smaller move over.
        """
        trees = {name: [name] for name in self._edges}
        missing = len(trees) - 1
        forest: list[tuple[str, str]] = []
        for _, source, target in self._links:
            one, other = trees[source], trees[target]
            if one is other:
                continue
            forest.append((source, target))
            if len(one) < len(other):
                one, other = other, one
            one += other
            for name in other:
                trees[name] = one
            missing -= 1
            if not missing:
                break
        return forest

    def _reachable(self) -> set[str]:
        seen = {self.me}
        queue = [self.me]
        while queue:
            name = queue.pop()
            for target in self._edges.get(name, ()):
                if target not in seen and name in self._edges.get(target, ()):
                    seen.add(target)
                    queue.append(target)
        return seen
