from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from comparison.figures import BASE, ROW, Results
from comparison.report import as_json, cell, markdown, number, plot

FACTS = {"Machine": "two tin cans"}


@pytest.fixture
def results() -> Results:
    results = Results(1, [BASE, "py-py"])
    for row, base, ours in (
        ("tcp_up", 1000.0, 3500.0),
        ("udp_64_loss", 10.0, 20.0),
        ("memory_rest", 5.0, 90.0),
    ):
        results.put(row, BASE, 0, base)
        results.put(row, "py-py", 0, ours)
    return results


def test_a_missing_figure_is_a_dash() -> None:
    assert number(None) == "–"
    assert number(12345.678, 1) == "12,345.7"


def test_a_cell_has_the_ratio_to_two_c_nodes_where_it_is_meaningful(results: Results) -> None:
    assert cell(results, ROW["tcp_up"], BASE) == "1,000"
    assert cell(results, ROW["tcp_up"], "py-py") == "3,500 (3.50x)"
    assert cell(results, ROW["udp_64_loss"], "py-py") == "20"


def test_the_report_has_medians_goals_and_a_list_of_missing_figures(results: Results) -> None:
    text = markdown(FACTS, results, ["n2n: edge is not installed"], "nothing is committed")
    assert "* Machine: two tin cans\n" in text
    assert "| TCP, client to server (Mbit/s) | 1,000 | 3,500 (3.50x) |\n" in text
    assert "| py-py: TCP, client to server | at least 4 x C-C | 3.50 x C-C | no |\n" in text
    assert "| py-py: memory at rest, larger daemon | at most 45 MiB | 90.0 MiB | no |\n" in text
    assert "| py-C: TCP, client to server | at least 1.3 x C-C | – | not measured |\n" in text
    assert "* n2n: edge is not installed\n" in text
    assert "Not compared: nothing is committed\n" in text
    assert "ping" not in text.partition("## Goals")[0]


def test_the_report_for_programs_has_every_round(results: Results) -> None:
    whole = json.loads(as_json(FACTS, results, []))
    assert whole["figures"]["tcp_up"] == {BASE: [1000.0], "py-py": [3500.0]}
    assert whole["ratios"]["tcp_up"]["py-py"] == 3.5


def test_there_is_a_clear_message_without_matplotlib(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "matplotlib is not installed" in (plot(tmp_path / "plot.png", FACTS, results) or "")
    assert not (tmp_path / "plot.png").exists()


def test_there_is_no_plot_without_a_ratio(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert "no plot" in (plot(tmp_path / "plot.png", FACTS, Results(1, [BASE, "veth"])) or "")
