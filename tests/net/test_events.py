"""The events that a client of the control socket gets."""

from __future__ import annotations

from itertools import chain

from pytinc.control.events import parse_dump, parse_event
from pytinc.net.events import PORTION, Follower, portions, ring_row
from pytinc.node.event_ring import EventRing


def filled(count: int, kept: int = 512) -> EventRing:
    ring = EventRing(1000.5, kept)
    for number in range(count):
        ring.add(1000.5 + number, "mac-moved", {"mac": "02:00:00:00:00:01"})
    return ring


def taken(follower: Follower) -> list[int]:
    return [parse_event(row)["seq"] for row in follower.portion()]


def test_a_dump_has_the_ring_and_what_came_after_a_number() -> None:
    made = filled(5)
    ring, events = parse_dump([ring_row(made), *chain.from_iterable(portions(made, 3))])
    assert (ring["first"], ring["last"]) == (1, 5)
    assert [event["seq"] for event in events] == [4, 5]


def test_a_dump_comes_in_portions_and_has_the_events_from_before_its_beginning() -> None:
    made = filled(PORTION + 2)
    found = portions(made, 0)
    made.add(0.0, "start", {})
    assert [len(portion) for portion in found] == [PORTION, 2]


def test_a_follower_gets_portions_and_then_new_events() -> None:
    ring = filled(PORTION + 2)
    follower = Follower(ring, 0)
    assert taken(follower) == list(range(1, PORTION + 1))
    assert taken(follower) == [PORTION + 1, PORTION + 2]
    assert taken(follower) == []
    ring.add(0.0, "start", {})
    assert taken(follower) == [PORTION + 3]


def test_a_follower_that_does_not_read_finds_a_gap() -> None:
    ring = filled(1, kept=4)
    follower = Follower(ring, 0)
    assert taken(follower) == [1]
    for _ in range(10):
        ring.add(0.0, "mac-moved", {})
    assert taken(follower) == [8, 9, 10, 11]


def test_a_number_of_an_earlier_run_gets_all() -> None:
    assert taken(Follower(filled(2), 77)) == [1, 2]
