"""The output of the fail-over benchmark: Markdown tables, a JSON text and a plot.

The plot needs matplotlib (dependency group ``bench``); everything else works without it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from comparison.failover_figures import (
    CASTS,
    FAMILIES,
    FAULTS,
    LIMIT_S,
    TARGETS,
    Cell,
    Results,
    Target,
    beats_keepalived,
)
from comparison.report import COLOURS, NOTHING, Facts, table

EXPLANATION: Final = f"""\
The client pings the virtual address every 10 ms and opens a TCP connection to it every 20 ms. *Silence* is
the longest time between the sending of two pings that were answered within a second; *TCP* is the longest
time between two successful connections. {LIMIT_S:g} s without service end a run; a figure with ">" includes
such runs. *Back* is the longest silence while everything is repaired and the faulty node returns.

The client's neighbour entry is REACHABLE at every fault; a kernel then uses it for 15 to 45 s (a new random
time for each run) and asks in vain for some more. For a planned stop of a keepalived host, keepalived stops
before its tincd, so that its own goodbye moves the address. keepalived dies with its host; the other faults
do not affect it. The lanes (a cast and a family each) ran at the same time on one machine.
"""


def seconds(figure: float | None, *, over: bool = False) -> str:
    """A time for people; ``over``: it was at least that long."""
    if figure is None:
        return NOTHING
    text = f"{figure:.1f}" if figure >= 10 else f"{figure:.2f}" if figure >= 0.1 else f"{figure:.3f}"
    return f"> {text}" if over else text


def summary(results: Results, family: str) -> str:
    """The median and the worst silence of each cell of a family, as a Markdown table."""
    casts = [cast for cast in CASTS if any(run.cast == cast for run in results.runs)]

    def line(fault: str) -> Iterator[str]:
        yield FAULTS[fault]
        for cast in casts:
            cell = results.cell(cast, fault, family)
            yield NOTHING if cell is None else f"{seconds(cell.p50('silence'))} / {worst(cell, 'silence')}"

    faults = [
        fault for fault in FAULTS if any((run.fault, run.family) == (fault, family) for run in results.runs)
    ]
    return table(("silence, p50 / worst (s)", *casts), (list(line(fault)) for fault in faults))


def worst(cell: Cell, name: str) -> str:
    """The worst of a figure, marked if it is only a lower bound."""
    return seconds(cell.worst(name), over=cell.unrecovered > 0)


def details(results: Results) -> str:
    """Every cell with all its figures, as a Markdown table."""
    header = (
        "cell", "runs", "silence p50", "p99", "worst", "lost p50", "lost worst", "TCP p50", "TCP p99",
        "TCP worst", "back",
    )  # fmt: skip

    def line(cast: str, fault: str, family: str) -> Iterator[str]:
        cell = results.cell(cast, fault, family)
        assert cell is not None
        yield f"{cast}, {fault}, {FAMILIES[family]}"
        yield str(len(cell.runs))
        for name in ("silence", "tcp"):
            yield seconds(cell.p50(name))
            yield seconds(cell.p99(name))
            yield worst(cell, name)
            if name == "silence":
                yield f"{cell.p50('lost'):.0f}"
                yield f"{cell.worst('lost'):.0f}"
        yield seconds(cell.back)

    return table(header, (list(line(*names)) for names in results.cells()))


def verdict(results: Results, target: Target, cast: str, family: str) -> list[str] | None:
    """A target's line for a cast and a family; None if it was not measured."""
    cell = results.cell(cast, target.fault, family)
    if cell is None:
        return None
    figure = target.figure(cell)
    text = f"{figure:.0f}" if target.limit == 0 else f"{seconds(figure)} s"
    met = "yes" if target.met_by(figure) else "no"
    return [
        f"{FAULTS[target.fault]}: {cast}, {FAMILIES[family]}",
        target.text,
        f"{text} of {len(cell.runs)}",
        met,
    ]


def targets(results: Results) -> str:
    """Issue 10's targets and whether this run meets them, as a Markdown table."""
    lines = [
        line
        for target in TARGETS
        for family in FAMILIES
        for cast in target.casts
        if (line := verdict(results, target, cast, family)) is not None
    ]
    judged = {names: beats_keepalived(results, *names) for names in results.cells()}
    known = {names: better for names, better in judged.items() if better is not None}
    text = table(("cell", "target", "here, runs", "met"), lines)
    if known:
        worse = [", ".join(names) for names, better in known.items() if not better]
        text += f"\nNo longer than keepalived (medians): {len(known) - len(worse)} of {len(known)} cells"
        text += f"; not: {'; '.join(worse)}.\n" if worse else ".\n"
    return text


