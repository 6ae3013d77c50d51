"""What peers and strangers can use up, and what must not break on their account."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytinc.datapath.peer_slot import PeerSlot
from pytinc.datapath.table import ForwardingTable
from pytinc.node.connections import Burst
from pytinc.wire.requests import Ping
from pytinc.wire.subnet import parse_subnet
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
        evil.node.meta_output.broadcast_line(line, None)
    evil.node.meta_output.flush()
    evil.settle()
    mesh.run(0.5)


def test_refused_connections_do_not_keep_the_bucket_full() -> None:
    burst = Burst()
    assert [burst.is_exceeded(3, 0.0) for _ in range(50)] == [False] * 3 + [True] * 47
    assert not burst.is_exceeded(3, 1.0)
    assert burst.is_exceeded(3, 1.0)


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


def test_invented_nodes_keep_neither_a_reload_nor_an_honest_node_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytinc.protocol.graph.MAX_NODES", 20)
    mesh, hub, evil = pair()
    shout(mesh, evil, *(f"10 {number:x} ghost{number} 10.0.{number}.0/24" for number in range(30)))
    assert len(hub.node.peers) == 20
    new = mesh.add("new", connect_to=["hub"])
    hub.call(lambda node, now: node.reload(replace(hub.settings, connect_to=("new",)), now))
    new.start()
    mesh.run(10)
    assert hub.node.peers["new"].reachable


def test_invented_edges_do_not_keep_an_honest_node_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytinc.protocol.graph.MAX_EDGES", 20)
    mesh, hub, evil = pair()
    shout(mesh, evil, *(f"12 {number:x} evil ghost{number} 10.0.0.9 655 c 1" for number in range(30)))
    mesh.nodes["late"].start()
    mesh.run(10)
    assert hub.node.peers["late"].reachable
    assert sum(1 for _ in hub.node.topology.graph.edges()) == 22


def test_invented_subnets_leave_room_for_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytinc.protocol.switch.MAX_SUBNETS", 20)
    mesh, hub, evil = pair()
    shout(mesh, evil, *(f"10 {number:x} evil 10.0.{number}.0/24" for number in range(30)))
    subnet = parse_subnet("10.200.0.0/24")
    hub.call(lambda node, now: node.reload(replace(hub.settings, subnets=(subnet,)), now))
    assert hub.node.subnets.table.has("hub", subnet)
    mesh.run(1)
    assert hub.node.peers["evil"].reachable


@pytest.mark.parametrize("leaves", [True, False])
def test_the_work_for_many_nodes_that_come_or_go_at_once_grows_no_faster_than_they_do(
    monkeypatch: pytest.MonkeyPatch, leaves: bool
) -> None:
    mesh, hub, evil = pair()
    count = 200
    shout(
        mesh,
        evil,
        *(f"12 {number:x} ghost ghost{number} 10.0.0.9 655 700000c 1" for number in range(count)),
        *(f"12 {number:x} ghost{number} ghost 10.0.0.9 655 700000c 1" for number in range(count)),
        "12 a000 evil ghost 10.0.0.9 655 700000c 1",
    )
    if leaves:
        shout(mesh, evil, "12 a001 ghost evil 10.0.0.9 655 700000c 1")
        for name, peer in hub.node.peers.items():
            if name.startswith("ghost"):
                peer.slot.minmtu = 1400  # as if UDP to all of them worked
    paths = 0
    refresh = ForwardingTable.refresh

    def counted(table: ForwardingTable, slot: PeerSlot) -> None:
        nonlocal paths
        paths += table is hub.node.table
        refresh(table, slot)

    monkeypatch.setattr(ForwardingTable, "refresh", counted)
    shout(mesh, evil, f"{13 if leaves else 12} a002 ghost evil{'' if leaves else ' 10.0.0.9 655 700000c 1'}")
    assert hub.node.peers["ghost7"].reachable is not leaves
    assert hub.node.peers["ghost7"].slot.minmtu == 0
    assert paths < 5 * count


def test_an_overlong_packet_by_tcp_is_counted_and_goes_nowhere() -> None:
    mesh, hub, evil = pair()
    (connection,) = evil.node.core.activated
    before = hub.node.table.total_drops().oversized
    for size in (1674, 32767):
        connection.meta.send_sptps_packet(hub.node.me.slot.id + evil.node.me.slot.id + bytes(size - 12))
    evil.node.meta_output.send(connection, Ping())
    evil.call(lambda node, now: node.tick(now))
    mesh.run(1)
    assert hub.node.table.total_drops().oversized == before + 2
    assert hub.node.peers["evil"].reachable


def test_an_address_that_no_packet_can_be_sent_to_gives_way_to_a_good_one() -> None:
    mesh, hub, evil = pair()
    shout(mesh, evil, "12 1 evil ghost unspec unspec 700000c 1", "12 2 ghost evil 10.0.0.9 655 700000c 1")
    assert hub.node.peers["ghost"].reachable
    shout(mesh, evil, "12 3 evil ghost 10.0.0.9 655 700000c 1")
    assert hub.node.peers["ghost"].slot.address == ("10.0.0.9", 655)


def test_a_reload_takes_over_max_timeout_and_forgets_the_address_of_a_host_file_that_is_gone() -> None:
    mesh, hub, _ = pair()
    hub.call(lambda node, now: node.reload(replace(hub.settings, connect_to=("late",), max_timeout=900), now))
    mesh.run(30)
    hub.call(lambda node, now: node.reload(replace(hub.settings, connect_to=("late",), max_timeout=5), now))
    mesh.run(60)
    hub.logs.clear()
    mesh.run(60)
    waits = [line for line in hub.logs if "re-establish" in line]
    assert len(waits) >= 9
    assert all("in 5 seconds" in line for line in waits)
    assert hub.node.peers["late"].has_address
    del hub.hosts.files["late"]
    hub.call(lambda node, now: node.reload(hub.settings, now))
    assert not hub.node.peers["late"].has_address
