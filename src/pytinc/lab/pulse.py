"""A client's pings as a line of marks, one for each twentieth of a second, and the outcome of a fault.

It is pure: a trace of a probe (``lab.outage``) goes in, text comes out. The demo shows it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from pytinc.lab.outage import FLIGHT_S, Trace

CELL_S: Final = 0.05
"""How many seconds one mark stands for."""


class Marks(NamedTuple):
    """The marks for times in which all pings, some pings, and no pings were answered."""

    all: str
    some: str
    none: str


COLOURED: Final = Marks("[green]█[/]", "[yellow]▄[/]", "[red]·[/]")
PLAIN: Final = Marks("#", "+", ".")


def draw(trace: Trace, now: float, count: int, marks: Marks) -> str:
    """Return the last ``count`` marks; a blank stands for a time in which no ping was sent.

    The last tenth of a second is left out, because its answers may be under way.
    """
    # Each mark stands for a fixed time, so that the line moves as a whole.
    last = math.floor((now - FLIGHT_S) / CELL_S)
    sent, answered = [0] * count, [0] * count
    for number, when in reversed(trace.sent.items()):
        cell = math.floor(when / CELL_S) - last + count
        if cell < 0:
            break
        if cell < count:
            sent[cell] += 1
            answered[cell] += trace.in_time(number)
    return "".join(_mark(*pair, marks) for pair in zip(sent, answered, strict=True))


def _mark(sent: int, answered: int, marks: Marks) -> str:
    if sent == 0:
        return " "
    if answered == 0:
        return marks.none
    return marks.all if answered == sent else marks.some


def quiet(trace: Trace, now: float) -> float:
    """Return for how many seconds no ping has been answered, as far as is known ``now``."""
    answered = (when for number, when in reversed(trace.sent.items()) if trace.in_time(number))
    return max(0.0, now - FLIGHT_S - next(answered, now))


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a fault for the client. Times are in seconds."""

    fault: str
    network: str
    holder: str
    """The node that answered before."""
    successor: str | None
    """The node that answers now, or None if none does."""
    silence: float
    """The longest time between two answered pings."""
    lost: int
    connection_gap: float
    """The longest time between two new TCP connections."""
    watched: float
    """The time from the fault to the end of the measurement."""

    @property
    def moved(self) -> bool:
        """Whether another node answers."""
        return self.successor not in (None, self.holder)

    @property
    def brief(self) -> str:
        """The silence and the lost pings, as part of a sentence."""
        pings = {0: "no ping lost", 1: "1 ping lost"}.get(self.lost, f"{self.lost} pings lost")
        return f"silence {self.silence:.2f} s, {pings}" if self.lost else pings

    def row(self) -> tuple[str, ...]:
        """Return the cells for the final table, in the order of `COLUMNS`."""
        return (
            self.fault,
            self.network,
            f"{self.holder} -> {self.successor or 'nobody'}",
            self._seconds(self.silence),
            str(self.lost) if self.successor else f"> {self.lost}",
            self._seconds(self.connection_gap),
        )

    def _seconds(self, measured: float) -> str:
        return f"{measured:.2f} s" if self.successor else f"> {math.floor(measured * 10) / 10} s"


COLUMNS: Final = ("holder", "daemons", "who answers", "silence", "pings lost", "TCP")


def measure(
    fault: str, network: str, holders: tuple[str, str | None], since: float, until: float
) -> Callable[[Trace], Outcome]:
    """Return a function that computes the outcome of a fault at ``since`` from a trace up to ``until``."""
    holder, successor = holders

    def ask(trace: Trace) -> Outcome:
        return Outcome(
            fault,
            network,
            holder,
            successor,
            trace.silence(since, until),
            trace.lost(since, until),
            trace.connection_gap(since, until),
            until - since,
        )

    return ask


def objections(outcomes: list[Outcome], limit: float) -> list[str]:
    """Return a sentence for each outcome in which the address did not move within ``limit`` seconds."""
    found = []
    for outcome in outcomes:
        if not outcome.moved:
            found.append(f"{outcome.fault}: no other node answers after {outcome.watched:.0f} s")
        elif outcome.silence > limit:
            found.append(f"{outcome.fault}: the silence of {outcome.silence:.2f} s is over {limit:g} s")
    return found
