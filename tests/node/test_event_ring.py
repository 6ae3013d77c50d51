"""The ring of events has a bound for each kind, and numbers that tell what is missing."""

from __future__ import annotations

from pytinc.node.event_ring import EventRing


def numbers(ring: EventRing, since: int = 0) -> list[int]:
    return [event.seq for event in ring.since(since)]


def test_an_empty_ring_has_no_first_and_no_last_event() -> None:
    ring = EventRing(1000.5)
    assert (ring.started, ring.first, ring.last, ring.since(0)) == (1000.5, 0, 0, [])


def test_events_of_all_kinds_are_numbered_together_and_come_in_order() -> None:
    ring = EventRing(0.0)
    for number, kind in enumerate(("up", "down", "up", "path"), 1):
        ring.add(number / 10, kind, {"node": f"n{number}"})
    assert [(event.seq, event.time, event.kind) for event in ring.since(0)] == [
        (1, 0.1, "up"),
        (2, 0.2, "down"),
        (3, 0.3, "up"),
        (4, 0.4, "path"),
    ]
    assert numbers(ring, 2) == [3, 4]
    assert numbers(ring, 4) == []
    assert (ring.first, ring.last) == (1, 4)


def test_a_flood_of_one_kind_pushes_out_only_its_own() -> None:
    ring = EventRing(0.0, kept=3)
    ring.add(0.0, "failover", {})
    for _ in range(1000):
        ring.add(0.0, "mac-moved", {})
    assert numbers(ring) == [1, 999, 1000, 1001]
    assert (ring.first, ring.last) == (1, 1001)


def test_the_first_of_many_events_are_returned_without_a_look_at_the_others() -> None:
    ring = EventRing(0.0, kept=400)
    for number in range(600):
        ring.add(0.0, "up" if number % 3 else "down", {})
    assert [event.seq for event in ring.since(0, 4)] == [1, 2, 3, 4]
    assert [event.seq for event in ring.since(590, 4)] == [591, 592, 593, 594]
    assert [event.seq for event in ring.since(598, 4)] == [599, 600]
    assert ring.since(600, 4) == []


def test_a_number_of_another_run_gets_all() -> None:
    ring = EventRing(0.0)
    ring.add(0.0, "start", {})
    assert numbers(ring, 77) == [1]
