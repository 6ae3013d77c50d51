"""The forwarding table follows routes and subnets: paths, tree, owners of MACs and networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytinc.datapath.peer_slot import PeerSlot
from pytinc.datapath.table import ForwardingTable
from pytinc.node.forwarding import Forwarding
from pytinc.node.meta_output import MetaOutput
from pytinc.node.topology import Topology
from pytinc.protocol.subnet_table import SubnetTable
from pytinc.wire.neighbour import GUARD_MAC
from pytinc.wire.requests import Ack
from pytinc.wire.subnet import Subnet, parse_subnet

if TYPE_CHECKING:
    from node.conftest import MakeCore, MakeStage

MAC = bytes.fromhex("02000000000a")


class Owners:
    """A forwarding table with some nodes that can be reached, and subnets of theirs."""

    def __init__(self, make: MakeCore) -> None:
        self.core = core = make()
        self.topology = Topology(core, MetaOutput(core))
        self.subnets = SubnetTable()
        self.forwarding = Forwarding(core, self.topology, self.subnets)
        for name in ("beta", "gamma", "delta"):
            self.topology.peer(name).slot.reachable = True

    def add(self, owner: str | None, text: str) -> None:
        subnet = parse_subnet(text)
        self.subnets.add(owner, subnet)
        self.forwarding.write_subnet(owner, subnet, exists=True)

    def delete(self, owner: str | None, text: str) -> None:
        subnet = parse_subnet(text)
        self.subnets.delete(owner, subnet)
        self.forwarding.write_subnet(owner, subnet, exists=False)

    def change(self, name: str, *, reachable: bool = True, silent: bool = False) -> None:
        """Change a node's state, and have the owners written."""
        slot = self.core.peers[name].slot
        slot.reachable, slot.silent = reachable, silent
        self.forwarding.write_owners()

    def of_mac(self) -> str | None:
        slot = self.core.table.macs.get(MAC)
        return None if slot is None else slot.name

    def of_ip(self, *address: int) -> object:
        found = self.core.table.routes.lookup(bytes(address))
        return found.name if isinstance(found, PeerSlot) else found


@pytest.fixture
def owners(core: MakeCore) -> Owners:
    return Owners(core)


def test_the_owner_of_a_mac_is_the_one_with_the_smallest_weight_then_name(owners: Owners) -> None:
    seen = []
    for owner, text in (("gamma", "#10"), ("beta", "#10"), ("delta", "#5")):
        owners.add(owner, f"02:00:00:00:00:0a{text}")
        seen.append(owners.of_mac())
    for owner, text in (("delta", "#5"), ("beta", "#10"), ("gamma", "#10")):
        owners.delete(owner, f"02:00:00:00:00:0a{text}")
        seen.append(owners.of_mac())
    assert seen == ["gamma", "beta", "delta", "beta", "gamma", None]


def test_an_owner_that_is_unreachable_or_silent_is_passed_over_while_another_one_answers(
    owners: Owners,
) -> None:
    owners.add("beta", "02:00:00:00:00:0a#1")
    owners.add("gamma", "02:00:00:00:00:0a#2")
    owners.add("delta", "02:00:00:00:00:0a#3")
    owners.change("beta", silent=True)
    assert owners.of_mac() == "gamma"
    owners.change("gamma", reachable=False)
    assert owners.of_mac() == "delta"
    owners.change("delta", silent=True)
    assert owners.of_mac() == "beta"  # all that are reachable are silent: the best of them
    owners.change("beta", reachable=False)
    assert owners.of_mac() == "delta"
    owners.change("beta")
    assert owners.of_mac() == "beta"


def test_the_mac_of_the_guards_and_a_broadcast_mac_belong_to_nobody(owners: Owners) -> None:
    owners.add("beta", str(Subnet.mac(GUARD_MAC)))
    assert owners.core.table.macs == {}
    owners.add("beta", "02:00:00:00:00:0a")
    owners.add(None, "02:00:00:00:00:0a")
    owners.forwarding.write_owners()
    assert owners.of_mac() is None


def test_networks_go_to_the_routes_and_leave_them(owners: Owners) -> None:
    owners.add("beta", "10.2.0.0/16")
    owners.add("gamma", "10.2.3.0/24")
    owners.add(None, "10.2.4.0/24")
    assert [owners.of_ip(10, 2, third, 1) for third in (2, 3)] == ["beta", "gamma"]
    broadcast = owners.of_ip(10, 2, 4, 1)
    assert broadcast not in ("beta", "gamma")
    owners.delete("gamma", "10.2.3.0/24")
    owners.delete(None, "10.2.4.0/24")
    assert [owners.of_ip(10, 2, third, 1) for third in (2, 3, 4)] == ["beta", "beta", "beta"]
    owners.delete("beta", "10.2.0.0/16")
    assert owners.of_ip(10, 2, 2, 1) != "beta"
    assert owners.core.table.macs == {}


