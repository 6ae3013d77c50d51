"""Times as control rows and events tell them."""

from __future__ import annotations


def milliseconds(seconds: float) -> int:
    """Return a time since something, or between two events, in milliseconds.

    Two readings of the clock in one event may differ, so it may come out just below zero; then it is zero.
    """
    return max(round(seconds * 1000), 0)
