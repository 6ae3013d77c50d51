"""Members of a virtual IP that run tinc's daemon, and their guardians, in a simulated mesh.

n1 is the entry, n2 and n3 are C members, whose hosts answer whoever asks; n4 is their guardian, n5 the
client, and n6 a second guardian where there is one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial

import pytest

from pytinc.vip.views import MemberState, MemberView, VirtualIpView
from pytinc.wire.neighbour import Kind
from pytinc.wire.virtual_ip import Balance, TcpCheck, VirtualIP
from sim.hosts import Host, Ping
from sim.simulator import Mesh, SimNode
from sim.test_guard import VIP, VIP6, mac_of, own_address
from sim.test_virtual_ips import UNWELL, WELL

CHECK = TcpCheck(80, "10.1.1.102")
WARDS = ("n2", "n3")
PRIORITIES = {"n2": 150, "n3": 100, "n4": 120}


@dataclass
class World:
    """A mesh with C members."""

    mesh: Mesh
    ping: Ping
    vip: bytes
    hosts: dict[str, Host] = field(default_factory=dict)

    def node(self, name: str) -> SimNode:
        return self.mesh.nodes[name]

    def view(self, name: str = "n4") -> VirtualIpView:
        (view,) = self.node(name).node.policy_view(self.mesh.now).addresses
        return view

    def member(self, name: str, *, at: str = "n4") -> MemberView:
        return next(member for member in self.view(at).members if member.node == name)

    @property
    def client(self) -> Host:
        return self.hosts["n5"]

    def used(self) -> str:
        """Return the node whose host the client uses."""
        mac = self.client.entries[self.vip].mac
        return next(name for name, host in self.hosts.items() if host.mac == mac)

    def serving(self, at: str = "n4") -> str | None:
        """Return the member that serves, and which the client uses."""
        assert self.view(at).owner == self.used()
        return self.view(at).owner

    def call(self, name: str, method: str, *arguments: object) -> None:
        self.node(name).call(lambda node, now: getattr(node, method)(*arguments, now))

    def check(self, ward: str, *outcomes: object) -> None:
        for outcome in outcomes:
            self.call("n4", "check_result", (self.vip, ward), CHECK, outcome)


def build(
    client: str = "C",
    *,
    vip: bytes = VIP,
    guardians: tuple[str, ...] = ("n4",),
    member: bool = False,
    vip_first: bool = False,
    preempt: float | None = None,
    checks: tuple[TcpCheck, ...] = (),
    seed: int = 1,
) -> World:
    """``member``: the guardian n4 is a member itself; ``client``: its node is C or pytinc (P)."""
    mesh = Mesh(seed)
    lines = tuple(
        VirtualIP(vip, 8 * len(vip), PRIORITIES[name], preempt, checks, node=name) for name in WARDS
    )
    own = (VirtualIP(vip, 8 * len(vip), PRIORITIES["n4"], preempt),) if member else ()
    hosts: dict[str, Host] = {}
    for number, name in enumerate(("n1", *WARDS, "n4", "n5", *(["n6"] if "n6" in guardians else [])), 1):
        sim = mesh.add(
            name,
            connect_to=() if name == "n1" else ("n1",),
            neighbour_guard=name in guardians or (name == "n5" and client == "P"),
            virtual_ips=((*own, *lines) if name == "n4" else lines) if name in guardians else (),
            ping_interval=5,
            ping_timeout=3,
        )
        holds = name in WARDS or (name == "n4" and member)
        addresses = [own_address(number, vip), *([vip] if holds else [])]
        hosts[name] = Host(sim, mac_of(number), *(addresses[::-1] if vip_first else addresses))
    mesh.start()
    mesh.run_until(mesh.converged, 30)
    mesh.run(1)
    world = World(mesh, hosts["n5"].ping(vip, 0.02), vip, hosts)
    if checks:
        for ward in WARDS:
            world.check(ward, WELL)
    mesh.run(8)
    assert world.ping.answered, mesh.story()
    return world


@pytest.mark.parametrize("vip", [VIP, VIP6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("client", ["C", "P"])
def test_clients_use_the_owner_although_all_hosts_answer(client: str, vip: bytes) -> None:
    world = build(client, vip=vip)
    assert world.serving() == "n2"
    assert world.member("n2").state is MemberState.ACTIVE
    assert world.member("n3").state is MemberState.BACKUP
    world.client.received.clear()
    for _ in range(5):
        # The kernel forgets the entry, and believes the first answer.
        del world.client.entries[vip]
        world.client.ask(vip)
        world.mesh.run(0.05)
        assert world.used() == "n2"
        world.mesh.run(1.5)
        assert world.used() == "n2"
    answers = {message.mac for message in world.client.received if message.kind is Kind.ANSWER}
    others = {world.hosts["n3"].mac}
    assert (others <= answers) is (client == "C"), "its own pytinc node lets no wrong answer in"


@pytest.mark.parametrize("vip", [VIP, VIP6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("client", ["C", "P"])
def test_another_member_serves_when_the_owner_is_cut_off(client: str, vip: bytes) -> None:
    world = build(client, vip=vip)
    start = world.mesh.now
    world.mesh.underlay.cut.add("n2")
    world.mesh.run(3)
    assert world.serving() == "n3"
    assert world.ping.longest_silence(start - 0.5) < 0.5, world.mesh.story()
    world.mesh.underlay.cut.discard("n2")
    world.mesh.run(30)
    assert world.serving() == "n3", "a member that comes back changes nothing"


@pytest.mark.parametrize("client", ["C", "P"])
def test_another_member_serves_when_the_owner_is_killed_and_it_may_come_back(client: str) -> None:
    world = build(client)
    start = world.mesh.now
    world.node("n2").crash()
    world.mesh.run(3)
    assert world.serving() == "n3"
    assert world.ping.longest_silence(start - 0.5) < 0.25, world.mesh.story()
    world.node("n2").start()
    world.mesh.run(10)
    assert world.member("n2").state is MemberState.BACKUP
    start = world.mesh.now
    world.node("n3").crash()
    world.mesh.run(3)
    assert world.serving() == "n2"
    assert world.ping.longest_silence(start - 0.5) < 0.25, world.mesh.story()


@pytest.mark.parametrize("client", ["C", "P"])
def test_a_ward_whose_check_fails_hands_over_without_a_lost_ping(client: str) -> None:
    world = build(client, checks=(CHECK,))
    start = world.mesh.now
    world.check("n2", UNWELL, UNWELL)
    world.mesh.run(0.5)
    assert world.serving() == "n2"
    world.check("n2", UNWELL)
    world.mesh.run(2)
    assert world.serving() == "n3"
    assert world.member("n2").state is MemberState.FAULT
    assert world.ping.lost(start - 1, world.mesh.now - 0.5) == 0
    assert {check.node for check in world.view().checks} == set(WARDS)


@pytest.mark.parametrize("client", ["C", "P"])
def test_an_operator_moves_the_address_at_the_guardian(client: str) -> None:
    world = build(client)
    start = world.mesh.now
    for target in ("n3", "n2", "n3"):
        world.call("n4", "vip_move", world.vip, target)
        world.mesh.run(2)
        assert world.serving() == target
    assert world.ping.lost(start - 1, world.mesh.now - 0.5) == 0


@pytest.mark.parametrize("preempt", [None, 0.0])
def test_a_guardian_takes_the_address_back_for_a_better_ward_if_it_may(preempt: float | None) -> None:
    world = build(preempt=preempt)
    world.mesh.underlay.cut.add("n2")
    world.mesh.run(3)
    assert world.serving() == "n3"
    world.mesh.underlay.cut.discard("n2")
    world.mesh.run(20)
    assert world.serving() == ("n3" if preempt is None else "n2")


@pytest.mark.parametrize("client", ["C", "P"])
def test_members_of_both_kinds_serve_one_address(client: str) -> None:
    world = build(client, member=True)
    assert world.serving() == "n2"
    start = world.mesh.now
    world.mesh.underlay.cut.add("n2")
    world.mesh.run(3)
    assert world.serving() == "n4"
    assert world.ping.longest_silence(start - 0.5) < 0.5, world.mesh.story()
    for _ in range(5):
        del world.client.entries[world.vip]
        world.client.ask(world.vip)
        world.mesh.run(0.2)
        assert world.used() == "n4"
    start = world.mesh.now
    world.call("n4", "vip_drain")
    world.mesh.run(2)
    assert world.serving() == "n3"
    assert world.ping.lost(start - 1, world.mesh.now - 0.5) == 0


@pytest.mark.parametrize("client", ["C", "P"])
def test_a_planned_stop_of_a_guardian_that_serves_itself_loses_no_ping(client: str) -> None:
    world = build(client, member=True, guardians=("n4", "n6"))
    world.call("n4", "vip_move", world.vip, "n4")
    world.mesh.run(2)
    assert world.serving() == "n4"
    start = world.mesh.now
    sim = world.node("n4")
    sim.call(lambda node, now: node.withdraw(now))
    world.mesh.run_until(lambda: sim.withdrawn, 3)
    sim.stop()
    world.mesh.run(3)
    assert world.serving(at="n6") == "n2"
    assert world.ping.lost(start - 1, world.mesh.now - 0.5) == 0


@pytest.mark.parametrize("client", ["C", "P"])
def test_a_host_that_leads_clients_to_itself_with_its_own_questions_does_not_keep_them(client: str) -> None:
    world = build(client, vip_first=True)
    world.mesh.run(3)
    assert world.serving() == "n2"
    for _ in range(3):
        # The host of the other member has the virtual IP as its first address.
        world.hosts["n3"].ask(own_address(5, world.vip))
        world.mesh.run(0.06)
        assert world.used() == "n2"
        world.mesh.run(2)
        assert world.used() == "n2"


def test_the_only_guardian_may_be_restarted() -> None:
    world = build("P", member=True)
    world.call("n4", "vip_move", world.vip, "n3")
    world.mesh.run(2)
    assert world.serving() == "n3"
    moves = len(world.client.moves)
    world.node("n4").stop()
    world.mesh.run(2)
    assert world.serving(at="n5") == "n3"
    world.node("n4").start()
    world.mesh.run(1)
    assert world.serving(at="n5") == "n3"
    assert len(world.client.moves) == moves


def test_when_a_guardian_is_gone_another_one_speaks() -> None:
    world = build(guardians=("n4", "n6"))
    assert world.member("n2", at="n6").guardian == world.member("n2").guardian == "n4"
    world.node("n4").crash()
    world.mesh.run(3)
    assert world.member("n2", at="n6").guardian == "n6"
    assert world.serving(at="n6") == "n2"
    start = world.mesh.now
    world.mesh.underlay.cut.add("n2")
    world.mesh.run(3)
    assert world.serving(at="n6") == "n3"
    assert world.ping.longest_silence(start - 0.5) < 0.5, world.mesh.story()
    world.node("n4").start()
    world.mesh.run(12)
    assert world.member("n2", at="n6").guardian == "n4"
    assert world.serving() == world.serving(at="n6") == "n3"


def test_a_ward_whose_host_does_not_have_the_address_is_absent_until_it_has_it() -> None:
    world = build()
    world.hosts["n2"].addresses.remove(world.vip)
    world.node("n2").crash()
    world.mesh.run(5)
    world.node("n2").start()
    world.mesh.run(10)
    assert world.member("n2").state is MemberState.ABSENT
    world.hosts["n2"].addresses.append(world.vip)
    world.mesh.run_until(lambda: world.member("n2").state is MemberState.BACKUP, 40)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("client", ["C", "P"])
def test_when_questions_and_corrections_get_lost_the_client_uses_the_owner_soon(
    client: str, seed: int
) -> None:
    world = build(client, seed=seed)
    world.mesh.underlay.loss = 0.3
    for _ in range(3):
        world.client.ask(world.vip)
        world.mesh.run(1)
        # Half of all pings get lost. Of 180 rounds with other seeds, the longest takes 42 s.
        world.mesh.run_until(partial(_uses, world, "n2"), 100)


def _uses(world: World, name: str) -> bool:
    return world.used() == name


# -- shared clients --


@dataclass
class Shared:
    """A mesh in which members of both kinds share clients behind nodes of both kinds."""

    mesh: Mesh
    members: dict[str, Host]
    clients: list[Host]

    def used(self) -> dict[bytes, str]:
        """Return the member that each client uses, by the client's MAC."""
        names = {host.mac: name for name, host in self.members.items()}
        return {client.mac: names[client.entries[VIP].mac] for client in self.clients}

    def given(self, by: str = "n5") -> dict[str, int]:
        """Return how many clients each member has, as a node says that speaks for members."""
        (view,) = self.mesh.nodes[by].node.policy_view(self.mesh.now).addresses
        return {member.node: member.clients or 0 for member in view.members}

    def agreed(self) -> dict[bytes, str]:
        used = self.used()
        assert Counter(used.values()) == Counter(self.given())
        return used


