"""``balance=flow`` in a simulated mesh: a client's node spreads its flows; only those of a dead member move.

n1 is the entry, n2 to n4 are members, n5 is the client's node. The members' hosts tell who got which flow.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest

from pytinc.wire.ethernet import IPV4, IPV6
from pytinc.wire.ip import PROTOCOL_UDP
from pytinc.wire.virtual_ip import Balance, VirtualIP
from sim.hosts import Host
from sim.simulator import Mesh, SimNode
from sim.test_guard import MEMBERS, VIP, VIP6, mac_of, own_address

FLOWS = 300


class Server(Host):
    """Notes the flows that it gets."""

    def __init__(self, sim: SimNode, mac: bytes, *addresses: bytes) -> None:
        super().__init__(sim, mac, *addresses)
        self.got: dict[int, float] = {}
        """When the last packet of each flow came, by source port."""

    def _on_packet(self, frame: bytes) -> None:
        body = 34 if frame[12:14] == IPV4 else 54
        if frame[23 if body == 34 else 20] == PROTOCOL_UDP:
            self.got[int.from_bytes(frame[body : body + 2], "big")] = self.mesh.now
        else:
            super()._on_packet(frame)


@dataclass
class World:
    mesh: Mesh
    servers: dict[str, Server]
    client: Host
    vip: bytes

    def send(self, *ports: int) -> dict[int, str]:
        """Send a packet of each flow; return the member that got it, for those that arrived."""
        for server in self.servers.values():
            server.got.clear()
        mac = self.client.entries[self.vip].mac
        for port in ports:
            self.client._transmit(mac + self.client.mac + self._packet(port))
        self.mesh.run(0.05)
        return {port: name for name, server in self.servers.items() for port in server.got}

    def _packet(self, port: int) -> bytes:
        own, body = self.client._own(self.vip), port.to_bytes(2, "big") + b"\0\x50" + bytes(20)
        if len(self.vip) == 4:
            return IPV4 + b"\x45" + bytes(8) + b"\x11\0\0" + own + self.vip + body
        return IPV6 + b"\x60" + bytes(5) + b"\x11\x40" + own + self.vip + body

    def call(self, name: str, method: str) -> None:
        self.mesh.nodes[name].call(lambda node, now: getattr(node, method)(now))


def build(vip: bytes = VIP, weights: tuple[int, ...] = (10, 10, 10)) -> World:
    mesh = Mesh(1)
    servers: dict[str, Server] = {}
    for number, name in enumerate(("n1", *MEMBERS, "n5"), 1):
        is_member = name in MEMBERS
        weight = weights[MEMBERS.index(name)] if is_member else 10
        config = VirtualIP(vip, 8 * len(vip), balance=Balance.FLOW, weight=weight)
        sim = mesh.add(
            name,
            connect_to=() if name == "n1" else ("n1",),
            neighbour_guard=name != "n1",
            virtual_ips=(config,) if is_member else (),
            ping_interval=5,
            ping_timeout=3,
        )
        if is_member:
            servers[name] = Server(sim, mac_of(number), own_address(number, vip), vip)
        else:
            client = Host(sim, mac_of(number), own_address(number, vip))
    mesh.start()
    mesh.run_until(mesh.converged, 30)
    mesh.run(4)
    world = World(mesh, servers, client, vip)
    client.ping(vip, 0.05)
    mesh.run(3)
    return world


@pytest.mark.parametrize("vip", [VIP, VIP6], ids=["IPv4", "IPv6"])
def test_a_member_that_is_cut_off_takes_its_flows_alone_and_new_ones_work_within_a_second(
    vip: bytes,
) -> None:
    world = build(vip)
    ports = range(10_000, 10_000 + FLOWS)
    before = world.send(*ports)
    assert before.keys() == set(ports), world.mesh.story()
    assert max(Counter(before.values()).values()) <= 1.2 * FLOWS / 3
    assert world.send(*ports) == before

    lost = before[ports[0]]
    world.mesh.underlay.cut.add(lost)
    world.mesh.run(0.6)
    after = world.send(*ports)
    assert after.keys() == set(ports), world.mesh.story()
    assert all(after[port] == member for port, member in before.items() if member != lost)
    assert lost not in after.values()
    assert set(world.send(*range(20_000, 20_100)).values()) == set(MEMBERS) - {lost}

    world.mesh.underlay.cut.discard(lost)
    world.mesh.run(20)
    assert world.send(*ports) == after, "a member that returns moves no known flow"
    assert lost in world.send(*range(30_000, 30_100)).values()


def test_flows_are_spread_by_weight() -> None:
    world = build(weights=(10, 20, 40))
    counts = Counter(world.send(*range(10_000, 13_000)).values())
    for name, weight in zip(MEMBERS, (1, 2, 4), strict=True):
        assert counts[name] == pytest.approx(3000 * weight / 7, rel=0.1)


def test_a_member_that_drains_keeps_its_flows_until_it_is_gone() -> None:
    world = build()
    ports = range(10_000, 10_100)
    before = world.send(*ports)
    drained = before[ports[0]]
    world.call(drained, "vip_drain")
    world.mesh.run(0.3)
    assert world.send(*ports) == before
    assert drained not in world.send(*range(20_000, 20_100)).values()
    world.mesh.nodes[drained].crash()
    world.mesh.run(1)
    after = world.send(*ports)
    assert after.keys() == set(ports)
    assert drained not in after.values()
