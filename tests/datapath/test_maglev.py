"""The places of a table are shared by weight, and change little when members come and go."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.datapath.maglev import SIZE, place, shares


def members(count: int) -> tuple[tuple[str, int], ...]:
    return tuple((f"node_{number}", 10) for number in range(count))


@pytest.mark.parametrize("count", [1, 2, 3, 7, 32])
def test_equal_members_have_equal_shares(count: int) -> None:
    counts = Counter(shares(members(count)))
    assert sum(counts.values()) == SIZE
    assert max(counts.values()) <= 1.02 * SIZE / count
    assert min(counts.values()) >= 0.98 * SIZE / count


def test_shares_follow_the_weights() -> None:
    counts = Counter(shares((("a", 1), ("b", 2), ("c", 4))))
    for index, weight in enumerate((1, 2, 4)):
        assert counts[index] == pytest.approx(SIZE * weight / 7, rel=0.01)


@given(st.dictionaries(st.text(max_size=5), st.integers(1, 255), min_size=1, max_size=32))
def test_a_share_is_right_to_two_places_and_the_rests_of_others(weights: dict[str, int]) -> None:
    """A member takes whole places: what the lighter ones are short of goes to all by weight."""
    counts = Counter(shares(tuple(weights.items())))
    total = sum(weights.values())
    for index, weight in enumerate(weights.values()):
        assert -2 <= counts[index] - SIZE * weight / total <= 1 + len(weights) * weight / total


@pytest.mark.parametrize("count", [3, 7])
def test_a_member_that_goes_or_comes_moves_little_more_than_its_own_share(count: int) -> None:
    all_, fewer = shares(members(count)), shares(members(count - 1))
    moved = sum(one != two for one, two in zip(all_, fewer, strict=True))
    assert moved <= (1 / count + 0.01) * SIZE


def test_ten_thousand_flows_are_spread_evenly() -> None:
    table = shares(members(3))
    ends = bytes((6, 10, 0, 0, 2, 10, 0, 0, 1))
    counts = Counter(
        table[place(ends + port.to_bytes(2, "big") + b"\0\x50")] for port in range(30_000, 40_000)
    )
    assert max(counts.values()) <= 1.1 * 10_000 / 3


def test_a_flow_has_the_same_place_in_every_process() -> None:
    assert place(b"a flow") == 2418
