"""The arithmetic of the comparison: rows, medians, percentiles, ratios, goals, and a file of /proc.

Pure functions over numbers and text; ``tests/benchmarks`` tests them. Nothing here measures anything.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

BASE: Final = "C-C"
"""The base of all ratios."""
INTERVALS_MS: Final = (200.0, 20.0, 2.0, 0.5)
"""Milliseconds between two pings."""


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement of every pair.

    ``compared`` says how a later run compares it with an earlier one: its ratio to C-C, the figure itself (a
    share, which is a ratio within one pair), or not at all. ``once``: it is measured once in a run.
    """

    key: str
    title: str
    unit: str
    digits: int = 0
    less_is_better: bool = False
    compared: Literal["ratio", "figure", "no"] = "ratio"
    once: bool = False


def _ping_rows() -> Iterator[Row]:
    for interval in INTERVALS_MS:
        title = f"ping every {interval:g} ms"
        yield Row(ping_row(interval, "p50"), f"{title}, p50", "ms", 3, less_is_better=True)
        yield Row(ping_row(interval, "p99"), f"{title}, p99", "ms", 3, less_is_better=True)
        yield Row(ping_row(interval, "cpu"), f"{title}, CPU of a pass", "µs", less_is_better=True)


def ping_row(interval_ms: float, what: str) -> str:
    """The key of the row for pings at an interval; ``what`` is p50, p99 or cpu."""
    return f"ping_{interval_ms:g}ms_{what}"


ROWS: Final = (
    Row("tcp_up", "TCP, client to server", "Mbit/s"),
    Row("tcp_down", "TCP, server to client", "Mbit/s"),
    Row("tcp_20", "TCP, 20 streams, sum", "Mbit/s"),
    Row("tcp_20_share", "20 streams over one stream", "%", compared="figure"),
    Row("tcp_4_peers", "TCP, 4 peers at once, sum", "Mbit/s"),
    Row("tcp_4_peers_share", "4 peers over one peer", "%", compared="figure"),
    Row("udp_64", "UDP, 64 bytes, delivered", "packets/s"),
    Row("udp_64_loss", "UDP, 64 bytes, lost of a flood", "%", less_is_better=True, compared="no"),
    Row("udp_1390", "UDP, 1,390 bytes, delivered", "packets/s"),
    Row("udp_1390_loss", "UDP, 1,390 bytes, lost of a flood", "%", less_is_better=True, compared="no"),
    Row("udp_1400", "UDP, 1,400 bytes, delivered", "packets/s"),
    Row("udp_1400_loss", "UDP, 1,400 bytes, lost of a flood", "%", less_is_better=True, compared="no"),
    *_ping_rows(),
    Row("ping_load_p50", "ping under a TCP stream, p50", "ms", 2, less_is_better=True),
    Row("ping_load_p99", "ping under a TCP stream, p99", "ms", 2, less_is_better=True),
    Row("rr_tcp", "request/response, TCP", "1/s"),
    Row("rr_udp", "request/response, UDP", "1/s"),
    Row("http_kept", "HTTP, connections kept", "requests/s"),
    Row("http_new", "HTTP, a connection each", "requests/s"),
    Row("connections", "new TCP connections", "1/s"),
    Row("cpu_per_gb", "CPU of both daemons per GB", "s", 2, less_is_better=True),
    Row("memory_rest", "memory at rest, larger daemon", "MiB", 1, less_is_better=True, once=True),
    Row("memory_load", "memory at its peak, larger daemon", "MiB", 1, less_is_better=True, once=True),
)
ROW: Final[Mapping[str, Row]] = {row.key: row for row in ROWS}
ROWS_WITHOUT_RATIO: Final = frozenset(row.key for row in ROWS if row.compared != "ratio")


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal (issues 5 and 15) for a pair: a figure, or (``ratio``) its ratio to C-C, and its ``bound``."""

    pair: str
    row: str
    bound: float
    at_least: bool = True
    ratio: bool = True

    def met_by(self, figure: float) -> bool:
        """Whether a figure is good enough."""
        return figure >= self.bound if self.at_least else figure <= self.bound

    @property
    def text(self) -> str:
        """The goal in words, as a table cell."""
        unit = "x C-C" if self.ratio else ROW[self.row].unit
        return f"{'at least' if self.at_least else 'at most'} {self.bound:g} {unit}"


GOALS: Final = (
    Goal("py-py", "tcp_up", 4),
    Goal("py-py", "tcp_down", 4),
    Goal("py-C", "tcp_up", 1.3),
    Goal("py-C", "tcp_down", 1.3),
    Goal("C-py", "tcp_up", 1.3),
    Goal("C-py", "tcp_down", 1.3),
    Goal("py-py, FastTag=no", "tcp_up", 1.6),
    Goal("py-py, FastTag=no", "tcp_down", 1.6),
    Goal("py-py", "udp_64", 1.2),
    Goal("py-py", "udp_1400", 1.3),
    *(Goal("py-py", ping_row(interval, "p50"), 2, at_least=False) for interval in INTERVALS_MS),
    Goal("py-py", ping_row(20, "p99"), 3, at_least=False),
    Goal("py-py", "ping_load_p50", 1, at_least=False),
    Goal("py-py", "rr_tcp", 0.7),
    Goal("py-py", "rr_udp", 0.7),
    Goal("py-py", "cpu_per_gb", 0.25, at_least=False),
    Goal("py-py", "memory_rest", 45, at_least=False, ratio=False),
    Goal("py-py", "memory_load", 150, at_least=False, ratio=False),
    Goal("py-py", "tcp_20_share", 90, ratio=False),
    Goal("py-py", "tcp_4_peers_share", 90, ratio=False),
)


@dataclass(slots=True)
class Results:
    """All figures of one run by row, pair and round; None where a measurement failed."""

    rounds: int
    pairs: list[str]
    figures: dict[str, dict[str, list[float | None]]] = field(default_factory=dict)

    def put(self, row: str, pair: str, number: int, figure: float) -> None:
        """Record the figure of one round (0 is the first)."""
        assert row in ROW
        by_pair = self.figures.setdefault(row, {})
        by_pair.setdefault(pair, [None] * self.rounds)[number] = figure

    def get(self, row: str, pair: str) -> list[float | None]:
        """The figures of each round."""
        return self.figures.get(row, {}).get(pair, [None] * self.rounds)

    def median(self, row: str, pair: str) -> float | None:
        """The median of the rounds with a figure; None without any."""
        return median(self.get(row, pair))

    def ratio(self, row: str, pair: str) -> float | None:
        """The median of each round's ratio to C-C; None if either figure is missing everywhere."""
        return median_ratio(self.get(row, pair), self.get(row, BASE))

    def compared(self, row: str, pair: str) -> list[float]:
        """What another run compares with its own, of each round that has it (`Row.compared`)."""
        figures = self.get(row, pair)
        if row in ROW and ROW[row].compared == "figure":
            return [figure for figure in figures if figure is not None]
        return ratios(figures, self.get(row, BASE))

    def judged(self, goal: Goal) -> float | None:
        """The figure of a goal."""
        return self.ratio(goal.row, goal.pair) if goal.ratio else self.median(goal.row, goal.pair)