def flips(results: Results) -> str:
    """How often the client's neighbour entry moved without a fault, as a Markdown table."""
    return table(
        ("cast", "family", "seconds", "flips", "a minute", "longest silence (s)"),
        (
            [each.cast, FAMILIES[each.family], f"{each.seconds:.0f}", str(each.flips),
             f"{each.per_minute:.1f}", seconds(each.silence)]
            for each in results.flips
        ),
    )  # fmt: skip


def markdown(facts: Facts, results: Results, notes: Sequence[str]) -> str:
    """The whole report."""
    parts = [
        "# A client without its virtual address\n",
        "Written by `benchmarks/failover.py`.\n",
        "".join(f"* {label}: {value}\n" for label, value in facts.items()),
        "".join(f"* {name}: {title}\n" for name, title in CASTS.items()),
        EXPLANATION,
    ]
    for family, title in FAMILIES.items():
        if any(run.family == family for run in results.runs):
            parts += [f"## {title}\n", summary(results, family)]
    if results.runs:
        parts += ["## Targets\n", targets(results), "## Every cell (seconds, pings)\n", details(results)]
    if results.flips:
        parts += [
            "## Flips without a fault\n",
            "Members with the VIP as primary address forget their neighbours and ask again all the time.\n",
            flips(results),
        ]
    if notes:
        parts += ["## What went wrong\n", "".join(f"* {note}\n" for note in notes)]
    return "\n".join(parts)


def as_json(facts: Facts, results: Results, notes: Sequence[str]) -> str:
    """Every run, and the figures of each cell, for programs."""

    def figures(cell: Cell) -> dict[str, Any]:
        return {
            "runs": len(cell.runs),
            "unrecovered": cell.unrecovered,
            **{
                name: {"p50": cell.p50(name), "p99": cell.p99(name), "worst": cell.worst(name)}
                for name in ("silence", "wait", "lost", "tcp")
            },
            "back": cell.back,
        }

    cells = [
        {"cast": cast, "fault": fault, "family": family, **figures(cell)}
        for cast, fault, family in results.cells()
        if (cell := results.cell(cast, fault, family)) is not None
    ]
    whole = {"facts": dict(facts), "cells": cells, **results.as_lists(), "notes": list(notes)}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def plot(path: Path, facts: Facts, results: Results) -> str | None:
    """Draw every silence as a dot and medians as bars into a PNG file; None, or why there is no plot."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        return "no plot: matplotlib is not installed (pip install --group bench)"
    families = [family for family in FAMILIES if any(run.family == family for run in results.runs)]
    casts = [cast for cast in CASTS if any(run.cast == cast for run in results.runs)]
    faults = [fault for fault in FAULTS if any(run.fault == fault for run in results.runs)]
    if not families:
        return "no plot: there are no runs"
    height = 2.2 + 0.16 * len(faults) * (len(casts) + 1)
    figure, panels = pyplot.subplots(
        1,
        len(families),
        figsize=(6 * len(families) + 3, height),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    step = 0.8 / len(casts)
    for axes, family in zip(panels[0], families, strict=True):
        axes.set_xscale("log")
        for index, cast in enumerate(casts):
            colour = "#888888" if cast == "C" else "#333333" if cast == "keepalived" else COLOURS[index - 2]
            shown = False
            for row, fault in enumerate(faults):
                cell = results.cell(cast, fault, family)
                if cell is None:
                    continue
                place = row + (index - (len(casts) - 1) / 2) * step
                silences = cell.figures("silence")
                axes.plot(silences, [place] * len(silences), "o", color=colour, markersize=3, alpha=0.45)
                label = None if shown or axes is not panels[0][0] else CASTS[cast]
                shown = True
                axes.plot(cell.p50("silence"), place, "|", color=colour, markersize=9, mew=2.5, label=label)
        axes.axvline(LIMIT_S, color="#e15759", linewidth=0.8, linestyle=":")
        axes.set_title(FAMILIES[family], fontsize=10)
        axes.set_xlabel("silence (s), logarithmic; bar: median, dots: runs", fontsize=8)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.grid(axis="x", which="both", color="#e4e4e4", linewidth=0.5)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        for row in range(1, len(faults)):
            axes.axhline(row - 0.5, color="#dddddd", linewidth=0.6)
    panels[0][0].set_yticks(range(len(faults)), [FAULTS[fault] for fault in faults], fontsize=8)
    panels[0][0].set_ylim(len(faults) - 0.5, -0.5)
    figure.suptitle("How long a client is without its virtual address", fontsize=12)
    figure.supxlabel("\n".join(facts.values()), fontsize=6, color="#666666")
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return None
