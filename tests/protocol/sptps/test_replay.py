"""The replay window: vectors/replay.json, and a twin that follows the document.

See docs/protocol-sptps.md, "Replay window".
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.protocol.sptps.replay import ReplayWindow

VECTORS = json.loads((Path(__file__).parents[2] / "data/vectors/replay.json").read_text())
MOD = 2**32
SIZES = st.sampled_from([0, 1, 3, 4, 16, 32])


class Twin:
    """docs/protocol-sptps.md, "Replay window", case by case."""

    def __init__(self, size: int, next_seqno: int) -> None:
        self.size, self.next, self.far, self.late = size, next_seqno, 0, bytearray(size)

    def bit(self, s: int) -> tuple[int, int]:
        return s // 8 % self.size, 1 << s % 8

    def accept(self, s: int) -> bool:
        w, n = self.size, 8 * self.size
        if w > 0 and s != self.next:
            if s >= (self.next + n) % MOD:
                self.far += 1
                if self.far <= w // 4:
                    return False
                self.late[:] = b"\xff" * w
            elif s < self.next:
                if self.next >= n and s < self.next - n:
                    return False
                byte, bit = self.bit(s)
                if not self.late[byte] & bit:
                    return False
            else:
                for missed in range(self.next, s):
                    byte, bit = self.bit(missed)
                    self.late[byte] |= bit
        if w > 0:
            byte, bit = self.bit(s)
            self.late[byte] &= ~bit & 0xFF
            self.far = 0
        if s >= self.next:
            self.next = (s + 1) % MOD
        return True


@pytest.mark.parametrize(
    "case", VECTORS["cases"], ids=lambda case: f"{case['about']}, window {case['window']}"
)
def test_replay_vector(case: dict[str, Any]) -> None:
    window = ReplayWindow(case["window"], case["start_inseqno"])
    for seqno, _, taken, following, far in case["steps"]:
        assert window.accept(seqno) is taken
        assert (window.next, window.far) == (following, far)


STEPS = st.lists(
    st.one_of(
        st.integers(-3, 3),  # around the number expected next
        st.integers(-300, 300),
        st.sampled_from([127, 128, 129, -127, -128, -129, 255, 256, 257]),
        st.integers(0, MOD - 1),
    ),
    max_size=60,
)
STARTS = st.one_of(st.integers(0, 300), st.integers(MOD - 300, MOD - 1), st.integers(0, MOD - 1))


@given(SIZES, STARTS, STEPS)
def test_every_verdict_equals_the_documented_one(size: int, start: int, steps: list[int]) -> None:
    window, twin = ReplayWindow(size, start), Twin(size, start)
    for step in steps:
        seqno = (twin.next + step) % MOD
        assert window.accept(seqno) is twin.accept(seqno)
        assert (window.next, window.far) == (twin.next, twin.far)


@given(st.sampled_from([1, 4, 16]), st.lists(st.integers(0, 400), max_size=200))
def test_no_number_is_accepted_twice(size: int, numbers: list[int]) -> None:
    window = ReplayWindow(size)
    taken = [n for n in numbers for _ in range(2) if window.accept(n)]
    assert len(taken) == len(set(taken))


@given(SIZES, STEPS, st.integers(-300, 5))
def test_filling_a_gap_accepts_missing_numbers_and_never_moves_the_window(
    size: int, steps: list[int], step: int
) -> None:
    window = ReplayWindow(size, 1000)
    for each in steps:
        window.accept((window.next + each) % MOD)
    before, seqno = window.next, (window.next + step) % MOD
    missing = window.is_missing(seqno)
    assert window.accept_missing(seqno) is missing
    assert window.next == before
    assert not window.is_missing(seqno)
    assert not window.accept_missing(seqno)
    if missing:
        assert before - 8 * size <= seqno < before


def test_only_skipped_numbers_are_missing() -> None:
    window = ReplayWindow(16, 2)
    assert window.accept(5)
    assert [n for n in range(10) if window.is_missing(n)] == [2, 3, 4]


def test_a_window_of_zero_accepts_everything_and_has_no_missing_numbers() -> None:
    window = ReplayWindow(0, 2)
    assert all(window.accept(n) for n in (9, 9, 3, 0))
    assert window.next == 10
    assert not window.is_missing(5)


@given(
    SIZES,
    st.sampled_from([0, 5, 200, MOD - 40]),
    st.lists(st.tuples(st.integers(-20, 300), st.integers(1, 300)), max_size=20),
)
def test_accepting_a_run_equals_accepting_its_numbers_one_by_one(
    size: int, start: int, runs: list[tuple[int, int]]
) -> None:
    whole, single = ReplayWindow(size, start), ReplayWindow(size, start)
    for step, count in runs:
        first = max(single.next + step, 0) % MOD
        ahead = whole.is_ahead(first, count)
        accepted = [single.accept((first + number) % MOD) for number in range(count)]
        if ahead:
            whole.accept_run(first, count)
            assert all(accepted)
        else:
            assert [whole.accept((first + number) % MOD) for number in range(count)] == accepted
        for name in ReplayWindow.__slots__:
            assert getattr(whole, name) == getattr(single, name)


def test_a_run_of_the_next_numbers_is_ahead() -> None:
    window = ReplayWindow(16, 100)
    assert window.is_ahead(100, 50)
    assert window.is_ahead(110, 50)
    assert not window.is_ahead(99, 50)
    assert not window.is_ahead(5000, 50)
    assert not ReplayWindow(16, MOD - 10).is_ahead(MOD - 10, 20)


def test_a_run_after_a_gap_leaves_the_gap_missing() -> None:
    window = ReplayWindow(16, 100)
    window.accept_run(103, 4)
    assert window.next == 107
    assert [n for n in range(90, 120) if window.is_missing(n)] == [100, 101, 102]
    window.accept_run(107, 3)
    assert window.next == 110
    assert window.is_missing(102)


def test_no_number_of_a_run_around_the_end_of_the_ring_is_missing() -> None:
    window = ReplayWindow(1, 4)
    assert window.accept(6)
    window.accept_run(7, 4)
    assert [n for n in range(12) if window.is_missing(n)] == [4, 5]


def test_the_numbers_of_a_super_frame_are_free_only_once() -> None:
    window = ReplayWindow(16, 100)
    assert window.are_free(5000, 50)
    window.accept_free(5000, 50)
    assert window.next == 5050
    assert not window.are_free(5049, 2), "one of them has arrived"
    assert not window.are_free(4000, 50), "too old"
    assert window.are_free(4950, 50), "skipped, and inside the window"
    window.accept_free(4950, 50)
    assert window.next == 5050
    assert not window.are_free(4999, 1)
    window.accept_free(5050, 10)
    assert window.next == 5060
    assert not window.are_free(MOD - 10, 10)


def test_every_number_is_free_with_a_window_of_zero() -> None:
    window = ReplayWindow(0, 100)
    assert window.are_free(20, 50)
    window.accept_free(20, 50)
    assert window.next == 100
    window.accept_free(90, 50)
    assert window.next == 140


def test_a_window_that_expects_super_frames_accepts_far_numbers_at_once() -> None:
    window = ReplayWindow(16, 100)
    assert not window.accept(5000)
    window.believe_far()
    assert window.accept(5000)
    assert window.next == 5001
    assert window.is_missing(4999)


@given(
    size=st.integers(1, 4),
    script=st.lists(
        st.tuples(st.integers(-40, 60), st.sampled_from((1, 1, 1, 2, 5, 20, 50))), min_size=1, max_size=40
    ),
)
def test_numbers_of_super_frames_and_records_are_accepted_once_and_within_the_window(
    size: int, script: list[tuple[int, int]]
) -> None:
    window = ReplayWindow(size, 100)
    window.believe_far()
    taken: set[int] = set()
    for offset, count in script:
        first, edge = max(window.next + offset, 0), window.next
        numbers = set(range(first, first + count))
        if count == 1:
            accepted = window.accept(first)
        else:
            accepted = window.are_free(first, count)
            if accepted:
                window.accept_free(first, count)
        if accepted:
            assert not numbers & taken
            assert first >= edge - 8 * size
            taken |= numbers
            assert window.next == max(edge, first + count)
        else:
            # A number has arrived, is too old, or is older than the window.
            assert any(number < edge for number in numbers)


@pytest.mark.parametrize("size", [0, 1, 16])
def test_what_is_accepted_is_near_as_long_as_not_very_many_are_lost(size: int) -> None:
    window = ReplayWindow(size, 5000)
    for number in (5000, 5003, 5001, 9000, 9100, 1_000_000):
        low, high = window.near
        assert low <= number < high
        window.accept(number)
    low, high = window.near
    assert not any(window.is_missing(number) for number in range(max(low - 300, 0), low))
    assert high < 3_000_000
    assert ReplayWindow(size).near[0] == 0
