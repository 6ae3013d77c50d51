from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from comparison.failover_figures import TARGETS, Cell, Flips, Results, Run, beats_keepalived

RUN = Run("members", "cut", "ipv4", "node_2", "node_3", True, 0.3, 0.3, 30, 0.32, 0.012)


def silences(*figures: float, run: Run = RUN) -> list[Run]:
    return [replace(run, silence=figure) for figure in figures]


def test_a_cell_has_median_percentile_and_worst_of_its_runs() -> None:
    cell = Cell(tuple(silences(*(number / 100 for number in range(1, 201)))))
    assert cell.p50("silence") == pytest.approx(1.005)
    assert cell.p99("silence") == 1.98
    assert cell.worst("silence") == 2.0
    assert cell.worst("lost") == 30


def test_the_99th_percentile_of_few_runs_is_the_worst() -> None:
    assert Cell(tuple(silences(0.1, 0.2, 0.9))).p99("silence") == 0.9


def test_runs_without_recovery_differ_from_forced_returns() -> None:
    cell = Cell((RUN, replace(RUN, recovered=False, back=None), replace(RUN, back=0.5)))
    assert cell.unrecovered == 1
    assert cell.back == 0.5
    assert Cell((replace(RUN, back=None),)).back is None


def test_results_collect_the_output_of_the_lanes() -> None:
    results = Results()
    for run in silences(0.3, 0.4):
        results.add("run", asdict(run))
    results.add("run", asdict(replace(RUN, cast="C", family="ipv6")))
    flips = Flips("C", "ipv4", 30.0, 15, 0.02)
    results.add("flips", asdict(flips))
    cell = results.cell("members", "cut", "ipv4")
    assert cell is not None
    assert cell.figures("silence") == [0.3, 0.4]
    assert results.cell("C", "cut", "ipv4") is None
    assert results.cells() == [("members", "cut", "ipv4"), ("C", "cut", "ipv6")]
    assert results.flips == [flips]
    assert flips.per_minute == 30
    assert len(results.as_lists()["runs"]) == 3


def test_pytinc_is_compared_with_keepalived_by_medians() -> None:
    keepalived = replace(RUN, cast="keepalived")
    results = Results([*silences(0.2, 0.3, 5.0), *silences(0.35, run=keepalived)])
    assert beats_keepalived(results, "members", "cut", "ipv4") is True
    assert beats_keepalived(results, "keepalived", "cut", "ipv4") is None
    assert beats_keepalived(results, "members", "kill", "ipv4") is None
    assert beats_keepalived(Results([RUN]), "members", "cut", "ipv4") is None
    as_good = Results([*silences(0.365), *silences(0.35, run=keepalived)])
    assert beats_keepalived(as_good, "members", "cut", "ipv4") is True
    slower = Results([*silences(0.4), *silences(0.35, run=keepalived)])
    assert beats_keepalived(slower, "members", "cut", "ipv4") is False


@pytest.mark.parametrize(("lost", "met"), [(0, True), (1, False)])
def test_a_planned_stop_must_lose_no_ping(lost: int, met: bool) -> None:
    (target,) = [target for target in TARGETS if target.fault == "stop"]
    cell = Cell((RUN, replace(RUN, lost=0), replace(RUN, lost=lost)))
    assert not target.met_by(target.figure(cell)), "thirty were lost in one run"
    assert target.met_by(target.figure(Cell(cell.runs[1:]))) is met
