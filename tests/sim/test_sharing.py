"""``balance=client`` in a simulated mesh: each client has one member, and only a dead member's clients move.

n1 is the entry, then come the members, and then the nodes of the clients, each with many hosts. One of these
is a pytinc node with the guard, the others act as C nodes.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial

import pytest

from pytinc.vip.views import VirtualIpView
from pytinc.wire.neighbour import Kind
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

    def agreed(self) -> Counter[str]:
        """Return how many clients each member has, on which all members and clients agree."""
        counts = self.counts()
        for name in self.members:
            if self.node(name).running:
                told = {member.node: member.clients for member in self.view(name).members}
                assert {node: count for node, count in told.items() if count} == counts, name
        return counts

    def balance(self, balance: Balance) -> None:
        """Reload all members with another balance."""
        for name in self.members:
            settings = self.node(name).settings
            changed = tuple(replace(config, balance=balance) for config in settings.virtual_ips)
            self.call(name, "reload", replace(settings, virtual_ips=changed))

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


@pytest.mark.parametrize(("members", "vip"), [(3, VIP), (3, VIP6), (7, VIP)])
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


@pytest.mark.parametrize("cut", [["n2"], ["n2", "c1"], ["n3", "n4"], ["n2", "n3"]], ids="+".join)
def test_after_a_split_and_a_merge_every_client_uses_the_member_that_all_members_know(
    cut: list[str],
) -> None:
    world = build(3, 24)
    world.mesh.underlay.cut |= set(cut)
    world.mesh.run(15)
    alive = [client for client in world.clients if client.sim.name not in cut]
    assert not {world.used()[client.mac] for client in alive}.intersection(cut)
    world.mesh.underlay.cut.clear()
    world.mesh.run_until(world.mesh.converged, 60)
    start = world.mesh.now
    world.mesh.run(2)
    assert max(client.pings[0].lost(start + 1, start + 1.7) for client in world.clients) == 0
    world.mesh.run(10)
    world.agreed()


def test_a_drained_member_and_one_that_stops_lose_no_ping() -> None:
    world = build(3, 40)
    start, owner = world.mesh.now, world.owner()
    drained, other = (name for name in world.members if name != owner)
    world.call(drained, "vip_drain")
    world.mesh.run(2)
    assert world.agreed().keys() == {owner, other}
    world.call(drained, "vip_undrain")
    world.mesh.run(4)
    assert drained not in world.agreed(), "who comes back moves nobody"
    world.call(owner, "vip_rebalance", VIP)
    world.mesh.run(2)
    assert max(world.agreed().values()) == 14, "40 clients, 3 members"
    sim = world.node(owner)
    sim.call(lambda node, now: node.withdraw(now))
    assert world.mesh.run_until(lambda: sim.withdrawn, 3) < 1.5
    sim.stop()
    world.mesh.run(2)
    assert world.agreed().keys() == {drained, other}
    assert world.lost(start, world.mesh.now - 0.5) == 0


def test_clients_are_spread_by_weight() -> None:
    world = build(3, 140, weights=(10, 20, 40), interval=2.0)
    counts = world.agreed()
    for name, share in (("n2", 20), ("n3", 40), ("n4", 80)):
        assert counts[name] == pytest.approx(share, rel=0.16)


def test_a_reload_shares_the_clients_and_ends_that_again() -> None:
    world = build(3, 40, balance=Balance.FAILOVER)
    assert world.counts() == {world.owner(): 40}
    start = world.mesh.now
    world.balance(Balance.CLIENT)
    world.mesh.run(2)
    assert len(world.agreed()) == 3
    world.balance(Balance.FAILOVER)
    world.mesh.run(4)
    assert world.counts() == {world.owner(): 40}
    assert world.lost(start, world.mesh.now - 0.5) == 0


def answering(world: World) -> dict[bytes, set[str]]:
    """Have all clients ask at once; return the nodes whose hosts answer each, by the client's MAC."""
    names = {host.mac: name for name, host in world.members.items()}
    for client in world.clients:
        client.received.clear()
        client.ask(VIP)
    world.mesh.run(0.2)
    kinds = (Kind.ANSWER, Kind.ANNOUNCEMENT, Kind.QUESTION)
    return {
        client.mac: {
            names[message.mac]
            for message in client.received
            if message.address == VIP and message.kind in kinds
        }
        for client in world.clients
    }


def test_only_the_host_of_its_own_member_answers_a_client() -> None:
    world = build(3, 20)
    expected = {mac: {name} for mac, name in world.used().items()}
    assert answering(world) == expected


def test_only_the_new_member_answers_a_client_soon_after_a_rebalance() -> None:
    world = build(3, 20)
    owner = world.owner()
    drained = next(name for name in world.members if name != owner)
    world.call(drained, "vip_drain")
    world.mesh.run(2)
    world.call(drained, "vip_undrain")
    # The rules of the data path follow every second by themselves; here this is 0.9 s away.
    world.mesh.run(4.6)
    world.call(owner, "vip_rebalance", VIP)
    world.mesh.run(0.4)
    expected = {mac: {name} for mac, name in world.used().items()}
    assert {drained} in expected.values()
    assert answering(world) == expected


def test_a_station_behind_the_owner_and_one_behind_another_member_are_clients_as_well() -> None:
    world = build(3, 20)
    owner = world.owner()
    for number, name in enumerate(world.members):
        host = Host(world.node(name), mac_of(3000 + number), client_address(190 + number, VIP))
        world.clients.append(host)
        host.ping(VIP, 0.2)
    world.mesh.run(4)
    # What a host answers on its own side does not pass the node.
    away = next(name for name in world.members if name != owner)
    world.mesh.underlay.cut.add(away)
    world.mesh.run(1)
    stations = [client for client in world.clients if client.sim.name not in (away, *world.members)]
    assert away not in {world.used()[client.mac] for client in stations}


@pytest.mark.parametrize("seed", range(2))
def test_after_random_faults_every_client_uses_a_member_that_serves(seed: int) -> None:
    rng = random.Random(seed)
    world = build(3, 16, seed=seed)
    underlay, names = world.mesh.underlay, [*world.members, "c0", "c1"]
    for _ in range(6):
        name = rng.choice(names)
        match rng.randrange(4):
            case 0:
                underlay.cut ^= {name}
            case 1 if name in world.members and world.node(name).running:
                world.node(name).crash()
            case 2 if not world.node(name).running:
                world.node(name).start()
            case 3 if name in world.members and world.node(name).running:
                world.call(name, rng.choice(("vip_drain", "vip_undrain")))
        world.mesh.run(rng.uniform(0.05, 4.0))
    underlay.cut.clear()
    for name in world.members:
        if not world.node(name).running:
            world.node(name).start()
        world.call(name, "vip_undrain")
    # Connections that broke unnoticed are found by pings.
    world.mesh.run(10)
    world.mesh.run_until(world.mesh.converged, 120)
    world.mesh.run(5)
    start, before = world.mesh.now, world.agreed()
    world.mesh.run(5)
    assert world.agreed() == before
    assert world.lost(start, world.mesh.now - 0.5) == 0
