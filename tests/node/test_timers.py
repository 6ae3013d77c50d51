"""Jobs that come again and again: the first round, the next ones, and a clock that leaps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from pytinc.node.changes import Happened
from pytinc.node.core import MAX_JITTER
from pytinc.node.timers import Clockwork, Periodic

if TYPE_CHECKING:
    from node.conftest import MakeCore

JITTER = MAX_JITTER / 2


class Clock:
    """A clockwork with two jobs and a changeable interval."""

    def __init__(self, make: MakeCore) -> None:
        self.interval, self.first = 5.0, 5.0
        self.done: list[tuple[str, float]] = []
        jobs = (
            lambda now: self.done.append(("one", now)),
            lambda now: self.done.append(("two", now)),
        )
        self.periodic = Periodic(make(), lambda: self.interval, jobs, first=lambda: self.first)

    def rounds(self) -> list[float]:
        done, self.done = self.done, []
        assert [name for name, _ in done] == ["one", "two"] * (len(done) // 2)
        return [now for name, now in done if name == "one"]


@pytest.fixture
def clock(core: MakeCore) -> Clock:
    return Clock(core)


def test_nothing_is_due_before_the_start(clock: Clock) -> None:
    assert clock.periodic.next_deadline() == math.inf
    clock.periodic.tick(1e9)
    assert clock.rounds() == []


@pytest.mark.parametrize(("first", "due"), [(0, 100), (2, 102 + JITTER)])
def test_the_first_round_comes_when_it_is_wanted(clock: Clock, first: float, due: float) -> None:
    clock.first = first
    clock.periodic.start(100.0)
    assert clock.periodic.next_deadline() == pytest.approx(due)
    clock.periodic.tick(due - 0.001)
    assert clock.rounds() == []
    clock.periodic.tick(due + 0.001)
    assert clock.rounds() == [due + 0.001]


def test_rounds_are_an_interval_and_some_milliseconds_apart(clock: Clock) -> None:
    clock.first = 0.0
    clock.periodic.start(0.0)
    for _ in range(3):
        clock.periodic.tick(clock.periodic.next_deadline())
    assert clock.rounds() == pytest.approx([0.0, 5.0 + JITTER, 10.0 + 2 * JITTER])


def test_rounds_that_were_missed_are_not_made_up_for(clock: Clock) -> None:
    clock.first = 0.0
    clock.periodic.start(0.0)
    clock.periodic.tick(1000.0)
    clock.periodic.tick(1000.1)
    assert clock.rounds() == [1000.0]
    assert clock.periodic.next_deadline() == pytest.approx(1005.0 + JITTER)


def test_a_changed_interval_counts_from_the_next_round_on(clock: Clock) -> None:
    clock.periodic.start(0.0)
    clock.interval = 60.0
    clock.periodic.tick(5.1)
    assert clock.rounds() == [5.1]
    assert clock.periodic.next_deadline() == pytest.approx(65.1 + JITTER)


def test_without_a_time_for_it_the_first_round_comes_after_an_interval(core: MakeCore) -> None:
    periodic = Periodic(core(), lambda: 7.0, ())
    periodic.start(100.0)
    assert periodic.next_deadline() == pytest.approx(107 + JITTER)


def test_parts_do_what_is_due_in_their_order_and_changes_are_told_between_them(core: MakeCore) -> None:
    told: list[object] = []
    made = core()
    made.changes.tell = lambda change, now: told.append(change)

    def work(now: float) -> None:
        made.changes.note(Happened("work", {}))

    def look(now: float) -> None:
        assert told == [Happened("work", {})]
        told.append("look")

    parts = [Periodic(made, lambda: 5.0, (job,), first=lambda: 0.0) for job in (work, look)]
    clockwork = Clockwork(made, parts)
    clockwork.start(1.0)
    assert [due() for due in clockwork.deadlines] == [1.0, 1.0]
    clockwork.tick(1.0)
    assert told[-1] == "look"
