"""The daemon's clock, and the shell's one deadline: the time of the node's next `tick`.

The deadline is set after every event, so the common case (the same time again, or a later one) touches no
timer. The delay of the loop's callbacks shows how long everything else, including packets, has to wait;
`LagMeter` records it, at no cost per packet.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

LAG_INTERVAL: Final = 10.0
"""Seconds in one period of the measurement."""
LAG_INTERVALS: Final = 6
"""Number of periods that are kept: about the last minute."""


uptime: Final[Callable[[], float]] = partial(time.clock_gettime, time.CLOCK_BOOTTIME)
"""Returns the seconds since the machine booted, including its sleep: the clock of node and shell.

Unlike the wall clock, this clock cannot be set. Unlike `time.monotonic`, it leaps when the machine was
suspended, which tells the node that its peers have long given it up.
"""


class Lag(NamedTuple):
    """The delay of callbacks, in seconds."""

    samples: int
    """Callbacks that were measured."""
    mean: float
    maximum: float


@dataclass(slots=True)
class _Interval:
    number: int
    count: int = 0
    total: float = 0.0
    maximum: float = 0.0


class LagMeter:
    """Measures the delay of the loop in the last minute."""

    def __init__(self) -> None:
        self._intervals: deque[_Interval] = deque(maxlen=LAG_INTERVALS)

    def note(self, late: float, now: float) -> None:
        """Record that a callback came ``late`` seconds after its time."""
        number = int(now // LAG_INTERVAL)
        if not self._intervals or self._intervals[-1].number != number:
            self._intervals.append(_Interval(number))
        interval = self._intervals[-1]
        late = max(late, 0.0)  # loops round times, so a callback may be early by as much
        interval.count += 1
        interval.total += late
        interval.maximum = max(interval.maximum, late)

    def recent(self, now: float) -> Lag:
        """Return the measurements of the last minute."""
        oldest = int(now // LAG_INTERVAL) - LAG_INTERVALS
        intervals = [interval for interval in self._intervals if interval.number > oldest]
        count = sum(interval.count for interval in intervals)
        total = sum(interval.total for interval in intervals)
        maximum = max((interval.maximum for interval in intervals), default=0.0)
        return Lag(count, total / count if count else 0.0, maximum)


class Deadline:
    """Calls back once when the armed time has come. Times are those of ``clock`` (seconds)."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float], callback: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._callback = callback
        self._wanted = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._due = 0.0
        """The earliest time at which the timer can fire: later than asked for if that time had passed
        already."""
        self.lag = LagMeter()

    def arm(self, when: float) -> None:
        """Call back at ``when`` instead of the time set before; infinity means never."""
        self._wanted = when
        # A timer that fires too early only has to check again; one that fires too late would be an error.
        if when < self._timer_at:
            self._set_timer(when)

    def cancel(self) -> None:
        """Cancel the callback."""
        self._wanted = math.inf
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = None, math.inf

    def _set_timer(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = when
        now = self._clock()
        self._due = max(when, now)
        self._timer = self._loop.call_later(self._due - now, self._fire)

    def _fire(self) -> None:
        self._timer, self._timer_at = None, math.inf
        now = self._clock()
        self.lag.note(now - self._due, now)
        if now >= self._wanted:
            self._wanted = math.inf
            self._callback()
        elif self._wanted < math.inf:
            self._set_timer(self._wanted)
