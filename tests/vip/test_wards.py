"""Members that run tinc's daemon: their guardian's findings, records and claims for them."""

from __future__ import annotations

import pytest

from pytinc.vip.health import Outcome
from pytinc.vip.members import FAR_RECORD_LIFE, Address
from pytinc.vip.own_member import INIT_TIME, LONGEST_INIT
from pytinc.vip.views import MemberState
from pytinc.vip.wards import LOOKS, Ward
from pytinc.wire.datagram import node_id
from pytinc.wire.neighbour import Kind
from pytinc.wire.vip_record import NO_HOLDER, Claim, Entry, EntryState
from pytinc.wire.virtual_ip import TcpCheck, VirtualIP
from vip.world import BETA, GAMMA, REMOTE, VIP, Members, asks, id_of

CHECK = TcpCheck(80, "10.1.1.102")
UNWELL = Outcome(well=False, drain=False, detail="refused", seconds=0.01)
NOBODY = Claim(0, NO_HOLDER)
HEARD = 3.0
"""Seconds after which a guardian knows where its wards have the address."""


def line(node: str, priority: int = 100, **config: object) -> VirtualIP:
    return VirtualIP(VIP, 32, priority, node=node, **config)  # type: ignore[arg-type]


class Guardian(Members):
    """This node is the guardian of beta and gamma, whose hosts have the address; alpha is a pytinc node."""

    def __init__(self, *lines: VirtualIP, holders: tuple[bytes, ...] = (BETA, GAMMA)) -> None:
        super().__init__(member=False)
        self.servers = {VIP: holders}
        self.mesh.ids |= {node_id(name): name for name in ("beta", "gamma")} | {id_of("alpha"): "alpha"}
        self.mesh.pytinc_nodes = {"alpha", "pyclient"}
        self.configure(*(lines or (line("beta", 150), line("gamma"))))

    def member(self, node: str) -> MemberState:
        return next(member.state for member in self.virtual.members if member.node == node)

    def said(self, node: str = "beta") -> Entry:
        """Return what this node told alpha about a ward last."""
        (entry,) = (entry for entry in self.records("alpha")[-1][1].entries if entry.member == node_id(node))
        return entry


def test_a_guardian_claims_the_address_for_the_best_ward_and_tells_the_clients() -> None:
    world = Guardian()
    world.hear(asks(REMOTE))
    world.until(INIT_TIME - 0.1)
    assert world.virtual.owner is None
    world.until(HEARD + 2)
    assert world.virtual.owner == "beta"
    assert world.virtual.state is None, "it is no member itself"
    assert (world.member("beta"), world.member("gamma")) == (MemberState.ACTIVE, MemberState.BACKUP)
    assert world.said().claim == Claim(1, node_id("beta"), 150)
    assert (world.said().state, world.said().mac) == (EntryState.ACTIVE, BETA)
    assert {claim.message.mac for claim in world.claims()} == {BETA}
    assert REMOTE in {claim.message.to for claim in world.claims()}


def test_a_guardian_keeps_back_nothing_of_its_own_host() -> None:
    world = Guardian()
    world.until(HEARD + 2)
    assert world.guard.rules.withheld == frozenset()
    assert world.guard.rules.answering == {VIP: frozenset({"beta"})}


def test_a_ward_whose_host_never_answers_is_absent_and_asked_for_less_and_less_often() -> None:
    world = Guardian(holders=(GAMMA,))
    world.until(100.0)
    assert world.member("beta") is MemberState.ABSENT
    assert world.virtual.owner == "gamma"
    asked = [sent.at for sent in world.lone()]
    assert 5 <= len(asked) <= 14
    world.servers[VIP] = (BETA, GAMMA)
    world.until(100.0 + LOOKS[1] + 2)
    assert world.member("beta") is MemberState.BACKUP


def test_a_guardian_that_has_just_started_waits_a_little_for_the_answer_of_a_ward() -> None:
    world = Guardian(holders=())
    world.until(LONGEST_INIT - 0.1)
    assert world.member("beta") is MemberState.INIT
    world.until(LONGEST_INIT + 1)
    assert world.member("beta") is MemberState.ABSENT


