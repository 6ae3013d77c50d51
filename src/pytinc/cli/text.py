"""Small text functions that several commands share."""

from __future__ import annotations

import os
import re
from typing import Final, TextIO

_LEADING_INTEGER: Final = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]{1,18})", re.ASCII)


def atoi(text: str) -> int:
    """Return the decimal number ``text`` begins with, 0 if it begins with none (C: atoi())."""
    match = _LEADING_INTEGER.match(text)
    return int(match.group(1)) if match else 0


def wants_colour(stream: TextIO) -> bool:
    """Return whether ``stream`` shows ANSI colours: it is a terminal, and TERM is set and not ``dumb``."""
    return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
