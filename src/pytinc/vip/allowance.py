"""A token bucket: how often something may happen, first in a burst, then at a steady rate."""

from __future__ import annotations

import math


class Allowance:
    """A full bucket at first: ``burst`` times at once, then ``rate`` times a second."""

    def __init__(self, burst: float, rate: float) -> None:
        self._burst = burst
        self._rate = rate
        self._left = burst
        self._at = -math.inf

    def take(self, now: float) -> bool:
        """Tell whether it may happen once more now, and count it if so."""
        earned = max(now - self._at, 0.0) * self._rate
        self._left = min(self._burst, self._left + earned)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
