"""The recurring jobs of the node, each with its own deadline.

See docs/protocol-meta.md, "Timers".
"""

from __future__ import annotations

import math
from collections.abc import Callable
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
        self, core: Core, interval: Callable[[], float], jobs: tuple[Callable[[float], None], ...]
    ) -> None:
        self._core = core
        self._interval = interval
        """Returns the seconds from one round to the next; settings may change."""
        self._jobs = jobs
        self._next = math.inf

    def start(self, now: float, first: float | None = None) -> None:
        """Begin: the first round comes after ``first`` seconds (at once if 0), or after one interval."""
        wait = self._interval() if first is None else first
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
