"""The seen cache: a flooded announcement is acted on once (meta.md 2.1, tinc: seen_request())."""

from __future__ import annotations

from typing import Final

MAX_ENTRIES: Final = 65536
"""A full join of a 1,000-node mesh brings some 12,000 lines; beyond this the oldest are forgotten,
which costs at worst that an old line is looked at again (and then changes nothing)."""


class SeenCache:
    """Remembers the complete lines of announcements and when each came."""

    def __init__(self) -> None:
        self._lines: dict[str, float] = {}

    def __len__(self) -> int:
        """Return how many lines are remembered."""
        return len(self._lines)

    def seen(self, line: str, now: float) -> bool:
        """Tell whether ``line`` came before; remember it if not."""
        if line in self._lines:
            return True
        if len(self._lines) >= MAX_ENTRIES:
            del self._lines[next(iter(self._lines))]
        self._lines[line] = now
        return False

    def age(self, older_than: float) -> None:
        """Forget the lines that came before ``older_than``."""
        lines = self._lines
        while lines:
            line = next(iter(lines))
            if lines[line] >= older_than:
                break
            del lines[line]
