"""The version of tinc's protocol that this program speaks. Both numbers are defined only here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import pytinc

PROTOCOL_MAJOR: Final = 17
PROTOCOL_MINOR: Final = 7


def version_of(program: str, features: Iterable[str]) -> str:
    """Return what ``--version`` of a program prints; other programs read the line ``Features:``."""
    return (
        f"tinc version {pytinc.__version__} ({program}, protocol {PROTOCOL_MAJOR}.{PROTOCOL_MINOR})\n"
        f"Features: {' '.join(features)}\n"
        "Copyright (C) 2026 the pytinc authors.\n\n"
        "pytinc comes with ABSOLUTELY NO WARRANTY.  This is free software,\n"
        "and you are welcome to redistribute it under certain conditions;\n"
        "see the file COPYING for details.\n"
    )
