"""Virtual IPs by policy at one node: takeovers and hand-overs, withheld answers, and log lines."""

from __future__ import annotations

from pytinc.vip.actions import Gone, ServiceChanged
from pytinc.vip.members import HAND_OVER_TIME, RECORD_LIFE
from pytinc.vip.own_member import INIT_TIME
from pytinc.vip.policy import LONGEST_STOP, NEWS_PAUSE
from pytinc.vip.telling import REPEATS
from pytinc.vip.views import MemberState
from pytinc.wire.vip_record import Claim, EntryState
from pytinc.wire.virtual_ip import VirtualIP
from vip.world import ALPHA, BETA, LOCAL, MINE, NO_CLAIM, VIP, Members, id_of


def test_a_member_that_is_alone_serves_after_it_has_listened() -> None:
    world = Members()
    assert VIP in world.guard.rules.withheld
    world.until(INIT_TIME - 0.05)
    assert not world.serves
    assert world.virtual.state is MemberState.INIT
    world.until(INIT_TIME + 0.1)
    assert world.serves
    assert VIP not in world.guard.rules.withheld
    assert (world.virtual.owner, world.virtual.state) == ("me", MemberState.ACTIVE)
    assert world.claim() == Claim(1, world.id, 100)


def test_connections_go_on_at_a_member_that_hands_over_as_long_as_it_is_there() -> None:
    world = Members()
    claim = Claim(4, id_of("alpha"))
    world.keep_saying(6.0, alpha=(EntryState.ACTIVE, claim))
    assert world.guard.rules.taken_over == {}
    world.says("alpha", EntryState.DRAIN, claim=claim)
    until = world.now + HAND_OVER_TIME
    assert world.guard.rules.taken_over == {VIP: (ALPHA, until)}
    mine = Claim(5, world.id, 100)
    world.keep_saying(until - 1.0, alpha=(EntryState.DRAIN, mine))
    assert world.guard.rules.taken_over == {VIP: (ALPHA, until)}
    world.keep_saying(until + 1.5, alpha=(EntryState.DRAIN, mine))
    assert world.guard.rules.taken_over == {}


def test_connections_of_a_member_that_is_gone_are_passed_on_to_nobody() -> None:
    world = Members()
    claim = Claim(4, id_of("alpha"))
    world.keep_saying(6.0, alpha=(EntryState.ACTIVE, claim))
    world.says("alpha", EntryState.DRAIN, claim=claim)
    world.mesh.unreachable.add("alpha")
    world.guard.reachability("alpha", world.now, reachable=False)
    world.take()
    assert world.serves
    assert world.guard.rules.taken_over == {}


def test_a_former_member_that_was_gone_gets_no_connections_when_it_returns() -> None:
    world = Members()
    claim = Claim(4, id_of("alpha"))
    world.keep_saying(6.0, alpha=(EntryState.ACTIVE, claim))
    world.says("alpha", EntryState.DRAIN, claim=claim)
    assert VIP in world.guard.rules.taken_over
    for reachable in (False, True):
        world.mesh.unreachable ^= {"alpha"}
        world.guard.reachability("alpha", world.now, reachable=reachable)
        world.take()
    world.says("alpha", EntryState.BACKUP, claim=Claim(5, world.id, 100))
    world.until(world.now + 1.5)
    assert world.serves
    assert world.guard.rules.taken_over == {}, "what began here meanwhile would be passed on as well"


def test_a_node_whose_guard_is_switched_off_serves_no_more_and_says_so() -> None:
    world = Members()
    world.keep_saying(4.0, alpha=(EntryState.BACKUP, NO_CLAIM))
    assert world.serves
    world.now += 0.01
    world.guard.configure(world.now, enabled=False, addresses=True, interval=0.1)
    world.take()
    assert [action.script for _, action in world.actions if isinstance(action, ServiceChanged)] == [
        "vip-up",
        "vip-down",
    ]
    (record,) = [record for at, record in world.records("alpha") if at == world.now]
    assert [entry.state for entry in record.entries] == [EntryState.REMOVED]


def test_a_member_that_gives_the_address_back_passes_on_late_segments() -> None:
    world = Members()
    claim = Claim(4, id_of("alpha"))
    world.keep_saying(6.0, alpha=(EntryState.ACTIVE, claim))
    world.says("alpha", EntryState.DRAIN, claim=claim)
    taken_over = world.guard.rules.taken_over
    world.says("alpha", EntryState.ACTIVE, claim=Claim(6, id_of("alpha")))
    assert not world.serves
    assert world.guard.rules.taken_over == taken_over


def test_a_member_that_hands_over_notes_late_segments_and_passes_on_others_when_it_takes_over_again() -> None:
    world = Members()
    world.keep_saying(4.0, alpha=(EntryState.BACKUP, NO_CLAIM))
    assert world.serves
    assert world.guard.rules.taken_over == {}
    claim = Claim(6, id_of("alpha"))
    world.says("alpha", EntryState.ACTIVE, claim=claim)
    assert not world.serves
    assert world.guard.rules.taken_over == {VIP: (MINE, world.now + HAND_OVER_TIME)}
    world.keep_saying(world.now + 2.0, alpha=(EntryState.ACTIVE, claim))
    world.says("alpha", EntryState.DRAIN, claim=claim)
    assert world.serves
    assert world.guard.rules.taken_over == {VIP: (ALPHA, world.now + HAND_OVER_TIME)}


