"""The recorded sessions of ``tests/data/vectors``, and the words in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pytinc.protocol.sptps.handshake import State

FOLDER = Path(__file__).parents[2] / "data/vectors"
STATES = {
    State.FIRST_KEX: ("KEX", False),
    State.FIRST_SIG: ("SIG", False),
    State.ESTABLISHED: ("SECONDARY_KEX", True),
    State.REKEY_KEX: ("KEX", True),
    State.REKEY_SIG: ("SIG", True),
    State.REKEY_ACK: ("ACK", True),
}
"""What tinc calls each state, and whether there are keys in it."""


class Script:
    """Randomness that the vectors prescribe."""

    def __init__(self) -> None:
        self.values: list[bytes] = []

    def __call__(self, size: int) -> bytes:
        value = self.values.pop(0)
        assert len(value) == size
        return value


def vectors(mode: str) -> Any:
    """Return the sessions of a mode, ``datagram`` or ``stream``."""
    return json.loads((FOLDER / f"sptps_{mode}.json").read_text())


def negative_cases(mode: str) -> list[Any]:
    """Return the cases of a mode that must be refused."""
    cases = json.loads((FOLDER / "sptps_negative.json").read_text())["cases"]
    return [case for case in cases if case["mode"] == mode]