def test_a_route_that_was_looked_up_is_not_kept_when_its_owner_falls_silent(owners: Owners) -> None:
    owners.add("beta", "10.2.0.0/16#1")
    owners.add("gamma", "10.2.0.0/16#2")
    assert owners.of_ip(10, 2, 0, 1) == "beta"
    owners.change("beta", silent=True)
    assert owners.of_ip(10, 2, 0, 1) == "gamma"


# -- routes --


def test_a_node_is_reached_straight_or_by_the_last_one_that_takes_udp(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma", "delta")
    beta = alpha.neighbour("beta")
    beta.link("beta", "gamma")
    beta.say(
        "12 1 beta delta 10.99.0.4 655 700000d 1",  # indirect
        "12 2 delta beta 10.99.0.2 655 700000d 1",
    )
    slots = alpha.node.table.slots
    ways = {
        name: (slot.relay and slot.relay.name, slot.nexthop and slot.nexthop.name)
        for name, slot in slots.items()
        if name != "alpha"
    }
    assert ways == {"beta": ("beta", "beta"), "gamma": ("gamma", "beta"), "delta": ("beta", "beta")}
    assert {slot.name for slot in alpha.node.table.direct} == {"beta", "gamma"}
    beta.hang_up()
    assert all(slot.relay is slot.nexthop is None for name, slot in slots.items() if name != "alpha")
    assert alpha.node.table.direct == ()


def test_the_tree_has_only_neighbours_and_no_circle(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma", "delta")
    beta, gamma = alpha.neighbour("beta"), alpha.neighbour("gamma")
    beta.link("beta", "delta")
    assert [slot.name for slot in alpha.node.table.tree] == ["beta", "gamma"]
    # A cheap link from beta to gamma takes the place of the dearest one of the circle: ours to gamma.
    beta.say("12 1 beta gamma 10.99.0.3 655 700000c -9", "12 2 gamma beta 10.99.0.2 655 700000c -9")
    assert [slot.name for slot in alpha.node.table.tree] == ["beta"]
    gamma.hang_up()
    assert [slot.name for slot in alpha.node.table.tree] == ["beta"]


@pytest.mark.parametrize(
    ("own", "theirs", "tcp_only", "clamps"),
    [(False, 0xC, False, True), (False, 0x4, False, True), (False, 0xF, True, True), (True, 0xC, True, True)],
)
def test_options_of_a_node_are_written_to_its_slot(
    stage: MakeStage, own: bool, theirs: int, tcp_only: bool, clamps: bool
) -> None:
    alpha = stage("beta", tcp_only=own)
    beta = alpha.peer("beta", ack=Ack("655", 7, 0x07000000 | theirs))
    beta.say(f"12 1 beta alpha 10.99.0.1 655 {0x07000000 | theirs:x} 1")
    slot = alpha.node.table.slots["beta"]
    assert (slot.tcp_only, slot.clamp_mss) == (tcp_only, clamps)


@pytest.mark.parametrize("leaves", [True, False])
def test_the_work_for_many_nodes_that_come_or_go_at_once_grows_no_faster_than_they_do(
    stage: MakeStage, monkeypatch: pytest.MonkeyPatch, leaves: bool
) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    count = 200
    beta.say(
        *(f"12 {number:x} ghost ghost{number} 10.0.0.9 655 700000c 1" for number in range(count)),
        *(f"12 {number:x} ghost{number} ghost 10.0.0.9 655 700000c 1" for number in range(count)),
        "12 a000 beta ghost 10.0.0.9 655 700000c 1",
    )
    alpha.run(1)  # in a large mesh the graph rests
    if leaves:
        beta.say("12 a001 ghost beta 10.0.0.9 655 700000c 1")
        alpha.run(1)
        for name, peer in alpha.node.peers.items():
            if name.startswith("ghost"):
                peer.slot.minmtu = 1400  # as if UDP to all of them worked
    paths = 0
    refresh = ForwardingTable.refresh

    def counted(table: ForwardingTable, slot: PeerSlot) -> None:
        nonlocal paths
        paths += 1
        refresh(table, slot)

    monkeypatch.setattr(ForwardingTable, "refresh", counted)
    beta.say(f"{13 if leaves else 12} a002 ghost beta{'' if leaves else ' 10.0.0.9 655 700000c 1'}")
    alpha.run(1)
    assert alpha.node.peers["ghost7"].reachable is not leaves
    assert alpha.node.peers["ghost7"].slot.minmtu == 0
    assert 0 < paths < 5 * count
