"""The mesh as a graph: which nodes there are, and how each is reached (tinc: graph.c, node.c).

Edges change in `requests_edge`, `activation` and `connections`. The graph is run at most once for all changes
of one event (`settle`), or earlier where a request depends on reachability (`update`). Each run reports its
changes as `RoutesChanged`.
"""

from __future__ import annotations

import math
from typing import Final

from pytinc.errors import LimitError
from pytinc.node.changes import RoutesChanged
from pytinc.node.core import Core
from pytinc.node.flood import Endings
from pytinc.node.meta_output import MetaOutput
from pytinc.node.records import NEVER, Peer
from pytinc.protocol.graph import Edge, Graph
from pytinc.wire.address import Address
from pytinc.wire.requests import AddEdge, DelEdge

CONTRADICTION_LIMIT: Final = 100
"""More corrections than this of both kinds within one periodic run: two nodes share a name."""
DUPLICATE_RUNS: Final = 6
"""Consecutive periodic runs with some corrections of both kinds, after which the log says the same, because
two pytinc nodes with one name correct too seldom to reach `CONTRADICTION_LIMIT`."""
MAX_WORD: Final = 255
"""Characters of a name (a host file cannot have a longer one) or of one part of an address. Lines about nodes
with longer names could be too long to be passed on, which would end the connection."""
REST_PER_NODE: Final = 0.001
MAX_REST: Final = 0.5
"""Seconds to wait after a run for each node of a larger mesh, and the most in all: far longer than a run and
its consequences take. Otherwise the runs would take most of the time in a storm of changes."""
MIN_PAUSE: Final = 10.0
MAX_PAUSE: Final = 3600.0


