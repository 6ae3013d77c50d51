"""A node that was alone for a moment learns what has ended meanwhile."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from pytinc.node.node import Node
from sim.simulator import Mesh, ethernet

MAC = bytes((2, 0, 0, 0, 0, 9))
BROADCAST = b"\xff" * 6
WEIGHTS = {"ag": 1, "ax": 1, "az": 10, "gz": 5, "yz": 1, "xy": 2}


def alone(mesh: Mesh, name: str) -> None:
    """End all meta connections of a node."""
    for other in mesh.nodes:
        if other != name:
            for one, neighbour in ((name, other), (other, name)):
                mesh.nodes[one].call(partial(_disconnect, neighbour))


def _disconnect(name: str, node: Node, now: float) -> None:
    node.disconnect(name, now)


@pytest.mark.parametrize("gap", [0.002, 0.02])
def test_a_link_that_ended_meanwhile_ends_here_too_and_broadcasts_arrive(gap: float) -> None:
    mesh = Mesh(3)
    for name, dialled in (("a", []), ("g", ["a", "z"]), ("x", ["a"]), ("z", ["a"]), ("y", ["z"])):
        mesh.add(name, connect_to=dialled)
    for name, sim in mesh.nodes.items():
        for other in mesh.nodes:
            weight = WEIGHTS.get("".join(sorted(name + other)))
            if weight is not None:
                sim.hosts.files[other] = replace(sim.hosts.files[other], weight=weight)
    mesh.start()
    mesh.run(100)
    x, g = mesh.nodes["x"], mesh.nodes["g"]

    def dial(*names: str) -> None:
        x.call(lambda node, now: node.reload(replace(node.settings, connect_to=names), now))

    dial("a", "y")
    mesh.run(10)
    alone(mesh, "g")
    dial("a")
    mesh.run(gap)
    g.call(lambda node, now: node.retry(now))
    mesh.run(10)
    assert g.node.topology.graph.edge("x", "y") is None
    assert mesh.converged()
    for sim in mesh.nodes.values():
        sim.frames.clear()
    x.send_frame(ethernet(BROADCAST, MAC, b"to all"))
    mesh.run(1)
    assert {name for name, sim in mesh.nodes.items() if sim.frames} == set("agzy")


def test_a_mac_that_moved_meanwhile_has_one_owner() -> None:
    mesh = Mesh(1)
    mesh.add("a")
    for name in "gxy":
        mesh.add(name, connect_to=["a"])
    mesh.start()
    mesh.run(5)
    x, g = mesh.nodes["x"], mesh.nodes["g"]
    x.send_frame(ethernet(BROADCAST, MAC, b"here"))
    mesh.run(1)
    assert list(g.node.subnets.table.of("x")) != []
    alone(mesh, "g")

    def let_macs_expire(node: Node, now: float) -> None:
        node.subnets._withdraw_learned(*node.subnets.table.expire("x", now + 1e6, 0))

    x.call(let_macs_expire)
    mesh.run(0.01)
    g.call(lambda node, now: node.retry(now))
    mesh.run(10)
    assert g.node.peers["x"].reachable
    assert list(g.node.subnets.table.of("x")) == []


def test_after_a_purge_alone_the_mesh_is_known_again() -> None:
    mesh = Mesh(3)
    mesh.add("a")
    for name, dialled in (("g", ["a"]), ("x", ["a"]), ("y", ["x", "a"])):
        mesh.add(name, connect_to=dialled)
    mesh.start()
    mesh.run(20)
    mesh.nodes["x"].send_frame(ethernet(BROADCAST, MAC))
    mesh.run(5)
    g = mesh.nodes["g"]
    alone(mesh, "g")
    g.call(lambda node, now: node.purge(now))
    assert set(g.node.peers) == {"g"}
    mesh.run(10)
    assert mesh.converged()
    assert g.node.table.macs[MAC].name == "x"
