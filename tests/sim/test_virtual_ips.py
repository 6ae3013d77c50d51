"""Virtual IPs by policy in a simulated mesh: the serving member before, during and after faults and commands.

Every test has the mesh of `sim.test_guard`: n1 is the entry, n2 to n4 are members, n5 is the client. Nodes
without the guard act as C nodes.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import partial

import pytest

from pytinc.errors import PolicyError
from pytinc.vip.health import Outcome
from pytinc.vip.views import MemberState, VirtualIpView
from pytinc.wire.neighbour import Kind
from pytinc.wire.virtual_ip import TcpCheck, VirtualIP
from sim.hosts import Host, Ping
from sim.simulator import Mesh, SimNode
from sim.test_guard import CASTS, MEMBERS, VIP, VIP6, mac_of, own_address

CHECK = TcpCheck(80)
WELL = Outcome(well=True, drain=False, detail="connected", seconds=0.01)
UNWELL = Outcome(well=False, drain=False, detail="connection refused", seconds=0.01)
BOTH = ["members", "pytinc"]


@dataclass
class World:
    """A mesh whose members agree on who serves."""

    mesh: Mesh
    hosts: dict[str, Host]
    ping: Ping
    vip: bytes

    def node(self, name: str) -> SimNode:
        return self.mesh.nodes[name]

    def view(self, name: str) -> VirtualIpView:
        view = self.node(name).node.policy_view(self.mesh.now)
        return next(each for each in view.addresses if each.address in ("10.1.1.10", "fd00:1::10"))

    def serving(self) -> list[str]:
        """Return the members whose answers leave their nodes."""
        guards = {name: self.node(name).node.table.guard for name in MEMBERS if self.node(name).running}
        return [
            name for name, guard in guards.items() if guard is not None and self.vip not in guard.withheld
        ]

    def used(self) -> str:
        """Return the node whose host the client uses."""
        mac = self.hosts["n5"].entries[self.vip].mac
        return next(name for name, host in self.hosts.items() if host.mac == mac)

    def settled(self) -> str:
        """Return the one member that serves, on which all agree and which the client uses."""
        (name,) = self.serving()
        owners = {self.view(member).owner for member in MEMBERS if self.node(member).running}
        assert owners == {name}
        assert self.used() == name
        return name

    def call(self, name: str, method: str, *arguments: object) -> None:
        self.node(name).call(lambda node, now: getattr(node, method)(*arguments, now))

    def check(self, name: str, outcome: Outcome, times: int = 3) -> None:
        for _ in range(times):
            self.call(name, "check_result", (self.vip, None), CHECK, outcome)


def build(
    cast: str = "pytinc",
    *,
    vip: bytes = VIP,
    seed: int = 1,
    warm_up: float = 4.0,
    priorities: tuple[int, ...] = (100, 100, 100),
    preempt: float | None = None,
    checks: tuple[TcpCheck, ...] = (),
    ping_timeout: int = 3,
) -> World:
    mesh = Mesh(seed)
    hosts: dict[str, Host] = {}
    for number, name in enumerate(("n1", *MEMBERS, "n5"), 1):
        config = VirtualIP(vip, 8 * len(vip), preempt=preempt, checks=checks)
        configs = (replace(config, priority=priorities[MEMBERS.index(name)]),) if name in MEMBERS else ()
        sim = mesh.add(
            name,
            connect_to=() if name == "n1" else ("n1",),
            neighbour_guard=name in CASTS[cast],
            virtual_ips=configs,
            ping_interval=5,
            ping_timeout=ping_timeout,
        )
        addresses = [own_address(number, vip)] + ([vip] if name in MEMBERS else [])
        hosts[name] = Host(sim, mac_of(number), *addresses)
    mesh.start()
    mesh.run_until(mesh.converged, 30)
    mesh.run(1)
    world = World(mesh, hosts, hosts["n5"].ping(vip, 0.02), vip)
    if checks:
        for name in MEMBERS:
            world.check(name, WELL)
    mesh.run(warm_up)
    assert world.ping.answered, mesh.story()
    return world


@pytest.mark.parametrize("vip", [VIP, VIP6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("cast", BOTH)
def test_one_member_serves_and_only_its_host_answers(cast: str, vip: bytes) -> None:
    world = build(cast, vip=vip)
    name = world.settled()
    world.hosts["n5"].received.clear()
    for _ in range(5):
        world.hosts["n5"].ask(vip)
        world.mesh.run(0.5)
    answered = {
        message.mac
        for message in world.hosts["n5"].received
        if message.kind is Kind.ANSWER and message.address == vip
    }
    assert answered == {world.hosts[name].mac}
    assert world.view(name).state is MemberState.ACTIVE
    assert {world.view(other).state for other in MEMBERS if other != name} == {MemberState.BACKUP}


@pytest.mark.parametrize("vip", [VIP, VIP6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("cast", BOTH)
def test_the_member_with_the_highest_priority_replaces_one_that_is_cut_off(cast: str, vip: bytes) -> None:
    world = build(cast, vip=vip, priorities=(150, 120, 110))
    assert world.settled() == "n2"
    start = world.mesh.now
    world.mesh.underlay.cut.add("n2")
    world.mesh.run(4)
    assert world.used() == "n3"
    assert world.ping.longest_silence(start - 0.5) < 0.5, world.mesh.story()
    world.mesh.underlay.cut.discard("n2")
    world.mesh.run(30)
    assert world.settled() == "n3", "a member that comes back changes nothing"


@pytest.mark.parametrize("cast", BOTH)
def test_a_killed_member_is_replaced_at_once(cast: str) -> None:
    world = build(cast)
    start, first = world.mesh.now, world.settled()
    world.node(first).crash()
    world.mesh.run(3)
    assert world.settled() != first
    assert world.ping.longest_silence(start - 0.5) < 0.25, world.mesh.story()


@pytest.mark.parametrize("cast", BOTH)
def test_a_drained_member_loses_no_ping_and_gets_its_address_back_only_when_it_is_needed(cast: str) -> None:
    world = build(cast)
    start, first = world.mesh.now, world.settled()
    world.call(first, "vip_drain")
    world.mesh.run(2)
    second = world.settled()
    assert second != first
    assert world.view(first).state is MemberState.DRAIN
    assert world.ping.lost(start - 1, world.mesh.now - 0.5) == 0
    world.call(first, "vip_undrain")
    world.mesh.run(3)
    assert world.settled() == second
    assert world.view(first).state is MemberState.BACKUP


@pytest.mark.parametrize("cast", BOTH)
def test_a_planned_stop_loses_no_ping(cast: str) -> None:
    world = build(cast)
    start, first = world.mesh.now, world.settled()
    sim = world.node(first)
    sim.call(lambda node, now: node.withdraw(now))
    took = world.mesh.run_until(lambda: sim.withdrawn, 3)
    sim.stop()
    world.mesh.run(2)
    assert world.settled() != first
    assert took < 1.5
    assert world.ping.lost(start - 1, world.mesh.now - 0.5) == 0, world.mesh.story()


@pytest.mark.parametrize("cast", BOTH)
def test_a_member_whose_check_fails_hands_over_without_a_lost_ping(cast: str) -> None:
    world = build(cast, checks=(CHECK,))
    start, first = world.mesh.now, world.settled()
    world.check(first, UNWELL, times=2)
    world.mesh.run(0.5)
    assert world.settled() == first, "two bad results are not enough"
    world.check(first, UNWELL, times=1)
    world.mesh.run(1)
    second = world.settled()
    assert second != first
    assert world.view(first).state is MemberState.FAULT
    assert world.ping.lost(start - 1, world.mesh.now - 0.5) == 0
    lines = [line for line in world.node(first).logs if f"{second} serves" in line]
    assert any("check tcp:80 fails" in line for line in lines), world.node(first).logs


def test_if_the_checks_of_all_members_fail_the_last_one_goes_on() -> None:
    world = build("pytinc", checks=(CHECK,))
    for _ in MEMBERS:
        world.check(world.serving()[0], UNWELL)
        world.mesh.run(1)
    last = world.settled()
    assert {world.view(name).state for name in MEMBERS} == {MemberState.FAULT}
    recovered = next(name for name in MEMBERS if name != last)
    world.check(recovered, WELL)
    world.mesh.run(1)
    assert world.settled() == recovered


def test_a_member_without_a_result_of_its_checks_does_not_serve() -> None:
    world = build("pytinc", checks=(CHECK,))
    last = world.settled()
    sim = world.node(next(name for name in MEMBERS if name != last))
    sim.crash()
    sim.start()
    world.mesh.run(6)
    assert world.view(sim.name).state is MemberState.FAULT


@pytest.mark.parametrize("preempt", [None, 0.0, 10.0])
def test_a_better_member_takes_the_address_back_only_if_it_may(preempt: float | None) -> None:
    world = build("pytinc", priorities=(150, 100, 90), preempt=preempt)
    assert world.settled() == "n2"
    sim = world.node("n2")
    sim.crash()
    world.mesh.run(3)
    assert world.settled() == "n3"
    sim.start()
    world.mesh.run(6)
    assert world.settled() == ("n2" if preempt == 0.0 else "n3")
    start = world.mesh.now
    world.mesh.run(20)
    assert world.settled() == ("n3" if preempt is None else "n2")
    assert world.ping.lost(start, world.mesh.now - 0.5) == 0


def test_an_operator_moves_the_address() -> None:
    world = build("pytinc")
    start, first = world.mesh.now, world.settled()
    second, third = (name for name in MEMBERS if name != first)
    for by, target in ((first, second), (first, third), (second, first), (first, first)):
        world.call(by, "vip_move", VIP, target)
        world.mesh.run(1.5)
        assert world.settled() == target
    assert world.ping.lost(start - 1, world.mesh.now - 0.5) == 0


def test_a_move_that_is_not_possible_is_refused_with_the_reason() -> None:
    world = build("pytinc")
    first = world.settled()
    other = next(name for name in MEMBERS if name != first)
    for by, address, target, text in (
        (first, VIP, "n1", "n1 is not a member of 10.1.1.10 that can be reached"),
        ("n5", VIP, other, "n5 is not a member of 10.1.1.10; move it from a member"),
        (first, bytes((10, 1, 1, 11)), other, "10.1.1.11 is no virtual IP with members"),
    ):
        with pytest.raises(PolicyError, match=text):
            world.call(by, "vip_move", address, target)
    world.call(other, "vip_drain")
    world.mesh.run(1)
    with pytest.raises(PolicyError, match=rf"{other} cannot serve 10\.1\.1\.10: its state is drain"):
        world.call(first, "vip_move", VIP, other)
    assert world.settled() == first


def test_a_frozen_address_stays_whatever_the_checks_say_until_its_member_is_gone() -> None:
    world = build("pytinc", checks=(CHECK,), priorities=(150, 100, 90), preempt=0.0)
    world.call("n2", "vip_freeze", VIP)
    world.mesh.run(1)
    assert all(world.view(name).frozen for name in ("n2", "n3", "n4", "n5"))
    world.check("n2", UNWELL)
    world.mesh.run(2)
    assert world.settled() == "n2"
    world.call("n3", "vip_thaw", VIP)
    world.mesh.run(1)
    assert world.settled() == "n3"
    world.call("n3", "vip_freeze", VIP)
    world.mesh.run(0.5)
    world.check("n2", WELL)
    world.mesh.run(5)
    assert world.settled() == "n3", "nobody takes a frozen address back"
    world.node("n3").crash()
    world.mesh.run(3)
    assert world.settled() == "n2"


def test_a_host_that_gives_up_the_address_lets_others_serve() -> None:
    world = build("pytinc")
    start, first = world.mesh.now, world.settled()
    host = world.hosts[first]
    host.addresses.remove(VIP)
    world.call(first, "address_removed", VIP, frozenset((host.mac,)))
    world.mesh.run(1)
    assert world.settled() != first
    assert world.ping.lost(start, world.mesh.now - 0.5) <= 1
    assert world.view(first).state is MemberState.ABSENT
    host.addresses.append(VIP)
    world.call(first, "address_added", VIP)
    world.mesh.run(3)
    assert world.view(first).state is MemberState.BACKUP


@pytest.mark.parametrize("seed", range(2))
def test_both_halves_of_a_split_mesh_serve_and_one_serves_after_the_merge(seed: int) -> None:
    world = build("pytinc", seed=seed)
    first = world.settled()
    world.mesh.underlay.cut.add(first)
    world.mesh.run(20)
    assert len(world.serving()) == 2, "each side has its own"
    second = next(name for name in world.serving() if name != first)
    assert world.used() == second
    world.mesh.underlay.cut.discard(first)
    world.mesh.run_until(world.mesh.converged, 60)
    world.mesh.run(2)
    assert world.settled() == second, "it has the higher claim"
    moves = len(world.hosts["n5"].moves)
    world.mesh.run(20)
    assert len(world.hosts["n5"].moves) == moves


@pytest.mark.parametrize("seconds", [2.0, 6.0, 20.0])
@pytest.mark.parametrize("how", ["sleep", "stall"])
def test_a_member_that_slept_does_not_take_the_address_from_the_one_that_serves(
    how: str, seconds: float
) -> None:
    world = build("pytinc")
    first = world.settled()
    sleeper = next(name for name in MEMBERS if name != first)
    getattr(world.node(sleeper), how)(seconds)
    moves = len(world.hosts["n5"].moves)
    world.mesh.run(seconds + 15)
    assert world.settled() == first
    assert len(world.hosts["n5"].moves) == moves


@pytest.mark.parametrize("apart", [("n2", "n3"), ("n2", "n4"), ("n3", "n4"), ("n2", "n5")])
def test_two_nodes_without_udp_between_them_agree_if_a_member_hears_both(apart: tuple[str, str]) -> None:
    world = build("pytinc", priorities=(150, 120, 100))
    assert world.settled() == "n2"
    world.mesh.underlay.no_udp.add(frozenset(apart))
    moves = len(world.hosts["n5"].moves)
    world.mesh.run(60)
    assert len(world.hosts["n5"].moves) == moves
    assert world.settled() == world.view("n5").owner == "n2"
    world.call("n2", "vip_drain")
    world.mesh.run(5)
    assert world.settled() == world.view("n5").owner == "n3"


@pytest.mark.parametrize("cast", BOTH)
@pytest.mark.parametrize("seconds", [0.6, 2.0, 10.0])
def test_a_backup_that_was_cut_off_takes_no_address(cast: str, seconds: float) -> None:
    world = build(cast, priorities=(150, 120, 110))
    assert world.settled() == "n2"
    world.mesh.underlay.cut.add("n4")
    world.mesh.run(seconds)
    world.mesh.underlay.cut.discard("n4")
    world.mesh.run(20)
    assert world.settled() == "n2"
    assert [transition.owner for transition in world.view("n2").transitions] == ["n2"]


@pytest.mark.parametrize(("seed", "seconds"), [(2, 0.5), (2, 1.7), (3, 0.8), (0, 4.0), (1, 4.5)])
def test_a_backup_that_hears_others_or_their_records_late_after_a_cut_takes_no_address(
    seed: int, seconds: float
) -> None:
    ping_timeout = 3 if seconds < 3 else 6  # the meta connections outlive the longer cuts
    world = build("members", priorities=(150, 120, 110), seed=seed, ping_timeout=ping_timeout)
    world.mesh.underlay.cut.add("n4")
    world.mesh.run(seconds)
    world.mesh.underlay.cut.discard("n4")
    world.mesh.run(5)
    assert world.settled() == "n2"
    assert len(world.hosts["n5"].moves) == 1, "the client found n2, and nobody else"


@pytest.mark.parametrize("cast", BOTH)
def test_the_last_member_serves_when_all_others_are_cut_off_at_once(cast: str) -> None:
    world = build(cast, priorities=(150, 120, 110))
    start = world.mesh.now
    world.mesh.underlay.cut |= {"n2", "n3"}
    world.mesh.run(3)
    assert world.used() == "n4"
    assert world.ping.longest_silence(start - 0.5) < 0.6


def test_a_cold_start_of_all_nodes_at_once_has_one_server() -> None:
    for seed in range(3):
        world = build("pytinc", seed=seed, warm_up=5.0)
        first = world.settled()
        world.mesh.run(10)
        assert world.settled() == first


def test_nodes_that_are_no_members_know_all_the_time_who_serves() -> None:
    world = build("pytinc")
    first = world.settled()
    for name in ("n1", "n5"):
        for _ in range(20):
            world.mesh.run(1)
            assert world.view(name).owner == first
        assert [transition.owner for transition in world.view(name).transitions] == [first]


def test_scripts_are_run_when_a_member_begins_and_ends_to_serve() -> None:
    world = build("pytinc")
    first = world.settled()
    world.call(first, "vip_drain")
    world.mesh.run(2)
    second = world.settled()
    names = {
        name: [script for script, _ in world.node(name).scripts if script in ("vip-up", "vip-down")]
        for name in MEMBERS
    }
    assert names[first][:2] == ["vip-up", "vip-down"]
    assert names[second] == ["vip-up"]
    environment = next(values for script, values in world.node(second).scripts if script == "vip-up")
    assert environment["VIP"] == "10.1.1.10"
    assert environment["OWNER"] == second
    assert environment["REASON"] == f"{first} drains"


def test_a_node_without_the_right_serves_nothing_and_is_reported() -> None:
    world = build("pytinc")
    first = world.settled()
    for name in ("n2", "n3", "n4", "n5"):
        sim = world.node(name)
        for member in MEMBERS:
            host = sim.hosts.files[member]
            sim.hosts.files[member] = replace(host, virtual_ips=() if member == first else (VIP,))
        world.call(name, "reload", replace(sim.settings, strict_virtual_ips=True))
    world.mesh.run(6)
    assert world.view("n5").owner != first
    lines = [line for line in world.node("n5").errors if "does not allow" in line]
    assert lines == [f"{first} claims the virtual IP 10.1.1.10, which hosts/{first} does not allow"]


def test_a_member_removed_by_a_reload_serves_no_more() -> None:
    world = build("pytinc")
    start, first = world.mesh.now, world.settled()
    world.call(first, "reload", replace(world.node(first).settings, virtual_ips=()))
    world.mesh.run(3)
    (second,) = (name for name in world.serving() if name != first)
    assert world.used() == second
    assert world.ping.lost(start, world.mesh.now - 0.5) <= 1


@pytest.mark.parametrize("seed", range(5))
def test_after_random_faults_one_member_serves_again(seed: int) -> None:
    """Of each part of the mesh that is whole; nothing is asked while faults last."""
    rng = random.Random(seed)
    world = build("pytinc", seed=seed)
    underlay = world.mesh.underlay
    for _ in range(8):
        name = rng.choice(MEMBERS)
        match rng.randrange(5):
            case 0:
                underlay.cut ^= {name}
            case 1:
                underlay.mute ^= {name}
            case 2 if world.node(name).running:
                world.node(name).crash()
            case 3 if not world.node(name).running:
                world.node(name).start()
            case 4 if world.node(name).running:
                world.call(name, rng.choice(("vip_drain", "vip_undrain")))
        world.mesh.run(rng.uniform(0.05, 4.0))
    underlay.cut.clear()
    underlay.mute.clear()
    for name in MEMBERS:
        if not world.node(name).running:
            world.node(name).start()
        world.call(name, "vip_undrain")
    # Connections that broke unnoticed are found by pings.
    world.mesh.run(10)
    world.mesh.run_until(world.mesh.converged, 120)
    world.mesh.run_until(partial(_is_quiet, world), 40)
    first = world.settled()
    world.mesh.run(10)
    assert world.settled() == first


def _is_quiet(world: World) -> bool:
    try:
        world.settled()
    except (AssertionError, ValueError):
        return False
    return True


def test_a_client_that_was_cut_off_while_another_member_took_over_is_told_when_it_returns() -> None:
    world = build("members")  # the client's node acts as a C node
    first = world.settled()
    world.mesh.underlay.cut.add("n5")
    world.mesh.run(12)
    world.node(first).crash()
    world.mesh.run(5)
    (second,) = (name for name in world.serving() if name != first)
    world.mesh.underlay.cut.discard("n5")
    world.mesh.run_until(lambda: world.node("n5").node.peers[second].reachable, 60)
    world.mesh.run(2)
    assert world.used() == second
    assert world.ping.lost(world.mesh.now - 1, world.mesh.now - 0.2) == 0


def test_a_check_that_flaps_does_not_move_the_address_to_and_fro_for_ever() -> None:
    world = build("pytinc", checks=(CHECK,), priorities=(150, 100, 100), preempt=0.0)
    moves = len(world.hosts["n5"].moves)
    for second in range(40):
        world.check("n2", UNWELL if second % 2 else WELL)
        world.mesh.run(1)
    moved = len(world.hosts["n5"].moves) - moves
    assert moved <= 11, "away, two for each of three times, and two for each after 10 and 20 s"
    held = world.view("n2").held_s
    world.check("n2", WELL)
    world.mesh.run(held + 1)
    assert world.settled() == "n2"
