"""The node that assigns the clients, and the members that keep a copy: events in, frames and records out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import TypeVar

import pytest

from pytinc.errors import DecodeError, PolicyError
from pytinc.vip.actions import Action, SendFrame, SendRecord
from pytinc.vip.addresses import Client
from pytinc.vip.core import Core
from pytinc.vip.members import HAND_OVER_TIME, Address, Member, Said
from pytinc.vip.sharing import CYCLE, HEAD_START, REPEATS, STEP, Sharing
from pytinc.wire.assignment_record import Assigned, AssignmentRecord, parse_assignments
from pytinc.wire.neighbour import GUARD_MAC, NO_NOTE, Message, parse
from pytinc.wire.vip_record import Claim, Entry, EntryState
from pytinc.wire.virtual_ip import Balance
from vip.world import ALPHA, BETA, BROADCAST, LOCAL, OTHER, REMOTE, VIP, Mesh, ip_of

MINE = b"\x02\0\0\0\0\x99"
MACS = {"me": MINE, "alpha": ALPHA, "beta": BETA}
ALL = ("me", "alpha", "beta")


A = TypeVar("A", bound=Action)


def id_of(node: str) -> bytes:
    return node.encode().ljust(6, b"-")


class Stage:
    """One address with three members, of which this node is one."""

    def __init__(self, owner: str = "me", *, serving: Collection[str] = ALL) -> None:
        self.mesh = Mesh()
        self.mesh.owners[MINE] = "me"
        self.mesh.pytinc_nodes = {"alpha", "beta", "stranger"}
        self.core = Core("me", id_of("me"), self.mesh, lambda: 0.5)
        self.record = self.core.table.use(VIP, 0.0)
        for mac in MACS.values():
            self.record.add_holder(mac, 0.0)
        self.sharing = Sharing(self.core)
        self.announcing = self.sharing.announcing
        self.known = Address(VIP)
        self.now = 1.0
        self.set(owner, serving=serving)

    def set(self, owner: str, *, serving: Collection[str] = ALL, balance: Balance = Balance.CLIENT) -> None:
        claim = Claim(1, id_of(owner))
        for node in ("alpha", "beta"):
            entry = Entry(VIP, EntryState.BACKUP, 100, MACS[node], claim)
            self.known.others[node] = Said(id_of(node), entry, 1, 1, self.now)
        self.known.claim = claim
        members = [
            Member(node, id_of(node), EntryState.BACKUP, 100, balance, mac=MACS[node]) for node in serving
        ]
        self.known.set_owner(owner, members)
        self.sharing.update(self.known, members, self.now)

    def client(self, mac: bytes = REMOTE) -> Client:
        return self.core.table.client(self.record, mac, ip_of(mac), self.now)

    def ask(self, mac: bytes = REMOTE, to: bytes = BROADCAST, note: bytes = NO_NOTE) -> bool:
        return self.sharing.asked(self.record, self.client(mac), to, note, self.now)

    def told(self) -> dict[bytes, bytes]:
        """What clients were told: the MAC address of the member, by their own."""
        messages = [parse(each.frame) for each in self._take(SendFrame)]
        assert all(message is None or message.target == ip_of(message.to) for message in messages)
        return {message.to: message.mac for message in messages if isinstance(message, Message)}

    def records(self) -> list[tuple[str, AssignmentRecord]]:
        return [(each.node, parse_assignments(each.payload)) for each in self._take(SendRecord)]

    def _take(self, kind: type[A]) -> list[A]:
        found: list[A] = [action for action in self.core.actions if isinstance(action, kind)]
        self.core.actions = [action for action in self.core.actions if not isinstance(action, kind)]
        return found

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := min(self.sharing.next_deadline(), self.announcing.next_deadline())) <= end:
            self.now = max(self.now, due)
            self.sharing.tick(self.now)
            self.announcing.tick(self.now)
        self.now = end

    def hear(self, *clients: Assigned, sender: str = "alpha", sequence: int = 1, term: int = 1) -> bool:
        record = AssignmentRecord(5, sequence, VIP, term, id_of("alpha"), clients)
        return self.sharing.record(sender, record.pack(), self.now)


def test_a_client_that_asks_gets_a_member_at_once_and_the_same_one_again() -> None:
    stage = Stage()
    assert stage.ask()
    member = stage.told()[REMOTE]
    assert member in MACS.values()
    assert not stage.ask()
    assert stage.told() == {REMOTE: member}


def test_the_other_members_are_told_several_times_and_nobody_else() -> None:
    stage = Stage()
    stage.ask()
    stage.run(1.0)
    records = stage.records()
    assert Counter(node for node, _ in records) >= Counter(alpha=REPEATS, beta=REPEATS)
    assert {node for node, _ in records} == {"alpha", "beta"}
    for _, record in records:
        assert (record.address, record.term, record.holder) == (VIP, 1, id_of("me"))
        assert [(each.mac, each.address) for each in record.clients] == [(REMOTE, ip_of(REMOTE))]
    sequences = [record.sequence for node, record in records if node == "alpha"]
    assert sequences == sorted(set(sequences))


def test_all_clients_are_told_of_once_in_every_cycle() -> None:
    stage = Stage()
    for mac in (REMOTE, OTHER):
        stage.ask(mac)
    stage.run(2 * CYCLE)
    stage.records()
    stage.run(CYCLE)
    told = Counter(each.mac for node, record in stage.records() if node == "alpha" for each in record.clients)
    assert told.keys() == {REMOTE, OTHER}


def test_hosts_of_members_get_no_member() -> None:
    stage = Stage()
    assert not stage.ask(ALPHA)
    assert stage.told() == {}


def test_only_own_clients_and_guards_are_answered_by_our_host() -> None:
    stage = Stage(serving=("me",))
    stage.ask()
    assert stage.sharing.answered(stage.record) == frozenset((REMOTE, GUARD_MAC))
    stage.set("me", serving=("alpha", "beta"))
    assert stage.sharing.answered(stage.record) == frozenset()
    assert stage.sharing.answered(stage.core.table.use(bytes(4), 1.0)) is None


def test_clients_of_a_member_that_serves_no_more_get_another_one_and_are_told_in_rounds() -> None:
    stage = Stage(serving=("me", "alpha"))
    for mac in (REMOTE, OTHER, LOCAL):
        stage.ask(mac)
    before = stage.told()
    assert set(before.values()) == {MINE, ALPHA}
    stage.set("me", serving=("me", "beta"))
    moved = {mac: BETA if holder == ALPHA else holder for mac, holder in before.items()}
    assert stage.told() == {mac: BETA for mac, holder in before.items() if holder == ALPHA}
    stage.run(0.2)
    assert stage.told() == {mac: BETA for mac, holder in before.items() if holder == ALPHA}
    for mac in before:
        stage.ask(mac)
    assert stage.told() == moved


def test_a_member_that_comes_back_gets_no_clients_of_others_before_an_order() -> None:
    stage = Stage(serving=("me", "alpha"))
    macs = [bytes((2, 0, 0, 0, 1, number)) for number in range(30)]
    for mac in macs:
        stage.mesh.owners[mac] = "cee"
        stage.ask(mac)
    before = stage.told()
    stage.set("me", serving=ALL)
    assert stage.told() == {}
    stage.sharing.rebalance(VIP, stage.now)
    assert stage.told() == {}, "its new member has to know it first"
    stage.run(HEAD_START)
    moved = stage.told()
    assert set(moved.values()) == {BETA}
    assert Counter({**before, **moved}.values()) == {MINE: 10, ALPHA: 10, BETA: 10}


def test_a_rebalance_is_refused_with_the_reason_where_it_is_not_possible() -> None:
    stage = Stage(owner="alpha")
    with pytest.raises(PolicyError, match=r"alpha gives the clients of 10\.1\.1\.10 their members"):
        stage.sharing.rebalance(VIP, 1.0)
    stage.set("me", balance=Balance.FAILOVER)
    with pytest.raises(PolicyError, match=r"one member serves all clients of 10\.1\.1\.10"):
        stage.sharing.rebalance(VIP, 1.0)


def test_the_end_of_sharing_forgets_the_members_of_all_clients() -> None:
    stage = Stage()
    stage.ask()
    assert stage.record.shares.total() == 1
    stage.set("me", balance=Balance.FAILOVER)
    assert stage.record.shares.total() == 0
    assert stage.client().member is None
    assert stage.sharing.next_deadline() == float("inf")


def test_a_client_that_another_guard_has_seen_with_a_member_stays_there() -> None:
    for holder in MACS.values():
        stage = Stage()
        stage.ask(REMOTE, GUARD_MAC, holder)
        assert stage.told() == {}
        stage.ask()
        assert stage.told() == {REMOTE: holder}


def test_a_client_that_uses_another_member_than_its_own_is_led_there() -> None:
    stage = Stage()
    stage.ask()
    right = stage.told()[REMOTE]
    wrong = next(mac for mac in MACS.values() if mac != right)
    assert not stage.sharing.used(stage.record, stage.client(), wrong, 1.0)
    assert stage.told() == {REMOTE: right}
    assert not stage.sharing.used(stage.record, stage.client(), right, 1.0)
    assert stage.told() == {}


def test_another_member_says_nothing_until_it_is_asked_itself() -> None:
    stage = Stage(owner="alpha")
    assert not stage.ask()
    assert stage.told() == {}
    assert stage.hear(Assigned(REMOTE, ip_of(REMOTE), id_of("beta")))
    stage.ask()
    assert stage.told() == {}
    stage.ask(to=MINE)
    assert stage.told() == {REMOTE: BETA}
    stage.run(5.0)
    assert stage.records() == []


def test_a_new_owner_leaves_clients_where_the_former_one_put_them() -> None:
    stage = Stage(owner="alpha")
    names = {REMOTE: "beta", OTHER: "me", LOCAL: "alpha"}
    assert stage.hear(*(Assigned(mac, ip_of(mac), id_of(node)) for mac, node in names.items()))
    stage.set("me", serving=("me", "beta"))
    told = stage.told()
    assert told.keys() == {LOCAL}
    for mac in names:
        stage.ask(mac)
    assert stage.told() == {REMOTE: BETA, OTHER: MINE, **told}


def test_a_member_leads_a_client_away_that_belongs_to_another_one() -> None:
    stage = Stage(owner="alpha")
    stage.mesh.uses[MINE, REMOTE, VIP] = 0.9
    assert stage.hear(Assigned(REMOTE, ip_of(REMOTE), id_of("beta")))
    assert stage.told() == {}, "its own member has to know it first"
    stage.run(HEAD_START)
    assert stage.told() == {REMOTE: BETA}
    stage.run(5.0)
    stage.told()
    # Its frames go elsewhere since.
    assert stage.hear(Assigned(REMOTE, ip_of(REMOTE), id_of("beta")), sequence=2)
    assert stage.told() == {}


def test_connections_of_a_client_go_on_at_the_member_that_gives_it_away_while_that_one_is_there() -> None:
    stage = Stage(owner="alpha")
    stage.hear(Assigned(REMOTE, ip_of(REMOTE), id_of("beta")))
    stage.hear(Assigned(REMOTE, ip_of(REMOTE), id_of("me")), sequence=2)
    until = stage.now + HAND_OVER_TIME
    present = {id_of("beta"): BETA}
    assert stage.sharing.taken_over(stage.known, present, until - 0.1) == {REMOTE + VIP: (BETA, until)}
    assert stage.sharing.taken_over(stage.known, {}, until - 0.1) == {}
    assert stage.sharing.taken_over(stage.known, present, until) == {}


def test_a_client_that_goes_back_has_connections_at_both_members() -> None:
    stage = Stage(owner="alpha")
    present = {id_of("beta"): BETA, id_of("me"): MINE}
    whose = []
    for sequence, member in enumerate(("me", "beta", "me", "beta"), 1):
        stage.hear(Assigned(REMOTE, ip_of(REMOTE), id_of(member)), sequence=sequence)
        whose.append(stage.sharing.taken_over(stage.known, present, stage.now))
    until = stage.now + HAND_OVER_TIME
    assert whose == [
        {},
        {REMOTE + VIP: (MINE, until)},
        {REMOTE + VIP: (BETA, until)},
        {REMOTE + VIP: (BETA, until)},
    ], "ours come still; the others' are passed on; and so after it has gone again"
    stage.run(HAND_OVER_TIME)
    stage.hear(Assigned(REMOTE, ip_of(REMOTE), id_of("me")), sequence=5)
    stage.run(HAND_OVER_TIME)
    stage.hear(Assigned(REMOTE, ip_of(REMOTE), id_of("beta")), sequence=6)
    until = stage.now + HAND_OVER_TIME
    assert stage.sharing.taken_over(stage.known, present, stage.now) == {REMOTE + VIP: (MINE, until)}


def test_a_member_that_was_gone_gets_no_connections_of_its_former_clients_when_it_returns() -> None:
    stage = Stage(owner="alpha")
    stage.hear(Assigned(REMOTE, ip_of(REMOTE), id_of("beta")))
    stage.hear(Assigned(REMOTE, ip_of(REMOTE), id_of("me")), sequence=2)
    stage.set("alpha", serving=("me", "alpha"))
    stage.set("alpha")
    assert stage.sharing.taken_over(stage.known, {id_of("beta"): BETA}, stage.now) == {}


@pytest.mark.parametrize("guarded", [True, False], ids=["pytinc", "C"])
def test_a_client_whose_own_node_spreads_its_flows_is_not_led_back_and_has_no_former_member(
    guarded: bool,
) -> None:
    stage = Stage(owner="alpha")
    stage.set("alpha", balance=Balance.FLOW)
    if guarded:
        stage.mesh.guards.add("cee")
    stage.hear(Assigned(REMOTE, ip_of(REMOTE), id_of("beta")))
    stage.mesh.uses[MINE, REMOTE, VIP] = stage.now
    stage.sharing.used(stage.record, stage.client(), MINE, stage.now)
    assert stage.told() == ({} if guarded else {REMOTE: BETA})
    stage.hear(Assigned(REMOTE, ip_of(REMOTE), id_of("me")), sequence=2)
    former = stage.sharing.taken_over(stage.known, {id_of("beta"): BETA}, stage.now)
    assert former.keys() == (set() if guarded else {REMOTE + VIP})


def test_a_client_without_a_former_member_has_no_connections_elsewhere() -> None:
    stage = Stage(owner="alpha")
    stage.hear(Assigned(REMOTE, ip_of(REMOTE), id_of("me")))
    stage.hear(Assigned(REMOTE, ip_of(REMOTE), id_of("me")), sequence=2)
    assert stage.sharing.taken_over(stage.known, {id_of("beta"): BETA, id_of("me"): MINE}, stage.now) == {}


def test_members_that_are_made_up_need_no_room_when_they_have_no_clients() -> None:
    stage = Stage(owner="alpha")
    for sequence in range(1, 10):
        stage.hear(Assigned(REMOTE, ip_of(REMOTE), sequence.to_bytes(6)), sequence=sequence)
    assert stage.record.shares == {(9).to_bytes(6): 1}


def test_records_count_only_from_the_owner_under_its_claim_and_in_order() -> None:
    client = Assigned(REMOTE, ip_of(REMOTE), id_of("beta"))
    stage = Stage(owner="alpha")
    assert not stage.hear(client, sender="beta")
    assert not stage.hear(client, term=2)
    assert stage.client().member is None
    assert stage.hear(client, sequence=5)
    assert not stage.hear(client._replace(member=id_of("me")), sequence=4)
    assert stage.client().member == id_of("beta")
    with pytest.raises(DecodeError):
        stage.sharing.record("alpha", b"\x04", 1.0)
    stage.set("alpha", balance=Balance.FAILOVER)
    assert not stage.hear(client, sequence=6)


def test_a_member_that_takes_our_word_only_now_is_told_of_all_clients() -> None:
    stage = Stage()
    stage.ask()
    stage.run(2.0)
    late = stage.known.others.pop("beta")
    members = [Member("me", id_of("me"), EntryState.ACTIVE, 100, Balance.CLIENT, mac=MINE)]
    stage.sharing.update(stage.known, members, stage.now)
    stage.run(2 * STEP)
    stage.records()
    stage.known.others["beta"] = late
    stage.sharing.update(stage.known, members, stage.now)
    stage.run(STEP)
    assert "beta" in {node for node, _ in stage.records()}


def test_stations_of_a_node_that_comes_back_are_told_again() -> None:
    stage = Stage()
    for mac in (REMOTE, LOCAL):
        stage.ask(mac)
    told = stage.told()
    stage.sharing.came_back("cee", stage.now)
    assert stage.told() == {REMOTE: told[REMOTE]}


def test_all_clients_are_told_when_another_member_has_served_as_well() -> None:
    stage = Stage()
    for mac in (REMOTE, LOCAL):
        stage.ask(mac)
    told = stage.told()
    stage.sharing.tell_all(VIP, stage.now)
    assert stage.told() == told


def test_our_host_is_used_as_long_as_frames_come() -> None:
    stage = Stage()
    stage.ask()
    assert not stage.sharing.is_used(1.0, 0.2)
    stage.mesh.uses[MINE, REMOTE, VIP] = 1.0
    assert stage.sharing.is_used(1.1, 0.2)
    assert not stage.sharing.is_used(1.3, 0.2)


def test_a_client_that_cannot_be_reached_keeps_its_member_until_it_is_back() -> None:
    stage = Stage(serving=("me", "alpha"))
    for mac in (REMOTE, OTHER, LOCAL):
        stage.ask(mac)
    before = stage.told()
    away = next(mac for mac, holder in before.items() if holder == ALPHA)
    del stage.mesh.owners[away]
    stage.set("me", serving=("me", "beta"))
    stage.run(2.0)
    assert away not in stage.told()
    assert stage.client(away).member == id_of("alpha")
    stage.mesh.owners[away] = "cee"
    stage.run(1.0)
    assert stage.told()[away] in (MINE, BETA)
    assert stage.client(away).member != id_of("alpha")


def test_only_the_node_that_assigns_the_clients_tells_all_of_them() -> None:
    stage = Stage(owner="alpha")
    assert stage.hear(Assigned(REMOTE, ip_of(REMOTE), id_of("beta")))
    stage.sharing.tell_all(VIP, stage.now)
    stage.sharing.came_back("cee", stage.now)
    assert stage.told() == {}
