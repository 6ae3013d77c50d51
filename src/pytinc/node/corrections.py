"""New words about edges and subnets that others got wrong: at once the first time, then with a rest.

A line that floods the mesh is acted on once by each node, however often it comes. Corrections are new lines.
While stale news of a mesh that was in two parts meets true ones, one wrong line can call forth a correction
from several nodes, each of which is wrong for somebody else by the time it arrives: without a rest, 30 nodes
were seen to send three times as many lines with every 20 ms (`tests/sim/test_scale.py`).

So each node speaks up about one thing at most once in `OWN_REST` (if it is its own) or `OTHERS_REST` seconds.
What was held back is looked at again after the rest, when most lines have arrived: if it is still to be said,
all neighbours hear it. tinc corrects at once, always, and stands still for a while when it was too often.
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
"""Seconds; the owner's word ends the matter, so it comes before the others' next one."""
OTHERS_REST: Final = 2.0
MAX_THINGS: Final = 16384
"""Things in rest; beyond this there is no new word about any further one."""

Thing = tuple[str, str | Subnet]
"""Source and target of an edge, or owner of a subnet and the subnet."""


class Corrections:
    """Knows about what the node has spoken up a short while ago, and what it still has to say."""

    def __init__(self, core: Core, meta_output: MetaOutput, topology: Topology, subnets: Subnets) -> None:
        self._core = core
        self._meta_output = meta_output
        self._topology = topology
        self._subnets = subnets
        self._until: dict[Thing, float] = {}
        """When each thing's rest ends."""
        self._held: set[Thing] = set()
        self._next = math.inf

    def may_speak(self, thing: Thing, now: float) -> bool:
        """Tell whether a new line about ``thing`` may go out now; if not, it is looked at again later."""
        if self._core.settings.tunnel_server:
            return True  # it passes nothing on, and what it says is for one neighbour
        if thing in self._until:
            self._held.add(thing)
            return False
        if len(self._until) >= MAX_THINGS:
            return False
        self._rest(thing, now)
        return True

    def _rest(self, thing: Thing, now: float) -> None:
        until = now + (OWN_REST if thing[0] == self._core.me.name else OTHERS_REST)
        self._until[thing] = until
        self._next = min(self._next, until)

    def next_deadline(self) -> float:
        """Return when the next rest ends."""
        return self._next

    def tick(self, now: float) -> None:
        """End what rests are over, and say what was held back."""
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
        """Return the line that says how it is; None if it is not for us to say."""
        name, what = thing
        if self._topology.is_paused(now):
            return None
        is_own = name == self._core.me.name
        if isinstance(what, Subnet):
            if not self._subnets.table.has(name, what):
                return self._subnets.withdraw(name, what).format()
            return self._subnets.announce(name, what).format() if is_own else None
        edge = self._topology.graph.edge(name, what)
        if edge is None:
            return self._topology.withdraw(name, what).format()
        return self._topology.announce(edge).format() if is_own else None
