"""A burst, and then a rate."""

from __future__ import annotations

from pytinc.vip.allowance import Allowance


def test_a_burst_is_allowed_and_then_a_rate() -> None:
    allowance = Allowance(3, 2.0)
    assert [allowance.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert not allowance.take(0.4)
    assert allowance.take(0.5)
    assert not allowance.take(0.5)


def test_unused_tokens_add_up_to_no_more_than_a_burst() -> None:
    allowance = Allowance(3, 2.0)
    allowance.take(0.0)
    assert sum(allowance.take(1000.0) for _ in range(10)) == 3


def test_a_clock_that_goes_back_takes_nothing_away() -> None:
    allowance = Allowance(2, 1.0)
    assert allowance.take(10.0)
    assert allowance.take(5.0)
    assert not allowance.take(5.0)
