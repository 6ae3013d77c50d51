"""The machine that turns results of a check into a state, against a plain reading of its rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.vip.health import RECHECK, CheckState, Outcome
from pytinc.vip.views import CheckView

GOOD = Outcome(well=True, drain=False, detail="connected", seconds=0.001)
BAD = Outcome(well=False, drain=False, detail="connection refused", seconds=0.002)
DRAIN = Outcome(well=True, drain=True, detail="exit status 2", seconds=0.003)

results = st.lists(st.sampled_from([GOOD, BAD, DRAIN]), min_size=1, max_size=40)
counts = st.integers(1, 5)


def fed(*outcomes: Outcome, rise: int = 2, fall: int = 3) -> CheckState:
    state = CheckState(rise, fall)
    for now, outcome in enumerate(outcomes):
        state.feed(outcome, float(now))
    return state


def test_before_the_first_result_nothing_is_known_and_the_check_runs_at_once() -> None:
    state = CheckState(2, 3)
    assert (state.well, state.draining, state.settled) == (None, False, False)
    assert state.next_run(10.0) == 0.0
    assert state.view("tcp:80", 5.0) == CheckView("tcp:80", None, "", None, None)


@pytest.mark.parametrize(
    ("outcome", "well", "draining"), [(GOOD, True, False), (BAD, False, False), (DRAIN, True, True)]
)
def test_the_first_result_counts_at_once(outcome: Outcome, well: bool, draining: bool) -> None:
    state = fed(outcome)
    assert (state.well, state.draining) == (well, draining)
    assert state.next_run(10.0) == 10.0


def test_it_takes_fall_bad_results_in_a_row_to_be_unwell() -> None:
    assert fed(GOOD, BAD, BAD).well is True
    assert fed(GOOD, BAD, BAD, GOOD, BAD, BAD).well is True
    assert fed(GOOD, BAD, BAD, BAD).well is False


def test_it_takes_rise_good_results_in_a_row_to_be_well_again() -> None:
    assert fed(BAD, GOOD).well is False
    assert fed(BAD, GOOD, BAD, GOOD).well is False
    assert fed(BAD, GOOD, GOOD).well is True


def test_a_request_to_drain_counts_at_once_and_ends_after_rise_results_without_it() -> None:
    assert fed(GOOD, DRAIN).draining
    assert fed(GOOD, DRAIN, GOOD).draining
    assert fed(GOOD, DRAIN, GOOD, DRAIN, GOOD).draining
    state = fed(GOOD, DRAIN, GOOD, GOOD)
    assert (state.well, state.draining) == (True, False)


def test_a_single_bad_result_does_not_end_the_request_to_drain() -> None:
    assert fed(GOOD, DRAIN, BAD, GOOD).draining
    state = fed(GOOD, DRAIN, BAD, BAD, BAD)
    assert (state.well, state.draining) == (False, False)


def test_a_drained_service_is_well_after_rise_results_like_any() -> None:
    state = fed(BAD, DRAIN)
    assert (state.well, state.draining) == (False, True)
    assert fed(BAD, DRAIN, DRAIN).well is True


@pytest.mark.parametrize(
    ("outcomes", "settled"),
    [
        ((GOOD,), True),
        ((GOOD, BAD), False),
        ((GOOD, BAD, BAD, BAD), True),
        ((BAD, GOOD), False),
        ((BAD, GOOD, GOOD), True),
        ((GOOD, DRAIN), True),
        ((GOOD, DRAIN, GOOD), False),
        ((GOOD, DRAIN, GOOD, GOOD), True),
    ],
)
def test_the_check_runs_sooner_while_results_differ_from_the_state(
    outcomes: tuple[Outcome, ...], settled: bool
) -> None:
    state = fed(*outcomes)
    assert state.settled is settled
    assert state.next_run(10.0) == (10.0 if settled else RECHECK)
    assert state.next_run(0.1) == 0.1


def test_the_view_tells_the_last_run_and_the_time_of_the_last_change() -> None:
    state = fed(GOOD, GOOD, BAD, BAD, BAD, BAD)
    assert state.view("tcp:80", 10.0) == CheckView("tcp:80", False, "connection refused", 0.002, 6.0)


@given(results, counts, counts)
def test_the_state_follows_the_rules(outcomes: list[Outcome], rise: int, fall: int) -> None:
    state = fed(*outcomes, rise=rise, fall=fall)
    well, draining = outcomes[0].well, outcomes[0].drain
    for end in range(2, len(outcomes) + 1):
        seen = outcomes[:end]
        if len(seen) >= fall and not any(outcome.well for outcome in seen[-fall:]):
            well, draining = False, False
        if len(seen) >= rise and all(outcome.well for outcome in seen[-rise:]):
            well = True
            if not any(outcome.drain for outcome in seen[-rise:]):
                draining = False
        if seen[-1].drain:
            draining = True
    assert (state.well, state.draining) == (well, draining)


@given(results, counts, counts)
def test_a_steady_service_is_settled_after_the_longer_count(
    outcomes: list[Outcome], rise: int, fall: int
) -> None:
    for last in (GOOD, BAD, DRAIN):
        state = fed(*outcomes, *[last] * max(rise, fall), rise=rise, fall=fall)
        assert state.settled
        assert (state.well, state.draining) == (last.well, last.drain)
