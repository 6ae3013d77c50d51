"""Finds the cells that are slower or faster than in the last committed results.

Only ratios are figures (docs/performance.md), so ratios of one run are compared with those of another. A cell
(a row and a pair) has changed if its medians differ by more than `TOLERANCE` and the ranges of its rounds do
not overlap. This also happens by chance: with three rounds on each side, two of twenty unchanged cells have
separate ranges. Pairs without pytinc cannot have changed, so they show how often this happens.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from comparison.figures import BASE, ROW, ROWS, Results, Row, median

TOLERANCE: Final = 0.03
FEWEST_ROUNDS: Final = 3
"""Fewer rounds say nothing about the spread."""
COMMITTED: Final = "benchmarks/results/latest.json"


@dataclass(frozen=True, slots=True)
class Change:
    """A cell whose ratio to C-C (or share, in per cent) has changed; figures of each round of both runs."""

    row: Row
    pair: str
    before: tuple[float, ...]
    now: tuple[float, ...]

    @property
    def factor(self) -> float:
        """The medians' ratio, now to before."""
        return _median(self.now) / _median(self.before)

    @property
    def worse(self) -> bool:
        """Whether this is a change for the worse."""
        return (self.factor > 1) == self.row.less_is_better

    @property
    def size(self) -> float:
        """How far apart the medians are, as a factor of at least 1."""
        return max(self.factor, 1 / self.factor)

    def __str__(self) -> str:
        """The change as a line for people."""
        return f"{self.pair}: {self.row.title}: {span(self.now)} instead of {span(self.before)}"


@dataclass(slots=True)
class Changes:
    """The comparison of a run with an earlier one, of ``commit``.

    ``others`` are changes of pairs without pytinc among ``others_compared`` cells: the effect of the machine
    and of chance. ``only_now`` and ``only_before`` name what one side lacks.
    """

    commit: str
    slower: list[Change] = field(default_factory=list)
    faster: list[Change] = field(default_factory=list)
    others: list[Change] = field(default_factory=list)
    compared: int = 0
    others_compared: int = 0
    too_few_rounds: int = 0
    only_now: list[str] = field(default_factory=list)
    only_before: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    """What else differs between the runs, by the labels of their facts."""


def compare(now: Results, before: Results, commit: str = "") -> Changes:
    """Compare two runs cell by cell."""
    changes = Changes(commit)
    for row in ROWS:
        for pair in now.pairs:
            if pair == BASE or row.compared == "no":
                continue
            ours, theirs = tuple(now.compared(row.key, pair)), tuple(before.compared(row.key, pair))
            if not ours or not theirs:
                continue
            if not row.once and min(len(ours), len(theirs)) < FEWEST_ROUNDS:
                changes.too_few_rounds += 1
                continue
            change = Change(row, pair, theirs, ours)
            with_pytinc = "py" in pair.partition(",")[0].split("-")
            changes.compared += with_pytinc
            changes.others_compared += not with_pytinc
            if not _changed(change):
                continue
            if not with_pytinc:
                changes.others.append(change)
            else:
                (changes.slower if change.worse else changes.faster).append(change)
    for found in (changes.slower, changes.faster, changes.others):
        found.sort(key=lambda change: -change.size)
    changes.only_now = list(_missing(now, before))
    changes.only_before = list(_missing(before, now))
    return changes


def since_commit(facts: Mapping[str, str], now: Results) -> Changes | str:
    """Compare a run with the results in HEAD; text says why that is impossible."""
    try:
        text = subprocess.run(
            ("git", "show", f"HEAD:{COMMITTED}"),
            cwd=Path(__file__).parent, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
    except OSError as error:
        return f"git: {error.strerror}"
    except subprocess.CalledProcessError as error:
        return f"no committed results: {error.stderr.strip()}"
    try:
        about, before = parse(text)
    except ValueError as error:
        return f"the committed {COMMITTED}: {error}"
    changes = compare(now, before, about.get("pytinc", "").removeprefix("commit ") or "an unknown commit")
    for label in ("Machine", "System", "Run"):
        # The load differs always.
        old, new = (each.get(label, "").partition(", load")[0] for each in (about, facts))
        if old != new:
            changes.differences.append(f"{label}: {new} instead of {old}")
    return changes


def parse(text: str) -> tuple[dict[str, str], Results]:
    """Return the facts and figures of ``latest.json``, including former rows. Raises ValueError."""
    whole: Any = json.loads(text)
    try:
        facts = {str(label): str(fact) for label, fact in whole["facts"].items()}
        rounds = int(whole["rounds"])
        figures: dict[str, dict[str, list[float | None]]] = {
            str(row): {
                str(pair): [None if figure is None else float(figure) for figure in each]
                for pair, each in by_pair.items()
            }
            for row, by_pair in whole["figures"].items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not the figures of a run: {error!r}") from error
    if any(len(each) != rounds for by_pair in figures.values() for each in by_pair.values()):
        raise ValueError(f"a row does not have {rounds} rounds")
    pairs = dict.fromkeys(pair for by_pair in figures.values() for pair in by_pair)
    return facts, Results(rounds, list(pairs), figures)


def _changed(change: Change) -> bool:
    if min(*change.before, *change.now) <= 0:
        return False  # a rate or time of 0 has no ratio
    apart = max(change.before) < min(change.now) or max(change.now) < min(change.before)
    return apart and change.size > 1 + TOLERANCE


def _missing(here: Results, there: Results) -> Iterator[str]:
    """Name pairs and rows with figures here but not there, and cells if their pair and row are there."""
    pairs = [pair for pair in here.pairs if not _has_pair(there, pair)]
    rows = [row for row, by_pair in here.figures.items() if by_pair and not there.figures.get(row)]
    yield from (f"the pair {pair}" for pair in pairs)
    yield from (_title(row) for row in rows)
    for row, by_pair in here.figures.items():
        for pair in by_pair:
            named = row in rows or pair in pairs or here.median(row, pair) is None
            if not named and there.median(row, pair) is None:
                yield f"{pair}: {_title(row)}"


def _has_pair(results: Results, pair: str) -> bool:
    return any(results.median(row, pair) is not None for row in results.figures)


def _title(row: str) -> str:
    return ROW[row].title if row in ROW else row


def _median(figures: Sequence[float]) -> float:
    found = median(figures)
    assert found is not None
    return found


def span(figures: Sequence[float]) -> str:
    """The median of some rounds, and their range."""
    middle = f"{_median(figures):.2f}"
    return middle if len(figures) == 1 else f"{middle} ({min(figures):.2f} to {max(figures):.2f})"
