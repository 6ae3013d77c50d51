"""What the node tells of itself, in small meshes in memory."""

from __future__ import annotations

from typing import Any

import pytest

from pytinc.node.path_kind import PathKind
from pytinc.node.stats import NodeStats, PeerStats, node_stats
from sim.simulator import Mesh, SimNode, ethernet


def mac(number: int) -> bytes:
    return bytes((2, 0, 0, 0, 0, number))


def started(**settings: Any) -> Mesh:
    """Two leaves of a hub that have talked for a while."""
    mesh = Mesh(1)
    mesh.add("hub", **settings)
    for name in ("leaf0", "leaf1"):
        mesh.add(name, connect_to=["hub"], **settings)
    mesh.start()
    mesh.run_until(mesh.converged, 30)
    chat(mesh, 4)
    return mesh


def chat(mesh: Mesh, seconds: int) -> None:
    for _ in range(seconds * 2):
        mesh.nodes["leaf0"].send_frame(ethernet(mac(1), mac(0), b"x" * 100))
        mesh.nodes["leaf1"].send_frame(ethernet(mac(0), mac(1), b"y" * 100))
        mesh.run(0.5)


def told(mesh: Mesh, name: str) -> NodeStats:
    return node_stats(mesh.nodes[name].node, mesh.now)


def of(mesh: Mesh, name: str, peer: str) -> PeerStats:
    return next(stats for stats in told(mesh, name).peers if stats.name == peer)


def test_nodes_that_talk_straight_are_told_so() -> None:
    mesh = started()
    stats = of(mesh, "leaf0", "leaf1")
    assert (stats.path, stats.relay, stats.pmtu, stats.reachable) == (PathKind.UDP, None, 1439, True)
    assert stats.rtt_us is not None
    assert stats.macs == 1
    # The first one was for all: it went to the hub.
    assert (stats.tx_packets, stats.tx_bytes) == (7, 7 * 114)
    own = of(mesh, "leaf0", "leaf0")
    assert (own.path, own.pmtu, own.key_age_s, own.macs) == (PathKind.SELF, None, None, 1)


def test_without_udp_packets_go_by_tcp() -> None:
    mesh = started(tcp_only=True)
    hub = of(mesh, "leaf0", "hub")
    assert (hub.path, hub.relay, hub.pmtu, hub.rtt_us) == (PathKind.TCP, None, None, None)
    leaf = of(mesh, "leaf0", "leaf1")
    assert (leaf.path, leaf.relay) == (PathKind.TCP, "hub")


def test_a_node_that_is_gone_has_no_path_and_its_frames_are_counted_as_its() -> None:
    mesh = started()
    mesh.nodes["leaf1"].crash()
    mesh.run(60)
    before = of(mesh, "leaf0", "leaf1").drops.get("unreachable", 0)
    mesh.nodes["leaf0"].node.table.macs[mac(1)] = mesh.nodes["leaf0"].node.peers["leaf1"].slot
    mesh.nodes["leaf0"].send_frame(ethernet(mac(1), mac(0), b"x" * 100))
    stats = of(mesh, "leaf0", "leaf1")
    assert (stats.path, stats.reachable, stats.key_age_s) == (PathKind.NONE, False, None)
    assert stats.drops["unreachable"] == before + 1
    assert told(mesh, "leaf0").drops["unreachable"] >= before + 1


def test_the_key_grows_old_until_it_is_replaced() -> None:
    mesh = started(key_expire=100)
    first = of(mesh, "leaf0", "leaf1").key_age_s
    assert first is not None
    mesh.run(10)
    assert of(mesh, "leaf0", "leaf1").key_age_s == pytest.approx(first + 10)
    chat(mesh, 100)
    for one, other in (("leaf0", "leaf1"), ("leaf1", "leaf0")):
        age = of(mesh, one, other).key_age_s
        assert age is not None
        assert age < 60


def fast_tag(mesh: Mesh, name: str, peer: str) -> tuple[bool | None, bool | None]:
    stats = of(mesh, name, peer)
    return stats.fast_tag_sending, stats.fast_tag_accepting


def test_both_directions_of_the_fast_tag_are_told() -> None:
    mesh = started()
    assert fast_tag(mesh, "leaf0", "leaf1") == fast_tag(mesh, "leaf1", "leaf0") == (True, True)
    assert fast_tag(mesh, "leaf0", "leaf0") == (None, None)
    mesh = started(fast_tag=False)
    assert fast_tag(mesh, "leaf0", "leaf1") == (False, False)


def test_a_peer_that_hears_of_the_fast_tag_and_does_not_want_it_gets_the_usual_one() -> None:
    mesh = Mesh(1)
    mesh.add("leaf0")
    mesh.add("leaf1", connect_to=["leaf0"], fast_tag=False)
    mesh.start()
    mesh.run_until(mesh.converged, 30)
    chat(mesh, 4)
    assert fast_tag(mesh, "leaf0", "leaf1") == (False, True)
    assert fast_tag(mesh, "leaf1", "leaf0") == (False, False)


def test_macs_are_counted_when_they_are_learned_and_when_they_move() -> None:
    mesh = started()
    before = told(mesh, "leaf0")
    assert (before.macs, before.own_macs, before.macs_learned, before.macs_moved) == (2, 1, 1, 0)
    move(mesh.nodes["leaf1"], mac(0))
    mesh.run(1)
    after = told(mesh, "leaf0")
    assert (after.macs_learned, after.macs_moved) == (1, 1)
    assert told(mesh, "leaf1").macs_moved == 1
    assert told(mesh, "leaf1").macs_learned == 2


def move(sim: SimNode, address: bytes) -> None:
    sim.send_frame(ethernet(b"\xff" * 6, address, b"I am here now"))


def test_requests_and_runs_of_the_graph_are_counted() -> None:
    mesh = Mesh(1)
    for name in ("one", "two"):
        mesh.add(name, connect_to=[] if name == "one" else ["one"])
    mesh.start()
    mesh.run_until(mesh.converged, 30)
    mesh.run(1)
    one, two = told(mesh, "one"), told(mesh, "two")
    assert one.graph_runs > 0
    assert one.requests_in == two.requests_out
    assert one.requests_out == two.requests_in
    assert one.requests_in["ACK"] == 1
    assert one.requests_in["ADD_EDGE"] >= 1
    before = one.requests_out.get("ADD_SUBNET", 0)
    mesh.nodes["one"].send_frame(ethernet(b"\xff" * 6, mac(7), b"new"))
    mesh.run(1)
    assert told(mesh, "one").requests_out["ADD_SUBNET"] == before + 1
