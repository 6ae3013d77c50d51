"""`GuardTable`: the rules of the guard of shared addresses for the data path, and its observations.

`pytinc.node.guard` writes it; `pytinc.datapath.guard` acts on it and notes what it sees.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

LONG_PAUSE: Final = 0.5
"""Seconds without a tick after which other nodes may consider this node dead."""
DOUBT_TIME: Final = 1.0
"""Seconds after which no old questions are left, because the kernel's queues are short."""


@dataclass(slots=True)
class GuardTable:
    """The rules of the guard for the data path, and the observations of the data path."""

    macs: frozenset[bytes] = frozenset()
    """Holders' MACs whose use is noted."""
    addresses: frozenset[bytes] = frozenset()
    """Shared addresses."""
    uses: dict[bytes, float] = field(default_factory=dict)
    """When a frame for one of `addresses` last went to one of `macs`, by destination MAC, source MAC and
    address."""
    senders: Mapping[bytes, bytes] = field(default_factory=dict)
    """The sender that replaces each shared address in questions of a holder behind the own device."""
    known: frozenset[bytes] = frozenset()
    """Other addresses of hosts behind the own device: their questions leave unchanged."""
    withheld: frozenset[bytes] = frozenset()
    """Addresses for which nothing on our side answers any more."""
    answered: Mapping[bytes, frozenset[bytes]] = field(default_factory=dict)
    """Addresses whose members share the clients, each with the MACs to which our host answers."""
    in_use: Mapping[bytes, bytes] = field(default_factory=dict)
    """Shared addresses, and the MAC that our stations use for each; empty if they use different ones."""
    left: frozenset[bytes] = frozenset()
    """Holders' MACs from which stations were led away lately."""
    absent: frozenset[bytes] = frozenset()
    """MACs of holders, each followed by a shared address that it cannot serve now: its node is silent or not
    in the mesh, or another member serves."""
    answering: Mapping[bytes, frozenset[str]] = field(default_factory=dict)
    """Addresses that a member serves, and the nodes whose hosts our stations may believe for each: the nodes
    that serve, and the nodes that hold back the answers of their own hosts."""
    taken_over: Mapping[bytes, tuple[bytes, float]] = field(default_factory=dict)
    """Addresses that were handed over lately, to this node or by it. If only a client was, the key is its MAC
    followed by the address. The values are the MAC of the former member's host and the time until which the
    entry counts."""
    begun: dict[bytes, None] = field(default_factory=dict)
    """TCP connections to these addresses that are known to belong to our host (`pytinc.wire.flow`)."""
    own: frozenset[bytes] = frozenset()
    """Shared addresses with a holder behind the own device."""
    asked: dict[bytes, float] = field(default_factory=dict)
    """When a station behind the own device last asked for an address of `in_use`."""
    heartbeat: float = math.inf
    """When the guard last ticked; it ticks several times a second while `own` is not empty."""
    doubt_until: float = -math.inf
    """Until then, answers of our own host for shared addresses may be old ones."""
    lenient: bool = False
    """The guard does not know all addresses behind the own device: unknown senders stay unchanged."""
    rewritten: int = 0
    """Questions whose sender was changed."""
    answers_withheld: int = 0

    def beat(self, now: float) -> None:
        """The guard ticks: note if the last tick was too long ago."""
        if self.own and now - self.heartbeat > LONG_PAUSE:
            self.doubt_until = now + DOUBT_TIME
        self.heartbeat = now
