"""A mesh in router mode: packets reach the owner of their subnet, or its backup when the owner fails."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from pytinc.config.settings import Mode
from pytinc.node.node import Node
from pytinc.wire.subnet import parse_subnet
from sim.simulator import Mesh, SimNode, ethernet

SERVICE = "10.9.0.0/24"
V4 = b"\x08\x00"


def packet(source: str, target: str, size: int = 100) -> bytes:
    header = b"\x45\0" + size.to_bytes(2, "big") + b"\0\7\0\0\x40\x11\0\0"
    return (header + ip_address(source).packed + ip_address(target).packed).ljust(size, b"x")


def router_mesh(**services: str) -> Mesh:
    """A relay, a client behind it (10.1.0.0/16), and nodes with one subnet each."""
    mesh = Mesh(1)
    options: dict[str, Any] = {"mode": Mode.ROUTER, "ping_interval": 5, "ping_timeout": 2}
    mesh.add("relay", **options)
    subnets = {"client": "10.1.0.0/16", **services}
    for name, subnet in subnets.items():
        mesh.add(name, connect_to=["relay"], subnets=(parse_subnet(subnet),), **options)
    mesh.start()
    mesh.run_until(mesh.converged, 30)
    return mesh


def send(one: SimNode, target: str, source: str = "10.1.0.1", size: int = 100) -> None:
    one.send_frame(bytes(12) + V4 + packet(source, target, size))


def taken(sim: SimNode) -> list[bytes]:
    """Return the packets that a node has written to its device since the last call."""
    frames, sim.frames[:] = list(sim.frames), []
    return frames


def warm_up(mesh: Mesh, one: SimNode, *targets: str) -> None:
    """Exchange traffic until keys and path MTUs are known."""
    for _ in range(30):
        for target in targets:
            send(one, target)
        mesh.run(0.1)
    for sim in mesh.nodes.values():
        sim.frames.clear()


def test_a_packet_arrives_only_at_the_owner_of_its_subnet_and_is_answered() -> None:
    mesh = router_mesh(one="10.2.0.0/16", two="10.3.0.0/16")
    client, one, two = (mesh.nodes[name] for name in ("client", "one", "two"))
    warm_up(mesh, client, "10.2.0.1")
    send(client, "10.2.0.1")
    mesh.run(0.1)
    assert taken(one) == [bytes(12) + V4 + packet("10.1.0.1", "10.2.0.1")]
    send(one, "10.1.0.1", "10.2.0.1")
    mesh.run(0.1)
    assert taken(client) == [bytes(12) + V4 + packet("10.2.0.1", "10.1.0.1")]
    assert taken(two) == taken(mesh.nodes["relay"]) == []
    assert client.node.subnets.table.of("one") == [parse_subnet("10.2.0.0/16")]


def test_a_backup_replaces_a_crashed_owner_until_it_returns() -> None:
    mesh = router_mesh(main=SERVICE + "#1", backup=SERVICE + "#2")
    client, main, backup = (mesh.nodes[name] for name in ("client", "main", "backup"))
    warm_up(mesh, client, "10.9.0.1")
    send(client, "10.9.0.1")
    mesh.run(0.1)
    assert (len(taken(main)), len(taken(backup))) == (1, 0)

    main.crash()
    mesh.run(1)
    warm_up(mesh, client, "10.9.0.1")
    send(client, "10.9.0.1")
    mesh.run(0.1)
    assert len(taken(backup)) == 1
    assert taken(client) == []

    main.start()
    mesh.run_until(mesh.converged, 30)
    warm_up(mesh, client, "10.9.0.1")
    send(client, "10.9.0.1")
    mesh.run(0.1)
    assert (len(taken(main)), len(taken(backup))) == (1, 0)


def test_an_owner_that_falls_silent_is_replaced_after_its_ping_timeout() -> None:
    mesh = router_mesh(main=SERVICE + "#1", backup=SERVICE + "#2")
    client, backup = mesh.nodes["client"], mesh.nodes["backup"]
    warm_up(mesh, client, "10.9.0.1")
    mesh.underlay.cut.add("main")
    mesh.run(10)
    warm_up(mesh, client, "10.9.0.1")
    send(client, "10.9.0.1")
    mesh.run(0.1)
    assert len(taken(backup)) == 1


def test_the_sender_gets_an_icmp_error_without_a_backup() -> None:
    mesh = router_mesh(main=SERVICE)
    client = mesh.nodes["client"]
    warm_up(mesh, client, "10.9.0.1")
    mesh.nodes["main"].crash()
    mesh.run(2)
    send(client, "10.9.0.1")
    (answer,) = taken(client)
    assert answer[14 + 20 : 14 + 22] == bytes((3, 0))
    send(client, "10.200.0.1")
    (answer,) = taken(client)
    assert answer[14 + 20 : 14 + 22] == bytes((3, 6))


def test_a_subnet_added_or_removed_by_a_reload_takes_effect_everywhere() -> None:
    mesh = router_mesh(one="10.2.0.0/16", two="10.3.0.0/16")
    client, two = mesh.nodes["client"], mesh.nodes["two"]
    warm_up(mesh, client, "10.2.0.1", "10.3.0.1")
    before = two.settings

    def reload(*subnets: str) -> None:
        changed = replace(before, subnets=tuple(map(parse_subnet, subnets)))
        two.call(lambda node, now: node.reload(changed, now))
        mesh.run(1)

    reload("10.3.0.0/16", "10.2.7.0/24")
    send(client, "10.2.7.1")
    mesh.run(0.1)
    assert len(taken(two)) == 1
    reload("10.3.0.0/16")
    send(client, "10.2.7.1")
    mesh.run(0.1)
    assert taken(two) == []
    assert len(taken(mesh.nodes["one"])) == 1


def test_a_configured_broadcast_subnet_reaches_all_nodes() -> None:
    mesh = router_mesh(one="10.2.0.0/16", two="10.3.0.0/16")
    client = mesh.nodes["client"]
    shared = (parse_subnet("10.255.0.0/16"),)
    for sim in (client, mesh.nodes["relay"]):
        sim.call(lambda node, now: node.reload(replace(node.settings, broadcast_subnets=shared), now))
    warm_up(mesh, client, "10.2.0.1", "10.3.0.1")
    send(client, "224.0.0.251")
    send(client, "10.255.0.1")
    mesh.run(0.2)
    counts = {name: len(taken(sim)) for name, sim in mesh.nodes.items()}
    # The leaves do not know the second one: they have no owner for it, and report this.
    assert counts["relay"] == 2
    assert counts["one"] == counts["two"] == 1


def test_purging_a_node_removes_its_routes() -> None:
    mesh = router_mesh(one="10.2.0.0/16")
    client = mesh.nodes["client"]
    mesh.nodes["one"].crash()
    mesh.run(2)
    client.call(Node.purge)
    send(client, "10.2.0.1")
    (answer,) = taken(client)
    assert answer[34:36] == bytes((3, 6))


@pytest.mark.parametrize("mode", [Mode.SWITCH, Mode.HUB])
def test_packets_of_a_node_in_another_mode_are_dropped_and_do_no_harm(mode: Mode) -> None:
    mesh = router_mesh(one="10.2.0.0/16")
    stranger = mesh.add("stranger", connect_to=["relay"], mode=mode)
    for sim in mesh.nodes.values():
        sim.hosts.files["stranger"] = stranger.hosts.files["stranger"]
    stranger.start()
    mesh.run_until(mesh.converged, 30)
    client = mesh.nodes["client"]
    for number in range(20):
        stranger.send_frame(ethernet(b"\xff" * 6, bytes((2, 0, 0, 0, 0, number)), b"x" * 200))
        mesh.run(0.1)
    warm_up(mesh, client, "10.2.0.1")
    send(client, "10.2.0.1")
    mesh.run(0.1)
    assert len(taken(mesh.nodes["one"])) == 1
    said = [line for line in mesh.nodes["relay"].logs if "stranger sends packets of another kind" in line]
    assert len(said) == 1


@pytest.mark.parametrize("weights", [("#1", "#2"), ("", "")], ids=["other weight", "same weight"])
def test_a_silent_owner_is_skipped_until_it_answers_again(weights: tuple[str, str]) -> None:
    first, second = weights
    mesh = router_mesh(main=SERVICE + first, nackup=SERVICE + second)
    client, main, backup = (mesh.nodes[name] for name in ("client", "main", "nackup"))
    warm_up(mesh, client, "10.9.0.1")
    mesh.underlay.cut.add("main")
    arrived: list[float] = []
    for _ in range(100):
        send(client, "10.9.0.1")
        mesh.run(0.01)
        arrived += [mesh.now] * len(taken(backup))
    assert arrived
    assert mesh.now - arrived[0] > 0.5  # within half a second
    # This remains, although the mesh has not given the owner up yet.
    assert client.node.peers["main"].reachable
    for _ in range(40):
        send(client, "10.9.0.1")
        mesh.run(0.1)
    assert len(taken(backup)) >= 39
    mesh.underlay.cut.discard("main")
    peer = client.node.peers["main"]
    mesh.run_until(lambda: peer.reachable and not peer.slot.silent, 60)
    warm_up(mesh, client, "10.9.0.1")
    send(client, "10.9.0.1")
    mesh.run(0.1)
    assert len(taken(main)) == 1


def test_a_silent_owner_is_not_skipped_if_no_other_node_has_the_subnet() -> None:
    mesh = router_mesh(main=SERVICE)
    client = mesh.nodes["client"]
    warm_up(mesh, client, "10.9.0.1")
    mesh.underlay.cut.add("main")
    for _ in range(100):
        send(client, "10.9.0.1")
        mesh.run(0.01)
    view = client.node.guard_view(mesh.now)
    assert (view.watched, view.counters.probes) == (0, 0)


def test_a_silent_owner_keeps_its_subnet_with_neighbour_guard_no() -> None:
    mesh = router_mesh(main=SERVICE + "#1", nackup=SERVICE + "#2")
    client, backup = mesh.nodes["client"], mesh.nodes["nackup"]
    settings = replace(client.settings, neighbour_guard=False)
    client.call(lambda node, now: node.reload(settings, now))
    warm_up(mesh, client, "10.9.0.1")
    mesh.underlay.cut.add("main")
    for _ in range(100):
        send(client, "10.9.0.1")
        mesh.run(0.01)
    assert taken(backup) == []
