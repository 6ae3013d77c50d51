"""Fail-overs as events of each node that sees them, with their times."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from control.documented_events import KINDS, check_event
from pytinc.node.event_ring import Event
from pytinc.vip.health import Outcome
from sim import test_guard, test_sharing, test_virtual_ips
from sim.simulator import WALL_START, Mesh


@pytest.fixture(autouse=True)
def _all_are_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare each event of each node with the document."""
    from pytinc.node.event_ring import EventRing

    add: Callable[..., None] = EventRing.add

    def checked(ring: EventRing, time: float, kind: str, fields: dict[str, object]) -> None:
        check_event(kind, fields)
        add(ring, time, kind, fields)

    monkeypatch.setattr(EventRing, "add", checked)


def told(mesh: Mesh, name: str, since: float, *kinds: str) -> list[Event]:
    """Return what a node has told since a time of the simulation."""
    assert set(kinds) <= set(KINDS)
    return [
        event
        for event in mesh.nodes[name].node.history.ring.since(0)
        if event.time >= WALL_START + since and event.kind in kinds
    ]


def ago(event: Event, since: float) -> float:
    return event.time - WALL_START - since


def test_the_clients_node_tells_of_silence_detection_and_healing() -> None:
    world = test_guard.build(test_guard.CASTS["pytinc"])
    start = world.mesh.now
    gone = test_guard.cut(world)
    world.mesh.run(3)
    suspect, silent, failover = told(world.mesh, "n5", start, "suspect", "silent", "failover")
    assert [event.kind for event in (suspect, silent, failover)] == ["suspect", "silent", "failover"]
    assert suspect.fields["node"] == silent.fields["node"] == failover.fields["from_node"] == gone
    assert failover.fields["to_node"] == world.holder()
    assert (failover.fields["address"], failover.fields["reason"]) == ("10.1.1.10", "silent")
    silence, detection, healing, total = (
        failover.fields[name] for name in ("silence_ms", "detection_ms", "healing_ms", "total_ms")
    )
    assert isinstance(silence, int)
    assert isinstance(detection, int)
    assert isinstance(healing, int)
    assert silence > 0
    assert detection > 0
    assert total == silence + detection + healing
    # What the client felt, between two of its pings.
    felt = world.ping.longest_silence(start - 0.5) * 1000
    assert total == pytest.approx(felt, abs=100), world.mesh.story()
    assert ago(suspect, start) * 1000 == pytest.approx(silence, abs=100)
    assert ago(silent, start) - ago(suspect, start) == pytest.approx(detection / 1000, abs=0.01)
    assert silent.fields["detection_ms"] == detection


def test_a_bystander_tells_of_a_failover_with_its_time() -> None:
    world = test_virtual_ips.build("pytinc", priorities=(150, 120, 110))
    assert world.settled() == "n2"
    start = world.mesh.now
    world.mesh.underlay.cut.add("n2")
    world.mesh.run(4)
    # n1 is no member and has no client.
    (event,) = told(world.mesh, "n1", start, "vip-owner")
    assert (event.fields["address"], event.fields["from_node"], event.fields["to_node"]) == (
        "10.1.1.10",
        "n2",
        "n3",
    )
    assert 0.2 < ago(event, start) < 0.5
    (own,) = told(world.mesh, "n3", start, "vip-owner")
    assert own.fields["reason"] == "silent"
    assert isinstance(own.fields["silence_ms"], int)
    assert isinstance(own.fields["detection_ms"], int)
    assert 150 < own.fields["silence_ms"] + own.fields["detection_ms"] < 500
    states = [
        (event.fields["node"], event.fields["state"]) for event in told(world.mesh, "n1", start, "vip-state")
    ]
    assert ("n3", "active") in states


def test_a_member_that_answers_after_all_is_cleared() -> None:
    world = test_guard.build(test_guard.CASTS["client"])
    name, start = world.holder(), world.mesh.now
    world.mesh.underlay.cut.add(name)
    world.mesh.run_until(lambda: bool(told(world.mesh, "n5", start, "suspect")), 3)
    world.mesh.underlay.cut.discard(name)
    world.mesh.run(1)
    (cleared,) = told(world.mesh, "n5", start, "cleared")
    assert cleared.fields["node"] == name
    assert told(world.mesh, "n5", start, "silent", "failover") == []


def test_a_member_that_comes_back_answers() -> None:
    world = test_guard.build(test_guard.CASTS["client"])
    start = world.mesh.now
    name = test_guard.cut(world)
    world.mesh.run(1.5)
    world.mesh.underlay.cut.discard(name)
    world.mesh.run(3)
    (answers,) = told(world.mesh, "n5", start, "answers")
    assert answers.fields["node"] == name
    assert isinstance(answers.fields["after_ms"], int)
    assert 1000 < answers.fields["after_ms"] < 4000


def test_a_planned_move_has_no_silence() -> None:
    world = test_virtual_ips.build("pytinc", priorities=(150, 120, 110))
    start = world.mesh.now
    world.call("n2", "vip_drain")
    world.mesh.run(2)
    (event,) = told(world.mesh, "n2", start, "vip-owner")
    assert (event.fields["reason"], event.fields["to_node"]) == ("drain", "n3")
    assert event.fields["silence_ms"] is None
    (moved,) = told(world.mesh, "n5", start, "failover")
    assert (moved.fields["reason"], moved.fields["silence_ms"]) == ("moved", None)
    assert moved.fields["total_ms"] == moved.fields["healing_ms"]


def test_a_check_that_fails_is_the_reason_of_a_state() -> None:
    world = test_virtual_ips.build("pytinc", checks=(test_virtual_ips.CHECK,))
    name, start = world.settled(), world.mesh.now
    unwell = Outcome(well=False, drain=False, detail="connection refused", seconds=0.01)
    world.check(name, unwell)
    world.mesh.run(2)
    own = [
        event.fields for event in told(world.mesh, name, start, "vip-state") if event.fields["node"] == name
    ]
    assert own[0]["state"] == "fault"
    assert own[0]["before"] == "active"
    assert "tcp:80" in str(own[0]["reason"])


def test_the_member_that_gives_the_clients_out_tells_of_those_of_a_dead_one() -> None:
    world = test_sharing.build(clients=30)
    counts, owner = world.counts(), world.owner()
    gone = next(name for name in sorted(counts) if name != owner)
    start = world.mesh.now
    world.mesh.underlay.cut.add(gone)
    world.mesh.run(3)
    (event,) = told(world.mesh, owner, start, "failover")
    assert (event.fields["from_node"], event.fields["to_node"]) == (gone, None)
    assert (event.fields["reason"], event.fields["clients"]) == ("silent", counts[gone])
    assert isinstance(event.fields["silence_ms"], int)
    assert world.counts()[gone] == 0
