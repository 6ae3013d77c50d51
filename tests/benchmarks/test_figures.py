from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comparison.figures import (
    BASE,
    GOALS,
    ROW,
    Goal,
    Results,
    median,
    median_ratio,
    memory_mib,
    percentile,
    share_percent,
)
from comparison.tunnels import BUILDERS

numbers = st.floats(min_value=0.001, max_value=1e9)


def test_a_median_leaves_out_rounds_that_failed() -> None:
    assert median([3.0, None, 1.0, 2.0]) == 2.0
    assert median([None, None]) is None
    assert median([]) is None


def test_a_ratio_is_the_median_of_the_ratios_of_each_round() -> None:
    # The ratio of the medians is 20 / 10.
    assert median_ratio([10.0, 20.0, 90.0], [10.0, 40.0, 9.0]) == 1.0


def test_a_ratio_leaves_out_rounds_with_a_missing_figure_or_a_base_of_zero() -> None:
    assert median_ratio([4.0, None, 8.0, 5.0], [2.0, 1.0, None, 0.0]) == 2.0
    assert median_ratio([None], [1.0]) is None


@given(st.lists(numbers, min_size=1))
def test_the_ratio_of_a_pair_to_itself_is_one(figures: list[float]) -> None:
    assert median_ratio(figures, figures) == 1


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1), (1, 1), (50, 50), (99, 99), (99.5, 100), (100, 100)]
)
def test_a_percentile_is_one_of_the_figures(percent: float, expected: float) -> None:
    assert percentile([float(figure) for figure in range(100, 0, -1)], percent) == expected


@given(st.lists(numbers, min_size=1), st.floats(min_value=0, max_value=100))
def test_a_percentile_has_its_share_of_figures_at_or_below_it(figures: list[float], percent: float) -> None:
    found = percentile(figures, percent)
    assert found in figures
    assert sum(figure <= found for figure in figures) >= len(figures) * percent / 100 - 1e-6


def test_there_is_no_percentile_without_figures() -> None:
    with pytest.raises(ValueError, match="no figures"):
        percentile([], 50)


def test_a_share_of_zero_is_unknown() -> None:
    assert share_percent(45.0, 50.0) == 90
    assert share_percent(45.0, 0.0) is None
    assert share_percent(45.0, None) is None


def test_memory_is_given_in_mebibytes() -> None:
    status = "Name:\tpytincd\nVmHWM:\t   40960 kB\nVmRSS:\t   20480 kB\n"
    assert (memory_mib(status, "VmHWM"), memory_mib(status, "VmRSS")) == (40, 20)
    with pytest.raises(ValueError, match="VmSwap"):
        memory_mib(status, "VmSwap")


def test_results_keep_each_round_and_list_missing_figures() -> None:
    results = Results(2, [BASE, "py-py"])
    results.put("tcp_up", BASE, 0, 100.0)
    results.put("tcp_up", BASE, 1, 200.0)
    results.put("tcp_up", "py-py", 1, 500.0)
    assert results.get("tcp_up", "py-py") == [None, 500.0]
    assert results.median("tcp_up", BASE) == 150
    assert results.ratio("tcp_up", "py-py") == 2.5
    assert results.ratio("udp_64", "py-py") is None
    assert results.judged(Goal("py-py", "tcp_up", 3)) == 2.5
    assert results.judged(Goal("py-py", "tcp_up", 3, ratio=False)) == 500


def test_a_goal_has_a_direction() -> None:
    assert Goal("py-py", "tcp_up", 3).met_by(3)
    assert not Goal("py-py", "tcp_up", 3).met_by(2.9)
    assert Goal("py-py", "memory_rest", 80, at_least=False).met_by(80)
    assert not Goal("py-py", "memory_rest", 80, at_least=False).met_by(81)


def test_every_goal_refers_to_a_measured_pair_and_row() -> None:
    assert all(goal.pair in BUILDERS and goal.row in ROW for goal in GOALS)
