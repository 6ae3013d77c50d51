"""The version of tinc's protocol that this program speaks. Both numbers are defined only here."""

from __future__ import annotations

from typing import Final

PROTOCOL_MAJOR: Final = 17
PROTOCOL_MINOR: Final = 7
