"""The daemon's clock, and the one armed deadline of the shell: when the node wants its next `tick`.

Re-armed after every event, so the common case (the same time again, or a later one) touches no timer. How
late the loop calls back tells how long everything else, packets too, has to wait; `LagMeter` keeps it, at no
cost per packet.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

LAG_INTERVAL: Final = 10.0
"""Seconds that are summed up together."""
LAG_INTERVALS: Final = 6
"""So many of them are kept: the last minute, more or less."""


def uptime() -> float:
    """Seconds since the machine booted, its sleep included: what the node and everything around it go by.

    Nobody can set this clock, unlike the wall clock. And unlike `time.monotonic` it tells the node by a leap
    that the machine was suspended: its peers have long given it up then.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lag(NamedTuple):
    """How late callbacks were, in seconds."""

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
    """How late the loop was in the last minute."""

    def __init__(self) -> None:
        self._intervals: deque[_Interval] = deque(maxlen=LAG_INTERVALS)

    def note(self, late: float, now: float) -> None:
        """Take in that a callback came ``late`` seconds after its time."""
        number = int(now // LAG_INTERVAL)
        if not self._intervals or self._intervals[-1].number != number:
            self._intervals.append(_Interval(number))
        interval = self._intervals[-1]
        late = max(late, 0.0)  # loops round times, and may be early by that much
        interval.count += 1
        interval.total += late
        interval.maximum = max(interval.maximum, late)

    def recent(self, now: float) -> Lag:
        """Return what was measured in the last minute."""
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
        """When the timer can fire at the earliest: later than wanted if that was in the past already."""
        self.lag = LagMeter()

    def arm(self, when: float) -> None:
        """Call back at ``when`` instead of any time armed before; infinity means never."""
        self._wanted = when
        # A timer that is too early only has to look again; one that is too late would be a mistake.
        if when < self._timer_at:
            self._set_timer(when)

    def cancel(self) -> None:
        """Call back no more."""
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
