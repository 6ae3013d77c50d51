"""Forgetting nodes that are unreachable (tinc: purge(); docs/protocol-meta.md, "Purge").

Departure from tinc: with AutoConnect, nodes without a host file here are forgotten as well. AutoConnect never
dials them, and the name of a node that was removed could otherwise not be invited again before a restart.
"""

from __future__ import annotations

from collections.abc import Callable

from pytinc.node.changes import PeerForgotten
from pytinc.node.core import Core
from pytinc.node.meta_output import MetaOutput
from pytinc.node.subnets import Subnets
from pytinc.node.topology import Topology


class Purge:
    """Forgets unreachable nodes, and withdraws their edges and subnets at the peers."""

    def __init__(
        self,
        core: Core,
        meta_output: MetaOutput,
        topology: Topology,
        subnets: Subnets,
        update_graph: Callable[[float], None],
    ) -> None:
        self._core = core
        self._meta_output = meta_output
        self._topology = topology
        self._subnets = subnets
        self._update_graph = update_graph

    def run(self, now: float) -> None:
        """Withdraw the edges and subnets of unreachable nodes, and forget the nodes that may be forgotten."""
        core = self._core
        self._update_graph(now)
        for name in sorted(core.peers):
            if not core.peers[name].reachable:
                self._empty(name)
        self._update_graph(now)
        kept = set(core.hosts.host_names()) if core.settings.auto_connect else set()
        if core.settings.auto_connect and not kept:
            # Our own host file is missing from the list, so the directory is unreadable, and nobody knows
            # which nodes were removed.
            core.log(0, "warning", "Purge forgets no nodes: the host files cannot be listed")
            return
        pointed_to = {edge.target for edge in self._topology.graph.edges()}
        for name in sorted(core.peers):
            peer = core.peers[name]
            if peer.reachable or peer is core.me or name in kept:
                continue
            if name in pointed_to:
                return
            if core.settings.strict_subnets and self._subnets.table.of(name):
                continue
            self._topology.remove(peer)
            core.changes.note(PeerForgotten(peer))

    def _empty(self, name: str) -> None:
        settings = self._core.settings
        for subnet in list(self._subnets.table.of(name)):
            self._meta_output.broadcast(self._subnets.withdraw(name, subnet))
            if not settings.strict_subnets:
                self._subnets.delete(name, subnet)
        for edge in list(self._topology.graph.edges_from(name)):
            if not settings.tunnel_server:
                self._meta_output.broadcast(self._topology.withdraw(edge.source, edge.target))
            self._topology.graph.delete_edge(edge.source, edge.target)