def test_a_station_of_our_own_is_led_to_the_new_owner() -> None:
    world = Members(member=False)
    world.servers = {VIP: (ALPHA, BETA)}
    claim = Claim(4, id_of("alpha"))
    world.says("alpha", EntryState.ACTIVE, claim=claim)
    world.says("beta")
    world.local_client(ALPHA, until=1.0)
    world.keep_saying(5.0, alpha=(EntryState.ACTIVE, claim), beta=(EntryState.BACKUP, claim))
    assert world.in_names() == []
    world.says("beta", EntryState.ACTIVE, claim=Claim(5, id_of("beta")))
    world.until(world.now + 0.05)
    assert {sent.message.to for sent in world.in_names()} == {BETA}
    assert world.streams[LOCAL] == BETA
    assert world.guard.rules.absent == {ALPHA + VIP}


def test_a_stopping_member_waits_until_another_one_serves() -> None:
    world = Members()
    world.keep_saying(6.0, alpha=(EntryState.BACKUP, NO_CLAIM))
    assert world.serves
    world.guard.withdraw(world.now)
    world.take()
    assert world.all(Gone) == []
    assert world.records("alpha")[-1][1].entries[0].state is EntryState.DRAIN
    world.until(world.now + 0.1)
    world.says("alpha", EntryState.ACTIVE, claim=Claim(2, id_of("alpha")))
    assert not world.serves
    world.until(world.now + 0.5)
    assert len(world.all(Gone)) == 1


def test_a_stopping_member_does_not_wait_without_other_members() -> None:
    world = Members()
    world.until(4.0)
    world.guard.withdraw(world.now)
    world.take()
    assert len(world.all(Gone)) == 1
    waiting = Members()
    waiting.keep_saying(6.0, alpha=(EntryState.BACKUP, NO_CLAIM))
    waiting.guard.withdraw(waiting.now)
    waiting.take()
    waiting.until(waiting.now + LONGEST_STOP + 0.2)
    assert len(waiting.all(Gone)) == 1, "it never took over"


def test_addresses_that_are_no_longer_configured_are_taken_back_and_others_told() -> None:
    world = Members()
    world.until(4.0)
    before = world.now
    world.configure()
    world.until(before + 2.0)
    assert world.virtual.state is None
    states = [record.entries[0].state for _, record in world.records("alpha", after=before - 0.01)]
    assert states == [EntryState.REMOVED] * len(REPEATS)
    assert [change.script for change in world.all(ServiceChanged)] == ["vip-up", "vip-down"]
    count = len(world.records("alpha"))
    world.until(before + 10.0)
    assert len(world.records("alpha")) == count


def test_a_flood_of_news_costs_little_and_the_last_word_counts() -> None:
    world = Members()
    world.until(4.0)
    states = (EntryState.BACKUP, EntryState.FAULT)
    for number in range(1000):
        world.says("alpha", states[number % 2])
    world.says("alpha", EntryState.ACTIVE, claim=Claim(9, id_of("alpha")))
    world.until(4.0 + NEWS_PAUSE + 0.01)
    assert not world.serves
    assert world.virtual.owner == "alpha"


def test_a_member_without_the_right_does_not_serve_even_if_it_is_alone() -> None:
    world = Members(priority=254, preempt=0.0)
    world.until(4.0)
    assert world.serves
    world.mesh.without_right.add("me")
    world.configure(VirtualIP(VIP, 32, priority=254, preempt=0.0))
    assert not world.serves
    assert world.virtual.state is MemberState.ABSENT
    world.until(10.0)
    assert not world.serves
    world.mesh.without_right.clear()
    world.configure(VirtualIP(VIP, 32, priority=254, preempt=0.0))
    world.until(11.0)
    assert world.serves


def test_a_member_that_comes_back_drops_claims_from_its_time_alone() -> None:
    world = Members(priority=254)
    claim = Claim(4, id_of("alpha"))
    world.keep_saying(6.0, alpha=(EntryState.ACTIVE, claim))
    world.mesh.alone = True
    world.mesh.unreachable |= {"alpha", "beta"}
    for node in ("alpha", "beta"):
        world.guard.reachability(node, world.now, reachable=False)
    world.until(world.now + 10.0)
    assert world.serves
    world.mesh.alone = False
    world.mesh.unreachable.clear()
    world.guard.reachability("alpha", world.now, reachable=True)
    assert not world.serves
    world.keep_saying(world.now + 5.0, alpha=(EntryState.ACTIVE, claim))
    assert not world.serves
    assert world.claim() == claim
    world.until(world.now + RECORD_LIFE + 0.1)
    assert world.serves, "nobody has it any more"


def test_the_picture_has_members_and_changes() -> None:
    world = Members(priority=50)
    world.until(4.0)
    world.says("alpha")
    world.guard.policy.drain(world.now, on=True)
    view = world.virtual
    assert [(member.node, member.priority) for member in view.members] == [("alpha", 100), ("me", 50)]
    assert view.transitions[0].owner == "alpha"
    assert view.transitions[0].reason == "me drains"
    assert world.guard.policy.view(world.now).draining
