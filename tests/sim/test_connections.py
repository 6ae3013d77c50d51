"""How connections start, are retried, and end: MaxConnectionBurst, the tarpit, MaxTimeout, retry."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from pytinc.config.settings import HostPort
from pytinc.node import actions
from pytinc.wire.address import Address
from sim.simulator import Mesh, SimNode

STRANGER = Address("10.7.0.1", "4000")


def closes(sim: SimNode) -> dict[int, bool]:
    """Record the node's closed connections: number, and whether it went to the tarpit."""
    noted: dict[int, bool] = {}
    perform = sim._perform

    def note(action: actions.Action) -> None:
        if isinstance(action, actions.CloseMeta):
            noted[action.connection] = action.tarpit
        perform(action)

    sim._perform = note  # type: ignore[method-assign]
    return noted


def accept(mesh: Mesh, sim: SimNode, remote: Address = STRANGER) -> int:
    number = sim.node.meta_accepted(remote, sim.address, mesh.now)
    sim.settle()
    return number


def waits(sim: SimNode) -> list[int]:
    """Return the seconds of every logged wait."""
    found = [re.search(r"outgoing connection in (\d+) seconds", line) for line in sim.logs]
    return [int(match[1]) for match in found if match]


def attempts(sim: SimNode) -> int:
    return sum("Trying to connect to" in line for line in sim.logs)


def test_connections_beyond_the_burst_are_closed_at_once_except_one_per_second() -> None:
    mesh = Mesh(1)
    hub = mesh.add("hub", max_connection_burst=3)
    hub.start()
    closed = closes(hub)
    served = []
    for second in range(4):
        numbers = [accept(mesh, hub, Address(f"10.7.{second}.{n}", "4000")) for n in range(5)]
        served.append(sum(number not in closed for number in numbers))
        assert not any(closed[number] for number in numbers if number in closed), second
        mesh.run(1)
    assert served == [3, 1, 1, 1]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.5.5.5", "::1"])
def test_the_own_machine_may_connect_at_any_rate(host: str) -> None:
    mesh = Mesh(1)
    hub = mesh.add("hub", max_connection_burst=3)
    hub.start()
    closed = closes(hub)
    for _ in range(20):
        accept(mesh, hub, Address(host, "4000"))
    assert not closed


def test_a_stranger_that_breaks_the_protocol_or_is_silent_goes_to_the_tarpit() -> None:
    mesh = Mesh(1)
    hub = mesh.add("hub")
    hub.start()
    closed = closes(hub)
    silent, wrong, gone = (accept(mesh, hub) for _ in range(3))
    hub.call(lambda node, now: node.meta_data(wrong, b"GET / HTTP/1.0\n", now))
    hub.call(lambda node, now: node.meta_closed(gone, "EOF", now))
    assert closed == {wrong: True, gone: True}
    mesh.run(8)  # PingTimeout, and the interval of the check
    assert closed == {wrong: True, gone: True, silent: True}


def test_a_neighbour_that_answers_no_ping_and_a_dial_that_hangs_are_closed_properly() -> None:
    mesh = Mesh(1)
    mesh.add("hub", ping_interval=10)
    leaf = mesh.add("leaf", connect_to=["hub"], ping_interval=10)
    mesh.start()
    mesh.run_until(mesh.converged, 10)
    closed = closes(leaf)
    mesh.underlay.cut.add("hub")
    mesh.run(60)
    assert len(closed) >= 2
    assert not any(closed.values())


def test_the_wait_between_two_rounds_grows_by_five_seconds_up_to_max_timeout() -> None:
    mesh = Mesh(1)
    leaf = mesh.add("leaf", connect_to=["hub", "other"], max_timeout=17)
    mesh.add("hub")
    mesh.add("other")
    leaf.start()
    mesh.run(90)
    assert waits(leaf)[:12:2] == waits(leaf)[1:12:2] == [5, 10, 15, 17, 17, 17]
    assert attempts(leaf) == 2 * len([0, 5, 15, 30, 47, 64, 81])


def test_retry_dials_at_once_and_resets_the_wait() -> None:
    mesh = Mesh(1)
    leaf = mesh.add("leaf", connect_to=["hub"])
    mesh.add("hub")
    leaf.start()
    mesh.run(100)
    leaf.logs.clear()
    leaf.call(lambda node, now: node.retry(now))
    mesh.run(1)
    assert attempts(leaf) == 1
    assert len(waits(leaf)) == 1
    assert waits(leaf)[0] <= 5


def test_retry_ends_an_attempt_that_hangs_and_tries_the_next_address() -> None:
    mesh = Mesh(1)
    leaf = mesh.add("leaf", connect_to=["hub"])
    hub = mesh.add("hub")
    black_hole = mesh.add("hole")
    mesh.underlay.cut.add("hole")
    black_hole.start()
    both = (HostPort(black_hole.address.host), HostPort(hub.address.host))
    leaf.hosts.files["hub"] = replace(leaf.hosts.files["hub"], addresses=both)
    hub.start()
    leaf.start()
    mesh.run(1)
    assert not leaf.node.peers["hub"].reachable
    leaf.call(lambda node, now: node.retry(now))
    mesh.run(1)
    assert leaf.node.peers["hub"].reachable


@pytest.mark.parametrize(("seconds", "shortest"), [(5, 20), (15, 5), (90, 5)])
def test_the_wait_is_reset_after_the_connection_has_served_for_a_while(seconds: float, shortest: int) -> None:
    mesh = Mesh(1)
    # Without UDP, because a neighbour that UDP reaches counts as well.
    names = ["hub", "other", "another"]
    leaf = mesh.add("leaf", connect_to=names, ping_interval=60, max_timeout=20, tcp_only=True)
    for name in names[1:]:
        mesh.add(name)  # if only the hub were missing, the wait would not grow
    hub = mesh.add("hub")
    leaf.start()
    mesh.run(100)
    hub.start()
    mesh.run_until(mesh.converged, 30)
    mesh.run(seconds)
    hub.crash()
    leaf.logs.clear()
    mesh.run(50)
    assert min(waits(leaf)) == shortest
