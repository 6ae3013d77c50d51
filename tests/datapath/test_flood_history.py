"""Which frames are recognised when they come back."""

from __future__ import annotations

import pytest

from pytinc.datapath.flood_history import MAX_FRAMES, FloodHistory
from pytinc.datapath.peer_slot import PeerSlot

ME, B, C = PeerSlot("a", is_me=True), PeerSlot("b"), PeerSlot("c")
FRAME = bytes(range(60))
NOW = 7.0


@pytest.mark.parametrize(("first", "then", "peer"), [(ME, B, B), (B, ME, B), (ME, C, C)])
def test_what_comes_from_the_other_side_has_come_back_by_way_of_the_peer(
    first: PeerSlot, then: PeerSlot, peer: PeerSlot
) -> None:
    history = FloodHistory()
    assert history.other_side(first, FRAME, NOW) is None
    assert history.other_side(then, FRAME, NOW + 0.125) == (peer, 0.125)
    assert history.other_side(then, FRAME, NOW + 0.25) == (peer, 0.25)


@pytest.mark.parametrize(("first", "then"), [(ME, ME), (B, B), (B, C)])
def test_what_comes_again_from_the_same_side_has_not(first: PeerSlot, then: PeerSlot) -> None:
    history = FloodHistory()
    assert history.other_side(first, FRAME, NOW) is None
    assert history.other_side(then, FRAME, NOW + 0.1) is None


def test_another_frame_is_not_taken_for_it() -> None:
    history = FloodHistory()
    history.other_side(ME, FRAME, NOW)
    assert history.other_side(B, FRAME + b"\0", NOW) is None


@pytest.mark.parametrize(
    ("seconds", "known"), [((0.9,), True), ((1.1,), True), ((1.1, 2.2), False), ((2.5,), False)]
)
def test_a_frame_is_remembered_for_a_second_or_two(seconds: tuple[float, ...], known: bool) -> None:
    history = FloodHistory()
    history.other_side(ME, FRAME, NOW)
    for second in seconds[:-1]:
        history.other_side(ME, b"another one", NOW + second)
    assert (history.other_side(B, FRAME, NOW + seconds[-1]) is not None) is known


def test_a_storm_does_not_fill_the_memory() -> None:
    history = FloodHistory()
    for number in range(2 * MAX_FRAMES):
        history.other_side(ME, number.to_bytes(4, "big"), NOW)
    assert len(history._noted) == MAX_FRAMES
    assert history.other_side(B, (1).to_bytes(4, "big"), NOW) == (B, 0)


def test_the_node_is_told_once_a_second_of_each_peer() -> None:
    history = FloodHistory()
    history.other_side(ME, FRAME, NOW)
    assert [history.tells(peer) for peer in (B, B, C)] == [True, False, True]
    history.other_side(ME, FRAME, NOW + 1)
    assert history.tells(B)
