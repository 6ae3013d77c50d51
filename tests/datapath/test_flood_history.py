"""Which frames are recognised when they come back."""

from __future__ import annotations

import pytest

from pytinc.datapath.flood_history import MAX_FRAMES, FloodHistory
from pytinc.datapath.peer_slot import PeerSlot

ME, B, C = PeerSlot("a", is_me=True), PeerSlot("b"), PeerSlot("c")
FRAME = bytes(range(60))
NOW = 7.0


@pytest.mark.parametrize("first", [ME, B])
def test_a_frame_that_comes_again_is_known_with_its_first_source(first: PeerSlot) -> None:
    history = FloodHistory()
    assert history.seen(first, FRAME, NOW) is None
    assert history.seen(C, FRAME, NOW + 0.125) == (first, 0.125)
    assert history.seen(ME, FRAME, NOW + 0.25) == (first, 0.25)


def test_another_frame_is_not_taken_for_it() -> None:
    history = FloodHistory()
    history.seen(ME, FRAME, NOW)
    assert history.seen(B, FRAME + b"\0", NOW) is None


@pytest.mark.parametrize(
    ("seconds", "known"), [((0.9,), True), ((1.1,), True), ((1.1, 2.2), False), ((2.5,), False)]
)
def test_a_frame_is_remembered_for_a_second_or_two(seconds: tuple[float, ...], known: bool) -> None:
    history = FloodHistory()
    history.seen(ME, FRAME, NOW)
    for second in seconds[:-1]:
        history.seen(ME, b"another one", NOW + second)
    assert (history.seen(B, FRAME, NOW + seconds[-1]) is not None) is known


def test_a_storm_does_not_fill_the_memory() -> None:
    history = FloodHistory()
    for number in range(2 * MAX_FRAMES):
        history.seen(ME, number.to_bytes(4, "big"), NOW)
    assert len(history._noted) == MAX_FRAMES
    assert history.seen(B, (1).to_bytes(4, "big"), NOW) == (ME, 0)


def test_the_node_is_told_once_a_second_of_each_peer() -> None:
    history = FloodHistory()
    history.seen(ME, FRAME, NOW)
    assert [history.tells(peer) for peer in (B, B, C)] == [True, False, True]
    history.seen(ME, FRAME, NOW + 1)
    assert history.tells(B)
