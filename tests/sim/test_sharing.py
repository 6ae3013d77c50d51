"""``balance=client`` in a simulated mesh: each client has one member, and only a dead member's clients move.

n1 is the entry, then come the members, and then the nodes of the clients, each with many hosts. One of these
is a pytinc node with the guard, the others act as C nodes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import partial

import pytest

from pytinc.vip.views import VirtualIpView
from pytinc.wire.virtual_ip import Balance, VirtualIP
from sim.hosts import Host
from sim.simulator import Mesh, SimNode
from sim.test_guard import VIP, VIP6, mac_of, own_address

CLIENT_NODES = 4


def client_address(number: int, vip: bytes) -> bytes:
    tail = bytes((1 + number // 200, 1 + number % 200))
    return (
        vip[:-2] + tail if len(vip) == 16 else bytes((10, 1)) + bytes((2 + number // 200, 1 + number % 200))
    )


@dataclass
class World:
    """A mesh whose members share the clients of one address."""

    mesh: Mesh
    members: dict[str, Host]
    clients: list[Host]
    vip: bytes

    def node(self, name: str) -> SimNode:
        return self.mesh.nodes[name]

    def call(self, name: str, method: str, *arguments: object) -> None:
        self.node(name).call(lambda node, now: getattr(node, method)(*arguments, now))

    def view(self, name: str) -> VirtualIpView:
        (view,) = self.node(name).node.policy_view(self.mesh.now).addresses
        return view

    def owner(self) -> str:
        """Return the owner on which all members that run agree."""
        (name,) = {self.view(name).owner for name in self.members if self.node(name).running}
        assert name is not None
        return name

    def used(self) -> dict[bytes, str]:
        """Return the node that each client uses, by the client's MAC."""
        names = {host.mac: name for name, host in self.members.items()}
        return {client.mac: names[client.entries[self.vip].mac] for client in self.clients}

    def counts(self) -> Counter[str]:
        return Counter(self.used().values())

    def ask_all(self) -> None:
        for number, client in enumerate(self.clients):
            self.mesh.at(self.mesh.now + number * 0.01, partial(client.ask, self.vip))
        self.mesh.run(len(self.clients) * 0.01 + 1)

    def lost(self, since: float, until: float) -> int:
        return max(client.pings[0].lost(since, until) for client in self.clients)


def build(
    members: int = 3,
    clients: int = 100,
    *,
    vip: bytes = VIP,
    seed: int = 1,
    weights: tuple[int, ...] = (),
    balance: Balance = Balance.CLIENT,
    interval: float = 0.2,
) -> World:
    mesh = Mesh(seed)
    names = [f"n{number}" for number in range(2, 2 + members)]
    hosts = {}
    config = VirtualIP(vip, 8 * len(vip), balance=balance)
    mesh.add("n1", neighbour_guard=False)
    for number, name in enumerate(names):
        weight = weights[number] if weights else 10
        sim = mesh.add(
            name,
            connect_to=("n1",),
            neighbour_guard=True,
            virtual_ips=(replace(config, weight=weight),),
            ping_interval=5,
            ping_timeout=3,
        )
        hosts[name] = Host(sim, mac_of(2 + number), own_address(2 + number, vip), vip)
    stations = []
    for number in range(CLIENT_NODES):
        name = f"c{number}"
        sim = mesh.add(name, connect_to=("n1",), neighbour_guard=number == 0, ping_interval=5, ping_timeout=3)
        for index in range(number, clients, CLIENT_NODES):
            stations.append(Host(sim, mac_of(1000 + index), client_address(index, vip)))
    mesh.start()
    mesh.run_until(mesh.converged, 30)
    mesh.run(3)
    world = World(mesh, hosts, stations, vip)
    for index, client in enumerate(stations):
        # One after the other, as it would be.
        mesh.at(mesh.now + index * 0.02, partial(client.ping, vip, interval))
    mesh.run(clients * 0.02 + 4)
    return world


@pytest.mark.parametrize("vip", [VIP, VIP6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("members", [3, 7])
def test_a_hundred_clients_are_spread_over_all_members(members: int, vip: bytes) -> None:
    world = build(members, vip=vip, interval=0.8)
    counts = world.counts()
    assert counts.total() == 100
    assert max(counts.values()) / (100 / members) <= 1.25, counts
    assert len(counts) == members
    before = world.used()
    world.mesh.run(10)
    assert world.used() == before
    assert world.lost(world.mesh.now - 9, world.mesh.now - 0.9) == 0


def test_only_the_clients_of_a_dead_member_move_and_its_return_moves_nobody() -> None:
    world = build(3, 60)
    before = world.used()
    owner = world.owner()
    dead = next(name for name in world.members if name != owner)
    start = world.mesh.now
    world.mesh.underlay.cut.add(dead)
    world.mesh.run(1)
    moved = world.used()
    assert dead not in moved.values()
    assert {mac for mac in before if before[mac] != moved[mac]} == {
        mac for mac, name in before.items() if name == dead
    }
    for client in world.clients:
        if before[client.mac] == dead:
            assert client.pings[0].longest_silence(start - 0.5) < 1.0
        else:
            assert client.pings[0].lost(start, world.mesh.now - 0.5) == 0
    world.mesh.underlay.cut.discard(dead)
    world.mesh.run_until(world.mesh.converged, 30)
    world.mesh.run(6)
    assert world.used() == moved
    assert world.owner() == owner


def test_the_death_of_the_owner_moves_only_its_own_clients() -> None:
    world = build(3, 60)
    before, owner = world.used(), world.owner()
    start = world.mesh.now
    world.node(owner).crash()
    world.mesh.run(1.2)
    after = world.used()
    assert owner not in after.values()
    assert {mac for mac in before if before[mac] != after[mac]} == {
        mac for mac, name in before.items() if name == owner
    }
    assert max(client.pings[0].longest_silence(start - 0.5) for client in world.clients) < 1.0
