"""Small meshes in memory: the behaviour of the switch, and the agreement of the control plane."""

from __future__ import annotations

from typing import Any

import pytest

from pytinc.config.settings import HostSettings
from pytinc.node import views
from pytinc.node.records import Peer
from pytinc.wire.bits import NodeStatus
from pytinc.wire.requests import Number
from sim.simulator import Mesh, RequestCounter, SimNode, ethernet

BROADCAST = b"\xff" * 6


def mac(number: int) -> bytes:
    return bytes((2, 0, 0, 0, 0, number))


def hub_and_leaves(leaves: int = 3, seed: int = 1, **settings: Any) -> Mesh:
    mesh = Mesh(seed)
    mesh.add("hub", **settings)
    for number in range(leaves):
        mesh.add(f"leaf{number}", connect_to=["hub"], **settings)
    mesh.start()
    mesh.run_until(mesh.converged, 30)
    return mesh


def chat(mesh: Mesh, one: SimNode, two: SimNode, seconds: float = 3.0, size: int = 1000) -> float:
    """Send frames both ways every 100 ms; return the share that arrived."""
    numbers = {sim.name: index for index, sim in enumerate(mesh.nodes.values())}
    first, second = mac(numbers[one.name]), mac(numbers[two.name])
    one.frames.clear()
    two.frames.clear()
    rounds = round(seconds / 0.1)
    for _ in range(rounds):
        one.send_frame(ethernet(second, first, b"x" * size))
        two.send_frame(ethernet(first, second, b"y" * size))
        mesh.run(0.1)
    mesh.run(0.2)
    arrived = sum(frame[:6] == first for frame in one.frames) + sum(
        frame[:6] == second for frame in two.frames
    )
    return arrived / (2 * rounds)


def node_view(sim: SimNode, name: str) -> views.NodeView:
    return next(view for view in views.nodes(sim.node) if view.name == name)


def test_the_first_packets_between_two_nodes_arrive_although_there_is_no_key_yet() -> None:
    mesh = hub_and_leaves(2)
    one, two = mesh.nodes["leaf0"], mesh.nodes["leaf1"]
    two.send_frame(ethernet(BROADCAST, mac(2), b"here I am"))
    mesh.run(1)
    assert one.node.peers["leaf1"].slot.session is None
    two.frames.clear()
    first = [ethernet(mac(2), mac(1), bytes((number,))) for number in range(3)]
    for frame in first:
        one.send_frame(frame)
    mesh.run(2)
    assert [frame for frame in two.frames if frame[:6] == mac(2)] == first


def test_a_broadcast_reaches_every_other_node_exactly_once() -> None:
    mesh = hub_and_leaves(4)
    for number, sim in enumerate(mesh.nodes.values()):
        for other in mesh.nodes.values():
            other.frames.clear()
        sim.send_frame(ethernet(BROADCAST, mac(number), b"hello"))
        mesh.run(1)
        assert {name: len(other.frames) for name, other in mesh.nodes.items()} == {
            name: int(other is not sim) for name, other in mesh.nodes.items()
        }


def test_a_unicast_frame_reaches_only_the_owner_of_its_mac() -> None:
    mesh = hub_and_leaves(3)
    one, two, three = (mesh.nodes[f"leaf{number}"] for number in range(3))
    assert chat(mesh, one, two) > 0.9
    three.frames.clear()
    assert chat(mesh, one, two) == 1.0
    assert three.frames == []


def test_two_leaves_exchange_frames_directly_by_udp_with_a_path_mtu() -> None:
    mesh = hub_and_leaves(2)
    chat(mesh, mesh.nodes["leaf0"], mesh.nodes["leaf1"])
    view = node_view(mesh.nodes["leaf0"], "leaf1")
    assert (view.minmtu, view.maxmtu, view.mtu) == (1439, 1439, 1439)
    assert view.status & NodeStatus.UDP_CONFIRMED
    assert view.nexthop == "hub"
    assert view.via == "leaf1"
    assert view.udp_ping_rtt == pytest.approx(10_000, abs=1000)


@pytest.mark.parametrize("seed", range(20))
def test_key_requests_that_cross_end_with_keys_within_a_second(seed: int) -> None:
    mesh = hub_and_leaves(2, seed)
    one, two = mesh.nodes["leaf0"], mesh.nodes["leaf1"]
    one.send_frame(ethernet(BROADCAST, mac(1)))
    two.send_frame(ethernet(BROADCAST, mac(2)))
    mesh.run(1)
    assert not one.node.peers["leaf1"].valid_key
    one.send_frame(ethernet(mac(2), mac(1)))
    two.send_frame(ethernet(mac(1), mac(2)))
    mesh.run(1)
    for sim, peer in ((one, "leaf1"), (two, "leaf0")):
        assert sim.node.peers[peer].valid_key
        assert not sim.node.peers[peer].waiting_for_key
    assert chat(mesh, one, two, 1.0) == 1.0


