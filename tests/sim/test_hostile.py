"""Hostile peers: insiders that passed the login, and outsiders that did not. The mesh continues to work."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytinc.crypto.keys import EphemeralKey
from pytinc.node import actions
from pytinc.protocol import graph, subnet_table
from pytinc.wire import b64
from pytinc.wire.address import Address
from pytinc.wire.datagram import node_id
from pytinc.wire.records import format_kex
from sim.simulator import Mesh, RequestCounter, SimNode, ethernet

BROADCAST = b"\xff" * 6
ONE, TWO = b"\2\0\0\0\0\1", b"\2\0\0\0\0\2"


def mesh_with_insider(**settings: Any) -> tuple[Mesh, SimNode, SimNode, SimNode]:
    """Two honest leaves and an insider on one hub."""
    mesh = Mesh(3)
    mesh.add("hub", **settings)
    for name in ("evil", "one", "two"):
        mesh.add(name, connect_to=["hub"], **settings)
    mesh.start()
    mesh.run_until(mesh.converged, 30)
    return mesh, mesh.nodes["evil"], mesh.nodes["one"], mesh.nodes["two"]


def shout(mesh: Mesh, evil: SimNode, *lines: str) -> None:
    """Let the insider send arbitrary request lines."""
    for line in lines:
        evil.node.meta_output.broadcast_line(line, None)
    evil.node.meta_output.flush(mesh.now)
    evil.settle()
    mesh.run(0.5)


def assert_honest_nodes_talk(mesh: Mesh, one: SimNode, two: SimNode) -> None:
    one.send_frame(ethernet(BROADCAST, ONE))
    two.send_frame(ethernet(BROADCAST, TWO))
    mesh.run(1)
    for _ in range(3):
        one.send_frame(ethernet(TWO, ONE, b"warm-up"))
        two.send_frame(ethernet(ONE, TWO, b"warm-up"))
        mesh.run(1)
    two.frames.clear()
    one.send_frame(ethernet(TWO, ONE, b"hello"))
    mesh.run(1)
    assert two.frames == [ethernet(TWO, ONE, b"hello")]


def loud_lines(sim: SimNode) -> list[str]:
    return [line for line in sim.logs if line.split(" ", 2)[1] == "0"]


def test_too_many_subnets_are_ignored_and_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subnet_table, "MAX_SUBNETS_PER_OWNER", 100)
    mesh, evil, one, two = mesh_with_insider()
    shout(mesh, evil, *(f"10 {n:x} evil 10.{n >> 8}.{n & 255}.1" for n in range(1000)))
    hub = mesh.nodes["hub"]
    assert len(hub.node.subnets.table.of("evil")) == 100
    assert len(loud_lines(hub)) == 1
    assert hub.node.peers["evil"].reachable
    assert_honest_nodes_talk(mesh, one, two)


def test_too_many_nodes_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "MAX_NODES", 20)
    mesh, evil, one, two = mesh_with_insider()
    shout(mesh, evil, *(f"12 {n:x} ghost{n} spook{n} 10.0.0.9 655 c 1" for n in range(500)))
    for sim in (mesh.nodes["hub"], one, two):
        assert len(sim.node.peers) <= 20
        assert len(sim.node.table.slots) <= 20
        assert len(loud_lines(sim)) <= 5
    assert_honest_nodes_talk(mesh, one, two)


def test_nodes_correct_false_claims_about_their_edges() -> None:
    mesh, evil, one, two = mesh_with_insider()
    shout(
        mesh,
        evil,
        "12 1 one two 10.9.9.9 655 700000c 1",
        "13 2 hub two",
        "12 3 hub evil 10.9.9.9 1 1 -2000000000",
    )
    mesh.run(2)
    assert mesh.converged()
    for sim in mesh.nodes.values():
        edge = sim.node.topology.graph.edge("hub", "evil")
        assert edge is not None
        assert edge.weight >= 0
        assert sim.node.topology.graph.edge("one", "two") is None
    assert_honest_nodes_talk(mesh, one, two)


def test_we_stop_answering_endless_false_claims_about_our_edges() -> None:
    mesh, evil, one, two = mesh_with_insider()
    with RequestCounter() as counter:
        for turn in range(300):
            shout(mesh, evil, f"12 {turn:x} hub ghost 10.0.0.9 655 c 1", f"13 {turn:x} hub evil")
            mesh.run(0.05)
        mesh.run(10)
        assert sum(counter.sent.values()) < 60_000
    assert any("same Name" in line for line in mesh.nodes["hub"].logs) or mesh.converged()
    assert_honest_nodes_talk(mesh, one, two)


@pytest.mark.parametrize(
    "line",
    [
        "1 427 672 0 0 AB",
        "4 655 1 c",
        "5",
        "6 0 x",
        "18 0",
        "12 1 a b 10.0.0.1 655 c",
        "12 1 a a 10.0.0.1 655 c 1",
        "10 1 evil 10.0.0.0/99",
        "15 evil",
        "16 evil hub K",
        "23 evil hub 1",
        "17 -5",
        "21 3",
        "999",
        "nonsense",
    ],
)
def test_a_broken_request_costs_only_the_connection_of_its_sender(line: str) -> None:
    mesh, evil, one, two = mesh_with_insider()
    shout(mesh, evil, line)
    hub = mesh.nodes["hub"]
    assert not hub.node.peers["evil"].is_neighbour
    assert hub.node.peers["one"].is_neighbour
    assert_honest_nodes_talk(mesh, one, two)


def test_forged_and_broken_key_messages_change_nothing() -> None:
    mesh, evil, one, two = mesh_with_insider()
    assert_honest_nodes_talk(mesh, one, two)
    before = two.node.peers["one"].slot.session
    junk = "A" * 94
    shout(
        mesh,
        evil,
        "15 nobody two 15 AAAA",
        "15 evil two",
        "15 evil two 15 !!!",
        "15 evil two 99 x",
        f"15 evil two 20 {'B' * 43}",
        f"16 one two {junk} -1 -1 -1 0",
        f"16 one two {junk} 427 672 4 0",
        f"16 evil two {junk} -1 -1 -1 77",
        "22 two one 10.9.9.9 655",
        "23 two one 600",
    )
    assert two.node.peers["one"].slot.session is before
    assert two.hosts.files["evil"].public_key == evil.key.public.raw
    assert_honest_nodes_talk(mesh, one, two)


def test_a_tunnel_works_while_handshakes_are_forged_in_the_name_of_both_ends() -> None:
    mesh, evil, one, two = mesh_with_insider()
    assert_honest_nodes_talk(mesh, one, two)
    text = bytes(400)  # compresses well
    for _ in range(20):
        kex = b64.encode(bytes(4) + b"\x80" + format_kex(bytes(32), EphemeralKey(bytes(31) + b"\1").public))
        pairs = ("one two", "two one")
        shout(mesh, evil, *(f"15 {pair} 15 {kex}" for pair in pairs))
        shout(mesh, evil, *(f"16 {pair} {'A' * 94} -1 -1 -1 9 10.9.9.9 655" for pair in pairs))
        two.frames.clear()
        one.frames.clear()
        one.send_frame(ethernet(TWO, ONE, text))
        two.send_frame(ethernet(ONE, TWO, text))
        mesh.run(0.1)
        assert (two.frames, one.frames) == ([ethernet(TWO, ONE, text)], [ethernet(ONE, TWO, text)])


def test_a_stranger_that_sends_a_byte_a_second_is_disconnected() -> None:
    mesh, _, one, two = mesh_with_insider()
    hub = mesh.nodes["hub"].node
    number = hub.meta_accepted(Address("10.7.7.7", "4000"), Address("10.0.0.1", "655"), mesh.now)
    mesh.nodes["hub"].settle()
    for _ in range(12):
        hub.meta_data(number, b"0", mesh.now)
        mesh.nodes["hub"].settle()
        mesh.run(1)
    assert hub.core.connections.get(number) is None
    assert_honest_nodes_talk(mesh, one, two)


def test_the_number_of_silent_strangers_is_bounded_and_they_are_forgotten() -> None:
    mesh, _, one, two = mesh_with_insider()
    hub = mesh.nodes["hub"].node
    refused = 0
    for port in range(2000):
        hub.meta_accepted(Address("10.7.7.7", str(1024 + port)), Address("10.0.0.1", "655"), mesh.now)
        refused += any(isinstance(action, actions.CloseMeta) for action in hub.take_actions())
    assert refused >= 1980
    assert len(hub.core.connections) <= 3 + 11
    mesh.run(10)
    assert len(hub.core.connections) == 3
    assert_honest_nodes_talk(mesh, one, two)


@pytest.mark.parametrize(("hosts", "rate"), [(1, 200), (100, 5)])
def test_a_known_node_comes_back_through_a_flood_of_connections(hosts: int, rate: int) -> None:
    mesh, _, one, two = mesh_with_insider()
    hub = mesh.nodes["hub"]

    def knock(seconds: float) -> None:
        for tick in range(int(seconds * rate)):
            for host in range(hosts):
                remote = Address(f"10.7.7.{host}", str(1024 + tick))
                hub.call(lambda node, now, remote=remote: node.meta_accepted(remote, hub.address, now))  # type: ignore[misc]
            mesh.run(1 / rate)

    knock(3)
    one.crash()
    knock(2)
    assert not hub.node.peers["one"].reachable
    one.start()
    knock(5)
    assert hub.node.peers["one"].reachable
    assert len(hub.node.core.connections) < 50
    assert_honest_nodes_talk(mesh, one, two)


def test_replayed_and_forged_datagrams_neither_move_nor_restart_a_tunnel() -> None:
    mesh, _, one, two = mesh_with_insider()
    assert_honest_nodes_talk(mesh, one, two)
    session = one.node.peers["two"].slot.session
    address = one.node.peers["two"].slot.address
    assert session is not None
    peer = two.node.peers["one"].slot
    assert peer.session is not None
    genuine = peer.session.seal_batch(bytes(6) + node_id("two"), 2, [ethernet(ONE, TWO, b"once")])
    one.frames.clear()
    for source in [("10.0.0.4", 655), *[("10.9.9.9", 4000)] * 50]:
        one.call(lambda node, now, source=source: node.datagrams(genuine, [source], 0, now))  # type: ignore[misc]
    forged = [bytes(6) + node_id("two") + bytes([n]) * 60 for n in range(200)]
    for source in (("10.0.0.4", 655), ("10.9.9.9", 4000)):
        addresses = [source] * len(forged)
        one.call(lambda node, now, a=addresses: node.datagrams(forged, a, 0, now))  # type: ignore[misc]
    assert one.frames == [ethernet(ONE, TWO, b"once")]
    assert one.node.peers["two"].slot.session is session
    assert one.node.peers["two"].slot.address == address
    assert_honest_nodes_talk(mesh, one, two)


MESH, _, _, _ = mesh_with_insider()
IDS = [bytes(6), *(node_id(name) for name in ("hub", "one", "two", "evil", "nobody"))]


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(IDS),
            st.sampled_from(IDS),
            st.binary(max_size=80) | st.binary(min_size=1500, max_size=1700),
        ),
        max_size=8,
    ),
    st.sampled_from([("10.0.0.2", 655), ("10.0.0.3", 655), ("192.0.2.9", 1)]),
)
def test_no_datagram_from_outside_makes_a_node_fail_or_delivers_a_frame(
    parts: list[tuple[bytes, bytes, bytes]], source: tuple[str, int]
) -> None:
    hub = MESH.nodes["hub"]
    hub.frames.clear()
    datagrams = [destination + origin + rest for destination, origin, rest in parts]
    hub.call(lambda node, now: node.datagrams(datagrams, [source] * len(datagrams), 0, now))
    assert hub.frames == []
    assert not loud_lines(hub)
