"""Assigns clients to members: weighted rendezvous hashing with bounded load.

Each client ranks all members in an order of its own; a member with a greater weight is more likely to rank
high. The client gets the first member in this order that has room. So the load stays close to the weights,
all nodes compute similar results, and when a member goes, only its clients move.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

from pytinc.vip.rendezvous import weight

ROOM: Final = 1.15
"""How far a member may be above its share."""
_BITS: Final = 52


def choose(
    address: bytes,
    client: bytes,
    weights: Mapping[bytes, int],
    counts: Mapping[bytes, int],
    total: int,
    room: float = ROOM,
) -> bytes:
    """Return the id of the member for a client, given by its MAC address.

    ``weights``: of the members that serve, by id; ``counts``: how many clients each has; ``total``: how many
    clients there are in all, this one included.
    """
    whole = sum(weights.values())
    order = sorted(weights, key=lambda member: (-_score(address + client + member, weights[member]), member))
    for member in order:
        if counts.get(member, 0) < math.ceil(room * total * weights[member] / whole):
            return member
    return order[0]


def _score(data: bytes, share: int) -> float:
    """Return a score such that a member has the highest one as often as its share says."""
    number = int.from_bytes(weight(data)) >> (64 - _BITS)
    return -share / math.log((number + 0.5) / (1 << _BITS))


def surplus(
    address: bytes, clients: Iterable[tuple[bytes, bytes]], weights: Mapping[bytes, int]
) -> dict[bytes, bytes]:
    """Return the clients (MAC addresses) that must move so that nobody has more than its share, and where to.

    ``clients``: each with the member that it has now.
    """
    present = dict(clients)
    counts = dict.fromkeys(weights, 0)
    for member in present.values():
        counts[member] = counts.get(member, 0) + 1
    whole, moves = sum(weights.values()), dict[bytes, bytes]()
    for client, member in present.items():
        if member in weights and counts[member] <= math.ceil(len(present) * weights[member] / whole):
            continue
        chosen = choose(address, client, weights, counts, len(present), room=1.0)
        if chosen != member:
            counts[member] -= 1
            counts[chosen] += 1
            moves[client] = chosen
    return moves