@pytest.mark.parametrize("yielding", ["leaf0", "leaf1"])
def test_key_requests_that_cross_with_a_node_that_always_yields_end_with_keys(yielding: str) -> None:
    """A C node drops its own request for every REQ_KEY that comes, whatever the names."""
    mesh = hub_and_leaves(2)
    sessions = mesh.nodes[yielding].node.sessions
    as_we_do = sessions.answer

    def as_c_does(peer: Peer, record: bytes, now: float) -> bool:
        peer.asking = None
        return as_we_do(peer, record, now)

    sessions.answer = as_c_does  # type: ignore[method-assign]
    one, two = mesh.nodes["leaf0"], mesh.nodes["leaf1"]
    one.send_frame(ethernet(BROADCAST, mac(1)))
    two.send_frame(ethernet(BROADCAST, mac(2)))
    mesh.run(1)
    one.send_frame(ethernet(mac(2), mac(1)))
    two.send_frame(ethernet(mac(1), mac(2)))
    mesh.run(1)
    assert chat(mesh, one, two, 1.0) == 1.0
    for sim, peer in ((one, "leaf1"), (two, "leaf0")):
        assert sim.node.peers[peer].valid_key


def test_two_nodes_that_dial_each_other_at_once_keep_one_connection() -> None:
    for seed in range(10):
        mesh = Mesh(seed)
        one = mesh.add("one")
        two = mesh.add("two", connect_to=["one"])
        object.__setattr__(one.settings, "connect_to", ("two",))
        mesh.start()
        mesh.run(3)
        assert mesh.converged()
        for sim in (one, two):
            assert len(sim.node.core.activated) == 1
        closings = sum("Closing connection" in line for sim in (one, two) for line in sim.logs)
        assert closings <= 2


def test_a_relay_carries_frames_of_two_leaves_until_udp_between_them_works_again() -> None:
    mesh = hub_and_leaves(2)
    one, two = mesh.nodes["leaf0"], mesh.nodes["leaf1"]
    chat(mesh, one, two)
    mesh.underlay.no_udp.add(frozenset(("leaf0", "leaf1")))
    chat(mesh, one, two, 35)
    assert not node_view(one, "leaf1").status & NodeStatus.UDP_CONFIRMED
    assert chat(mesh, one, two) == 1.0
    assert node_view(one, "leaf1").minmtu == 0
    mesh.underlay.no_udp.clear()
    chat(mesh, one, two, 5)
    assert node_view(one, "leaf1").minmtu == 1439
    assert chat(mesh, one, two) == 1.0


def test_frames_go_by_tcp_without_any_udp() -> None:
    mesh = hub_and_leaves(2)
    names = list(mesh.nodes)
    mesh.underlay.no_udp |= {frozenset((a, b)) for a in names for b in names if a != b}
    one, two = mesh.nodes["leaf0"], mesh.nodes["leaf1"]
    chat(mesh, one, two)
    assert chat(mesh, one, two, size=1400) == 1.0
    assert chat(mesh, one, mesh.nodes["hub"], size=1400) >= 0.95
    assert mesh.datagrams == 0


def test_tcp_only_nodes_talk_through_a_hub() -> None:
    mesh = hub_and_leaves(2, tcp_only=True)
    one, two = mesh.nodes["leaf0"], mesh.nodes["leaf1"]
    chat(mesh, one, two)
    assert chat(mesh, one, two, size=1400) == 1.0
    assert mesh.datagrams == 0


@pytest.mark.parametrize(("hidden", "least"), [(1400, 1330), (1280, 1210), (1000, 930)])
def test_a_hidden_limit_on_the_path_is_found(hidden: int, least: int) -> None:
    mesh = Mesh()
    mesh.underlay.hidden_mtu = hidden
    mesh.add("one")
    mesh.add("two", connect_to=["one"])
    mesh.start()
    mesh.run(1)
    chat(mesh, mesh.nodes["one"], mesh.nodes["two"], 40)
    view = node_view(mesh.nodes["one"], "two")
    assert least <= view.mtu <= hidden - 61
    assert view.minmtu == view.maxmtu == view.mtu
    assert chat(mesh, mesh.nodes["one"], mesh.nodes["two"], size=1400) == 1.0


