"""Keeps flooded announcements in order: the node acts on each once, however often it comes.

docs/protocol-meta.md, "Flooding" (tinc: seen_request()).
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

MAX_ENTRIES: Final = 65536
"""A full join of a 1,000-node mesh brings some 12,000 lines; beyond this the oldest are forgotten,
which at worst makes the node parse an old line again, without effect."""
MAX_ENDINGS: Final = 8192
MAX_CHARACTERS: Final = 16 * 1024 * 1024
"""Of all lines together: an honest one has some 80, but a hostile one can have 2,175."""


class Endings:
    """Remembers the requests that ended edges and subnets, for nodes that were cut off at that time."""

    def __init__(self) -> None:
        self._lines: dict[Hashable, tuple[int, str]] = {}
        self.total = 0
        """How many ends were noted so far: each has a number."""

    def __len__(self) -> int:
        """Return how many lines are remembered."""
        return len(self._lines)

    def note(self, thing: Hashable, line: str) -> None:
        """Remember the DEL_EDGE or DEL_SUBNET that ended ``thing``; the oldest one makes room."""
        self._lines.pop(thing, None)
        if len(self._lines) >= MAX_ENDINGS:
            del self._lines[next(iter(self._lines))]
        self.total += 1
        self._lines[thing] = self.total, line

    def of(self, thing: Hashable, before: int) -> str | None:
        """Return the request that ended ``thing``, if ``total`` was ``before`` or less at that time."""
        number, line = self._lines.get(thing, (before + 1, ""))
        return line if number <= before else None


class SeenCache:
    """Remembers the complete lines of announcements and when each came."""

    def __init__(self) -> None:
        self._lines: dict[str, float] = {}
        self._characters = 0
        self.now = 0.0
        """The time of arrival of the requests that are being handled."""

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

    def clear(self) -> None:
        """Forget all lines."""
        self._lines.clear()
        self._characters = 0

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
