"""The inherited pipe by which ``tinc start`` learns of success (docs/tinc-program.md, "Umbilical")."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping

VARIABLE = "TINC_UMBILICAL"


class Umbilical:
    """A pipe that gets a copy of the log lines until the daemon is ready. `Umbilical.find` makes it."""

    def __init__(self, descriptor: int, *, coloured: bool) -> None:
        self._descriptor = descriptor
        self.coloured = coloured
        os.set_inheritable(descriptor, False)

    @classmethod
    def find(cls, environment: Mapping[str, str]) -> Umbilical | None:
        """Return the umbilical that TINC_UMBILICAL announces; None if there is none or it is not open."""
        words = environment.get(VARIABLE, "").split()
        if not words or not words[0].isascii() or not words[0].isdecimal() or len(words[0]) > 9:
            return None
        try:
            os.fstat(int(words[0]))
        except OSError:
            return None
        return cls(int(words[0]), coloured=len(words) > 1 and words[1] == "1")

    def write(self, data: bytes) -> None:
        """Send bytes; the reader may have gone."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.write(self._descriptor, data)

    def finish(self) -> None:
        """Report that the start succeeded, and close the pipe."""
        self.write(b"\0")
        self.close()

    def close(self) -> None:
        """Close the pipe; without `finish` this means failure."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
