"""Frames that wait for the key of the node that they are for: the first packets of a conversation.

tinc drops them, so that the first ping to a node is lost. A key exchange takes one or two round trips, so a
few frames and seconds are enough: what is more, or older, is dropped and counted.
"""

from __future__ import annotations

from typing import Final

from pytinc.datapath.peer_slot import PeerSlot

MAX_FRAMES: Final = 8
"""Frames that wait for one node. A host sends few before it has an answer."""
MAX_BYTES: Final = 8192
"""Bytes that wait for one node."""
MAX_AGE: Final = 3.0
"""Seconds that a frame waits: who has sent it repeats it after one to three seconds."""


def hold(slot: PeerSlot, frame: bytes, now: float) -> None:
    """Keep a frame until there is a key; when there is no room, the oldest frames are dropped."""
    held = slot.held
    held.append((now, frame))
    while len(held) > MAX_FRAMES or sum(len(each) for _, each in held) > MAX_BYTES:
        del held[0]
        slot.drops.no_key += 1


def take_held(slot: PeerSlot, now: float) -> list[bytes]:
    """Return the frames that wait for a node, and forget them; what has waited for too long is dropped."""
    fresh = [frame for since, frame in slot.held if now - since <= MAX_AGE]
    slot.drops.no_key += len(slot.held) - len(fresh)
    slot.held.clear()
    return fresh


def drop_held(slot: PeerSlot) -> None:
    """Give up the frames that wait for a node: there will be no key."""
    slot.drops.no_key += len(slot.held)
    slot.held.clear()
