"""How the parts of the shell write log lines: debug level, priority and text (docs/tinc-program.md, "Log").

The function is handed to them; where lines go is decided in `pytinc.daemon.logging_setup`.
"""

from __future__ import annotations

from typing import Protocol


class LogFunction(Protocol):
    """Writes one line. ``level`` is tinc's debug level, ``priority`` a syslog word in lower case."""

    def __call__(self, level: int, priority: str, message: str, /) -> None:
        """Write ``message`` if ``level`` is wanted by somebody."""


def reason(error: OSError) -> str:
    """Return the system's words for an error, without number and file name."""
    return error.strerror or str(error)
