from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from comparison.failover_figures import Flips, Results, Run
from comparison.failover_report import as_json, markdown, plot, seconds

FACTS = {"Machine": "two tin cans"}
RUN = Run("members", "cut", "ipv4", "node_2", "node_3", True, 0.3, 0.3, 30, 0.32, 0.012)


@pytest.fixture
def results() -> Results:
    return Results(
        [
            RUN,
            replace(RUN, silence=0.34),
            replace(RUN, silence=0.36),
            replace(RUN, fault="stop", silence=0.011, lost=0),
            replace(RUN, cast="keepalived", silence=0.335),
            replace(RUN, cast="C", silence=34.0, back=None),
            replace(RUN, cast="C", silence=70.02, recovered=False, back=None),
            replace(RUN, cast="C", family="ipv6", silence=31.0),
        ],
        [Flips("C", "ipv4", 30.0, 15, 0.024)],
    )


def test_times_have_only_significant_digits() -> None:
    assert [seconds(figure) for figure in (0.01234, 0.3456, 34.56, None)] == ["0.012", "0.35", "34.6", "–"]
    assert seconds(70.02, over=True) == "> 70.0"


def test_the_report_has_summaries_targets_cells_and_flips(results: Results) -> None:
    text = markdown(FACTS, results, ["keepalived: not installed"])
    assert "* Machine: two tin cans\n" in text
    assert "| silence, p50 / worst (s) | C | keepalived | members |\n" in text
    assert "| cut off silently | 52.0 / > 70.0 | 0.34 / 0.34 | 0.34 / 0.36 |\n" in text
    assert "| planned stop | – | – | 0.011 / 0.011 |\n" in text
    assert "| cut off silently: members, IPv4 | p50 at most 0.4 s | 0.34 s of 3 | yes |\n" in text
    assert "| planned stop: members, IPv4 | no ping lost | 0 of 1 | yes |\n" in text
    assert "No longer than keepalived (medians): 1 of 1 cells.\n" in text
    assert "| members, cut, IPv4 | 3 | 0.34 | 0.36 | 0.36 | 30 | 30 | 0.32 | 0.32 | 0.32 | 0.012 |\n" in text
    assert "| C, cut, IPv4 | 2 | 52.0 | 70.0 | > 70.0 |" in text
    assert "| C | IPv4 | 30 | 15 | 30.0 | 0.024 |\n" in text
    assert "* keepalived: not installed\n" in text
    assert "## IPv6\n" in text


def test_a_cell_that_is_slower_than_keepalived_is_named(results: Results) -> None:
    results.runs.append(replace(RUN, cast="keepalived", fault="stop", silence=-1.0))
    assert "1 of 2 cells; not: members, stop, ipv4.\n" in markdown(FACTS, results, [])


def test_a_report_of_flips_alone_has_no_other_tables(results: Results) -> None:
    text = markdown(FACTS, Results([], results.flips), [])
    assert "## Flips" in text
    assert "## Targets" not in text
    assert "## IPv4" not in text


def test_the_report_for_programs_has_every_run(results: Results) -> None:
    whole = json.loads(as_json(FACTS, results, ["x"]))
    assert len(whole["runs"]) == 8
    (cell,) = [each for each in whole["cells"] if each["cast"] == "members" and each["fault"] == "cut"]
    assert cell["silence"] == {"p50": 0.34, "p99": 0.36, "worst": 0.36}
    assert cell["family"] == "ipv4"
    assert whole["flips"][0]["flips"] == 15
    assert whole["notes"] == ["x"]


def test_a_plot_is_drawn_where_matplotlib_is(results: Results, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert plot(tmp_path / "plot.png", FACTS, results) is None
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_there_is_a_clear_message_without_matplotlib(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "matplotlib is not installed" in (plot(tmp_path / "plot.png", FACTS, results) or "")
