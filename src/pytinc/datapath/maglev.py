"""Maglev hashing: a table that shares places among members by weight, and changes little with the members.

See "Maglev: A Fast and Reliable Software Network Load Balancer" (Eisenbud et al., NSDI 2016), 3.4. Each
member has its own order of the places. The members take turns, a member of higher weight more often, and each
takes the first free place in its order.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final

SIZE: Final = 4099
"""Places of a table: a prime number, more than a hundred times the number of members of an address."""
_KEPT: Final = 64
"""Tables that are cached, because several addresses often have the same members."""


def place(flow: bytes) -> int:
    """Return the place of a flow in every table. It is the same after a restart."""
    return int.from_bytes(hashlib.blake2b(flow, digest_size=8).digest()) % SIZE


@lru_cache(_KEPT)
def shares(members: tuple[tuple[str, int], ...]) -> tuple[int, ...]:
    """Return the index of the member that has each place. ``members``: name and weight of each, at least 1.

    It takes some milliseconds.
    """
    steps = [_order(name) for name, _ in members]
    positions = [first for first, _ in steps]
    heaviest = max(weight for _, weight in members)
    credit = [0] * len(members)
    free = -1
    table = [free] * SIZE
    taken = 0
    while True:
        for index, (_, weight) in enumerate(members):
            credit[index] += weight
            if credit[index] < heaviest:
                continue
            credit[index] -= heaviest
            at, step = positions[index], steps[index][1]
            while table[at] != free:
                at = (at + step) % SIZE
            table[at] = index
            positions[index] = at
            taken += 1
            if taken == SIZE:
                return tuple(table)


def _order(name: str) -> tuple[int, int]:
    """Return the first place that a member would take, and the step from each to its next one."""
    digest = hashlib.blake2b(name.encode(), digest_size=16).digest()
    first, step = int.from_bytes(digest[:8]), int.from_bytes(digest[8:])
    return first % SIZE, step % (SIZE - 1) + 1
