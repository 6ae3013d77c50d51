"""A bounded ring of recent events with numbers, for programs that watch the node.

An event is a number, a time, a word for its kind, and plain values. `pytinc.node.history` adds events;
docs/json.md, "events", lists the kinds and their fields. Each kind has a ring of its own, so that events
which other nodes can cause at will (MAC addresses that move) cannot push out rare ones (a failover).
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections import deque
from collections.abc import Mapping
from itertools import islice
from operator import attrgetter
from typing import Final, NamedTuple

KEPT: Final = 256
"""Events of each kind that are remembered."""


class Event(NamedTuple):
    """One event."""

    seq: int
    """The number of the event, counted from 1."""
    time: float
    """Seconds since 1970."""
    kind: str
    fields: Mapping[str, object]
    """Plain numbers, text, flags, None, and lists of text."""


_number: Final = attrgetter("seq")


class EventRing:
    """The latest events of each kind."""

    def __init__(self, started: float, kept: int = KEPT) -> None:
        """Make an empty ring; ``started``: seconds since 1970. Each ring counts `Event.seq` from 1."""
        self.started = started
        self.last = 0
        """The number of the latest event; 0: there was none."""
        self._kept = kept
        self._kinds: dict[str, deque[Event]] = {}

    def add(self, time: float, kind: str, fields: Mapping[str, object]) -> None:
        """Remember an event. ``kind`` is one of a few words of our own."""
        self.last += 1
        ring = self._kinds.get(kind)
        if ring is None:
            ring = self._kinds[kind] = deque(maxlen=self._kept)
        ring.append(Event(self.last, time, kind, fields))

    @property
    def first(self) -> int:
        """The number of the oldest event that is remembered; 0: there is none."""
        return min((ring[0].seq for ring in self._kinds.values()), default=0)

    def since(self, seq: int, most: int = sys.maxsize) -> list[Event]:
        """Return the first ``most`` events after the one with this number, in order, if they are remembered.

        A number that no event has reached yet comes from another run and is ignored.
        """
        if seq > self.last:
            seq = 0
        found: list[Event] = []
        for ring in self._kinds.values():
            if ring[-1].seq > seq:
                begin = bisect_right(ring, seq, key=_number)
                found += islice(ring, begin, min(begin + most, len(ring)))
        found.sort(key=_number)
        return found[:most]
