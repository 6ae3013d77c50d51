"""The output of a comparison: a Markdown table, a JSON text and a plot.

The plot needs matplotlib (dependency group ``bench``); everything else works without it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from comparison.changes import FEWEST_ROUNDS, TOLERANCE, Change, Changes, span
from comparison.figures import (
    BASE,
    GOALS,
    INTERVALS_MS,
    ROW,
    ROWS,
    ROWS_WITHOUT_RATIO,
    Goal,
    Results,
    Row,
    ping_row,
)

NOTHING: Final = "–"
Facts = Mapping[str, str]
"""Where, when and how long the figures were measured, by label."""

PLOTTED: Final = (
    "tcp_up", "tcp_down", "tcp_20", "tcp_4_peers", "udp_64", "udp_1390", "udp_1400",
    *(ping_row(interval, "p50") for interval in INTERVALS_MS), "ping_load_p50",
    "rr_tcp", "rr_udp", "http_kept", "http_new", "connections", "cpu_per_gb",
)  # fmt: skip
COLOURS: Final = ("#4e79a7", "#f28e2b", "#59a14f", "#b07aa1", "#9c755f", "#edc948", "#76b7b2", "#e15759")


def number(figure: float | None, digits: int = 0) -> str:
    """A figure for people."""
    return NOTHING if figure is None else f"{figure:,.{digits}f}"


def cell(results: Results, row: Row, pair: str) -> str:
    """The median, and its ratio to C-C where it is meaningful."""
    text = number(results.median(row.key, pair), row.digits)
    ratio = results.ratio(row.key, pair)
    if pair == BASE or ratio is None or row.key in ROWS_WITHOUT_RATIO:
        return text
    return f"{text} ({ratio:.2f}x)"


def table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are figures."""
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "".join(f"| {' | '.join(line)} |\n" for line in (header, rule, *lines))


def medians(results: Results) -> str:
    """All medians as a Markdown table; rows without figures are left out."""
    measured = [row for row in ROWS if row.key in results.figures]
    return table(
        ("", *results.pairs),
        (
            [f"{row.title} ({row.unit})", *(cell(results, row, pair) for pair in results.pairs)]
            for row in measured
        ),
    )


def verdict(results: Results, goal: Goal) -> tuple[str, str]:
    """The figure of a goal, and whether it is met."""
    figure = results.judged(goal)
    if figure is None:
        return NOTHING, "not measured"
    text = f"{figure:.2f} x C-C" if goal.ratio else f"{number(figure, 1)} {ROW[goal.row].unit}"
    return text, "yes" if goal.met_by(figure) else "no"


def goals(results: Results) -> str:
    """The goals of issues 5 and 15, and whether this run meets them, as a Markdown table."""
    return table(
        ("pair and row", "goal", "here", "met"),
        ((f"{goal.pair}: {ROW[goal.row].title}", goal.text, *verdict(results, goal)) for goal in GOALS),
    )


def since(changes: Changes | str) -> str:
    """The rows that are slower, faster, new or missing, compared with the last committed results."""
    if isinstance(changes, str):
        return f"## Compared with the committed results\n\nNot compared: {changes}\n"
    parts = [f"## Slower than at {changes.commit}\n", _changed_cells(changes.slower), _method(changes)]
    if changes.differences:
        parts += ["The runs differ:\n", "".join(f"* {each}\n" for each in changes.differences)]
    parts += [f"## Faster than at {changes.commit}\n", _changed_cells(changes.faster)]
    for title, names in (
        ("Only in this run", changes.only_now),
        (f"Only at {changes.commit}", changes.only_before),
    ):
        if names:
            parts += [f"{title}: {'; '.join(names)}.\n"]
    return "\n".join(parts)