def test_a_ward_that_fails_its_check_is_replaced_and_its_result_is_its_own() -> None:
    world = Guardian(line("beta", 150, checks=(CHECK,), fall=1), line("gamma", checks=(CHECK,)))
    policy = world.guard.policy
    assert policy.next_check((VIP, "beta"), CHECK) == 0.0
    for ward in ("beta", "gamma"):
        policy.checked((VIP, ward), CHECK, Outcome(well=True, drain=False, detail="", seconds=0.0), world.now)
    world.until(HEARD + 2)
    assert world.virtual.owner == "beta"
    policy.checked((VIP, "beta"), CHECK, UNWELL, world.now)
    world.take()
    assert world.virtual.owner == "gamma"
    assert [(check.node, check.well) for check in world.virtual.checks] == [("beta", False), ("gamma", True)]
    policy.checked((VIP, "delta"), CHECK, UNWELL, world.now)
    assert policy.next_check((VIP, "delta"), CHECK) > 0


@pytest.mark.parametrize("without", ["me", "beta"])
def test_both_the_ward_and_its_guardian_need_the_right(without: str) -> None:
    world = Guardian(line("beta"))
    world.until(HEARD + 2)
    assert world.virtual.owner == "beta"
    world.mesh.without_right.add(without)
    world.configure(line("beta"))
    world.until(world.now + 1)
    assert world.virtual.owner is None
    assert world.member("beta") is MemberState.ABSENT


def test_a_ward_that_is_removed_is_told_to_all_and_serves_no_more() -> None:
    world = Guardian()
    world.until(HEARD + 2)
    world.configure(line("gamma"))
    world.until(world.now + 1)
    assert world.virtual.owner == "gamma"
    told = [entry for _, record in world.records("alpha", after=HEARD + 2) for entry in record.entries]
    assert EntryState.REMOVED in {entry.state for entry in told if entry.member == node_id("beta")}
    assert [member.node for member in world.virtual.members] == ["gamma"]


def test_a_guardians_entry_never_overrides_a_node_that_speaks_for_itself() -> None:
    world = Members(member=False)
    world.mesh.ids[id_of("beta")] = "beta"
    world.says("beta", EntryState.ACTIVE, claim=Claim(3, id_of("beta"), 100))
    assert world.virtual.owner == "beta"
    lie = Entry(VIP, EntryState.FAULT, 100, BETA, Claim(4, id_of("alpha"), 100), member=id_of("beta"))
    world.says_entry("alpha", lie)
    assert world.virtual.owner == "beta"
    (member,) = world.virtual.members
    assert (member.node, member.guardian, member.state) == ("beta", None, MemberState.ACTIVE)


def test_a_member_does_not_believe_what_others_say_about_it() -> None:
    world = Members()
    world.mesh.ids[world.id] = "me"
    world.says_entry("alpha", Entry(VIP, EntryState.ACTIVE, 100, BETA, NOBODY, member=world.id))
    world.says_entry("alpha", Entry(VIP, EntryState.ACTIVE, 100, BETA, NOBODY, member=b"nobody"))
    assert [member.node for member in world.virtual.members] == ["me"]


