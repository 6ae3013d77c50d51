"""Corrections of what others say about edges and subnets: at once, but not again and again.

Each node acts once on a request that floods the mesh, however often it comes. Corrections are new requests.
When two parts of a mesh meet again and stale announcements meet true ones, one wrong request can cause
corrections from several nodes, each of which is wrong for somebody else by the time it arrives. Without a
limit, the number of requests of 30 nodes tripled every 20 ms (`tests/sim/test_scale.py`).

So each node corrects one edge or subnet of its own at most once in `OWN_REST` seconds. A correction that was
held back is examined again after that time, when most requests have arrived, and sent if it is still needed.
tinc always corrects at once, and blocks for a while if that happens too often.

An edge or subnet of another node that cannot speak for itself is withdrawn after a random time
(`speak_later`).
"""

from __future__ import annotations

import math
from typing import Final

from pytinc.node.core import Core
from pytinc.node.meta_output import MetaOutput
from pytinc.node.subnets import Subnets
from pytinc.node.topology import Topology
from pytinc.wire.subnet import Subnet

OWN_REST: Final = 0.5
"""Seconds."""
OTHERS_REST: Final = 2.0
"""Seconds, or up to three times as long: longer, because the correction of the owner is final."""
MAX_THINGS: Final = 16384
"""Most things (edges and subnets) that may have been corrected lately; beyond this number no other is
corrected."""

Thing = tuple[str, str | Subnet]
"""Source and target of an edge, or owner of a subnet and the subnet."""


class Corrections:
    """Knows which things were corrected lately, and which corrections are held back."""

    def __init__(self, core: Core, meta_output: MetaOutput, topology: Topology, subnets: Subnets) -> None:
        self._core = core
        self._meta_output = meta_output
        self._topology = topology
        self._subnets = subnets
        self._until: dict[Thing, float] = {}
        """When each thing may be corrected again."""
        self._held: set[Thing] = set()
        self._next = math.inf

    def may_speak(self, thing: Thing, now: float) -> bool:
        """Tell whether a correction of ``thing`` may go out now; if not, `tick` examines it again later."""
        if self._core.settings.tunnel_server:
            return True  # it passes nothing on, and its corrections go to one neighbour only
        if thing in self._until:
            self._held.add(thing)
            return False
        if len(self._until) >= MAX_THINGS:
            return False
        self._rest(thing, now)
        return True

    def is_disputed(self, thing: Thing) -> bool:
        """Tell whether this node has corrected ``thing`` a moment ago."""
        return thing in self._until

    def speak_later(self, thing: Thing, now: float) -> None:
        """Withdraw ``thing`` in a new request after a while, unless another node does, or it is back by then.

        Many nodes may want to do this at the same time. The wait is random, so that most nodes hear the first
        withdrawal before they send their own.
        """
        if self._core.settings.tunnel_server or len(self._until) >= MAX_THINGS:
            return
        self._held.add(thing)
        until = now + OTHERS_REST * (1 + 2 * self._core.random_float())
        self._until[thing] = max(until, self._until.get(thing, until))
        self._next = min(self._next, self._until[thing])

    def heard(self, thing: Thing) -> None:
        """Another node has withdrawn ``thing`` in a new request: this node need not."""
        self._held.discard(thing)

    def _rest(self, thing: Thing, now: float) -> None:
        until = self._until[thing] = now + OWN_REST
        self._next = min(self._next, until)

    def next_deadline(self) -> float:
        """Return when the next thing may be corrected again."""
        return self._next

    def tick(self, now: float) -> None:
        """Send the corrections that were held back and are still needed."""
        if now < self._next:
            return
        over = [thing for thing, until in self._until.items() if until <= now]
        for thing in over:
            del self._until[thing]
        self._next = min(self._until.values(), default=math.inf)
        for thing in over:
            if thing in self._held:
                self._held.discard(thing)
                line = self._truth(thing, now)
                if line is not None:
                    self._rest(thing, now)
                    self._meta_output.broadcast_line(line, None)

    def _truth(self, thing: Thing, now: float) -> str | None:
        """Return the request that states the truth about a thing; None if this node must not send it."""
        name, what = thing
        if self._topology.is_paused(now):
            return None
        is_own = name == self._core.me.name
        if isinstance(what, Subnet):
            if not self._subnets.table.has(name, what):
                if not is_own and self._is_reachable(name):
                    return None
                return self._subnets.withdraw(name, what).format()
            return self._subnets.announce(name, what).format() if is_own else None
        edge = self._topology.graph.edge(name, what)
        if edge is None:
            if not is_own and self._is_reachable(name):
                return None  # the owner corrects it itself
            return self._topology.withdraw(name, what).format()
        return self._topology.announce(edge).format() if is_own else None

    def _is_reachable(self, name: str) -> bool:
        peer = self._core.peers.get(name)
        return peer is not None and peer.reachable
