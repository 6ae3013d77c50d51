"""Shared addresses in a simulated mesh: the holders that clients use before, during and after a failure.

Nodes without the guard act as C nodes: they only switch frames.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest

from pytinc.config.settings import Mode
from pytinc.node.node import Node
from pytinc.vip.views import AddressView, GuardView, HolderState
from pytinc.wire import neighbour
from pytinc.wire.neighbour import Kind
from sim.hosts import Host, Ping
from sim.simulator import Mesh, SimNode

VIP = bytes((10, 1, 1, 10))
VIP6 = bytes.fromhex("fd000001000000000000000000000010")
MEMBERS = ("n2", "n3", "n4")
CASTS = {
    "bystander": ("n6",),
    "members": MEMBERS,
    "client": ("n5",),
    "pytinc": ("n1", *MEMBERS, "n5"),
}


@dataclass
class World:
    """A mesh with a shared address: n1 is the entry, n2 to n4 hold it, n5 is the client."""

    mesh: Mesh
    hosts: dict[str, Host]
    ping: Ping

    @property
    def client(self) -> Host:
        return self.hosts["n5"]

    def holder(self) -> str:
        """Return the node whose host the client uses."""
        mac = self.client.entries[self.ping.target].mac
        return next(name for name, host in self.hosts.items() if host.mac == mac)

    def give_up(self, name: str, address: bytes, macs: frozenset[bytes] | None = None) -> None:
        """Let a node's host lose an address; its interfaces have its own MAC address, or others."""
        lost_by = frozenset((self.hosts[name].mac,)) if macs is None else macs
        self._change(name, address, lambda node, now: node.address_removed(address, lost_by, now))

    def take_up(self, name: str, address: bytes) -> None:
        """Let a node's host get an address."""
        self.hosts[name].addresses.append(address)
        self._change(name, address, lambda node, now: node.address_added(address, now))

    def _change(self, name: str, address: bytes, event: Callable[[Node, float], None]) -> None:
        # As the shell does: other addresses are not watched.
        if address in self.mesh.nodes[name].node.known_addresses():
            self.mesh.nodes[name].call(event)

    def guards(self) -> list[SimNode]:
        return [sim for sim in self.mesh.running() if sim.settings.neighbour_guard]

    def views(self) -> list[GuardView]:
        return [sim.node.guard_view(self.mesh.now) for sim in self.guards()]

    def view(self, name: str) -> AddressView:
        """Return what a node knows about the shared address."""
        view = self.mesh.nodes[name].node.guard_view(self.mesh.now)
        return next(each for each in view.addresses if each.address in ("10.1.1.10", "fd00:1::10"))

    def total(self, counter: str) -> int:
        return sum(getattr(view.counters, counter) for view in self.views())


def mac_of(number: int) -> bytes:
    return bytes((2, 0, 0, 0, number >> 8, number & 255))


def own_address(number: int, vip: bytes) -> bytes:
    if len(vip) == 4:
        return bytes((10, 1, 1, 100 + number))
    return vip[:15] + bytes((100 + number,))


def build(
    guards: tuple[str, ...],
    *,
    vip: bytes = VIP,
    interval: float = 0.01,
    warm_up: float = 4.0,
    vip_first: bool = False,
    links: Mapping[str, tuple[str, ...]] | None = None,
    seed: int = 1,
    **changes: Any,
) -> World:
    mesh = Mesh(seed)
    hosts: dict[str, Host] = {}
    names = ("n1", *MEMBERS, "n5") + (("n6",) if "n6" in guards else ())
    for number, name in enumerate(names, 1):
        connect_to = (links or {}).get(name, () if name == "n1" else ("n1",))
        sim = mesh.add(name, connect_to=connect_to, neighbour_guard=name in guards, **changes)
        addresses = [own_address(number, vip)]
        if name in MEMBERS:
            addresses.insert(0 if vip_first else 1, vip)
        hosts[name] = Host(sim, mac_of(number), *addresses)
    mesh.start()
    mesh.run_until(mesh.converged, 30)
    mesh.run(1)
    world = World(mesh, hosts, hosts["n5"].ping(vip, interval))
    mesh.run(warm_up)
    assert world.ping.answered, mesh.story()
    return world