def _method(changes: Changes) -> str:
    text = (
        f"{changes.compared} cells of pairs with pytinc are compared: ratios to {BASE}, and shares. A cell is"
        f" listed if its medians differ by more than {100 * TOLERANCE:g} % and the ranges of its rounds do"
        " not overlap."
    )
    if changes.others_compared:
        text += (
            f" The same has happened to {len(changes.others)} of {changes.others_compared} cells of pairs"
            " without pytinc, by chance and by the machine."
        )
    if changes.too_few_rounds:
        text += f" {changes.too_few_rounds} cells have fewer than {FEWEST_ROUNDS} rounds: not compared."
    return text + "\n"


def _changed_cells(changes: Sequence[Change]) -> str:
    if not changes:
        return "Nothing.\n"
    return table(
        ("pair and row", "before", "now", "change"),
        (
            (f"{change.pair}: {change.row.title}", span(change.before), span(change.now), _percent(change))
            for change in changes
        ),
    )


def _percent(change: Change) -> str:
    return f"{100 * (change.factor - 1):+.0f} %"


def markdown(facts: Facts, results: Results, notes: Sequence[str], changes: Changes | str) -> str:
    """The whole report."""
    parts = [
        "# Pairs of nodes, compared\n",
        "Written by `benchmarks/pairs.py`; `docs/performance.md` says what each row means.\n",
        "".join(f"* {label}: {value}\n" for label, value in facts.items()),
        "Medians over the rounds; in brackets the median of each round's ratio to C-C.\n",
        medians(results),
        "## Goals\n",
        goals(results),
        since(changes),
    ]
    if notes:
        parts += ["## Left out\n", "".join(f"* {note}\n" for note in notes)]
    return "\n".join(parts)


def as_json(facts: Facts, results: Results, notes: Sequence[str]) -> str:
    """Every figure of every round, for programs."""
    whole = {
        "facts": dict(facts),
        "rounds": results.rounds,
        "units": {row.key: row.unit for row in ROWS},
        "figures": results.figures,
        "medians": _by_row_and_pair(results, results.median),
        "ratios": _by_row_and_pair(results, results.ratio),
        "notes": list(notes),
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def _by_row_and_pair(results: Results, figure: Any) -> dict[str, dict[str, float | None]]:
    return {row: {pair: figure(row, pair) for pair in results.pairs} for row in results.figures}


def plot(path: Path, facts: Facts, results: Results) -> str | None:
    """Draw the ratios to C-C as bars into a PNG file; None, or why there is no plot."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        return "no plot: matplotlib is not installed (pip install --group bench)"
    pairs = [pair for pair in results.pairs if pair not in (BASE, "veth")]
    rows = [row for row in PLOTTED if any(results.ratio(row, pair) is not None for pair in pairs)]
    if not rows:
        return f"no plot: nothing has a ratio to {BASE}"
    thickness = 0.8 / len(pairs)
    height = 2 + 0.17 * len(rows) * (len(pairs) + 1)
    figure, axes = pyplot.subplots(figsize=(10, height), layout="constrained")
    # A ratio of 1/2 is as far from 1 as a ratio of 2; bars start at 1, where C-C is.
    axes.set_xscale("log", base=2)
    for index, pair in enumerate(pairs):
        places = [place + (index - (len(pairs) - 1) / 2) * thickness for place in range(len(rows))]
        ratios = [results.ratio(row, pair) for row in rows]
        widths = [(ratio or 1) - 1 for ratio in ratios]
        colour = COLOURS[index % len(COLOURS)]
        bars = axes.barh(places, widths, thickness * 0.92, left=1, label=pair, color=colour)
        labels = ["" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
        axes.bar_label(bars, labels, padding=3, fontsize=7, color="#444444")
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(
        range(len(rows)),
        [f"{ROW[row].title}\n({'less' if ROW[row].less_is_better else 'more'} is better)" for row in rows],
        fontsize=8,
    )
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.margins(x=0.08)
    axes.set_xlabel(f"ratio to {BASE} (two C tincds) in the same run, on a logarithmic scale")
    figure.suptitle("pytinc and others compared with two C tincds on one machine", fontsize=12)
    axes.set_title("\n".join(facts.values()), fontsize=7, color="#666666", loc="left")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return None
