"""Orders of operators: move, freeze, rebalance."""

from __future__ import annotations

import pytest

from pytinc.errors import PolicyError
from pytinc.wire.vip_record import Claim, EntryState
from vip.world import NO_CLAIM, VIP, Members, id_of


def test_commands_about_unknown_addresses_and_members_are_refused() -> None:
    world = Members()
    world.until(4.0)
    policy = world.guard.policy
    with pytest.raises(PolicyError, match=r"beta is not a member of 10\.1\.1\.10 that can be reached"):
        policy.orders.move(VIP, "beta", world.now)
    with pytest.raises(PolicyError, match=r"10\.1\.1\.9 is no virtual IP with members"):
        policy.orders.freeze(bytes((10, 1, 1, 9)), world.now, on=True)
    outsider = Members(member=False)
    outsider.says("alpha")
    with pytest.raises(PolicyError, match=r"me is not a member of 10\.1\.1\.10"):
        outsider.guard.policy.orders.freeze(VIP, outsider.now, on=True)


def test_an_address_that_is_moved_is_claimed_for_the_other_member_for_a_stated_reason() -> None:
    world = Members()
    world.keep_saying(4.0, alpha=(EntryState.BACKUP, NO_CLAIM))
    assert world.serves
    world.guard.policy.orders.move(VIP, "alpha", world.now)
    assert not world.serves
    assert world.virtual.owner == "alpha"
    assert world.virtual.transitions[0].reason == "an operator moved it"
    world.until(world.now + 0.1)
    assert world.claim() == Claim(2, id_of("alpha"), 100)


def test_a_member_that_is_not_well_gets_nothing() -> None:
    world = Members()
    world.keep_saying(4.0, alpha=(EntryState.FAULT, NO_CLAIM))
    with pytest.raises(PolicyError, match=r"alpha cannot serve 10\.1\.1\.10: its state is fault"):
        world.guard.policy.orders.move(VIP, "alpha", world.now)


def test_an_address_that_is_frozen_stays_where_it_is_even_in_trouble() -> None:
    world = Members()
    world.keep_saying(4.0, alpha=(EntryState.BACKUP, NO_CLAIM))
    world.guard.policy.orders.freeze(VIP, world.now, on=True)
    world.guard.policy.drain(world.now, on=True)
    assert world.virtual.owner == "me"
    world.guard.policy.orders.freeze(VIP, world.now, on=False)
    assert world.virtual.owner == "alpha"
