from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import pytest

from comparison.changes import compare, parse, since_commit
from comparison.figures import BASE, Results
from comparison.report import as_json, since

FACTS = {"Machine": "2 x slow, load before: 0.1", "Run": "3 rounds", "pytinc": "commit abc123"}


def run(rows: Mapping[tuple[str, str], Sequence[float | None]], base: float = 100.0) -> Results:
    """Make up a run: the ratios to C-C (or the shares) of each row and pair."""
    rounds = max(len(figures) for figures in rows.values())
    results = Results(rounds, list(dict.fromkeys([BASE, *(pair for _, pair in rows)])))
    for (row, pair), figures in rows.items():
        share = row.endswith("_share")
        for number, figure in enumerate(figures):
            if figure is not None:
                results.put(row, BASE, number, base)
                results.put(row, pair, number, figure if share else figure * base)
    return results


CELL = ("tcp_up", "py-py")


def test_only_ratios_are_compared() -> None:
    found = compare(run({CELL: [3.0, 3.1, 3.2]}, base=50), run({CELL: [3.0, 3.1, 3.2]}, base=200))
    assert (found.slower, found.faster, found.compared) == ([], [], 1)


@pytest.mark.parametrize(
    ("row", "now", "slower", "faster"),
    [
        ("tcp_up", [2.7, 2.8, 2.9], 1, 0),
        ("tcp_up", [3.3, 3.4, 3.5], 0, 1),
        # The ranges overlap.
        ("tcp_up", [2.5, 2.6, 3.0], 0, 0),
        # Apart, but by less than the tolerance.
        ("tcp_up", [3.21, 3.21, 3.22], 0, 0),
        # Less is better.
        ("ping_20ms_p50", [3.3, 3.4, 3.5], 1, 0),
        ("cpu_per_gb", [2.7, 2.8, 2.9], 0, 1),
        ("tcp_20_share", [2.7, 2.8, 2.9], 1, 0),
        # The loss of a flood tells nothing.
        ("udp_64_loss", [9.0, 9.0, 9.0], 0, 0),
    ],
)
def test_a_change_is_more_than_the_tolerance_and_the_spread(
    row: str, now: list[float], slower: int, faster: int
) -> None:
    before = [3.0, 3.1, 3.2] if row != "tcp_up" or now[0] != 3.21 else [3.18, 3.19, 3.2]
    found = compare(run({(row, "py-py"): now}), run({(row, "py-py"): before}))
    assert (len(found.slower), len(found.faster)) == (slower, faster)


def test_the_largest_change_comes_first() -> None:
    before = {("tcp_up", pair): [3.0, 3.0, 3.0] for pair in ("py-py", "py-C", "C-py")}
    now = {("tcp_up", "py-py"): [2.8] * 3, ("tcp_up", "py-C"): [1.5] * 3, ("tcp_up", "C-py"): [2.5] * 3}
    found = compare(run(now), run(before))
    assert [change.pair for change in found.slower] == ["py-C", "C-py", "py-py"]
    assert (
        str(found.slower[0])
        == "py-C: TCP, client to server: 1.50 (1.50 to 1.50) instead of 3.00 (3.00 to 3.00)"
    )


def test_too_few_rounds_are_not_compared_but_what_is_measured_once_is() -> None:
    found = compare(run({CELL: [1.0]}), run({CELL: [3.0, 3.0, 3.0]}))
    assert (found.slower, found.too_few_rounds, found.compared) == ([], 1, 0)
    memory = ("memory_rest", "py-py")
    found = compare(run({memory: [12.0, None, None]}), run({memory: [10.0, None, None]}))
    assert [change.row.key for change in found.slower] == ["memory_rest"]
    assert compare(run({memory: [10.2]}), run({memory: [10.0]})).slower == []


def test_pairs_without_pytinc_are_the_measure_of_chance() -> None:
    now = {("tcp_up", "n2n"): [1.0] * 3, ("tcp_up", "veth"): [9.0] * 3}
    found = compare(run(now), run({("tcp_up", "n2n"): [2.0] * 3, ("tcp_up", "veth"): [9.0] * 3}))
    assert (found.slower, found.faster, found.compared) == ([], [], 0)
    assert ([change.pair for change in found.others], found.others_compared) == (["n2n"], 2)


def test_a_figure_of_zero_has_no_ratio() -> None:
    assert compare(run({CELL: [0.0, 0.0, 0.0]}), run({CELL: [3.0, 3.0, 3.0]})).slower == []


def test_what_only_one_side_has_is_named_once() -> None:
    three: list[float | None] = [1.0, 1.0, 1.0]
    now = run({CELL: three, ("rr_tcp", "py-py"): three, ("tcp_up", "n2n"): three, ("tcp_up", "veth"): three})
    before = run({CELL: three, ("tcp_up", "OpenVPN"): three, ("udp_64", "py-py"): three})
    before.figures["ping_idle_p50"] = {BASE: three, "py-py": three}
    before.figures["udp_64"]["OpenVPN"] = three
    now.figures["udp_64"] = {BASE: three}
    found = compare(now, before)
    assert found.only_now == ["the pair n2n", "the pair veth", "request/response, TCP"]
    assert found.only_before == ["the pair OpenVPN", "ping_idle_p50", "py-py: UDP, 64 bytes, delivered"]


def committed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    class Done:
        stdout = text

    monkeypatch.setattr("subprocess.run", lambda *_args, **_options: Done())


def test_a_run_is_compared_with_the_committed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    before = run({CELL: [3.0, 3.1, 3.2], ("tcp_down", "py-py"): [1.0] * 3})
    committed(monkeypatch, as_json(FACTS, before, []))
    now = run({CELL: [2.0, 2.1, 2.2], ("tcp_down", "py-py"): [1.1] * 3, ("tcp_up", "n2n"): [1.0] * 3})
    found = since_commit({**FACTS, "Machine": "2 x slow, load before: 7.0", "Run": "5 rounds"}, now)
    assert not isinstance(found, str)
    assert found.differences == ["Run: 5 rounds instead of 3 rounds"]
    text = since(found)
    assert text.startswith("## Slower than at abc123\n")
    assert "| py-py: TCP, client to server | 3.10 (3.00 to 3.20) | 2.10 (2.00 to 2.20) | -32 % |\n" in text
    faster = text.partition("## Faster than at abc123")[2]
    assert "| py-py: TCP, server to client | 1.00 (1.00 to 1.00) | 1.10 (1.10 to 1.10) | +10 % |\n" in faster
    assert "Only in this run: the pair n2n.\n" in faster


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        json.dumps({"facts": {}, "rounds": 3, "figures": {"tcp_up": {"C-C": [1.0]}}}),
        json.dumps({"facts": {}, "rounds": 1, "figures": {"tcp_up": {"C-C": ["much"]}}}),
    ],
)
def test_committed_results_that_are_none_do_not_end_a_run(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError):
        parse(text)
    committed(monkeypatch, text)
    found = since_commit(FACTS, run({CELL: [1.0]}))
    assert isinstance(found, str)
    assert "benchmarks/results/latest.json" in since(found)


def test_what_is_written_can_be_read() -> None:
    results = run({CELL: [3.0, None, 3.2]})
    facts, read = parse(as_json(FACTS, results, []))
    assert (facts, read.figures, read.rounds) == (FACTS, results.figures, 3)
