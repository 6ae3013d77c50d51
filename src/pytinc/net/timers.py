"""The one armed deadline of the shell: when the node wants its next `tick`.

Re-armed after every event, so the common case (the same time again, or a later one) touches no timer.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable


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
        self._timer = self._loop.call_later(max(when - self._clock(), 0.0), self._fire)

    def _fire(self) -> None:
        self._timer, self._timer_at = None, math.inf
        if self._clock() >= self._wanted:
            self._wanted = math.inf
            self._callback()
        elif self._wanted < math.inf:
            self._set_timer(self._wanted)
