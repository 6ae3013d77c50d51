"""Frames that wait for the key of their destination node: the first packets of a conversation.

tinc drops them, so the first ping to a node is lost. A key exchange takes one or two round trips, so a few
frames and seconds are enough: excess and older frames are dropped and counted.
"""

from __future__ import annotations

from typing import Final

from pytinc.datapath.peer_slot import PeerSlot

MAX_FRAMES: Final = 8
"""Most frames that wait for one node. A host sends few before it has an answer."""
MAX_BYTES: Final = 8192
"""Most bytes that wait for one node."""
MAX_AGE: Final = 3.0
"""Most seconds that a frame waits: its sender repeats it after one to three seconds."""


def hold(slot: PeerSlot, frame: bytes, now: float) -> None:
    """Keep a frame until there is a key; when there is no room, the oldest frames are dropped."""
    held = slot.held
    held.append((now, frame))
    while len(held) > MAX_FRAMES or sum(len(each) for _, each in held) > MAX_BYTES:
        del held[0]
        slot.drops.no_key += 1


def take_held(slot: PeerSlot, now: float) -> list[bytes]:
    """Return the frames that wait for a node, and forget them; frames that waited too long are dropped."""
    fresh = [frame for since, frame in slot.held if now - since <= MAX_AGE]
    slot.drops.no_key += len(slot.held) - len(fresh)
    slot.held.clear()
    return fresh


def drop_held(slot: PeerSlot) -> None:
    """Drop the frames that wait for a node that will not get a key."""
    slot.drops.no_key += len(slot.held)
    slot.held.clear()
