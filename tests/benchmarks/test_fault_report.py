"""What ``benchmarks/faults.py`` makes of its measurements."""

from __future__ import annotations

from typing import Any

import pytest

from comparison.fault_report import median, observed, table
from comparison.fault_stand import Figures, back_after
from pytinc.lab.outage import Trace


def figures(lost: int, back: float | None = 0.0, notes: list[str] | None = None) -> Figures:
    return Figures(lost, back, 10.0, 50.0, notes or [])


def row(c: Figures, py: Figures) -> dict[str, Any]:
    return {"load": "1.5 1.0 0.5", "c": median([c]), "py": median([py])}


def test_the_time_to_recover_ends_with_the_last_lost_ping() -> None:
    trace = Trace()
    for number in range(400):
        trace.sent[number] = number / 100
        if not (100 <= number < 150 or number == 180):
            trace.answered[number] = number / 100 + 0.01
    assert back_after(trace, 1.2) == pytest.approx(0.6)
    assert back_after(trace, 2.0) == 0


def test_several_runs_give_medians_and_one_that_never_ends_is_said() -> None:
    assert median([figures(1, 0.1), figures(5, 0.5), figures(2, 0.2)])["lost"] == 2
    assert median([figures(1, 0.1), figures(5, None)])["back_s"] is None


def test_the_table_has_a_row_for_each_fault_that_was_measured() -> None:
    report = {
        "machine": "two tin cans",
        "versions": {"c": "tinc 1.1", "py": "pytinc 1"},
        "faults": {"kill": row(figures(500, 1.0), figures(400, None, ["slow"]))},
    }
    text = table(report)
    assert "two tin cans; tinc 1.1; pytinc 1.\n" in text
    assert (
        "| kill -9, started again after 3 s | 500 \\| 400 | 1.0 \\| > 60 | 10 \\| 10 | 50 \\| 50 | 1.5 "
        "| C: nothing. pytinc: slow |\n"
    ) in text


def test_the_same_result_of_both_is_reported_once() -> None:
    one = median([figures(0, notes=["all files intact"])])
    assert observed(one, one) == "all files intact"
