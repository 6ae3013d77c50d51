"""The timers of the node: the parts that have something to do at certain times, and recurring jobs.

See docs/protocol-meta.md, "Timers".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

from pytinc.node.core import Core


class Timed(Protocol):
    """A part of the node that has something to do at certain times."""

    def next_deadline(self) -> float:
        """Return when `tick` has something to do, or a bit earlier; infinity for never."""

    def tick(self, now: float) -> None:
        """Do what is due."""


class Periodic:
    """Jobs that run together, at an interval plus some random milliseconds, as in tinc."""

    def __init__(
        self,
        core: Core,
        interval: Callable[[], float],
        jobs: tuple[Callable[[float], None], ...],
        first: Callable[[], float] | None = None,
    ) -> None:
        self._core = core
        self._interval = interval
        """Returns the seconds from one round to the next; settings may change."""
        self._jobs = jobs
        self._first = first
        """Gives the seconds from the start to the first round; None: one interval."""
        self._next = math.inf

    def start(self, now: float) -> None:
        """Begin: the first round comes after the time given for it (at once if 0)."""
        wait = self._interval() if self._first is None else self._first()
        self._next = now + wait + (self._core.jitter() if wait else 0.0)

    def next_deadline(self) -> float:
        """Return when the next round is due."""
        return self._next

    def tick(self, now: float) -> None:
        """Do a round if it is due."""
        if now >= self._next:
            self._next = now + self._interval() + self._core.jitter()
            for job in self._jobs:
                job(now)


class Clockwork:
    """The parts with deadlines, in a fixed order; delayed runs of the graph are not among them."""

    def __init__(self, core: Core, parts: Sequence[Timed]) -> None:
        self._core = core
        self._parts = parts
        self.deadlines = tuple(part.next_deadline for part in parts)
        """Asked after every event."""

    def start(self, now: float) -> None:
        """Begin with the jobs that come again; other parts begin by themselves."""
        for part in self._parts:
            if isinstance(part, Periodic):
                part.start(now)

    def tick(self, now: float) -> None:
        """Do what is due; each part knows what those before it changed."""
        for part in self._parts:
            part.tick(now)
            self._core.changes.settle(now)
