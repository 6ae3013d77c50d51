"""What peers and strangers can use up, and what must not break on their account."""

from __future__ import annotations

import pytest

from pytinc.node.connections import Burst
from pytinc.node.flood import MAX_CHARACTERS, SeenCache
from pytinc.node.node import MAX_COMPLAINTS, Node
from sim.simulator import Mesh, SimNode


def pair() -> tuple[Mesh, SimNode, SimNode]:
    """A hub and an insider."""
    mesh = Mesh(5)
    mesh.add("hub")
    mesh.add("evil", connect_to=["hub"])
    mesh.add("late", connect_to=["hub"])
    mesh.nodes["hub"].start()
    mesh.nodes["evil"].start()
    mesh.run_until(mesh.converged, 30)
    return mesh, mesh.nodes["hub"], mesh.nodes["evil"]


def shout(mesh: Mesh, evil: SimNode, *lines: str) -> None:
    for line in lines:
        evil.node.connections.broadcast(line, None)
    evil.node.connections.flush()
    evil.settle()
    mesh.run(0.5)


def test_refused_connections_do_not_keep_the_bucket_full() -> None:
    burst = Burst()
    assert [burst.is_exceeded(3, 0.0) for _ in range(50)] == [False] * 3 + [True] * 47
    assert not burst.is_exceeded(3, 1.0)
    assert burst.is_exceeded(3, 1.0)


def test_ever_new_complaints_do_not_fill_the_log() -> None:
    mesh, hub, _ = pair()

    def complain(node: Node, now: float) -> None:
        for number in range(1000):
            node.complain(f"{number} {'x' * 5000}", now)

    hub.call(complain)
    loud = [line for line in hub.logs if line.split(" ", 2)[1] == "0" and "xxx" in line]
    assert len(loud) == MAX_COMPLAINTS
    assert max(map(len, loud)) < 400
    mesh.run(700)
    hub.call(lambda node, now: node.complain("something new", now))
    assert any("something new" in line and line.split(" ", 2)[1] == "0" for line in hub.logs)


def test_the_seen_cache_is_bounded_by_characters() -> None:
    seen = SeenCache()
    line = "x" * 2000
    for number in range(MAX_CHARACTERS // 2000 + 100):
        seen.seen(f"{number:06} {line}", 0.0)
    assert len(seen) <= MAX_CHARACTERS // 2007
    assert not seen.seen(f"{0:06} {line}", 0.0)  # forgotten
    seen.age(1.0)
    assert len(seen) == 0


@pytest.mark.parametrize("port", ["0655359999", "99999", "655360", "0" * 1000 + "655", "port", "-1"])
def test_an_absurd_port_in_an_edge_breaks_nothing(port: str) -> None:
    mesh, hub, evil = pair()
    shout(
        mesh,
        evil,
        f"12 1 evil ghost 10.0.0.9 {port} c 10",
        f"12 2 ghost evil 10.0.0.9 {port} c 10",
        f"10 3 ghost 02:00:00:00:00:99 {port}" if port.isdecimal() else "8",
    )
    hub.send_frame(bytes.fromhex("020000000099020000000001") + b"\x88\xb5" + b"to the ghost")
    mesh.run(30)
    assert hub.node.peers["evil"].reachable


def test_overlong_words_are_ignored_and_a_new_neighbour_is_told_everything_else() -> None:
    mesh, hub, evil = pair()
    shout(mesh, evil, f"12 1 evil ghost {'h' * 2000} 655 c 10", f"12 2 evil {'g' * 1500} 10.0.0.9 655 c 10")
    assert "ghost" not in hub.node.peers
    assert hub.node.peers["evil"].reachable
    mesh.nodes["late"].start()
    mesh.run_until(mesh.converged, 30)


def test_control_characters_end_the_connection_of_who_sends_them() -> None:
    mesh, hub, evil = pair()
    shout(mesh, evil, "12 1 evil ghost \x1b[2J 655 c 10")
    assert "ghost" not in hub.node.peers
    assert all("\x1b" not in line for line in hub.logs)


def test_retry_does_not_hit_the_attempts_that_it_begins() -> None:
    mesh = Mesh(5)
    hub = mesh.add("hub")
    spoke = mesh.add("spoke", connect_to=["hub"])
    spoke.start()
    mesh.run(60)
    hub.start()
    spoke.call(lambda node, now: node.retry(now))
    mesh.run(1)
    assert spoke.node.peers["hub"].reachable