def cut(world: World) -> str:
    """Silently cut off the holder that the client uses; return its name."""
    name = world.holder()
    world.mesh.underlay.cut.add(name)
    return name


@pytest.mark.parametrize("vip", [VIP, VIP6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("cast", CASTS)
def test_a_client_is_led_away_from_a_holder_that_is_cut_off_silently(cast: str, vip: bytes) -> None:
    world = build(CASTS[cast], vip=vip)
    start = world.mesh.now
    gone = cut(world)
    world.mesh.run(3)
    assert world.holder() != gone
    assert 0.2 < world.ping.longest_silence(start - 0.5) < 0.4, world.mesh.story()
    assert world.total("failovers") >= 1
    lines = [line for sim in world.guards() for line in sim.logs if "client asked" in line]
    assert any(f"{gone} is silent for 0.2" in line for line in lines), lines


@pytest.mark.parametrize("cast", CASTS)
def test_a_client_is_led_away_from_a_holder_whose_daemon_was_killed(cast: str) -> None:
    world = build(CASTS[cast])
    start, gone = world.mesh.now, world.holder()
    world.mesh.nodes[gone].crash()
    world.mesh.run(3)
    assert world.holder() != gone
    assert world.ping.longest_silence(start - 0.5) < 0.2, world.mesh.story()


@pytest.mark.parametrize("vip", [VIP, VIP6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("cast", ["members", "pytinc"])
def test_a_planned_stop_of_a_member_loses_no_ping(cast: str, vip: bytes) -> None:
    world = build(CASTS[cast], vip=vip)
    start, name = world.mesh.now, world.holder()
    sim = world.mesh.nodes[name]
    sim.call(lambda node, now: node.withdraw(now))
    took = world.mesh.run_until(lambda: sim.withdrawn, 3)
    sim.stop()
    world.mesh.run(2)
    assert world.holder() != name
    assert took < 1.5
    assert world.ping.lost(start - 1, world.mesh.now - 0.5) == 0
    messages = [message for message in world.client.received if message.mac == mac_of(int(name[1]))]
    assert messages, "the host answered before"


@pytest.mark.parametrize("vip", [VIP, VIP6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("cast", ["members", "pytinc"])
def test_clients_are_led_away_from_a_host_that_gives_up_the_address(cast: str, vip: bytes) -> None:
    world = build(CASTS[cast], vip=vip)
    start, name = world.mesh.now, world.holder()
    sim, host = world.mesh.nodes[name], world.hosts[name]
    host.addresses.remove(vip)
    world.give_up(name, vip)
    world.mesh.run(2)
    assert world.holder() != name
    assert world.ping.lost(start, world.mesh.now - 0.5) <= 1
    assert any(f"{name} no longer has it; 1 client asked" in line for line in sim.logs)
    assert sum(address == vip for _, address, _ in world.client.moves) == 2
    # With the address restored, it is a holder like the others.
    world.take_up(name, vip)
    world.mesh.run(0.5)
    for guard in (sim, *(world.mesh.nodes[other] for other in MEMBERS)):
        record = guard.node.guard._guard._core.table.get(vip)
        assert record is not None
        assert host.mac in [holder.mac for holder in record.present()]
    world.mesh.run(10)
    assert name in [holder.node for holder in world.view(name).holders]
    gone = world.holder()
    start = world.mesh.now
    world.mesh.underlay.cut.add(gone)
    world.mesh.run(3)
    assert world.holder() != gone
    assert world.ping.longest_silence(start - 0.5) < 0.5


@pytest.mark.parametrize("cast", ["members", "pytinc"])
def test_no_client_is_led_to_a_host_that_gave_up_the_address_recently(cast: str) -> None:
    for seed in range(1, 5):
        world = build(CASTS[cast], seed=seed)
        name = world.holder()
        world.hosts[name].addresses.remove(VIP)
        world.give_up(name, VIP)
        world.mesh.run(3)
        start, second = world.mesh.now, cut(world)
        world.mesh.run(3)
        assert world.holder() not in (name, second)
        assert world.ping.longest_silence(start - 0.5) < 0.5, world.mesh.story()


@pytest.mark.parametrize("cast", ["members", "pytinc"])
@pytest.mark.parametrize("delay", [0.2, 0.7, 1.2, 1.9, 2.6, 5.0])
def test_hosts_that_have_the_address_again_replace_the_one_that_led_them(cast: str, delay: float) -> None:
    world = build(CASTS[cast])
    first = world.holder()
    others = [name for name in MEMBERS if name != first]
    for name in others:
        world.hosts[name].addresses.remove(VIP)
        world.give_up(name, VIP)
    # Several questions go unanswered, so that these hosts are not expected to answer any more.
    for _ in range(3):
        world.client.ask(VIP)
        world.mesh.run(1.5)
    assert world.holder() == first
    for name in others:
        world.take_up(name, VIP)
    world.mesh.run(delay)
    start = world.mesh.now
    world.mesh.underlay.cut.add(first)
    world.mesh.run(5)
    assert world.holder() in others
    assert world.ping.longest_silence(start - 0.5) < 0.5, world.mesh.story()


@pytest.mark.parametrize("cast", ["members", "pytinc"])
@pytest.mark.parametrize("again", [False, True], ids=["gone", "again"])
@pytest.mark.parametrize("delay", [0.3, 0.9, 1.7, 2.5])
def test_a_client_is_not_led_back_to_a_holder_that_dies_soon(cast: str, *, again: bool, delay: float) -> None:
    """A host that gave up the address leads its clients to another for three seconds, and watches nobody."""
    for seed in range(1, 4):
        world = build(CASTS[cast], seed=seed)
        first = world.holder()
        world.hosts[first].addresses.remove(VIP)
        world.give_up(first, VIP)
        world.mesh.run_until(partial(lambda world, first: world.holder() != first, world, first), 3)
        if again:
            world.take_up(first, VIP)
        world.mesh.run(delay)
        start, second = world.mesh.now, cut(world)
        world.mesh.run(5)
        assert world.holder() != second, world.mesh.story()
        assert again or world.holder() != first
        assert world.ping.longest_silence(start - 0.5) < 0.5, world.mesh.story()


def test_a_lost_address_is_ignored_if_another_host_on_the_lan_answers_for_it() -> None:
    world = build(CASTS["members"])
    name = world.holder()
    world.give_up(name, VIP, frozenset((b"\x02\0\0\0\x77\x77",)))
    world.mesh.run(2)
    assert world.holder() == name
    assert world.total("failovers") == 0


def test_clients_of_other_holders_are_not_moved_when_ours_gives_up_the_address() -> None:
    world = build(CASTS["members"])
    first, host = world.holder(), world.hosts[world.holder()]
    other = next(name for name in MEMBERS if name != first)
    world.mesh.run(3)
    world.client.entries[VIP].mac = world.hosts[other].mac
    world.hosts[other].announce(VIP)
    world.mesh.run(3)
    moves = len(world.client.moves)
    host.addresses.remove(VIP)
    world.give_up(first, VIP)
    world.mesh.run(3)
    assert world.holder() == other
    assert len(world.client.moves) == moves


@pytest.mark.parametrize("address", [bytes((10, 1, 1, 99)), bytes((10, 1, 1, 102))], ids=["unknown", "own"])
def test_giving_up_another_address_moves_no_client(address: bytes) -> None:
    world = build(CASTS["members"])
    name = world.holder()
    world.give_up(name, address)
    world.mesh.run(2)
    assert world.holder() == name
    assert world.total("failovers") == 0


def test_the_last_holder_that_gives_up_the_address_sends_no_question() -> None:
    world = build(CASTS["members"])
    name = world.holder()
    for other in MEMBERS:
        if other != name:
            world.mesh.nodes[other].stop()
    world.mesh.run(2)
    before = world.total("questions")
    world.hosts[name].addresses.remove(VIP)
    world.give_up(name, VIP)
    world.mesh.run(2)
    assert world.total("questions") == before


def test_a_member_that_withdraws_sends_no_answer_for_the_address() -> None:
    world = build(CASTS["members"])
    name = world.holder()
    sim, host = world.mesh.nodes[name], world.hosts[name]
    sim.call(lambda node, now: node.withdraw(now))
    world.mesh.run(0.05)
    world.client.received.clear()
    for _ in range(3):
        world.client.ask(VIP)
        world.mesh.run(0.1)
    assert any(message.kind is Kind.ANSWER for message in world.client.received)
    assert all(message.mac != host.mac for message in world.client.received)


def test_the_only_member_stops_at_once_and_withholds_nothing() -> None:
    world = build(CASTS["members"])
    name = world.holder()
    for other in MEMBERS:
        if other != name:
            world.mesh.nodes[other].stop()
    world.mesh.run(2)
    sim = world.mesh.nodes[name]
    sim.call(lambda node, now: node.withdraw(now))
    assert sim.withdrawn
    world.client.received.clear()
    world.client.ask(VIP)
    world.mesh.run(0.1)
    assert any(message.mac == world.hosts[name].mac for message in world.client.received)


@pytest.mark.parametrize("cast", ["bystander", "members", "pytinc"])
def test_a_client_that_uses_two_holders_for_two_addresses_is_led_away_from_the_one_that_dies(
    cast: str,
) -> None:
    world = build(CASTS[cast])
    mesh, client = world.mesh, world.client
    for number, name in enumerate(world.hosts, 1):
        world.hosts[name].addresses.append(own_address(number, VIP6))
        if name in MEMBERS:
            world.hosts[name].addresses.append(VIP6)
    ping6 = client.ping(VIP6, 0.01)
    mesh.run(6)
    # Each family has its own holder.
    world.hosts["n3"].announce(VIP)
    mesh.run(1)
    client.entries[VIP6].mac = world.hosts["n2"].mac
    mesh.run(6)
    assert client.entries[VIP].mac == world.hosts["n3"].mac
    start = mesh.now
    mesh.underlay.cut.add("n3")
    mesh.run(4)
    assert client.entries[VIP].mac != world.hosts["n3"].mac
    assert world.ping.longest_silence(start - 0.5) < 0.5
    assert client.entries[VIP6].mac != world.hosts["n3"].mac
    assert ping6.lost(start, mesh.now - 0.5) <= 2


@pytest.mark.parametrize("cast", CASTS)
def test_a_holder_that_returns_moves_no_client(cast: str) -> None:
    world = build(CASTS[cast])
    gone = cut(world)
    world.mesh.run(20)
    present = world.holder()
    world.mesh.underlay.cut.discard(gone)
    start = world.mesh.now
    world.mesh.run(60)
    assert world.holder() == present
    assert world.ping.lost(start, world.mesh.now - 0.5) == 0


@pytest.mark.parametrize("cast", CASTS)
def test_death_and_return_of_a_backup_move_no_client(cast: str) -> None:
    world = build(CASTS[cast])
    holder, start = world.holder(), world.mesh.now
    backup = next(name for name in MEMBERS if name != holder)
    world.mesh.underlay.cut.add(backup)
    world.mesh.run(10)
    world.mesh.underlay.cut.discard(backup)
    world.mesh.run(30)
    assert world.ping.lost(start, world.mesh.now - 0.5) == 0
    if cast != "bystander":  # it cannot know which holder a client of a C node uses
        assert world.holder() == holder


@pytest.mark.parametrize("cast", ["members", "client", "pytinc"])
def test_clients_leave_a_holder_that_stalls_for_five_seconds_and_stay_away(
    cast: str,
) -> None:
    world = build(CASTS[cast])
    start, gone = world.mesh.now, world.holder()
    world.mesh.nodes[gone].stall(5)
    world.mesh.run(5)
    present = world.holder()
    assert present != gone
    assert world.ping.longest_silence(start - 0.5) < 0.6
    world.mesh.run(20)
    assert world.holder() == present


def test_a_stall_of_200_ms_moves_no_client_and_one_of_600_ms_moves_them_once() -> None:
    world = build(CASTS["pytinc"])
    first = world.holder()
    world.mesh.nodes[first].stall(0.2)
    world.mesh.run(10)
    assert world.holder() == first
    assert world.total("failovers") == 0
    world.mesh.nodes[first].stall(0.6)
    world.mesh.run(10)
    assert world.holder() != first
    assert world.total("failovers") == 1
    assert len([move for move in world.client.moves if move[1] == VIP]) == 2


@pytest.mark.parametrize("cast", ["bystander", "client", "pytinc"])
@pytest.mark.parametrize("seconds", [0.1, 0.4, 2.0, 30.0])
def test_a_guard_that_slept_suspects_no_node(cast: str, seconds: float) -> None:
    world = build(CASTS[cast])
    holder = world.holder()
    for sim in world.guards():
        if sim.name not in MEMBERS:
            sim.stall(seconds)
            world.mesh.run(seconds + 5)
    assert world.total("failovers") == 0
    assert world.holder() == holder


def test_setting_the_wall_clock_moves_no_client() -> None:
    world = build(CASTS["pytinc"])
    holder = world.holder()
    for offset in (3600.0, -3600.0):
        for sim in world.guards():
            sim.wall_offset = offset
        world.mesh.run(5)
    assert world.total("suspicions") == 0
    assert world.holder() == holder


@pytest.mark.parametrize("cast", CASTS)
def test_the_question_leaves_even_if_the_tree_ran_through_the_dead_holder(cast: str) -> None:
    # The client's only meta neighbour is a holder; every other node is connected to n1.
    links = {"n5": ("n2",)}
    world = build(CASTS[cast], links=links)
    if world.holder() != "n2":
        world.client.entries[VIP].mac = world.hosts["n2"].mac
        world.mesh.run(3)
    start = world.mesh.now
    assert cut(world) == "n2"
    world.mesh.run(4)
    assert world.holder() != "n2"
    assert world.ping.longest_silence(start - 0.5) < 0.5, world.mesh.story()


@pytest.mark.parametrize("cast", CASTS)
def test_a_client_with_a_new_entry_changes_to_the_new_holder_at_the_second_question(cast: str) -> None:
    """Linux accepts no answer for a second after an entry changed its state (locktime)."""
    world = build(CASTS[cast])
    start, gone = world.mesh.now, cut(world)
    world.mesh.at(start + 0.2, lambda: setattr(world.client.entries[VIP], "updated", start + 0.2))
    world.mesh.run(3)
    assert world.holder() != gone
    assert world.ping.longest_silence(start - 0.5) < 0.5, world.mesh.story()
    assert sum(address == VIP for _, address, _ in world.client.moves) == 2


@pytest.mark.parametrize("vip", [VIP, VIP6], ids=["IPv4", "IPv6"])
def test_a_client_that_a_late_answer_has_led_back_is_led_away_when_that_holder_dies(
    vip: bytes,
) -> None:
    """A server that stalled for a while then answers an old question; only C nodes see that."""
    world = build(CASTS["bystander"], vip=vip)
    first = cut(world)
    world.mesh.run(3)
    second = world.holder()
    world.mesh.underlay.cut.discard(first)
    world.mesh.run(5)
    # As in the client's kernel; the answer goes directly from one C node to the other.
    world.client.entries[vip].mac = world.hosts[first].mac
    world.mesh.run(20)
    assert world.holder() == first
    start = world.mesh.now
    world.mesh.underlay.cut.add(first)
    world.mesh.run(4)
    assert world.holder() == second
    assert world.ping.longest_silence(start - 0.5) < 0.5, world.mesh.story()


def test_a_client_behind_a_dead_relay_is_led_to_a_holder_that_it_can_reach() -> None:
    world = build(("n5",), warm_up=1.0, links={"n2": ("n1",), "n3": ("n1",), "n4": ("n1",)})
    name = world.holder()
    # No datagram passes between the client and its holder: a relay carries them.
    world.mesh.underlay.no_udp.add(frozenset(("n5", name)))
    sim = world.mesh.nodes["n5"]
    sim.call(lambda node, now: node.addresses.set_address(node.peers[name], node.peers[name].address))
    world.mesh.run(20)
    assert world.holder() == name
    relay = sim.node.guard.first_hop(name)
    assert relay == "n1"
    start = world.mesh.now
    world.mesh.underlay.cut.add("n1")
    world.mesh.run(4)
    assert world.holder() != name
    assert world.ping.longest_silence(start - 0.5) < 0.6, world.mesh.story()


def test_no_client_is_led_from_one_unanswering_node_to_another() -> None:
    """A node that is cut off itself must not lead its clients in circles."""
    world = build(CASTS["client"])
    holder = world.holder()
    world.mesh.underlay.cut.add("n5")
    world.mesh.run(10)
    world.mesh.underlay.cut.discard("n5")
    world.mesh.run(5)
    assert world.ping.answered[max(world.ping.answered)] > world.mesh.now - 1
    assert world.holder() in MEMBERS
    assert holder in MEMBERS


def test_one_way_loss_leads_the_client_to_a_holder_whose_answers_arrive() -> None:
    world = build(CASTS["client"])
    start, gone = world.mesh.now, world.holder()
    world.mesh.underlay.mute.add(gone)
    world.mesh.run(4)
    assert world.holder() != gone
    assert world.ping.longest_silence(start - 0.5) < 0.5


def test_all_of_100_clients_are_led_away_despite_30_percent_loss() -> None:
    mesh = Mesh(6)
    hosts = []
    for number, name in enumerate(("n1", *MEMBERS), 1):
        sim = mesh.add(
            name,
            connect_to=() if name == "n1" else ("n1",),
            neighbour_guard=name != "n1",
            max_connection_burst=1000,
        )
        addresses = [own_address(number, VIP)] + ([VIP] if name in MEMBERS else [])
        hosts.append(Host(sim, mac_of(number), *addresses))
    clients = []
    entries = [mesh.add(f"c{number}", connect_to=("n1",), neighbour_guard=False) for number in range(20)]
    for number in range(10, 110):
        clients.append(Host(entries[number % 20], mac_of(number), bytes((10, 1, 2, number))))
    mesh.start()
    mesh.run_until(mesh.converged, 60)
    mesh.run(3)
    pings = [client.ping(VIP, 0.5) for client in clients]
    mesh.run(12)
    gone = "n3"
    host = next(host for host in hosts if host.sim.name == gone)
    mac = host.mac
    host.announce(VIP)
    mesh.run(2)
    assert all(client.entries[VIP].mac == mac for client in clients)
    mesh.underlay.loss = 0.3
    mesh.underlay.cut.add(gone)
    start = mesh.now
    took = mesh.run_until(lambda: all(client.entries[VIP].mac != mac for client in clients), 5)
    assert took < 1.5
    mesh.run(1)
    assert all(client.entries[VIP].mac != mac for client in clients)
    assert all(ping.sent[-1] > start for ping in pings)


def test_members_that_restart_one_by_one_learn_of_the_clients_from_the_others() -> None:
    world = build(CASTS["members"])
    for _ in range(4):
        start, gone = world.mesh.now, world.holder()
        world.mesh.underlay.cut.add(gone)
        world.mesh.run(3)
        assert world.holder() != gone
        assert world.ping.longest_silence(start - 0.5) < 0.5, world.mesh.story()
        sim = world.mesh.nodes[gone]
        sim.crash()
        world.mesh.underlay.cut.discard(gone)
        world.mesh.run(1)
        sim.start()
        world.mesh.run_until(world.mesh.converged, 60)
        world.mesh.run(12)


@pytest.mark.parametrize("vip", [VIP, VIP6], ids=["IPv4", "IPv6"])
def test_questions_of_a_member_with_the_shared_address_first_move_no_client(vip: bytes) -> None:
    world = build(CASTS["members"], vip=vip, vip_first=True)
    holder, moves = world.holder(), len(world.client.moves)
    for _ in range(10):
        for name in MEMBERS:
            world.hosts[name].ask(own_address(1, vip))
            world.mesh.run(0.7)
    assert world.holder() == holder
    assert len(world.client.moves) == moves
    assert world.total("rewritten") > 0


def test_a_client_that_was_asked_and_never_asked_itself_is_led_away_as_well() -> None:
    world = build(CASTS["client"], vip_first=True)
    world.ping.running = False
    world.mesh.run(700)  # forgotten
    client = world.client
    client.entries.clear()
    for name in MEMBERS:
        world.hosts[name].ask(own_address(5, VIP))
        world.mesh.run(0.5)
    world.ping.running = True
    client._next_ping(world.ping)
    world.mesh.run(5)
    start, gone = world.mesh.now, cut(world)
    world.mesh.run(3)
    assert world.holder() != gone
    assert world.ping.longest_silence(start - 0.5) < 0.5


def test_a_question_of_a_member_is_answered_although_its_sender_was_changed() -> None:
    world = build(CASTS["members"], vip_first=True)
    member = world.hosts["n2"]
    member.ping(own_address(5, VIP), 1.0)
    world.mesh.run(3)
    assert own_address(5, VIP) in member.entries


@pytest.mark.parametrize("vip", [VIP, VIP6], ids=["IPv4", "IPv6"])
def test_questions_of_members_without_guard_do_not_mislead_a_client_with_a_guard(vip: bytes) -> None:
    world = build(CASTS["client"], vip=vip, vip_first=True)
    holder, moves = world.holder(), len(world.client.moves)
    for _ in range(10):
        for name in MEMBERS:
            world.hosts[name].ask(own_address(1, vip))
            world.hosts[name].ask(own_address(5, vip))
            world.mesh.run(0.7)
    assert world.holder() == holder
    assert len(world.client.moves) == moves


def test_a_bystander_leads_clients_back_to_the_holder_they_used() -> None:
    world = build(CASTS["bystander"], vip_first=True)
    world.hosts["n2"].ask(own_address(1, VIP))  # now every client uses it
    world.mesh.run(2)
    assert world.holder() == "n2"
    world.hosts["n3"].ask(own_address(1, VIP))
    world.mesh.run(0.015)
    assert world.holder() == "n3"
    world.mesh.run(0.1)
    assert world.holder() == "n2"
    assert world.total("corrections") == 1


def test_nothing_is_watched_with_neighbour_guard_no() -> None:
    world = build(())
    gone = cut(world)
    world.mesh.run(5)
    assert world.holder() == gone
    world = build(CASTS["client"])
    sim = world.mesh.nodes["n5"]
    assert sim.node.guard_view(world.mesh.now).watched == 1
    settings = replace(sim.settings, neighbour_guard=False)
    sim.call(lambda node, now: node.reload(settings, now))
    view = sim.node.guard_view(world.mesh.now)
    assert (view.enabled, view.watched, view.addresses) == (False, 0, ())
    gone = cut(world)
    world.mesh.run(5)
    assert world.holder() == gone


@pytest.mark.parametrize("milliseconds", [20, 100, 500])
def test_guard_interval_sets_how_often_a_watched_node_is_probed(milliseconds: int) -> None:
    world = build(CASTS["client"], guard_interval=milliseconds, interval=0.5)
    before = world.total("probes")
    world.mesh.run(10)
    per_second = (world.total("probes") - before) / 10
    assert per_second == pytest.approx(1000 / milliseconds, rel=0.15)


def test_no_node_is_watched_while_no_client_uses_the_address() -> None:
    world = build(CASTS["client"])
    sim = world.mesh.nodes["n5"]
    assert sim.node.guard_view(world.mesh.now).watched == 1
    world.ping.running = False
    world.mesh.run(15)
    before = world.total("probes")
    assert sim.node.guard_view(world.mesh.now).watched == 0
    world.mesh.run(60)
    assert world.total("probes") == before
    world.ping.running = True
    world.client._next_ping(world.ping)
    world.mesh.run(2)
    assert sim.node.guard_view(world.mesh.now).watched == 1


def test_the_view_shows_holders_clients_and_the_duration_of_the_last_failover() -> None:
    world = build(CASTS["client"])
    gone = cut(world)
    world.mesh.run(2)
    view = world.view("n5")
    assert view.shared
    states = {holder.node: holder.state for holder in view.holders}
    assert states[gone] is HolderState.SILENT
    (client,) = view.clients
    assert (client.node, client.address) == ("n5", "10.1.1.105")
    used = next(holder for holder in view.holders if holder.mac == client.holder)
    assert used.node == world.holder()
    assert view.failover is not None
    assert (view.failover.reason, view.failover.from_node, view.failover.to_node) == (
        "silent",
        gone,
        world.holder(),
    )
    assert 0.2 <= (view.failover.seconds or 0) < 0.4
    scripts = [env for name, env in world.mesh.nodes["n5"].scripts if name == "vip-changed"]
    assert len(scripts) == 1
    assert (scripts[0]["VIP"], scripts[0]["OLDNODE"]) == ("10.1.1.10", gone)


def test_ten_minutes_with_losses_stalls_and_a_suspended_machine_has_no_failover() -> None:
    world = build(CASTS["pytinc"], interval=2.0, warm_up=10.0, seed=3)
    mesh = world.mesh
    mesh.underlay.loss = 0.01
    holder = world.holder()
    for minute in range(10):
        for sim in mesh.running():
            sim.stall(0.1)
            mesh.run(11)
        if minute == 5:
            mesh.nodes["n1"].sleep(20)
            mesh.run(30)
    assert world.total("failovers") == 0, mesh.story()
    assert world.holder() == holder


def test_the_other_guards_stand_by_for_one_of_higher_rank() -> None:
    mesh = Mesh(2)
    members = [mesh.add(name, connect_to=("n1",) if name != "n1" else (), neighbour_guard=False)
               for name in ("n1", *MEMBERS, "n5")]  # fmt: skip
    guards = [mesh.add(f"g{number}", connect_to=("n1",)) for number in range(12)]
    for number, sim in enumerate(members, 1):
        addresses = [own_address(number, VIP)] + ([VIP] if sim.name in MEMBERS else [])
        Host(sim, mac_of(number), *addresses)
    mesh.start()
    mesh.run_until(mesh.converged, 60)
    client = mesh.nodes["n5"].host
    assert isinstance(client, Host)
    ping = client.ping(VIP, 0.05)
    mesh.run(100)
    watching = [sim.name for sim in guards if sim.node.guard_view(mesh.now).watched]
    assert 1 <= len(watching) <= 4, watching
    before = sum(sim.node.guard_view(mesh.now).counters.lone_questions for sim in guards)
    mesh.run(30)
    after = sum(sim.node.guard_view(mesh.now).counters.lone_questions for sim in guards)
    assert after - before <= 6
    start = mesh.now
    mac = client.entries[VIP].mac
    gone = next(sim for sim in members if isinstance(sim.host, Host) and sim.host.mac == mac)
    mesh.underlay.cut.add(gone.name)
    mesh.run(3)
    assert client.entries[VIP].mac != mac
    assert ping.longest_silence(start - 0.5) < 0.5
    assert sum(sim.node.guard_view(mesh.now).counters.questions for sim in guards) <= 15


def test_hub_mode_has_no_guard() -> None:
    world = build(CASTS["pytinc"], mode=Mode.HUB)
    assert not any(view.enabled for view in world.views())


def test_a_node_without_guard_gets_only_what_a_tinc_node_could_send() -> None:
    """Only questions leave in the guard's name, and no node owns its MAC address."""
    world = build(CASTS["bystander"])
    cut(world)
    world.mesh.run(5)
    for sim in world.mesh.running():
        assert neighbour.GUARD_MAC not in sim.node.table.macs
    kinds = {
        message.kind
        for host in world.hosts.values()
        for message in host.received
        if message.mac == neighbour.GUARD_MAC
    }
    assert kinds == {Kind.PROBE}