class Topology:
    """Owns the graph, and writes reachability and routes into the records of the peers."""

    def __init__(self, core: Core, meta_output: MetaOutput) -> None:
        self._core = core
        self._meta_output = meta_output
        self.graph = Graph(core.me.name)
        self.endings = Endings()
        """By source and target of the edge."""
        self.contradicting_adds = 0
        self.contradicting_deletes = 0
        self._contradicted = 0
        """Consecutive periodic runs in which other nodes both invented and denied connections of ours."""
        self._pause = MIN_PAUSE
        self._paused_until = NEVER
        self._orphans: set[str] = set()
        """Nodes that may still have an edge to us although the link has ended (`drop_when_unreachable`)."""
        self._has_new_orphans = False
        self.runs = 0
        """Runs of the graph since the start."""
        self._next_run = NEVER
        """No run for an event before this time, unless a request depends on reachability."""

    # -- nodes --

    def peer(self, name: str, *, limited: bool = True) -> Peer:
        """Return the node ``name``, made if it is new.

        `LimitError` when there are too many. Nodes of our own configuration are not ``limited``: nodes that
        peers invent must not keep them out.
        """
        peer = self._core.peers.get(name)
        if peer is None:
            self.graph.add_node(name, limited=limited)
            peer = self._core.peers[name] = self._core.new_peer(self._core.table.add(name))
        return peer

    def remove(self, peer: Peer) -> None:
        """Forget a node that is unreachable."""
        self.graph.remove_node(peer.name)
        self._core.table.remove(peer.name)
        del self._core.peers[peer.name]

    def load_hosts(self) -> None:
        """Make every node with a host file known, and note what the files say about the nodes."""
        for peer in self._core.peers.values():
            peer.host_addresses, peer.virtual_ips = (), ()
        for name in sorted(self._core.hosts.host_names()):
            host = self._core.hosts.host_settings(name)
            if host is not None:
                peer = self.peer(name, limited=False)
                peer.host_addresses, peer.virtual_ips = host.addresses, host.virtual_ips

    @staticmethod
    def check_words(*words: str) -> None:
        """Refuse names and addresses with which no line of ours may grow too long: `LimitError`."""
        if any(len(word) > MAX_WORD for word in words):
            raise LimitError("overlong name or address")

    # -- edges --

    def announce(self, edge: Edge) -> AddEdge:
        """Return the ADD_EDGE that tells of ``edge``."""
        return AddEdge(
            self._core.nonce(),
            edge.source,
            edge.target,
            edge.address,
            edge.options,
            edge.weight,
            edge.local_address,
        )

    def introduction(self, edge: Edge, now: float) -> str:
        """Return the line that tells a new neighbour of ``edge``.

        For a young edge this is the very line that announced it: a node that knows the edge and its later end
        ignores that line. (tinc sends a new line each time, so that edges which are gone come back to life
        while many links change, and flood the mesh.) An old edge gets a new line, which makes it young,
        because C nodes may or may not remember the old one.
        """
        line = edge.line
        if line is None or now - edge.announced >= self._core.settings.ping_interval:
            line = edge.line = self.announce(edge).format()
            edge.announced = now
        return line

    def line_like(self, line: str) -> str | None:
        """Return the line that announced an edge if this ADD_EDGE differs from it only by the nonce."""
        edge, said = self._edge_of(line)
        if edge is None or edge.line is None:
            return None
        if edge.source not in self._core.peers or edge.target not in self._core.peers:
            return None
        return edge.line if edge.line.split(" ", 4)[4] == said else None

    def has_edge_of(self, line: str) -> bool:
        """Tell whether the edge of an ADD_EDGE exists."""
        return self._edge_of(line)[0] is not None

    def _edge_of(self, line: str) -> tuple[Edge | None, str]:
        """Return the edge of an ADD_EDGE (None: it does not exist), and what the line says of it."""
        words = line.split(" ", 4)
        return (None, "") if len(words) < 5 else (self.graph.edge(words[2], words[3]), words[4])

    def withdraw(self, source: str, target: str) -> DelEdge:
        """Return the DEL_EDGE that tells of the end of an edge."""
        request = DelEdge(self._core.nonce(), source, target)
        self.endings.note((source, target), request.format())
        return request

    def drop_when_unreachable(self, name: str) -> None:
        """As soon as a graph run finds ``name`` unreachable, delete its edge to us, and tell the peers.

        tinc checks only once. If several links end one after the other, all but the last leave an edge behind
        in all tables of the part that was cut off, and the edge comes back to life when the parts meet.
        """
        self._orphans.add(name)
        self._has_new_orphans = True

    # -- the graph --

    def settle(self, now: float) -> None:
        """Run the graph after an event; in a large mesh, if the last run was just now, at `next_deadline`."""
        if self._is_due() and now >= self._next_run:
            self.update(now)

    def _is_due(self) -> bool:
        return self.graph.dirty or self._has_new_orphans

    def next_deadline(self) -> float:
        """Return when a run that was put off is due."""
        return self._next_run if self._is_due() else math.inf

    def update(self, now: float) -> None:
        """Run the graph if an edge changed since the last run; the others are told by `Changes.settle`."""
        while self._is_due():
            if self.graph.dirty:
                rest = min(len(self._core.peers) * REST_PER_NODE, MAX_REST) if self._core.is_large else 0.0
                self._next_run = now + rest
                self._run()
            self._drop_orphans()

    def _run(self) -> None:
        self.runs += 1
        routes = self.graph.run()
        core = self._core
        flipped: list[Peer] = []
        addresses: list[tuple[Peer, Address]] = []
        for peer in core.peers.values():
            if peer is core.me:
                continue
            route = routes.get(peer.name)
            peer.route = route
            if route is not None:
                peer.options = route.options
                if route.address is not None and (
                    not peer.slot.reachable or (not _is_usable(peer.address) and route.address.is_usable)
                ):
                    addresses.append((peer, route.address))
            if (route is not None) is not peer.slot.reachable:
                peer.slot.reachable = route is not None
                flipped.append(peer)
        core.me.route = routes.get(core.me.name)
        core.changes.note(RoutesChanged(flipped, addresses))

    def _drop_orphans(self) -> None:
        me = self._core.me.name
        orphans, self._orphans, self._has_new_orphans = self._orphans, set(), False
        for name in sorted(orphans):
            peer = self._core.peers.get(name)
            is_linked = self.graph.edge(me, name) is not None
            if peer is None or is_linked or self.graph.edge(name, me) is None:
                continue
            if peer.reachable:
                self._orphans.add(name)
                continue
            if not self._core.settings.tunnel_server:
                self._meta_output.broadcast(self.withdraw(name, me))
            self.graph.delete_edge(name, me)

    # -- two nodes with one name --

    def is_paused(self, now: float) -> bool:
        """Tell whether corrections are suspended (docs/protocol-meta.md, "Contradictions")."""
        return now < self._paused_until

    def check_contradictions(self, now: float) -> None:
        """Stop correcting for a while if far too much had to be corrected since the last run.

        tinc blocks the whole process instead; the loop of corrections ends as well when one side
        falls silent.
        """
        self._contradicted += 1
        if not self.contradicting_adds or not self.contradicting_deletes:
            self._contradicted = 0
        if self._contradicted >= DUPLICATE_RUNS:
            self._core.complain(
                f"Another machine seems to run with our name {self._core.me.name} and our key: each "
                "of the two denies the connections of the other",
                now,
            )
        if self.contradicting_adds > CONTRADICTION_LIMIT and self.contradicting_deletes > CONTRADICTION_LIMIT:
            self._core.log(
                0,
                "warning",
                f"Possible node with same Name as us! Ignoring contradictions for {self._pause:.0f} seconds.",
            )
            self._paused_until = now + self._pause
            self._pause = min(self._pause * 2, MAX_PAUSE)
        elif not self.is_paused(now):
            self._pause = max(self._pause / 2, MIN_PAUSE)
        self.contradicting_adds = self.contradicting_deletes = 0


def _is_usable(address: Address | None) -> bool:
    return address is not None and address.is_usable