def test_a_smaller_mtu_of_the_own_link_is_used_at_once() -> None:
    mesh = hub_and_leaves(1)
    one, two = mesh.nodes["hub"], mesh.nodes["leaf0"]
    chat(mesh, one, two)
    mesh.underlay.mtu = 1280
    chat(mesh, one, two, 2, size=1400)
    assert node_view(one, "leaf0").mtu == 1219
    assert chat(mesh, one, two, size=1400) == 1.0


@pytest.mark.parametrize("tcp_delay", [0.0, 0.25])
def test_new_keys_under_traffic_lose_no_frame(tcp_delay: float) -> None:
    """The handshake goes over the hub by TCP, and data under the new keys overtakes it."""
    mesh = hub_and_leaves(2, key_expire=3)
    one, two = mesh.nodes["leaf0"], mesh.nodes["leaf1"]
    chat(mesh, one, two)
    mesh.underlay.tcp_delay = tcp_delay
    before = one.node.peers["leaf1"].slot.session
    with RequestCounter() as counter:
        assert chat(mesh, one, two, 30) == 1.0  # ten key exchanges
    assert counter.sent[Number.ANS_KEY] >= 6 * 10
    assert one.node.peers["leaf1"].slot.session is before


def test_expired_keys_are_renewed_for_one_peer_after_the_other() -> None:
    mesh = Mesh(1)
    hub = mesh.add("hub", key_expire=40)
    for number in range(20):
        mesh.add(f"leaf{number}", connect_to=["hub"], key_expire=10_000)
    mesh.start()
    mesh.run(30)
    changes = {
        name: peer.slot.session.key_changes for name, peer in hub.node.peers.items() if peer.slot.session
    }
    assert len(changes) == 20
    renewed: list[int] = []
    while mesh.now < 55:
        mesh.run(0.2)
        now = {name: hub.node.peers[name].slot.session.key_changes for name in changes}  # type: ignore[union-attr]
        renewed.append(sum(now[name] > changes[name] for name in changes))
        changes = now
    assert sum(renewed) == 20
    assert max(renewed) <= 2


def test_a_silently_dead_node_is_dropped_after_the_ping_timeout_and_reused_later() -> None:
    mesh = hub_and_leaves(2, ping_interval=3, ping_timeout=2)
    mesh.run(5)
    mesh.underlay.cut.add("leaf1")
    one = mesh.nodes["leaf0"].node
    took = mesh.run_until(lambda: not one.peers["leaf1"].reachable, 10)
    assert took <= 3 + 2 + 2.5
    mesh.run(20)
    mesh.underlay.cut.clear()
    mesh.run_until(mesh.converged, 60)
    chat(mesh, mesh.nodes["leaf0"], mesh.nodes["leaf1"])
    assert chat(mesh, mesh.nodes["leaf0"], mesh.nodes["leaf1"]) == 1.0


def test_a_restarted_node_gets_new_keys_and_the_mesh_works_on() -> None:
    mesh = hub_and_leaves(2)
    one, two = mesh.nodes["leaf0"], mesh.nodes["leaf1"]
    chat(mesh, one, two)
    two.crash()
    mesh.run(0.5)
    two.start()
    mesh.run_until(mesh.converged, 10)
    chat(mesh, one, two, 2)
    assert chat(mesh, one, two) == 1.0


def test_a_mac_that_moves_is_withdrawn_by_its_old_owner() -> None:
    mesh = hub_and_leaves(3)
    hub, one, two = (mesh.nodes[name] for name in ("hub", "leaf0", "leaf1"))
    roamer = mac(77)
    one.send_frame(ethernet(BROADCAST, roamer))
    mesh.run(1)
    assert hub.node.table.macs[roamer].name == "leaf0"
    two.send_frame(ethernet(BROADCAST, roamer))
    mesh.run(25)
    assert hub.node.table.macs[roamer].name == "leaf1"
    assert roamer not in one.node.table.own_macs


def test_a_learned_mac_expires() -> None:
    mesh = hub_and_leaves(2, mac_expire=30)
    one = mesh.nodes["leaf0"]
    one.send_frame(ethernet(BROADCAST, mac(5)))
    mesh.run(20)
    assert mesh.nodes["hub"].node.table.macs[mac(5)].name == "leaf0"
    mesh.run(30)
    for sim in mesh.nodes.values():
        assert mac(5) not in sim.node.table.macs


