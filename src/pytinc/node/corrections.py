"""Corrections of what others say about edges and subnets: at once, but not again and again.

Each node acts once on a line that floods the mesh, however often it comes. Corrections are new lines. When
two parts of a mesh meet again and stale announcements meet true ones, one wrong line can cause corrections
from several nodes, each of which is wrong for somebody else by the time it arrives. Without a limit, 30 nodes
sent three times as many lines every 20 ms (`tests/sim/test_scale.py`).

So each node corrects one thing of its own at most once in `OWN_REST` seconds. A correction that was held
back is looked at again after that time, when most lines have arrived, and sent if it is still needed. tinc
always corrects at once, and blocks for a while if that happens too often.

What belongs to another node that cannot speak for itself is withdrawn after a random while (`speak_later`).
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
"""Things that were corrected a short while ago; beyond this number nothing else is corrected."""

Thing = tuple[str, str | Subnet]
"""Source and target of an edge, or owner of a subnet and the subnet."""


class Corrections:
    """Knows what was corrected a short while ago, and which corrections are still held back."""

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
        """Tell whether a correction of ``thing`` may go out now; if not, it is looked at again later."""
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
        """Tell whether we have corrected ``thing`` a moment ago."""
        return thing in self._until

    def speak_later(self, thing: Thing, now: float) -> None:
        """Withdraw ``thing`` in a new line after a while, if it is still gone then and nobody has done it.

        Many nodes want to at the same time. The wait is random, so that all but a few hear of the first.
        """
        if self._core.settings.tunnel_server or len(self._until) >= MAX_THINGS:
            return
        self._held.add(thing)
        until = now + OTHERS_REST * (1 + 2 * self._core.random_float())
        self._until[thing] = max(until, self._until.get(thing, until))
        self._next = min(self._next, self._until[thing])

    def heard(self, thing: Thing) -> None:
        """Another node has withdrawn ``thing`` in a new line: we need not."""
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
        """Return the line that tells the truth about a thing; None if it is not ours to tell."""
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
                return None  # it says itself what is true
            return self._topology.withdraw(name, what).format()
        return self._topology.announce(edge).format() if is_own else None

    def _is_reachable(self, name: str) -> bool:
        peer = self._core.peers.get(name)
        return peer is not None and peer.reachable
