"""Clocks that leap: the wall clock is set, or the machine was suspended."""

from __future__ import annotations

from typing import Any

import pytest

from sim.simulator import WALL_START, Mesh, SimNode, ethernet

HOURS = 5 * 3600.0
LONG_SLEEP = 2 * 3600.0
"""Longer than KeyExpire."""
BROADCAST = b"\xff" * 6
NAMES = ("hub", "left", "right")


def running_mesh(**changes: Any) -> tuple[Mesh, SimNode, SimNode, SimNode]:
    """left and right dial hub, know each other's MAC address, and talk by UDP."""
    mesh = Mesh(4)
    hub = mesh.add("hub", **changes)
    left = mesh.add("left", connect_to=["hub"], **changes)
    right = mesh.add("right", connect_to=["hub"], **changes)
    mesh.start()
    mesh.run_until(mesh.converged, 10)
    for sim in (hub, left, right):
        sim.send_frame(ethernet(BROADCAST, mac_of(sim)))
    for _ in range(10):
        hears(mesh, left, right)
        hears(mesh, right, left)
    assert hears(mesh, left, right)
    return mesh, hub, left, right


def mac_of(sim: SimNode) -> bytes:
    return bytes([2, 0, 0, 0, 9, NAMES.index(sim.name)])


def hears(mesh: Mesh, one: SimNode, other: SimNode) -> bool:
    """Return whether a frame arrives within half a second."""
    frame = ethernet(mac_of(other), mac_of(one))
    before = other.frames.count(frame)
    one.send_frame(frame)
    mesh.run(0.5)
    return other.frames.count(frame) > before


def forget(mesh: Mesh) -> None:
    for sim in mesh.nodes.values():
        sim.logs.clear()


def logged(sim: SimNode, text: str) -> list[str]:
    return [line for line in sim.logs if text in line]


@pytest.mark.parametrize("leap", [HOURS, -HOURS])
@pytest.mark.parametrize("name", NAMES)
def test_setting_the_wall_clock_costs_no_connection_no_key_and_no_frame(name: str, leap: float) -> None:
    mesh, _, left, right = running_mesh()
    sessions = [left.node.peers["right"].slot.session, right.node.peers["left"].slot.session]
    assert None not in sessions
    forget(mesh)
    mesh.nodes[name].wall_offset += leap
    assert all(hears(mesh, left, right) and hears(mesh, right, left) for _ in range(60))
    assert all(not logged(sim, "Closing") and not logged(sim, "Awaking") for sim in mesh.nodes.values())
    assert [left.node.peers["right"].slot.session, right.node.peers["left"].slot.session] == sessions


@pytest.mark.parametrize("leap", [HOURS, 0, -HOURS])
def test_a_reload_closes_connections_with_a_new_host_file_whatever_the_wall_clock(leap: float) -> None:
    mesh, hub, _, _ = running_mesh()
    hub.wall_offset += leap
    hub.call(lambda node, now: node.reload(hub.settings, now))
    assert not logged(hub, "has been changed")
    hub.hosts.mtimes["left"] = WALL_START + hub.wall_offset + mesh.now
    mesh.run(1)
    hub.call(lambda node, now: node.reload(hub.settings, now))
    assert len(logged(hub, "Host config file of left has been changed")) == 1
    assert not logged(hub, "of right has been changed")
    # The connection returns, and the next reload keeps it.
    mesh.run_until(mesh.converged, 10)
    hub.call(lambda node, now: node.reload(hub.settings, now))
    assert len(logged(hub, "has been changed")) == 1


@pytest.mark.parametrize("udp", [True, False])
@pytest.mark.parametrize("seconds", [90, LONG_SLEEP])
def test_a_node_that_slept_dials_at_once_and_asks_for_new_keys(seconds: float, udp: bool) -> None:
    # A node with confirmed UDP starts with its best address again anyway.
    mesh, hub, left, right = running_mesh(tcp_only=not udp)
    session = left.node.peers["right"].slot.session
    forget(mesh)
    left.sleep(seconds)
    mesh.run(seconds)
    assert not hub.node.peers["left"].reachable
    assert mesh.run_until(mesh.converged, 3) < 0.5
    assert len(logged(left, "Awaking from dead after")) == 1
    assert not logged(left, "re-establish")
    assert hears(mesh, left, right) or hears(mesh, left, right)
    assert hears(mesh, right, left)
    assert left.node.peers["right"].slot.session is not session


def test_a_node_that_slept_and_was_dialled_returns_after_the_wait_of_the_others() -> None:
    mesh, hub, left, right = running_mesh(max_timeout=10)
    hub.sleep(300)
    mesh.run(300)
    assert not left.node.peers["hub"].reachable
    assert mesh.run_until(mesh.converged, 30) < 10 + 5 + 1  # MaxTimeout, and PingTimeout of an attempt
    assert hears(mesh, left, right) or hears(mesh, left, right)


def test_a_short_sleep_costs_only_the_connections_that_the_others_gave_up() -> None:
    mesh, _, left, right = running_mesh()
    left.sleep(4)
    mesh.run(4)
    forget(mesh)
    assert all(hears(mesh, left, right) for _ in range(20))
    assert not logged(left, "Awaking")
    assert not logged(left, "Closing")