def test_scripts_run_in_the_order_of_tinc_with_their_environment() -> None:
    mesh = hub_and_leaves(1)
    mesh.nodes["leaf0"].send_frame(ethernet(BROADCAST, mac(9)))
    mesh.run(1)
    mesh.nodes["leaf0"].crash()
    mesh.run(2)
    scripts = mesh.nodes["hub"].scripts
    assert [name for name, _ in scripts] == [
        "host-up",
        "hosts/leaf0-up",
        "subnet-up",
        "host-down",
        "hosts/leaf0-down",
        "subnet-down",
    ]
    assert scripts[0][1] == {"NODE": "leaf0", "REMOTEADDRESS": "10.0.0.2", "REMOTEPORT": "655"}
    assert scripts[2][1]["SUBNET"] == "02:00:00:00:00:09"
    assert scripts[2][1]["WEIGHT"] == ""


def test_a_node_without_the_others_key_learns_it_over_the_mesh() -> None:
    mesh = hub_and_leaves(2)
    one, two = mesh.nodes["leaf0"], mesh.nodes["leaf1"]
    del one.hosts.files["leaf1"]
    two.hosts.files["leaf0"] = HostSettings("leaf0")
    chat(mesh, one, two, 4)
    assert "leaf1" not in one.hosts.files
    assert two.hosts.files["leaf0"].public_key == one.key.public.raw
    assert chat(mesh, one, two) == 1.0


def test_auto_connect_makes_about_three_connections() -> None:
    mesh = Mesh()
    mesh.add("n0", auto_connect=True)
    for number in range(1, 12):
        mesh.add(f"n{number}", connect_to=["n0"], auto_connect=True)
    mesh.start()
    mesh.run(300)
    mesh.run_until(mesh.converged, 60)
    for sim in mesh.nodes.values():
        assert len(sim.node.core.activated) >= 3


def test_reload_starts_and_drops_connections_and_announces_subnets() -> None:
    from dataclasses import replace

    from pytinc.wire.subnet import parse_subnet

    mesh = hub_and_leaves(2)
    one = mesh.nodes["leaf0"]
    subnet = parse_subnet("02:00:00:00:00:55")
    settings = replace(one.settings, connect_to=("leaf1",), subnets=(subnet,))
    one.call(lambda node, now: node.reload(settings, now))
    mesh.run(2)
    assert [c.name for c in one.node.core.activated] == ["leaf1"]
    assert mesh.nodes["hub"].node.subnets.table.has("leaf0", subnet)
    one.call(lambda node, now: node.reload(replace(settings, subnets=()), now))
    mesh.run(1)
    assert not mesh.nodes["hub"].node.subnets.table.has("leaf0", subnet)


def test_purge_forgets_unreachable_nodes() -> None:
    mesh = hub_and_leaves(2)
    mesh.nodes["leaf1"].send_frame(ethernet(BROADCAST, mac(3)))
    mesh.run(1)
    mesh.nodes["leaf1"].crash()
    mesh.run(2)
    hub = mesh.nodes["hub"]
    assert hub.node.subnets.table.of("leaf1")
    hub.call(lambda node, now: node.purge(now))
    mesh.run(1)
    for sim in (hub, mesh.nodes["leaf0"]):
        assert not sim.node.subnets.table.of("leaf1")
    assert "leaf1" not in hub.node.peers


def test_disconnect_closes_the_connection_and_the_outgoing_side_dials_again() -> None:
    mesh = hub_and_leaves(1)
    leaf = mesh.nodes["leaf0"]
    found: list[bool] = []
    leaf.call(lambda node, now: found.append(node.disconnect("hub", now)))
    leaf.call(lambda node, now: found.append(node.disconnect("nobody", now)))
    assert found == [True, False]
    assert not leaf.node.peers["hub"].reachable
    mesh.run_until(mesh.converged, 15)


@pytest.mark.parametrize("seed", range(6))
def test_all_nodes_agree_on_the_links_after_half_of_them_crashed_at_once(seed: int) -> None:
    """Announcements of deleted links follow those of new ones; no outdated one may persist."""
    mesh = Mesh(seed)
    mesh.add("n0", auto_connect=True)
    for number in range(1, 16):
        mesh.add(f"n{number}", connect_to=["n0"], auto_connect=True)
    mesh.start()
    mesh.run(80)
    for sim in list(mesh.nodes.values())[:8]:
        sim.crash()
        mesh.at(mesh.now + 1, sim.start)
    mesh.run(60)
    mesh.run_until(mesh.paths_agree, 60)
