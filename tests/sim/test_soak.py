"""A mesh with flapping links and restarts converges after every change, at a bounded number of requests.

PYTINC_SOAK_CHANGES is the number of changes, one a minute (60 make an hour), PYTINC_SOAK_NODES that of nodes.
"""

from __future__ import annotations

import os

from pytinc.wire.requests import Number
from sim.simulator import Mesh, RequestCounter, SimNode

NODES = int(os.environ.get("PYTINC_SOAK_NODES", "20"))
CHANGES = int(os.environ.get("PYTINC_SOAK_CHANGES", "9"))
CHANGE_EVERY = 60.0
FLOODED = (Number.ADD_EDGE, Number.DEL_EDGE, Number.ADD_SUBNET, Number.DEL_SUBNET)


def build(seed: int) -> Mesh:
    """Return a mesh in which every node dials two earlier ones."""
    mesh = Mesh(seed)
    for number in range(NODES):
        known = list(mesh.nodes)
        mesh.add(f"n{number}", connect_to=mesh.rng.sample(known, min(2, len(known))), max_timeout=20)
    return mesh


def links(mesh: Mesh) -> int:
    """Return the number of meta connections in the whole mesh."""
    return sum(len(sim.node.core.activated) for sim in mesh.running()) // 2


def change(mesh: Mesh, step: int) -> tuple[str, SimNode]:
    """Change the mesh: drop a link, or restart a node after an orderly stop or a crash."""
    sim = mesh.rng.choice(mesh.running())
    kind = ("flap", "restart", "crash")[step % 3]
    if kind == "flap":
        connection = mesh.rng.choice(sim.node.core.activated)
        sim.call(lambda node, now: node.disconnect(connection.name, now))
    else:
        sim.stop() if kind == "restart" else sim.crash()
        mesh.at(mesh.now + 1, sim.start)
    return kind, sim


def test_a_mesh_converges_after_each_change_with_a_bounded_number_of_requests() -> None:
    mesh = build(7)
    with RequestCounter() as counter:
        mesh.start()
        mesh.run_until(mesh.converged, 60)
        # Every edge and subnet is announced once over each link, and all of them once to each new neighbour.
        joined = counter.take()
        assert sum(joined[kind] for kind in FLOODED) < 4 * links(mesh) ** 2 * 2
        for step in range(CHANGES):
            before = links(mesh)
            kind, sim = change(mesh, step)
            mesh.run(2)
            took = mesh.run_until(mesh.converged, 60)
            mesh.run(max(0.0, CHANGE_EVERY - 2 - took))
            sent = counter.take()
            flooded = sum(sent[number] for number in FLOODED)
            degree = len(sim.node.core.activated) + 2
            # A link that ends and returns gives four announcements, each at most twice over a link, and all
            # announcements (two lines for each link of the mesh) to each new neighbour.
            bound = degree * (4 * 2 * before + 2 * 2 * before)
            assert flooded <= bound, f"step {step}: {kind} of {sim.name} cost {flooded} > {bound}"
    assert mesh.converged()
    assert mesh.now >= CHANGES * CHANGE_EVERY


def test_a_quiet_mesh_sends_no_announcements_at_all() -> None:
    mesh = build(8)
    mesh.start()
    mesh.run_until(mesh.converged, 60)
    mesh.run(30)
    with RequestCounter() as counter:
        mesh.run(600)
    assert all(counter.sent[number] == 0 for number in FLOODED)
    # One PING and one PONG from each end of a link every PingInterval.
    assert counter.sent[Number.PING] <= 2 * links(mesh) * (600 / 60 + 1)
