"""The members that get the flows of our own stations, as far as this node knows them."""

from __future__ import annotations

import math

import pytest

from pytinc.vip.actions import FlowShares, NewRules
from pytinc.vip.core import Core, Governed, Silenced
from pytinc.vip.flows import flow_shares
from pytinc.vip.members import Member
from pytinc.wire.vip_record import Claim, Entry, EntryState
from pytinc.wire.virtual_ip import Balance, VirtualIP
from vip.world import ALPHA, BETA, GAMMA, LOCAL, MACS, MINE, VIP, Members, Mesh, id_of

ACTIVE, BACKUP, DRAIN, FAULT = EntryState.ACTIVE, EntryState.BACKUP, EntryState.DRAIN, EntryState.FAULT
CLAIM = Claim(1, id_of("alpha"))


def core(*serving: str) -> Core:
    made = Core("me", id_of("me"), Mesh(), lambda: 0.5)
    record = made.table.use(VIP, 0.0)
    for mac in (ALPHA, BETA, GAMMA, LOCAL):
        record.add_holder(mac, 0.0)
    made.governed = {VIP: Governed("alpha", frozenset(serving), balanced=True)}
    return made


def member(node: str, mac: bytes, state: EntryState = BACKUP, weight: int = 10) -> Member:
    return Member(node, id_of(node), state, 100, Balance.FLOW, weight, mac)


def shares(made: Core, *members: Member) -> FlowShares:
    return flow_shares(made, {VIP: members})[VIP]


def test_all_members_that_serve_get_flows_by_their_weight() -> None:
    told = shares(core("alpha", "beta"), member("beta", BETA, weight=30), member("alpha", ALPHA))
    assert told.members == (("alpha", ALPHA, 10), ("beta", BETA, 30))
    assert told.kept == {ALPHA, BETA}


def test_our_own_host_gets_none_and_its_mac_is_none_to_look_at() -> None:
    told = shares(core("alpha", "me"), member("alpha", ALPHA), member("me", LOCAL))
    assert told == ((("alpha", ALPHA, 10),), frozenset((ALPHA,)), frozenset((ALPHA, BETA, GAMMA)))


@pytest.mark.parametrize("state", [DRAIN, FAULT])
def test_a_member_that_drains_or_is_in_trouble_keeps_its_flows_and_gets_no_new_ones(
    state: EntryState,
) -> None:
    told = shares(core("alpha"), member("alpha", ALPHA), member("beta", BETA, state))
    assert told.members == (("alpha", ALPHA, 10),)
    assert told.kept == {ALPHA, BETA}


@pytest.mark.parametrize("state", [EntryState.INIT, EntryState.ABSENT])
def test_a_member_that_cannot_serve_keeps_nothing(state: EntryState) -> None:
    told = shares(core("alpha"), member("alpha", ALPHA), member("beta", BETA, state))
    assert told.kept == {ALPHA}


def test_a_silent_member_gets_none_whatever_it_says() -> None:
    made = core("alpha", "beta")
    made.silenced = {"beta": {"beta": Silenced(0.0, 0)}}
    told = shares(made, member("alpha", ALPHA), member("beta", BETA))
    assert told.members == (("alpha", ALPHA, 10),)
    assert told.kept == {ALPHA}
    assert BETA in told.macs


@pytest.mark.parametrize("mac", [b"", b"\2" * 6, GAMMA], ids=["none", "of nobody", "of another node"])
def test_a_member_whose_mac_leads_elsewhere_gets_none(mac: bytes) -> None:
    assert shares(core("alpha", "beta"), member("alpha", ALPHA), member("beta", mac)).kept == {ALPHA}


def test_an_address_of_which_nothing_is_known_yet_has_nobody() -> None:
    made = Core("me", id_of("me"), Mesh(), lambda: 0.5)
    assert shares(made) == ((), frozenset(), frozenset())


# -- in the guard --


class Flows(Members):
    """Alpha and beta share the flows; this node is no member unless it is told so."""

    def use(self) -> None:
        """A station behind our device asks for the address and uses alpha."""
        self.servers = {VIP: (ALPHA, BETA)}
        self.local_client(ALPHA, until=2.0)

    def say(self, until: float, **states: EntryState) -> None:
        """Have both say every half second that they are well, or what the test says."""
        while self.now < until:
            for node in ("alpha", "beta"):
                if node not in self.dead:
                    state = states.get(node, BACKUP)
                    entry = Entry(VIP, state, 100, MACS[node], CLAIM, balance=Balance.FLOW)
                    self.says_entry(node, entry)
            self.until(min(self.now + 0.5, until))

    def nodes(self) -> list[str]:
        return [node for node, _, _ in self.guard.rules.flows[VIP].members]


def test_a_node_that_is_no_member_shares_the_flows_of_its_stations() -> None:
    world = Flows(member=False)
    world.say(2.0)
    assert world.nodes() == ["alpha", "beta"]


def test_a_member_shares_the_flows_of_its_stations_among_the_others() -> None:
    world = Flows(member=False)
    world.mesh.ids = {id_of("alpha"): "alpha"}
    world.say(2.0, alpha=ACTIVE)
    world.configure(VirtualIP(VIP, 32, balance=Balance.FLOW))
    world.say(6.0, alpha=ACTIVE)
    assert MINE not in world.guard.rules.flows[VIP].macs
    assert world.nodes() == ["alpha", "beta"]


def test_without_balance_no_flows_are_shared() -> None:
    world = Members(member=False)
    world.keep_saying(2.0, alpha=(ACTIVE, CLAIM), beta=(BACKUP, CLAIM))
    assert world.guard.rules.flows == {}


def test_a_member_that_drains_gets_no_new_flows_in_the_same_moment() -> None:
    world = Flows(member=False)
    world.say(2.0)
    world.says_entry("beta", Entry(VIP, DRAIN, 100, BETA, CLAIM, balance=Balance.FLOW))
    assert world.nodes() == ["alpha"]
    assert world.guard.rules.flows[VIP].kept == {ALPHA, BETA}


def test_all_members_are_watched_while_a_station_of_ours_uses_one() -> None:
    world = Flows(member=False)
    world.use()
    world.say(4.0)
    assert world.probed(after=3.0) == {"alpha", "beta"}
    world.streams.clear()
    world.say(20.0)
    assert world.probed(after=16.0) == set()


def test_a_member_that_falls_silent_gets_no_more_flows_before_anything_else_happens() -> None:
    world = Flows(member=False)
    world.use()
    world.say(4.0)
    world.kill("beta")
    world.say(4.6)
    assert world.nodes() == ["alpha"]
    (told,) = {at for at, action in world.actions if isinstance(action, NewRules) and at > 4.0}
    assert told < 4.5
    world.dead.clear()
    world.say(12.0)
    assert world.nodes() == ["alpha", "beta"]
    assert math.isfinite(world.guard.next_deadline())
