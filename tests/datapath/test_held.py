"""Frames that wait for a key, and their limits."""

from __future__ import annotations

from pytinc.datapath.held import MAX_AGE, MAX_BYTES, MAX_FRAMES, drop_held, hold, take_held
from pytinc.datapath.peer_slot import PeerSlot


def test_the_newest_frames_wait_when_there_are_too_many() -> None:
    slot = PeerSlot("beta")
    frames = [bytes([number]) * 60 for number in range(MAX_FRAMES + 3)]
    for frame in frames:
        hold(slot, frame, 1.0)
    assert slot.drops.no_key == 3
    assert take_held(slot, 1.0) == frames[3:]
    assert take_held(slot, 1.0) == []


def test_the_newest_frames_wait_when_there_are_too_many_bytes() -> None:
    slot = PeerSlot("beta")
    for number in range(MAX_FRAMES):
        hold(slot, bytes([number]) * (MAX_BYTES // 2), 1.0)
    assert [frame[0] for frame in take_held(slot, 1.0)] == [MAX_FRAMES - 2, MAX_FRAMES - 1]
    hold(slot, bytes(MAX_BYTES + 1), 1.0)
    assert (slot.held, slot.drops.no_key) == ([], MAX_FRAMES - 1)


def test_a_frame_waits_for_a_few_seconds_only() -> None:
    slot = PeerSlot("beta")
    hold(slot, b"old", 1.0)
    hold(slot, b"young", 2.0)
    assert take_held(slot, 1.5 + MAX_AGE) == [b"young"]
    assert slot.drops.no_key == 1


def test_what_waits_for_a_node_that_is_gone_is_dropped_and_counted() -> None:
    slot = PeerSlot("beta")
    hold(slot, b"frame", 1.0)
    drop_held(slot)
    assert (slot.held, slot.drops.no_key) == ([], 1)