def median(figures: Sequence[float | None]) -> float | None:
    """The median of the existing figures; None without any."""
    there = [figure for figure in figures if figure is not None]
    return statistics.median(there) if there else None


def ratios(figures: Sequence[float | None], bases: Sequence[float | None]) -> list[float]:
    """The ratios of corresponding figures; one that is missing, or whose base is 0, is left out.

    Corresponding figures were measured close together in time, so a slow minute of the machine cancels out.
    """
    return [
        figure / base
        for figure, base in zip(figures, bases, strict=True)
        if figure is not None and base is not None and base > 0
    ]


def median_ratio(figures: Sequence[float | None], bases: Sequence[float | None]) -> float | None:
    """The median of the ratios of corresponding figures; None without any."""
    return median(ratios(figures, bases))


def percentile(figures: Sequence[float], percent: float) -> float:
    """The smallest figure with at least ``percent`` (0 to 100) of all at or below it (nearest rank)."""
    if not figures:
        raise ValueError("no figures")
    rank = -(-len(figures) * percent // 100)
    return sorted(figures)[max(int(rank), 1) - 1]


def share_percent(part: float, whole: float | None) -> float | None:
    """``part`` as a percentage of ``whole``; None without a whole."""
    return 100 * part / whole if whole else None


def memory_mib(status: str, name: str) -> float:
    """A ``VmRSS`` or ``VmHWM`` of the text of /proc/PID/status in MiB; ValueError if it is missing."""
    for line in status.splitlines():
        label, _, value = line.partition(":")
        if label == name:
            return int(value.split()[0]) / 1024
    raise ValueError(f"no {name}")
