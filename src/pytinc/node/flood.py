"""What keeps flooded announcements in order: each is acted on once, and what is gone stays gone.

docs/protocol-meta.md, "Flooding" (tinc: seen_request()); the memory of deletions is ours.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Final

MAX_ENTRIES: Final = 65536
"""A full join of a 1,000-node mesh brings some 12,000 lines; beyond this the oldest are forgotten,
which costs at worst that an old line is looked at again (and then changes nothing)."""
MAX_CHARACTERS: Final = 16 * 1024 * 1024
"""Of all lines together: an honest one has some 80, but a hostile one can have 2,175."""

DELETION_MEMORY: Final = 30.0
"""Seconds for which a deletion is remembered: several times as long as late announcements keep coming."""
MAX_DELETIONS: Final = 16384
"""Deletions remembered; beyond this the oldest are forgotten, which costs at worst a stale entry."""


class Deletions:
    """Edges and subnets that were deleted a short while ago.

    While many links change, an announcement of something that is gone may still be on its way, and bring
    it back to life at other nodes. Its owner then sends another deletion. We must pass that on although we
    have already forgotten the thing. tinc does not, and some of its nodes keep dead entries for good.
    """

    def __init__(self) -> None:
        self._when: dict[Hashable, float] = {}

    def note(self, what: Hashable, now: float) -> None:
        """Remember that ``what`` was deleted."""
        self._when.pop(what, None)
        if len(self._when) >= MAX_DELETIONS:
            del self._when[next(iter(self._when))]
        self._when[what] = now

    def is_recent(self, what: Hashable, now: float) -> bool:
        """Tell whether ``what`` was deleted a short while ago."""
        return now - self._when.get(what, -math.inf) < DELETION_MEMORY


class SeenCache:
    """Remembers the complete lines of announcements and when each came."""

    def __init__(self) -> None:
        self._lines: dict[str, float] = {}
        self._characters = 0

    def __len__(self) -> int:
        """Return how many lines are remembered."""
        return len(self._lines)

    def __contains__(self, line: str) -> bool:
        """Tell whether ``line`` came before."""
        return line in self._lines

    def seen(self, line: str, now: float) -> bool:
        """Tell whether ``line`` came before; remember it if not."""
        if line in self._lines:
            return True
        while len(self._lines) >= MAX_ENTRIES or self._characters + len(line) > MAX_CHARACTERS:
            self._forget(next(iter(self._lines)))
        self._lines[line] = now
        self._characters += len(line)
        return False

    def age(self, older_than: float) -> None:
        """Forget the lines that came before ``older_than``."""
        lines = self._lines
        while lines:
            line = next(iter(lines))
            if lines[line] >= older_than:
                break
            self._forget(line)

    def _forget(self, line: str) -> None:
        del self._lines[line]
        self._characters -= len(line)
