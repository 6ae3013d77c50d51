"""`FloodMeter`: counts the frames that one node floods per second (see `pytinc.datapath.storm`)."""

from __future__ import annotations

import enum


class FloodKind(enum.IntEnum):
    """The kinds of frames that are counted separately."""

    OTHER = 0
    NEIGHBOUR = 1
    GUARD = 2


class FloodMeter:
    """Counts the frames that one node has sent to all in the present second."""

    __slots__ = ("_counts", "_second", "_told")

    def __init__(self) -> None:
        self._begin_second(0.0)

    def _begin_second(self, now: float) -> None:
        self._second = now
        self._counts = [0] * len(FloodKind)
        self._told = False

    def admit(self, kind: FloodKind, count: int, limit: int, now: float) -> int:
        """Count frames, and return how many of them may pass."""
        if now >= self._second + 1:
            self._begin_second(now)
        passing = min(max(limit - self._counts[kind], 0), count)
        self._counts[kind] += passing
        return passing

    def tells(self) -> bool:
        """Tell whether to report the excess to the node: once a second."""
        told, self._told = self._told, True
        return not told