def test_a_guardian_brings_no_more_members_than_a_node_may_have_addresses() -> None:
    world = Members(member=False)
    names = {f"c{number}": id_of(f"c{number}") for number in range(80)}
    world.mesh.ids |= {node: name for name, node in names.items()}
    for number, node in enumerate(names.values()):
        address = bytes((10, 1, 3, number // 30))
        world.says_entry("alpha", Entry(address, EntryState.BACKUP, 100, BETA, NOBODY, member=node))
    views = world.guard.policy.view(world.now).addresses
    assert sum(len(view.members) for view in views) == 64


def test_without_any_guardian_the_address_is_a_shared_one_again() -> None:
    world = Members(member=False)
    world.mesh.ids[node_id("beta")] = "beta"
    world.hear(asks(REMOTE))
    world.says_entry(
        "alpha", Entry(VIP, EntryState.ACTIVE, 100, BETA, Claim(1, node_id("beta")), member=node_id("beta"))
    )
    assert world.guard.rules.answering == {VIP: frozenset({"beta"})}
    world.until(FAR_RECORD_LIFE + 2)
    assert world.virtual.owner is None
    assert world.guard.rules.answering == {}


# -- several guardians --


def said_by(guardian: str | None, state: EntryState = EntryState.BACKUP) -> tuple[str | None, Entry]:
    return guardian, Entry(VIP, state, 100, BETA, NOBODY, member=b"" if guardian is None else id_of("c"))


def hear(
    known: Address, said: tuple[str | None, Entry], sequence: int, now: float, *, gone: str = ""
) -> str | None:
    """Have an address hear of the member c; return who speaks for it then."""
    guardian, entry = said
    known.hear(
        "c", id_of("c"), entry, 1, sequence, now, guardian=guardian, is_alive=lambda node: node != gone
    )
    return known.others["c"].guardian


def test_the_reachable_guardian_whose_name_sorts_first_counts() -> None:
    known = Address(VIP)
    assert hear(known, said_by("b"), 1, 0.0) == "b"
    assert hear(known, said_by("d"), 1, 0.1) == "b"
    assert hear(known, said_by("a"), 1, 0.2) == "a"
    assert hear(known, said_by("b"), 2, 0.3) == "a"
    assert hear(known, said_by("b"), 3, 0.4, gone="a") == "b"
    assert hear(known, said_by(None), 1, 0.5) is None
    assert hear(known, said_by("a"), 2, 0.6) is None
    assert hear(known, said_by("a"), 3, 0.5 + FAR_RECORD_LIFE) == "a"


def test_a_guardian_that_has_just_started_changes_nothing_before_it_knows_more() -> None:
    known = Address(VIP)
    hear(known, said_by("a", EntryState.ACTIVE), 1, 0.0)
    hear(known, said_by("a", EntryState.INIT), 2, FAR_RECORD_LIFE - 0.1)
    states = [known.others["c"].entry.state]
    hear(known, said_by("a", EntryState.INIT), 3, FAR_RECORD_LIFE)
    states.append(known.others["c"].entry.state)
    assert states == [EntryState.ACTIVE, EntryState.INIT]


def test_only_the_node_that_speaks_for_a_member_can_remove_it() -> None:
    known = Address(VIP)
    hear(known, said_by("a"), 1, 0.0)
    for guardian in ("b", None):
        hear(known, said_by(guardian, EntryState.REMOVED), 9, 0.1)
    known.hear("c", id_of("c"), said_by("a", EntryState.REMOVED)[1], 1, 2, 0.2, guardian="a")
    assert known.others == {}


# -- clients --


def test_a_client_that_asked_is_told_who_serves_until_it_must_know() -> None:
    world = Guardian()
    world.until(HEARD + 3)
    begin = world.now
    world.hear(asks(REMOTE))
    world.until(begin + 2)
    claims = [(round(claim.at - begin, 2), claim.message.mac) for claim in world.claims() if claim.at > begin]
    assert claims == [(0.02, BETA), (0.1, BETA), (1.1, BETA)]


def test_a_client_is_not_told_if_only_the_owner_answers() -> None:
    world = Guardian(line("beta"), holders=(BETA,))
    world.until(HEARD + 3)
    begin = world.now
    world.hear(asks(REMOTE))
    world.until(begin + 2)
    assert [claim for claim in world.claims() if claim.at > begin] == []


def test_a_client_that_another_hosts_question_has_led_away_is_told_at_once_once_a_second() -> None:
    world = Guardian()
    world.hear(asks(REMOTE))
    world.until(12.0)
    for step in range(20):
        world.hear(asks(GAMMA, bytes((10, 1, 2, 99)), address=VIP), 12.0 + step / 10)
    world.until(15.0)
    claims = [claim for claim in world.claims() if claim.at > 12 and claim.message.to == REMOTE]
    assert [round(claim.at, 2) for claim in claims] == [12.02, 13.02]
    assert {claim.message.mac for claim in claims} == {BETA}


def test_all_are_reminded_now_and_then_who_serves_where_other_hosts_answer() -> None:
    world = Guardian()
    world.until(HEARD + 60)
    announced = [sent for sent in world.sent if sent.message.kind is Kind.ANNOUNCEMENT and sent.at > 10]
    assert {sent.message.mac for sent in announced} == {BETA}
    assert 4 <= len(announced) <= 7


def test_a_ward_is_looked_for_until_it_answers() -> None:
    ward = Ward(line("beta"), 0.0)
    looks = [now for now in range(120) if ward.take_look(float(now))]
    assert looks == [0, 1, 3, 7, 15, 31, 61, 91]
    ward.see(BETA)
    assert not ward.take_look(500.0)
    ward.see(None)
    assert ward.take_look(500.0)