def share(*, member: bool, seed: int = 1) -> Shared:
    """n2, n3 and n4 are C members, n5 is their guardian and perhaps a member itself."""
    mesh = Mesh(seed)
    wards = ("n2", "n3", "n4")
    lines = [VirtualIP(VIP, 32, balance=Balance.CLIENT, node=name) for name in wards]
    own = [VirtualIP(VIP, 32, balance=Balance.CLIENT)] if member else []
    hosts, clients = {}, []
    for number, name in enumerate(("n1", *wards, "n5", "c1", "c2"), 1):
        sim = mesh.add(
            name,
            connect_to=() if name == "n1" else ("n1",),
            neighbour_guard=name in ("n5", "c1"),
            virtual_ips=(*lines, *own) if name == "n5" else (),
            ping_interval=5,
            ping_timeout=3,
        )
        if name in wards or (name == "n5" and member):
            hosts[name] = Host(sim, mac_of(number), own_address(number, VIP), VIP)
        elif name in ("c1", "c2"):
            clients += [
                Host(sim, mac_of(1000 * number + each), bytes((10, 1, number, each))) for each in range(1, 21)
            ]
    mesh.start()
    mesh.run_until(mesh.converged, 30)
    mesh.run(8)
    world = Shared(mesh, hosts, clients)
    for index, client in enumerate(clients):
        mesh.at(mesh.now + index * 0.02, partial(client.ping, VIP, 0.2))
    mesh.run(5)
    return world


