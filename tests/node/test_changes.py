"""Changes are told in the order in which they were noted, with all that they lead to."""

from __future__ import annotations

import pytest

from pytinc.node.changes import Change, Changes, Slept, SubnetAdded, SubnetDeleted
from pytinc.wire.subnet import parse_subnet

ONE, TWO, THREE = (SubnetAdded("beta", parse_subnet(f"10.{number}.0.0/16")) for number in (1, 2, 3))


class Listener:
    """Keeps what it is told and when; answers some changes with others."""

    def __init__(self, changes: Changes, leads_to: dict[Change, list[Change]] | None = None) -> None:
        self.changes = changes
        self.leads_to = leads_to or {}
        self.told: list[tuple[Change, float]] = []
        self.settles_at_once = False
        changes.tell = self.tell

    def tell(self, change: Change, now: float) -> None:
        self.told.append((change, now))
        for other in self.leads_to.pop(change, []):
            self.changes.note(other)
            if self.settles_at_once:
                self.changes.settle(now)

    def heard(self) -> list[Change]:
        return [change for change, _ in self.told]


def test_nothing_is_told_before_it_is_settled_and_then_once() -> None:
    changes = Changes()
    listener = Listener(changes)
    changes.note(TWO)
    changes.note(ONE)
    assert listener.told == []
    changes.settle(7.0)
    changes.settle(8.0)
    assert listener.told == [(TWO, 7.0), (ONE, 7.0)]


def test_consequences_of_a_change_are_told_in_the_same_settling_after_earlier_changes() -> None:
    changes = Changes()
    gone = SubnetDeleted("beta", ONE.subnet)
    listener = Listener(changes, {ONE: [THREE], THREE: [gone]})
    changes.note(ONE)
    changes.note(TWO)
    changes.settle(0.0)
    assert listener.heard() == [ONE, TWO, THREE, gone]


def test_a_listener_that_settles_itself_hears_nothing_twice_and_misses_nothing() -> None:
    """As when the graph has to tell at once who is reachable now."""
    changes = Changes()
    listener = Listener(changes, {ONE: [THREE]})
    listener.settles_at_once = True
    changes.note(ONE)
    changes.note(TWO)
    changes.settle(0.0)
    assert len(listener.told) == 3
    assert set(listener.heard()) == {ONE, TWO, THREE}
    changes.settle(1.0)
    assert len(listener.told) == 3


def test_the_same_change_twice_is_told_twice() -> None:
    changes = Changes()
    listener = Listener(changes)
    for _ in range(2):
        changes.note(Slept())
    changes.settle(0.0)
    assert listener.heard() == [Slept(), Slept()]


def test_a_change_that_nobody_could_hear_of_is_an_error() -> None:
    changes = Changes()
    changes.settle(0.0)
    changes.note(ONE)
    with pytest.raises(AssertionError, match="not complete"):
        changes.settle(0.0)
