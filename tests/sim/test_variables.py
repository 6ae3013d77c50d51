"""The effect of a variable between nodes: each test sets one, and compares with the same mesh without it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pytinc.config.settings import Broadcast, Forwarding, HostPort, Mode
from pytinc.node import actions, views
from pytinc.node.path_kind import PathKind
from pytinc.node.stats import node_stats
from pytinc.wire.address import Address
from pytinc.wire.bits import NodeStatus
from pytinc.wire.requests import Number
from sim.simulator import Mesh, RequestCounter, SimNode, ethernet

EVERYBODY = b"\xff" * 6
ONE, TWO = bytes((2, 0, 0, 0, 0, 1)), bytes((2, 0, 0, 0, 0, 2))


def pair(**settings: Any) -> Mesh:
    """Two neighbours, one and two."""
    mesh = Mesh(1)
    mesh.add("one", **settings)
    mesh.add("two", connect_to=["one"], **settings)
    return started(mesh)


def trio(one: dict[str, Any] | None = None, hub: dict[str, Any] | None = None, **both: Any) -> Mesh:
    """One and two are neighbours only of hub; ``one`` and ``hub`` are settings of only these nodes."""
    mesh = Mesh(1)
    mesh.add("hub", **both | (hub or {}))
    mesh.add("one", connect_to=["hub"], **both | (one or {}))
    mesh.add("two", connect_to=["hub"], **both)
    return started(mesh)


def started(mesh: Mesh) -> Mesh:
    mesh.start()
    mesh.run_until(mesh.converged, 30)
    return mesh


def chat(mesh: Mesh, seconds: float = 4.0, size: int = 1000) -> float:
    """Let one and two send each other frames; return the share that arrived."""
    one, two = mesh.nodes["one"], mesh.nodes["two"]
    one.frames.clear()
    two.frames.clear()
    rounds = round(seconds / 0.1)
    for _ in range(rounds):
        one.send_frame(ethernet(TWO, ONE, b"x" * size))
        two.send_frame(ethernet(ONE, TWO, b"y" * size))
        mesh.run(0.1)
    mesh.run(0.2)
    arrived = sum(frame[:6] == ONE for frame in one.frames) + sum(frame[:6] == TWO for frame in two.frames)
    return arrived / (2 * rounds)


def introduced(mesh: Mesh) -> Mesh:
    """Let all nodes learn the MAC of two."""
    mesh.nodes["two"].send_frame(ethernet(EVERYBODY, TWO))
    mesh.run(1)
    for sim in mesh.nodes.values():
        sim.frames.clear()
    return mesh


def view(sim: SimNode, name: str) -> views.NodeView:
    return next(view for view in views.nodes(sim.node) if view.name == name)


def is_proved(mesh: Mesh) -> bool:
    return bool(view(mesh.nodes["one"], "two").status & NodeStatus.UDP_CONFIRMED)


def attempts(sim: SimNode) -> list[tuple[float, int]]:
    """Record time and length of every datagram that the node sends from now on, even if it is lost."""
    found: list[tuple[float, int]] = []
    send = sim._send_datagram

    def noted(sockaddr: tuple[str, int], data: bytes, relay: str) -> None:
        found.append((sim.mesh.now, len(data)))
        send(sockaddr, data, relay)

    sim._send_datagram = noted  # type: ignore[method-assign,assignment]
    return found


# -- the receivers of a frame --


@pytest.mark.parametrize(("mode", "hub", "two"), [(Mode.SWITCH, 0, 1), (Mode.HUB, 1, 1), (Mode.ROUTER, 0, 0)])
def test_a_switch_sends_a_frame_to_the_known_destination_and_a_hub_to_all(
    mode: Mode, hub: int, two: int
) -> None:
    mesh = introduced(trio(mode=mode))
    for _ in range(10):  # until there is a key
        mesh.nodes["one"].send_frame(ethernet(TWO, ONE))
        mesh.run(0.2)
    mesh.nodes["two"].frames.clear()
    mesh.nodes["hub"].frames.clear()
    mesh.nodes["one"].send_frame(ethernet(TWO, ONE))
    mesh.run(0.2)
    assert len(mesh.nodes["hub"].frames) == hub
    assert len(mesh.nodes["two"].frames) == two


@pytest.mark.parametrize(("limit", "arrived"), [(5, 5), (0, 20)])
def test_a_node_floods_no_more_than_the_broadcast_limit_says(limit: int, arrived: int) -> None:
    mesh = trio(one={"broadcast_limit": limit}, hub={"broadcast_limit": 0})
    for _ in range(20):
        mesh.nodes["one"].send_frame(ethernet(EVERYBODY, ONE))
    mesh.run(0.2)
    assert len(mesh.nodes["two"].frames) == arrived


@pytest.mark.parametrize(("mode", "arrived"), [("mst", 1), ("direct", 0), ("no", 0)])
def test_broadcasts_are_passed_on_along_the_tree_only(mode: str, arrived: int) -> None:
    mesh = trio(hub={"broadcast": Broadcast(mode)})
    mesh.nodes["one"].send_frame(ethernet(EVERYBODY, ONE))
    mesh.run(1)
    assert len(mesh.nodes["hub"].frames) == 1
    assert len(mesh.nodes["two"].frames) == arrived


@pytest.mark.parametrize(
    ("forwarding", "hub", "two"),
    [(Forwarding.INTERNAL, 0, 1), (Forwarding.OFF, 0, 0), (Forwarding.KERNEL, 1, 0)],
)
def test_forwarding_decides_about_a_frame_of_one_peer_for_another(
    forwarding: Forwarding, hub: int, two: int
) -> None:
    # A node in hub mode lets its neighbour find the owner.
    mesh = introduced(trio(one={"mode": Mode.HUB}, hub={"forwarding": forwarding}))
    mesh.nodes["one"].send_frame(ethernet(TWO, ONE))
    mesh.run(1)
    assert len(mesh.nodes["hub"].frames) == hub
    assert len(mesh.nodes["two"].frames) == two


@pytest.mark.parametrize(("decrements", "hops"), [(False, 64), (True, 63)])
def test_a_forwarded_packet_loses_a_hop_if_configured(decrements: bool, hops: int) -> None:
    mesh = trio(hub={"decrement_ttl": decrements})
    packet = b"\x45\0\0\x28" + bytes(4) + b"\x40\x11" + bytes(30)
    mesh.nodes["one"].send_frame(ethernet(EVERYBODY, ONE, packet, 0x0800))
    mesh.run(1)
    (frame,) = mesh.nodes["two"].frames
    assert frame[14 + 8] == hops


@pytest.mark.parametrize("direct_only", [False, True])
def test_an_indirect_node_gets_nothing_with_direct_only(direct_only: bool) -> None:
    mesh = trio(one={"direct_only": direct_only}, indirect_data=True)
    mesh = introduced(mesh)
    chat(mesh)
    mesh.nodes["two"].frames.clear()
    mesh.nodes["one"].send_frame(ethernet(TWO, ONE))
    mesh.run(0.2)
    assert len(mesh.nodes["two"].frames) == (0 if direct_only else 1)


@pytest.mark.parametrize(("clamps", "mss"), [(True, 1385), (False, 1460)])
def test_the_mss_of_a_syn_is_clamped_unless_neither_end_wants_it(clamps: bool, mss: int) -> None:
    mesh = pair(clamp_mss=clamps)
    chat(mesh)
    mesh.nodes["two"].frames.clear()
    syn = bytes(12) + b"\x60\x02" + bytes(6) + bytes((2, 4)) + (1460).to_bytes(2, "big")
    packet = b"\x45\0\0\x2c" + bytes(4) + b"\x40\x06" + bytes(10) + syn
    mesh.nodes["one"].send_frame(ethernet(TWO, ONE, packet, 0x0800))
    mesh.run(0.2)
    (frame,) = mesh.nodes["two"].frames
    assert int.from_bytes(frame[14 + 20 + 22 : 14 + 20 + 24], "big") == mss


# -- the path of a packet --


@pytest.mark.parametrize(
    ("indirect", "path"), [(False, (PathKind.UDP, None)), (True, (PathKind.RELAYED, "hub"))]
)
def test_a_node_with_indirect_data_is_reached_only_through_its_neighbour(
    indirect: bool, path: tuple[PathKind, str | None]
) -> None:
    mesh = trio(indirect_data=indirect)
    chat(mesh)
    assert chat(mesh) == 1.0
    (found,) = [
        (stats.path, stats.relay)
        for stats in node_stats(mesh.nodes["one"].node, mesh.now).peers
        if stats.name == "two"
    ]
    assert found == path


@pytest.mark.parametrize("indirect", [False, True])
def test_a_worn_key_is_renewed_on_a_straight_path_and_behind_a_relay(
    indirect: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytinc.protocol.sptps.datagram.REKEY_AFTER", 60)
    mesh = trio(indirect_data=indirect)
    chat(mesh)
    session = mesh.nodes["one"].node.peers["two"].slot.session
    assert session is not None
    changes = session.key_changes
    assert chat(mesh, 20) >= 0.99
    assert mesh.nodes["one"].node.peers["two"].slot.session is session
    assert changes < session.key_changes < changes + 10


@pytest.mark.parametrize(("searches", "longest"), [(True, 1500 - 28), (False, 100)])
def test_no_long_probe_is_sent_without_path_mtu_discovery(searches: bool, longest: int) -> None:
    mesh = Mesh(1)
    mesh.add("one", pmtu_discovery=searches)
    mesh.add("two", connect_to=["one"])
    sent = attempts(mesh.nodes["one"])
    started(mesh)
    chat(mesh, size=20)
    assert is_proved(mesh)
    assert (max(size for _, size in sent) > 100) == searches
    assert max(size for _, size in sent) <= longest
    assert (view(mesh.nodes["one"], "two").minmtu == 1439) == searches


@pytest.mark.parametrize("where", ["tinc.conf", "host file"])
def test_pmtu_bounds_the_mtu_of_a_new_neighbour(where: str) -> None:
    mesh = Mesh(1)
    one = mesh.add("one", pmtu=1000 if where == "tinc.conf" else 1300, pmtu_discovery=False)
    mesh.add("two", connect_to=["one"])
    if where == "host file":
        one.hosts.files["two"] = replace(one.hosts.files["two"], pmtu=1000)
    started(mesh)
    assert view(one, "two").mtu == 1000
    assert view(mesh.nodes["two"], "one").mtu == 1518


@pytest.mark.parametrize(("window", "arrived"), [(16, 1), (0, 2)])
def test_a_replay_window_of_0_accepts_the_same_datagram_twice(window: int, arrived: int) -> None:
    mesh = pair(replay_window=window)
    chat(mesh)
    two = mesh.nodes["two"]
    kept: list[bytes] = []
    take = two.node.datagrams

    def keep(data: list[bytes], *rest: object) -> None:
        kept.extend(data)
        take(data, *rest)  # type: ignore[arg-type]

    two.node.datagrams = keep  # type: ignore[method-assign,assignment]
    two.frames.clear()
    mesh.nodes["one"].send_frame(ethernet(TWO, ONE, b"once"))
    mesh.run(0.01)
    (datagram,) = kept
    source = mesh.nodes["one"].address.sockaddr()
    two.call(lambda node, now: take([datagram], [source], 0, now))
    assert len([frame for frame in two.frames if frame.endswith(b"once")]) == arrived


@pytest.mark.parametrize("level", [0, 6])
def test_a_node_gets_compressed_packets_if_it_asks_for_them(level: int) -> None:
    mesh = Mesh(1)
    mesh.add("one")
    mesh.add("two", connect_to=["one"], compression=level)
    started(mesh)
    chat(mesh)
    sent, answered = attempts(mesh.nodes["one"]), attempts(mesh.nodes["two"])
    mesh.nodes["two"].frames.clear()
    frame = ethernet(TWO, ONE, bytes(1000))
    mesh.nodes["one"].send_frame(frame)
    mesh.nodes["two"].send_frame(ethernet(ONE, TWO, bytes(1000)))
    mesh.run(0.2)
    assert max(size for _, size in answered) > 1000
    assert (max(size for _, size in sent) < 100) == (level > 0)
    assert mesh.nodes["two"].frames == [frame]


@pytest.mark.parametrize(("left", "right", "way"), [(10, 20, "left"), (20, 10, "right")])
@pytest.mark.parametrize("where", ["tinc.conf", "host file"])
def test_the_path_with_the_smaller_weights_is_used(where: str, left: int, right: int, way: str) -> None:
    mesh = Mesh(1)
    for name, weight in (("left", left), ("right", right)):
        mesh.add(name, weight=weight if where == "tinc.conf" else 1)
    one, two = (mesh.add(name, connect_to=["left", "right"], weight=1) for name in ("one", "two"))
    if where == "host file":
        for sim in (one, two):
            for name, weight in (("left", left), ("right", right)):
                sim.hosts.files[name] = replace(sim.hosts.files[name], weight=weight)
    started(mesh)
    mesh.run(5)
    assert view(one, "two").nexthop == way


# -- how often and how long --


def without_udp(mesh: Mesh) -> Mesh:
    mesh.underlay.no_udp.add(frozenset(("one", "two")))
    return mesh


def in_a_minute(mesh: Mesh) -> int:
    """Count the datagrams that one sends while it and two exchange frames."""
    chat(mesh)
    sent = attempts(mesh.nodes["one"])
    chat(mesh, 60)
    return len(sent)


def test_no_node_is_probed_without_udp_discovery() -> None:
    def asked(discovery: bool) -> int:
        mesh = Mesh(1)
        for name, connect_to in (("one", []), ("two", ["one"])):
            mesh.add(name, connect_to=connect_to, udp_discovery=discovery, pmtu_discovery=False)
        return in_a_minute(started(without_udp(mesh)))

    assert asked(discovery=True) > 20
    assert asked(discovery=False) == 0


@pytest.mark.parametrize(("interval", "least", "most"), [(2, 25, 32), (10, 5, 7)])
def test_an_unproved_address_is_probed_once_per_interval(interval: int, least: int, most: int) -> None:
    mesh = without_udp(pair(udp_discovery_interval=interval, local_discovery=False))
    mesh.run(40)
    assert not is_proved(mesh)
    assert least <= in_a_minute(mesh) <= most


@pytest.mark.parametrize(("local", "times"), [(True, 2), (False, 1)])
def test_an_unproved_address_and_a_local_one_are_probed_together(local: bool, times: int) -> None:
    mesh = without_udp(pair(local_discovery=local))
    mesh.run(40)
    assert not is_proved(mesh)
    sent = attempts(mesh.nodes["one"])
    chat(mesh, 10)
    moments = {when for when, _ in sent}
    assert len(moments) >= 3
    assert len(sent) == times * len(moments)


@pytest.mark.parametrize(("keepalive", "least", "most"), [(10, 24, 33), (50, 3, 9)])
def test_a_proved_address_is_probed_once_per_keepalive_interval(
    keepalive: int, least: int, most: int
) -> None:
    mesh = pair(udp_discovery_keepalive_interval=keepalive, udp_discovery_timeout=600, pmtu_discovery=False)
    chat(mesh)
    assert is_proved(mesh)
    sent = attempts(mesh.nodes["one"])
    mesh.run(100)
    # Each interval has a request, the reply to the other's request, and an unrequested reply.
    assert least <= len(sent) <= most


@pytest.mark.parametrize(("timeout", "least", "most"), [(30, 20, 31), (8, 1, 9)])
def test_udp_is_given_up_after_its_timeout(timeout: int, least: float, most: float) -> None:
    mesh = pair(udp_discovery_timeout=timeout, udp_discovery_keepalive_interval=2)
    chat(mesh)
    assert is_proved(mesh)
    without_udp(mesh)
    assert least <= mesh.run_until(lambda: not is_proved(mesh), 60) <= most


def test_nodes_behind_a_relay_get_an_address_once_per_udp_info_interval() -> None:
    def told(seconds: int) -> int:
        mesh = without_udp(trio(udp_info_interval=seconds))
        return counted(mesh, Number.UDP_INFO)

    assert told(30) > 0
    assert told(5) >= 3 * told(30)


def test_a_relay_that_is_no_neighbour_gets_an_mtu_once_per_mtu_info_interval() -> None:
    def told(seconds: int) -> int:
        mesh = Mesh(1)
        mesh.add("hub", mtu_info_interval=seconds)
        mesh.add("one", connect_to=["hub"], mtu_info_interval=seconds)
        mesh.add("relay", connect_to=["hub"], mtu_info_interval=seconds)
        mesh.add("two", connect_to=["relay"], mtu_info_interval=seconds, indirect_data=True)
        return counted(started(mesh), Number.MTU_INFO)

    assert told(30) > 0
    assert told(5) >= 3 * told(30)


def counted(mesh: Mesh, number: Number) -> int:
    """Count the requests of one kind in a minute in which one and two exchange frames."""
    chat(mesh, 10)
    with RequestCounter() as counter:
        chat(mesh, 60)
    return counter.sent[number]


# -- connections --


@pytest.mark.parametrize(("interval", "least", "most"), [(10, 16, 24), (60, 2, 4)])
def test_a_quiet_neighbour_is_pinged_once_per_ping_interval(interval: int, least: int, most: int) -> None:
    mesh = pair(ping_interval=interval)
    with RequestCounter() as counter:
        mesh.run(120)
    assert least <= counter.sent[Number.PING] <= most  # of both nodes together


@pytest.mark.parametrize("timeout", [3, 15])
def test_a_neighbour_that_does_not_answer_a_ping_is_dropped_after_the_ping_timeout(timeout: int) -> None:
    mesh = pair(ping_interval=20, ping_timeout=timeout)
    mesh.underlay.delay = 0.1
    (connection,) = mesh.nodes["one"].node.core.activated
    mesh.run_until(lambda: connection.pinged, 60)
    mesh.underlay.cut.add("two")
    took = mesh.run_until(lambda: not mesh.nodes["one"].node.peers["two"].reachable, 60)
    assert timeout - 0.1 <= took <= timeout + 2.5


def test_auto_connect_decides_whether_a_node_dials_one_that_it_only_knows() -> None:
    for wanted in (True, False):
        mesh = Mesh(1)
        mesh.add("one", auto_connect=wanted)
        mesh.add("two")
        one = mesh.nodes["one"]
        mesh.start()
        mesh.run(60)
        assert ([c.name for c in one.node.core.activated] == ["two"]) == wanted


def test_a_node_is_dialled_at_the_addresses_and_the_port_of_its_host_file() -> None:
    mesh = Mesh(1)
    one = mesh.add("one", connect_to=["two"])
    mesh.add("two")
    addresses = (HostPort("10.5.5.5", "1234"), HostPort("10.5.5.6"))
    one.hosts.files["two"] = replace(one.hosts.files["two"], addresses=addresses, port="4321")
    dialled: list[Address] = []
    dial = one._dial

    def noted(number: int, address: Address) -> None:
        dialled.append(address)
        dial(number, address)

    one._dial = noted  # type: ignore[method-assign]
    one.start()
    mesh.run_until(lambda: len(dialled) >= 2, 60)
    assert dialled[:2] == [Address("10.5.5.5", "1234"), Address("10.5.5.6", "4321")]


@pytest.mark.parametrize("burst", [2, 10])
def test_the_number_of_connections_accepted_at_once_is_bounded(burst: int) -> None:
    mesh = Mesh(1)
    one = mesh.add("one", max_connection_burst=burst)
    one.start()
    refused = []
    for number in range(20):
        one.node.meta_accepted(Address(f"10.7.0.{number}", "4000"), one.address, mesh.now)
        refused.append(any(isinstance(action, actions.CloseMeta) for action in one.node.take_actions()))
    assert refused == [False] * burst + [True] * (20 - burst)