@pytest.mark.parametrize("member", [False, True])
def test_c_members_share_the_clients_with_others(member: bool) -> None:
    world = share(member=member)
    counts = Counter(world.agreed().values())
    assert counts.keys() == world.members.keys()
    assert max(counts.values()) / (len(world.clients) / len(world.members)) <= 1.25
    before = world.used()
    for _ in range(3):
        for client in world.clients:
            client.ask(VIP)
        world.mesh.run(2)
        assert world.agreed() == before, "the hosts of all C members have answered"


@pytest.mark.parametrize("member", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_when_a_c_member_goes_only_its_clients_move(member: bool, seed: int) -> None:
    world = share(member=member, seed=seed)
    before = world.agreed()
    for gone in ("n2", "n3"):
        world.mesh.underlay.cut.add(gone)
        start = world.mesh.now
        world.mesh.run(4)
        after = world.agreed()
        assert {mac for mac in after if after[mac] != before[mac]} == {
            mac for mac in before if before[mac] == gone
        }
        assert max(client.pings[0].longest_silence(start - 0.5) for client in world.clients) < 1.0
        before = after


def test_a_guardian_that_gives_clients_out_answers_no_question_of_its_own_host() -> None:
    world = share(member=False)
    guard = world.mesh.nodes["n5"].node.table.guard
    assert guard is not None
    assert (guard.withheld, dict(guard.answered)) == (frozenset(), {})
