"""A client's pings as a line of marks, one for each twentieth of a second; and what a fault did to them.

Pure: what a probe has told (``lab.outage``) goes in, text comes out. The demo shows it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from pytinc.lab.outage import FLIGHT_S, Trace

CELL_S: Final = 0.05
"""Seconds of one mark."""


class Marks(NamedTuple):
    """The marks for pings that all were answered, that were answered in part, and that all were lost."""

    all: str
    some: str
    none: str


COLOURED: Final = Marks("[green]█[/]", "[yellow]▄[/]", "[red]·[/]")
PLAIN: Final = Marks("#", "+", ".")


def draw(trace: Trace, now: float, count: int, marks: Marks) -> str:
    """Return the last ``count`` marks; a blank one stands for a time in which no ping was sent.

    The last tenth of a second is left out: its answers may be under way.
    """
    # Marks stand at fixed times, so that the line moves as a whole.
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
    """For how long no ping was answered, as far as that is known now."""
    answered = (when for number, when in reversed(trace.sent.items()) if trace.in_time(number))
    return max(0.0, now - FLIGHT_S - next(answered, now))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a fault was like for the client."""

    fault: str
    network: str
    holder: str
    """The node that answered before ..."""
    successor: str | None
    """... and the one that answers now."""
    silence: float
    """The longest time between two answered pings."""
    lost: int
    connection_gap: float
    """The longest time between two new TCP connections."""
    watched: float
    """Seconds from the fault to the end of the measurement."""

    @property
    def moved(self) -> bool:
        """Whether another node answers."""
        return self.successor not in (None, self.holder)

    @property
    def brief(self) -> str:
        """The silence and the lost pings, for a sentence."""
        pings = {0: "no ping lost", 1: "1 ping lost"}.get(self.lost, f"{self.lost} pings lost")
        return f"silence {self.silence:.2f} s, {pings}" if self.lost else pings

    def row(self) -> tuple[str, ...]:
        """A line of the table at the end."""
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
    """Return the question for a trace: what was a fault at ``since`` like, as far as known at ``until``?"""
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
    """What is wrong with these outcomes, as sentences: each address must move within ``limit`` seconds."""
    found = []
    for outcome in outcomes:
        if not outcome.moved:
            found.append(f"{outcome.fault}: no other node answers after {outcome.watched:.0f} s")
        elif outcome.silence > limit:
            found.append(f"{outcome.fault}: the silence of {outcome.silence:.2f} s is over {limit:g} s")
    return found
