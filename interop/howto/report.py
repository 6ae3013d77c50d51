"""The how-to's report: one row per play, as text for people and as JSON for programs."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from howto.story import CASTS, HOLDERS, KINDS, STEPS, Outcome
from pytinc.lab.node import Kind

RESULTS: Final = Path(__file__).resolve().parent.parent / "results"
_NAMES: Final = {Kind.C: "C", Kind.PY: "pytinc"}


_NOTE: Final = (
    "Seconds lost: from the kill of the node that answers until another node answers. For nearly all of that",
    "time the client's kernel still uses its old neighbour entry, until the entry times out.",
)


def kinds_of(letters: str) -> str:
    """Return the kinds of these nodes in words."""
    names = [_NAMES[KINDS[letter]] for letter in letters]
    return names[0] if len(set(names)) == 1 else ", ".join(names)


def row(outcome: Outcome) -> tuple[str, ...]:
    """Return the cells of one play, in the order of `HEADINGS`."""
    cast = outcome.cast
    last = 1 + len(HOLDERS)
    passed = sum(step.passed for step in outcome.steps)
    lost = "-" if outcome.lost_s is None else f"{outcome.lost_s:.1f}"
    # The last line is what the failed command itself printed.
    failed = outcome.failure.rstrip().rpartition("\n")[2] or "-"
    return (
        outcome.backend,
        CASTS.get(cast, cast),
        kinds_of(cast[0]),
        kinds_of(cast[1:last]),
        kinds_of(cast[last]),
        f"{passed}/{len(STEPS)}",
        lost,
        failed,
    )


HEADINGS: Final = (
    "backend", "cast", "node_1 (entry)", "node_2-4 (VIP)", "node_5 (client)", "steps passed", "seconds lost",
    "failed",
)  # fmt: skip


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return the table of plays in Markdown, without the steps."""
    return "\n".join(_table(HEADINGS, map(row, outcomes)))


def markdown(outcomes: Sequence[Outcome]) -> str:
    """Return the whole report in Markdown: the table of plays, the steps, and what went wrong."""
    lines = [
        "# The how-to, played",
        "",
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}.",
        "",
        *_NOTE,
        "",
        summary(outcomes),
        "",
        "## Steps",
        "",
        *_table(
            ("step", *(f"{outcome.backend} {outcome.cast}" for outcome in outcomes)),
            (
                (name, *(_cell(outcome, number) for outcome in outcomes))
                for number, (name, _) in enumerate(STEPS)
            ),
        ),
    ]
    for outcome in outcomes:
        if outcome.failure:
            lines += ["", f"## {outcome.backend} {outcome.cast} failed", ""]
            lines += ["```", outcome.failure, "", outcome.logs, "```"]
    return "\n".join(lines) + "\n"


def _cell(outcome: Outcome, number: int) -> str:
    if number >= len(outcome.steps):
        return "not reached"
    step = outcome.steps[number]
    return f"{'passed' if step.passed else 'FAILED'}, {step.seconds:.1f} s"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table, with aligned columns for people who read the source."""
    cells = [list(headings), *([cell.replace("|", "\\|") for cell in cells] for cells in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(headings))]
    lines = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in cells]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return lines


def write(outcomes: Sequence[Outcome], name: str) -> Path:
    """Write ``interop/results/NAME.md`` and ``NAME.json``; return the path of the Markdown file."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.md"
    path.write_text(markdown(outcomes))
    rows = [{**asdict(outcome), "passed": outcome.passed} for outcome in outcomes]
    path.with_suffix(".json").write_text(json.dumps(rows, indent=2) + "\n")
    return path
