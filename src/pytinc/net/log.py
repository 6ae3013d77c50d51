"""How the parts of the shell write log lines: debug level, priority and text (docs/tinc-program.md, "Log").

The daemon hands them the function; `pytinc.daemon.logging_setup` decides where lines go.
"""

from __future__ import annotations

from typing import Protocol


class LogFunction(Protocol):
    """Writes one line. ``level`` is tinc's debug level, ``priority`` a syslog word in lower case."""

    def __call__(self, level: int, priority: str, message: str, /) -> None:
        """Write ``message`` if any reader of the log wants ``level``."""


def reason(error: OSError | UnicodeError) -> str:
    """Return the system's text for an error, without number and file name.

    A `UnicodeError` comes from a look-up: the DNS cannot have the name, or the text is not UTF-8.
    """
    if isinstance(error, UnicodeError):
        return "no name can be like this"
    return error.strerror or str(error)
