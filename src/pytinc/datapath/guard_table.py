"""`GuardTable`: what the guard of shared addresses told the data path, and what it wants to know.

`pytinc.node.guard` writes it; `pytinc.datapath.guard` acts on it and notes what it sees.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

LONG_PAUSE: Final = 0.5
"""Seconds without a tick after which others may have taken us for dead."""
DOUBT_TIME: Final = 1.0
"""Seconds in which old questions are through: the kernel's queues are short."""


@dataclass(slots=True)
class GuardTable:
    """What the guard told the data path."""

    macs: frozenset[bytes] = frozenset()
    """Holders' MACs whose use is noted."""
    addresses: frozenset[bytes] = frozenset()
    """Shared addresses."""
    uses: dict[bytes, float] = field(default_factory=dict)
    """When a frame for one of `addresses` went to one of `macs` last, by destination MAC, source MAC and that
    address."""
    senders: Mapping[bytes, bytes] = field(default_factory=dict)
    """Shared addresses with a holder behind the own device: who is to be the sender of its questions."""
    known: frozenset[bytes] = frozenset()
    """Other addresses of hosts behind the own device: their questions go out as they are."""
    withheld: frozenset[bytes] = frozenset()
    """Addresses for which nothing on our side answers any more."""
    answered: Mapping[bytes, frozenset[bytes]] = field(default_factory=dict)
    """Addresses whose members share the clients, each with the MACs to which our host answers."""
    in_use: Mapping[bytes, bytes] = field(default_factory=dict)
    """Shared addresses, and the MAC that stations on our side use for each; none if it is not the same."""
    left: frozenset[bytes] = frozenset()
    """Holders' MACs from which stations were led away not long ago."""
    absent: frozenset[bytes] = frozenset()
    """MACs of holders, each followed by a shared address that it cannot serve now: its node is silent or not
    in the mesh, or another member serves."""
    answering: Mapping[bytes, frozenset[str]] = field(default_factory=dict)
    """Addresses that a member serves, and the nodes whose hosts our stations may believe for each: those that
    serve, and those that keep the answers of their hosts themselves."""
    taken_over: Mapping[bytes, tuple[bytes, float]] = field(default_factory=dict)
    """Addresses that another member has handed over to us lately, or we to it, or clients: then their MAC
    stands before the address. To each the MAC of the former member's host, and until when this counts."""
    begun: dict[bytes, None] = field(default_factory=dict)
    """TCP connections to these addresses that are known to be those of our host (`pytinc.wire.flow`)."""
    own: frozenset[bytes] = frozenset()
    """Shared addresses with a holder behind the own device."""
    asked: dict[bytes, float] = field(default_factory=dict)
    """When a station behind the own device asked for an address of `in_use` last."""
    heartbeat: float = math.inf
    """When the guard ticked last; it does so several times a second while there is anything in `own`."""
    doubt_until: float = -math.inf
    """Until then our own answers for shared addresses may be old ones."""
    lenient: bool = False
    """There are more addresses behind the own device than the guard knows: unknown senders stay."""
    rewritten: int = 0
    """Questions whose sender was changed."""
    answers_withheld: int = 0

    def beat(self, now: float) -> None:
        """The guard ticks: note if it has not for too long."""
        if self.own and now - self.heartbeat > LONG_PAUSE:
            self.doubt_until = now + DOUBT_TIME
        self.heartbeat = now
