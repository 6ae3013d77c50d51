"""Events at the control socket: the events that the node remembers, as rows.

`pytinc.net.control` has the clients; `pytinc.control.events` defines the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pytinc.control.events import format_event, format_ring
from pytinc.node.event_ring import Event, EventRing

PORTION: Final = 64
"""Rows that are written to a client in one turn of the loop, so that others get their turn."""


def ring_row(ring: EventRing) -> str:
    """Return the row about the ring."""
    return format_ring(ring.started, ring.first, ring.last)


def event_row(event: Event) -> str:
    """Return the row of an event."""
    return format_event(*event)


def portions(ring: EventRing, since: int) -> Iterator[list[str]]:
    """Return the rows of all present events after number ``since``; each portion is made when needed."""
    found = ring.since(since)
    return ([event_row(each) for each in found[at : at + PORTION]] for at in range(0, len(found), PORTION))


class Follower:
    """Tracks the events sent to one client: it gets the next portion when it has read the last one.

    It holds no events: a client that does not read misses the events that the ring forgets meanwhile.
    """

    def __init__(self, ring: EventRing, since: int) -> None:
        self._ring = ring
        self._sent = since if since <= ring.last else 0

    def portion(self) -> list[str]:
        """Return the next rows, which count as sent."""
        if self._sent == self._ring.last:
            return []
        events = self._ring.since(self._sent, PORTION)
        self._sent = events[-1].seq if events else self._ring.last
        return [event_row(event) for event in events]
