"""The events of a node for programs that watch it, in small meshes in memory."""

from __future__ import annotations

from typing import Any

import pytest

from pytinc import __version__
from pytinc.node.history import DROPS_LEAST, DROPS_REST
from sim.simulator import WALL_START, Mesh, ethernet


def mac(number: int) -> bytes:
    return bytes((2, 0, 0, 0, 0, number))


def pair(**settings: Any) -> Mesh:
    mesh = Mesh(1)
    mesh.add("one", **settings)
    mesh.add("two", connect_to=["one"], **settings)
    mesh.start()
    mesh.run_until(mesh.converged, 30)
    return mesh


def told(mesh: Mesh, name: str, *kinds: str, since: int = 0) -> list[dict[str, Any]]:
    """Return the events of these kinds (of all, if none is given), without their numbers and times."""
    return [
        {"kind": event.kind, **event.fields}
        for event in mesh.nodes[name].node.history.ring.since(since)
        if not kinds or event.kind in kinds
    ]


def last(mesh: Mesh, name: str) -> int:
    return mesh.nodes[name].node.history.ring.last


def chat(mesh: Mesh, seconds: int) -> None:
    for _ in range(seconds):
        mesh.nodes["one"].send_frame(ethernet(mac(2), mac(1), b"x" * 100))
        mesh.nodes["two"].send_frame(ethernet(mac(1), mac(2), b"y" * 100))
        mesh.run(1)


def test_the_first_event_is_the_start() -> None:
    mesh = pair()
    first = mesh.nodes["two"].node.history.ring.since(0)[0]
    assert first == (1, WALL_START, "start", {"name": "two", "version": __version__})


def test_a_neighbour_comes_and_goes() -> None:
    mesh = pair()
    (up,) = told(mesh, "two", "node-up")
    assert up == {"kind": "node-up", "node": "one", "host": mesh.nodes["one"].address.host, "port": "655"}
    (connected,) = told(mesh, "two", "connection-up")
    assert (connected["node"], connected["dialled"]) == ("one", True)
    assert told(mesh, "one", "connection-up")[0]["dialled"] is False
    began, before = mesh.now, last(mesh, "two")
    mesh.run(9)
    mesh.nodes["one"].stop()
    mesh.run(1)
    kinds = [event["kind"] for event in told(mesh, "two", since=before) if event["kind"] != "path"]
    assert sorted(kinds) == ["connection-down", "node-down"]
    (ended,) = told(mesh, "two", "connection-down")
    assert ended["node"] == "one"
    assert 9 <= ended["lasted_s"] <= mesh.now - began + 10
    down = next(
        each for each in mesh.nodes["two"].node.history.ring.since(before) if each.kind == "node-down"
    )
    assert down.time == pytest.approx(WALL_START + mesh.now, abs=1.5)


def test_a_connection_that_never_logged_in_is_no_event() -> None:
    mesh = pair()
    before = last(mesh, "two")
    node = mesh.nodes["two"]
    number = node.node.meta_accepted(mesh.nodes["one"].address, node.address, mesh.now)
    node.node.meta_closed(number, "bored", mesh.now)
    node.settle()
    assert told(mesh, "two", since=before) == []


def test_the_path_is_told_when_it_changes() -> None:
    mesh = pair()
    chat(mesh, 20)
    paths = told(mesh, "two", "path")
    assert paths[-1] == {
        "kind": "path",
        "node": "one",
        "path": "udp",
        "relay": None,
        "before": paths[-1]["before"],
        "before_relay": None,
    }
    before = last(mesh, "two")
    mesh.underlay.no_udp.add(frozenset(("one", "two")))
    chat(mesh, 60)
    assert [(path["before"], path["path"]) for path in told(mesh, "two", "path", since=before)] == [
        ("udp", "tcp")
    ]


def test_a_path_is_forgotten_with_its_node() -> None:
    mesh = pair()
    chat(mesh, 20)
    mesh.nodes["one"].stop()
    mesh.run(3)
    before = last(mesh, "two")
    mesh.nodes["one"].start()
    mesh.run_until(lambda: mesh.nodes["two"].node.peers["one"].reachable, 60)
    chat(mesh, 20)
    assert told(mesh, "two", "path", since=before)[0]["before"] == "none"


def test_a_mac_that_moves_is_told() -> None:
    mesh = pair()
    chat(mesh, 3)
    mesh.nodes["two"].send_frame(ethernet(b"\xff" * 6, mac(1), b"I am here now"))
    mesh.run(1)
    moved = {"kind": "mac-moved", "mac": "02:00:00:00:00:01", "from_node": "one", "to_node": "two"}
    assert told(mesh, "one", "mac-moved") == told(mesh, "two", "mac-moved") == [moved]


def test_a_reload_and_a_script_are_told() -> None:
    mesh = pair()
    sim, before = mesh.nodes["two"], last(mesh, "two")
    sim.call(lambda node, now: node.reload(node.settings, now))
    sim.node.script_ended("host-up", -15, 0.0124, None)
    assert told(mesh, "two", "reload", "script", since=before) == [
        {"kind": "reload"},
        {"kind": "script", "name": "host-up", "status": -15, "ms": 12, "error": None},
    ]


def test_many_drops_are_told_and_few_are_not() -> None:
    mesh = pair()
    mesh.run(6)
    drops = mesh.nodes["two"].node.table.drops
    drops.not_authentic += int(DROPS_LEAST / 2)
    mesh.run(2)
    assert told(mesh, "two", "drops") == []
    drops.not_authentic += int(DROPS_LEAST * 3)
    mesh.run(2)
    (event,) = told(mesh, "two", "drops")
    assert (event["reason"], event["count"]) == ("not_authentic", DROPS_LEAST * 3)
    assert event["seconds"] == pytest.approx(1.0, abs=0.2)


def test_lasting_drops_are_told_now_and_then() -> None:
    mesh = pair()
    mesh.run(6)
    drops = mesh.nodes["two"].node.table.drops
    for _ in range(int(3 * DROPS_REST)):
        drops.no_key += int(DROPS_LEAST * 2)
        mesh.run(1)
    events = told(mesh, "two", "drops")
    assert 3 <= len(events) <= 4
    assert all(event["count"] >= DROPS_LEAST * event["seconds"] for event in events)
    assert events[-1]["seconds"] == pytest.approx(DROPS_REST, abs=1.5)


def test_a_storm_is_told_when_it_begins_and_when_it_is_over() -> None:
    mesh = pair(broadcast_limit=10)
    chat(mesh, 2)
    for _ in range(30):
        mesh.nodes["one"].send_frame(ethernet(b"\xff" * 6, mac(1), b"to all"))
    mesh.run(15)
    begin, end = told(mesh, "one", "storm")
    assert begin == {"kind": "storm", "node": "one", "state": "begin", "dropped": None}
    assert (end["state"], end["dropped"] >= 15) == ("end", True)
