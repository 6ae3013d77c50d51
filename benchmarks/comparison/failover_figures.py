"""Runs of the fail-over benchmark, collected in cells, and the figures of a cell. Independent of the lab."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from comparison.figures import percentile

LIMIT_S: Final = 70.0
"""The longest wait for a client; a longer time counts as this one."""
ALIKE_S: Final = 0.02
"""Two pings: silences that differ by no more are considered equal."""

CASTS: Final = {
    "C": "all C, no guard",
    "keepalived": "all C, VIP by keepalived (advert_int 0.1)",
    "bystander": "all C, one pytinc bystander",
    "members": "pytinc members, C client",
    "client": "C members, pytinc client",
    "pytinc": "all pytinc",
}
FAULTS: Final = {
    "stop": "planned stop",
    "kill": "daemon killed (kill -9)",
    "crash": "host killed",
    "cut": "cut off silently",
    "freeze": "daemon stopped for 5 s (SIGSTOP)",
    "mute": "what it sends is lost",
    "tail": "the client's only meta neighbour, cut off",
    "relay": "the relay between, cut off",
}
FAMILIES: Final = {"ipv4": "IPv4", "ipv6": "IPv6"}
PLAIN: Final = frozenset(("C", "keepalived"))
"""Casts without pytinc, for comparison."""


@dataclass(frozen=True, slots=True)
class Run:
    """One fault and its effect on the client, in seconds and pings."""

    cast: str
    fault: str
    family: str
    holder: str
    successor: str
    """The node that answers when the client is served again."""
    recovered: bool
    """Whether the client was served again within the limit."""
    silence: float
    """Between the sending of two answered pings."""
    wait: float
    """Between the arrival of two answers."""
    lost: int
    tcp: float
    """Between two successful TCP connections."""
    back: float | None
    """The silence while everything is repaired; None if the lab had to be restarted by force."""

    @property
    def cell(self) -> tuple[str, str, str]:
        """The identity of the cell."""
        return self.cast, self.fault, self.family


@dataclass(frozen=True, slots=True)
class Flips:
    """How often a client's neighbour entry moved without a fault."""

    cast: str
    family: str
    seconds: float
    flips: int
    silence: float

    @property
    def per_minute(self) -> float:
        """The rate."""
        return 60 * self.flips / self.seconds


@dataclass(frozen=True)
class Cell:
    """All runs of one cast, fault and family; at least one."""

    runs: tuple[Run, ...]

    def figures(self, name: str) -> list[float]:
        """One figure of every run."""
        return [float(getattr(run, name)) for run in self.runs]

    def p50(self, name: str) -> float:
        """The median of a figure."""
        return statistics.median(self.figures(name))

    def p99(self, name: str) -> float:
        """The 99th percentile of a figure: of fewer than a hundred runs, the worst."""
        return percentile(self.figures(name), 99)

    def worst(self, name: str) -> float:
        """The largest of a figure."""
        return max(self.figures(name))

    @property
    def unrecovered(self) -> int:
        """How many runs ended without an answer."""
        return sum(not run.recovered for run in self.runs)

    @property
    def back(self) -> float | None:
        """The worst silence at a return."""
        known = [run.back for run in self.runs if run.back is not None]
        return max(known, default=None)


class Results:
    """Everything that was measured."""

    def __init__(self, runs: Iterable[Run] = (), flips: Iterable[Flips] = ()) -> None:
        self.runs = list(runs)
        self.flips = list(flips)

    def add(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Add a run or a count of flips from the output of a lane."""
        if kind == "run":
            self.runs.append(Run(**fields))
        else:
            self.flips.append(Flips(**fields))

    def cell(self, cast: str, fault: str, family: str) -> Cell | None:
        """A cell, or None when there is no run for it."""
        runs = tuple(run for run in self.runs if run.cell == (cast, fault, family))
        return Cell(runs) if runs else None

    def cells(self) -> list[tuple[str, str, str]]:
        """Return the cells with runs, in the order of the tables."""
        return [
            (cast, fault, family)
            for family in FAMILIES
            for fault in FAULTS
            for cast in CASTS
            if self.cell(cast, fault, family) is not None
        ]

    def as_lists(self) -> dict[str, list[dict[str, Any]]]:
        """Return all results in a form for programs."""
        return {"runs": [asdict(run) for run in self.runs], "flips": [asdict(each) for each in self.flips]}


@dataclass(frozen=True, slots=True)
class Target:
    """A target of issue 10 for some cells."""

    fault: str
    casts: tuple[str, ...]
    text: str
    figure: Callable[[Cell], float]
    limit: float

    def met_by(self, figure: float) -> bool:
        """Whether a figure is good enough."""
        return figure <= self.limit


GUARDED: Final = tuple(cast for cast in CASTS if cast not in PLAIN)
TARGETS: Final = (
    Target("cut", GUARDED, "p50 at most 0.4 s", lambda cell: cell.p50("silence"), 0.4),
    Target("cut", GUARDED, "p99 at most 1 s", lambda cell: cell.p99("silence"), 1.0),
    Target("kill", GUARDED, "p99 at most 0.2 s", lambda cell: cell.p99("silence"), 0.2),
    Target("stop", ("members", "pytinc"), "no ping lost", lambda cell: cell.worst("lost"), 0),
)


def beats_keepalived(results: Results, cast: str, fault: str, family: str) -> bool | None:
    """Whether a cell's median silence is no longer than keepalived's; None without one of them."""
    ours, theirs = results.cell(cast, fault, family), results.cell("keepalived", fault, family)
    if cast in PLAIN or ours is None or theirs is None:
        return None
    return ours.p50("silence") <= theirs.p50("silence") + ALIKE_S
