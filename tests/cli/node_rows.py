"""Rows of ``dump nodes``, with which a daemon answers in the tests of commands (docs/protocol-control.md)."""

from __future__ import annotations

from typing import Final

ALPHA: Final = "18 3 alpha ba3ce58667ca MYSELF port 655 0 0 0 0 700000c 858 alpha alpha 0 1518 0 1518 1795377436 -1 5 418 4 356"  # noqa: E501
BETA: Final = "18 3 beta 560c72de72c0 192.168.77.2 port 655 0 0 0 0 700000c 8da beta beta 1 1439 1439 1439 1795377471 632 6 392 4 356"  # noqa: E501
DELTA: Final = "18 3 delta 485d4d17037c unknown port unknown 0 0 0 0 0 20 - - -1 1518 0 1518 0 -1 0 0 0 0"
FAR: Final = (
    "18 3 far 000000000001 192.168.77.9 port 655 0 0 0 0 7000000 7a beta beta 2 1518 0 1518 9 -1 0 0 0 0"
)
MUTE: Final = (
    "18 3 mute 000000000002 192.168.77.9 port 655 0 0 0 0 7000000 18 mute mute 2 1518 0 1518 9 1000 0 0 0 0"
)
SLOW: Final = (
    "18 3 slow 000000000004 192.168.77.9 port 655 0 0 0 0 7000000 1a tcp slow 2 1518 0 1518 9 1000 0 0 0 0"
)
TCP: Final = (
    "18 3 tcp 000000000003 192.168.77.9 port 655 0 0 0 0 7000002 1a tcp tcp 2 1518 0 1518 9 1000 0 0 0 0"
)
ALL: Final = (ALPHA, BETA, DELTA, FAR, MUTE, TCP, SLOW)
"""A node of each kind: reached in each way, or not at all."""


def answer(*rows: str) -> str:
    """Return the answer to ``dump nodes`` with these rows."""
    return "".join(f"{row}\n" for row in (*rows, "18 3"))
