"""The mesh as a graph: reachability changes and all that follows from them (tinc: graph.c, node.c).

Edges change in `requests_edge` and `connections`; the graph is run at most once for all the changes
of one event (`update`), or earlier where a request needs to know who is reachable.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from pytinc.errors import LimitError
from pytinc.node import forwarding
from pytinc.node.actions import RunScript
from pytinc.node.peer import NEVER, Peer
from pytinc.protocol.graph import Edge, Graph
from pytinc.wire.address import Address
from pytinc.wire.requests import AddEdge, DelEdge

if TYPE_CHECKING:
    from pytinc.node.node import Node

CONTRADICTION_LIMIT: Final = 100
"""More corrections than this of both kinds within one periodic run: two nodes share a name."""
MAX_WORD: Final = 255
"""Characters of a name (a longer one cannot be that of a host file) or of one part of an address. Lines about
nodes with longer ones could be too long to be passed on, and end the connection that we owe them to."""
SMALL_MESH: Final = 50
"""Nodes up to which every event has its own run of the graph, which takes a millisecond or less."""
REST_PER_NODE: Final = 0.0002
"""Seconds of rest after a run for each node of a larger mesh: some ten times what the run takes. In a storm
of changes the runs would else take longer than everything else."""
MIN_PAUSE: Final = 10.0
MAX_PAUSE: Final = 3600.0


class Topology:
    """Owns the graph and carries its results to peers, scripts and the forwarding table."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.graph = Graph(node.settings.name)
        self.contradicting_adds = 0
        self.contradicting_deletes = 0
        self._pause = MIN_PAUSE
        self._paused_until = NEVER
        self._orphans: set[str] = set()
        """Nodes whose edge to us must go when the next graph run finds them unreachable."""
        self._reachable_others = 0
        self._next_run = NEVER
        """No run for an event before this time, unless a request needs to know who is reachable."""

    # -- hosts --

    def load_hosts(self) -> None:
        """Make every node that has a host file known, and note which of them can be dialled."""
        node = self._node
        for peer in node.peers.values():
            peer.has_address = False
        for name in sorted(node.hosts.host_names()):
            host = node.hosts.host_settings(name)
            if host is not None:
                node.peer(name, limited=False).has_address = bool(host.addresses)

    @staticmethod
    def check_words(*words: str) -> None:
        """Refuse names and addresses with which no line of ours may grow too long: `LimitError`."""
        if any(len(word) > MAX_WORD for word in words):
            raise LimitError("overlong name or address")

    # -- edges --

    def announce(self, edge: Edge) -> AddEdge:
        """Return the ADD_EDGE that tells of ``edge``."""
        return AddEdge(
            self._node.nonce(),
            edge.source,
            edge.target,
            edge.address,
            edge.options,
            edge.weight,
            edge.local_address,
        )

    def introduction(self, edge: Edge, now: float) -> str:
        """Return the line that tells a new neighbour of ``edge``.

        A young edge is told in the very words in which it was announced: who has heard of it, and of
        its end meanwhile, will not believe in it again. (tinc uses new words each time, so that edges
        which are gone come back to life while many links change, and flood the mesh.) An old line may
        have been forgotten, or, in a C node, not: an old edge is told in new words.
        """
        if edge.line is not None and now - edge.announced < self._node.settings.ping_interval:
            return edge.line
        return self.announce(edge).format()

    def withdraw(self, source: str, target: str) -> DelEdge:
        """Return the DEL_EDGE that tells of the end of an edge."""
        return DelEdge(self._node.nonce(), source, target)

    def drop_when_unreachable(self, name: str) -> None:
        """If the next graph run finds ``name`` unreachable, its edge to us goes, too, and peers are told."""
        self._orphans.add(name)

    # -- the graph --

    def settle(self, now: float) -> None:
        """Run the graph after an event; in a large mesh, if the last run was just now, at `next_deadline`."""
        if self._is_due() and now >= self._next_run:
            self.update(now)

    def _is_due(self) -> bool:
        return self.graph.dirty or bool(self._orphans)

    def next_deadline(self) -> float:
        """Return when a run that was put off is due."""
        return self._next_run if self._is_due() else math.inf

    def update(self, now: float) -> None:
        """Run the graph if an edge changed since the last run, and carry out what follows."""
        while self._is_due():
            if self.graph.dirty:
                size = len(self._node.peers)
                self._next_run = now + (size * REST_PER_NODE if size > SMALL_MESH else 0.0)
                self._run(now)
            self._drop_orphans()

    def _run(self, now: float) -> None:
        node = self._node
        routes = self.graph.run()
        changed: list[Peer] = []
        for peer in node.peers.values():
            if peer is node.me:
                continue
            route = routes.get(peer.name)
            peer.route = route
            peer.visited = route is not None
            if route is not None:
                peer.options = route.options
                if route.address is not None and (
                    not peer.reachable or (not _is_usable(peer.address) and route.address.is_usable)
                ):
                    node.tunnels.set_address(peer, route.address)
            if peer.visited != peer.reachable:
                changed.append(peer)
        node.me.route = routes.get(node.me.name)
        for peer in changed:
            peer.slot.reachable = peer.visited
            node.tunnels.forget_session(peer)
            peer.path.reset()
        # Once for all that changed: it takes as long for one node as for a thousand.
        forwarding.write_routes(node)
        for peer in sorted(changed, key=lambda peer: peer.name):
            self._change_reachability(peer, now)

    def _change_reachability(self, peer: Peer, now: float) -> None:
        node = self._node
        peer.last_state_change = int(node.wall_clock())
        if peer.reachable:
            node.log(
                1, "info", f"Node {peer.name} ({peer.address or 'unknown port unknown'}) became reachable"
            )
            if peer.connection is not None and peer.connection.outgoing is not None:
                node.dialling.remember(peer, peer.connection.remote)
        else:
            node.log(
                1, "info", f"Node {peer.name} ({peer.address or 'unknown port unknown'}) became unreachable"
            )
        self._run_host_scripts(peer)
        if not peer.reachable:
            node.tunnels.set_address(peer, None)
            peer.options = 0
        self._count_reachable(1 if peer.reachable else -1)
        node.guard.reachability(peer, now)

    def _count_reachable(self, change: int) -> None:
        """With DeviceStandby the device is up while any other node is reachable (dataplane.md 6.1)."""
        before = self._reachable_others
        self._reachable_others += change
        if self._node.settings.device_standby and 0 in (before, self._reachable_others):
            self._node.act(RunScript("tinc-down" if before else "tinc-up", {}))

    def _run_host_scripts(self, peer: Peer) -> None:
        node = self._node
        suffix = "up" if peer.reachable else "down"
        environment = {"NODE": peer.name}
        if peer.address is not None:
            environment |= {"REMOTEADDRESS": peer.address.host, "REMOTEPORT": peer.address.port}
        node.act(RunScript(f"host-{suffix}", environment))
        node.act(RunScript(f"hosts/{peer.name}-{suffix}", environment))
        for subnet in node.subnets.table.of(peer.name):
            node.subnets.run_script(peer, subnet, up=peer.reachable)

    def _drop_orphans(self) -> None:
        node = self._node
        orphans, self._orphans = self._orphans, set()
        for name in sorted(orphans):
            peer = node.peers.get(name)
            if peer is None or peer.reachable or self.graph.edge(name, node.me.name) is None:
                continue
            if not node.settings.tunnel_server:
                node.broadcast(self.withdraw(name, node.me.name))
            self.graph.delete_edge(name, node.me.name)

    # -- purge --

    def purge(self, now: float) -> None:
        """Tell the peers that unreachable nodes have nothing left, and forget what may be forgotten."""
        node = self._node
        self.update(now)
        for name in sorted(node.peers):
            if not node.peers[name].reachable:
                self._purge_node(name)
        self.update(now)
        if node.settings.auto_connect:
            return
        pointed_to = {edge.target for edge in self.graph.edges()}
        for name in sorted(node.peers):
            peer = node.peers[name]
            if peer.reachable or name == node.me.name:
                continue
            if name in pointed_to:
                return
            if node.settings.strict_subnets and node.subnets.table.of(name):
                continue
            self._forget(peer)

    def _purge_node(self, name: str) -> None:
        node = self._node
        for subnet in list(node.subnets.table.of(name)):
            node.broadcast(node.subnets.withdraw(name, subnet))
            if not node.settings.strict_subnets:
                node.subnets.delete(name, subnet)
        for edge in list(self.graph.edges_from(name)):
            if not node.settings.tunnel_server:
                node.broadcast(self.withdraw(edge.source, edge.target))
            self.graph.delete_edge(edge.source, edge.target)

    def _forget(self, peer: Peer) -> None:
        node = self._node
        self.graph.remove_node(peer.name)
        node.table.remove(peer.name)
        node.tunnels.forget_peer(peer)
        del node.peers[peer.name]

    # -- two nodes with one name --

    def is_paused(self, now: float) -> bool:
        """Tell whether corrections are suspended (meta.md 2.7)."""
        return now < self._paused_until

    def check_contradictions(self, now: float) -> None:
        """Stop correcting for a while if far too much had to be corrected since the last run.

        tinc blocks the whole process instead; the loop of corrections ends as well when one side
        falls silent.
        """
        if self.contradicting_adds > CONTRADICTION_LIMIT and self.contradicting_deletes > CONTRADICTION_LIMIT:
            self._node.log(
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
