"""Finds edges of which one direction stays missing, and asks the nodes that must know it.

An edge counts only in both directions. While many links change at once (parts of a mesh that come together
again) a late announcement can contradict a newer one, and a table lacks one direction of a link that works,
or keeps one of a link that is gone. In tinc that lasts until the link changes.

So if one direction has been missing for at least one round, the owners of both directions are asked, and
answer with the true announcement. The question is a sub-request of REQ_KEY, which all nodes pass on
(docs/protocol.md): a C node that is asked writes a line into its log and does nothing else.
"""

from __future__ import annotations

from typing import Final

from pytinc.errors import DecodeError
from pytinc.node.core import Core
from pytinc.node.meta_output import MetaOutput
from pytinc.node.records import Connection, Peer
from pytinc.node.requests_edge import EdgeRequests
from pytinc.node.topology import Topology
from pytinc.wire import b64
from pytinc.wire.names import parse_name
from pytinc.wire.requests import AddEdge, DelEdge, ReqKey, decode_line, parse_request

EDGE_QUESTION: Final = 4097
"""Sub-request, with a name: is there an edge from you to that node?"""
EDGE_ANSWER: Final = 4098
"""Sub-request, with an ADD_EDGE or DEL_EDGE in base64: so it is."""
MAX_QUESTIONS: Final = 8
"""Edges asked about in one round; the others wait for the next ones."""
FACTOR: Final = 4
"""A question without effect is repeated after this many times the number of rounds so far."""


class HalfEdges:
    """Knows which edges are half, and for how many rounds."""

    def __init__(self, core: Core, meta_output: MetaOutput, topology: Topology, edges: EdgeRequests) -> None:
        self._core = core
        self._meta_output = meta_output
        self._topology = topology
        self._edges = edges
        self._rounds: dict[tuple[str, str], int] = {}
        """Missing edges, and the rounds in which each was."""

    def look(self, now: float) -> None:
        """Do one round (every two seconds)."""
        if self._core.settings.tunnel_server:
            return  # it is not meant to know everything
        missing = dict.fromkeys(self._topology.graph.missing_edges())
        self._rounds = {ends: rounds for ends, rounds in self._rounds.items() if ends in missing}
        asked = 0
        for ends in missing:
            rounds = self._rounds.get(ends, 0)
            if rounds and _is_due(rounds):
                if asked == MAX_QUESTIONS:
                    continue  # in a later round
                asked += 1
                self._ask(*ends)
            self._rounds[ends] = rounds + 1

    def _ask(self, source: str, target: str) -> None:
        """Ask about a missing edge, and about the one there is."""
        for owner, other in ((source, target), (target, source)):
            peer = self._core.peers.get(owner)
            if peer is not None and peer is not self._core.me and peer.reachable:
                self._send(peer, EDGE_QUESTION, other)

    def _send(self, peer: Peer, sub: int, data: str) -> None:
        line = ReqKey(self._core.me.name, peer.name, sub, data).format()
        if peer.connection is not None:
            # By our table the node may be reachable only by a path on which other nodes send the request back
            # to us.
            self._meta_output.send_line(peer.connection, line)
        else:
            self._meta_output.send_towards(peer, line)

    def on_question(self, asker: Peer, data: str) -> None:
        """Answer a node that asked about an edge of ours."""
        if self._core.settings.tunnel_server:
            return
        try:
            target = parse_name(data)
        except DecodeError:
            return
        edge = self._topology.graph.edge(self._core.me.name, target)
        truth: AddEdge | DelEdge
        truth = (
            self._topology.withdraw(self._core.me.name, target)
            if edge is None
            else self._topology.announce(edge)
        )
        self._send(asker, EDGE_ANSWER, b64.encode(truth.format().encode("ascii")))

    def on_answer(self, owner: Peer, connection: Connection, data: str, now: float) -> None:
        """Take what a node says of an edge of its own as if it had come as an announcement."""
        try:
            line = decode_line(b64.decode(data))
            request = parse_request(line)
        except DecodeError:
            return
        if not isinstance(request, AddEdge | DelEdge) or request.source != owner.name:
            return
        if isinstance(request, AddEdge):
            self._edges.on_add_edge(connection, request, line, now)
        elif self._topology.graph.edge(request.source, request.target) is not None:
            self._edges.on_del_edge(connection, request, line, now)


def _is_due(rounds: int) -> bool:
    """Tell whether it is 1, 4, 16, 64, ... rounds."""
    while rounds % FACTOR == 0:
        rounds //= FACTOR
    return rounds == 1
