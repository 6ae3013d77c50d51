"""The choice as one node makes it: from whom a member takes over, when, and from whom it does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytinc.vip.actions import ServiceChanged
from pytinc.vip.members import FAR_RECORD_LIFE, RECORD_LIFE
from pytinc.wire.vip_record import Claim, Entry, EntryState
from vip.world import ALPHA, NO_CLAIM, VIP, Members, id_of


def test_a_member_that_starts_leaves_the_address_to_the_one_that_has_it() -> None:
    world = Members(priority=254)
    world.keep_saying(6.0, alpha=(EntryState.ACTIVE, Claim(4, id_of("alpha"))))
    assert not world.serves
    assert world.virtual.owner == "alpha"
    assert world.claim() == Claim(4, id_of("alpha"))


@pytest.mark.parametrize("state", [EntryState.DRAIN, EntryState.FAULT])
def test_a_member_takes_over_from_one_that_does_not_want_to_serve(state: EntryState) -> None:
    world = Members()
    claim = Claim(4, id_of("alpha"))
    world.keep_saying(6.0, alpha=(EntryState.ACTIVE, claim))
    before = world.now
    world.says("alpha", state, claim=claim)
    assert world.serves, "at once"
    assert world.claim() == Claim(5, world.id, 100)
    assert world.records("alpha", after=before - 0.01)[0][0] == before


def test_a_holder_that_is_heard_itself_and_leaves_at_once_is_replaced_at_once() -> None:
    world = Members()
    world.keep_saying(4.0, alpha=(EntryState.BACKUP, NO_CLAIM))
    world.says("alpha", EntryState.ACTIVE, claim=Claim(6, id_of("alpha")))
    assert not world.serves
    world.mesh.unreachable.add("alpha")
    world.guard.reachability("alpha", world.now, reachable=False)
    assert world.serves


def test_a_member_takes_over_from_one_that_is_not_heard_any_more() -> None:
    world = Members()
    world.keep_saying(6.0, alpha=(EntryState.ACTIVE, Claim(4, id_of("alpha"))))
    last = world.now - 0.5
    world.until(last + RECORD_LIFE - 0.1)
    assert not world.serves
    world.until(last + RECORD_LIFE + 0.1)
    assert world.serves


def test_a_member_takes_over_at_once_from_one_whose_node_left_the_mesh() -> None:
    world = Members()
    world.keep_saying(6.0, alpha=(EntryState.ACTIVE, Claim(4, id_of("alpha"))))
    world.mesh.unreachable.add("alpha")
    world.guard.reachability("alpha", world.now, reachable=False)
    world.take()
    assert world.serves
    assert "10.1.1.10: me serves; alpha has left the mesh" in world.notices()


def test_a_member_takes_over_from_one_that_is_silent_unless_it_answers_over_meta_connections() -> None:
    for answers in (False, True):
        world = Members()
        world.keep_saying(6.0, alpha=(EntryState.ACTIVE, Claim(4, id_of("alpha"))))
        world.kill("alpha")
        world.until(6.2)
        if answers:
            world.guard.meta_answered("alpha", world.now)
        world.until(6.5)
        assert world.serves is not answers


def test_the_member_with_the_lower_claim_stops_serving_at_once() -> None:
    world = Members()
    world.until(4.0)
    assert world.serves
    world.says("alpha", EntryState.ACTIVE, claim=Claim(2, id_of("alpha")))
    assert not world.serves
    assert VIP in world.guard.rules.withheld
    assert world.virtual.owner == "alpha"
    assert [change.script for change in world.all(ServiceChanged)] == ["vip-up", "vip-down"]


def test_a_node_that_is_no_member_follows_the_members_when_all_have_forgotten_a_claim() -> None:
    world = Members(member=False)
    world.says("alpha", EntryState.ACTIVE, claim=Claim(7, id_of("alpha")))
    assert world.virtual.owner == "alpha"
    world.says("alpha", claim=Claim(2, id_of("beta")))
    world.says("beta", EntryState.ACTIVE, claim=Claim(2, id_of("beta")))
    assert world.virtual.owner == "beta"


def test_a_member_that_is_heard_again_after_a_gap_serves_again_for_other_nodes() -> None:
    world = Members(member=False)
    claim = Claim(7, id_of("alpha"))
    world.says("alpha", EntryState.ACTIVE, claim=claim)
    world.until(FAR_RECORD_LIFE + 1.0)
    assert world.virtual.owner is None
    world.says("alpha", EntryState.ACTIVE, claim=claim)
    assert world.virtual.owner == "alpha"


def test_a_holder_that_only_another_member_hears_stays() -> None:
    world = Members(priority=254)
    world.mesh.ids[id_of("beta")] = "beta"
    world.until(4.0)
    claim = Claim(9, id_of("beta"))
    hears = Entry(VIP, EntryState.BACKUP, 100, ALPHA, claim, hears_holder=True)
    for _ in range(20):
        world.says_entry("alpha", hears)
        world.until(world.now + 0.5)
    assert world.virtual.owner == "beta"
    assert not world.serves
    world.says_entry("alpha", replace(hears, hears_holder=False))
    assert world.serves, "nobody hears it any more"
    assert world.claim().term == 10


def test_a_long_stall_of_our_own_does_not_make_others_look_dead() -> None:
    world = Members()
    world.keep_saying(6.0, alpha=(EntryState.ACTIVE, Claim(4, id_of("alpha"))))
    world.sleep(5.0)
    world.until(world.now + 5.1)
    assert not world.serves
    world.says("alpha", EntryState.ACTIVE, claim=Claim(4, id_of("alpha")))
    world.until(world.now + 1.0)
    assert not world.serves
