"""For whom a node speaks, and what it tells other nodes of that."""

from __future__ import annotations

import pytest

from pytinc.vip.actions import SendRecord
from pytinc.vip.membership import MAX_WITNESSES
from pytinc.vip.telling import FAR_INTERVAL, INTERVAL, REPEATS
from pytinc.wire.vip_record import Claim, EntryState
from pytinc.wire.virtual_ip import VirtualIP
from vip.world import NO_CLAIM, VIP, Members, id_of


def test_other_members_hear_every_second_and_other_nodes_now_and_then() -> None:
    world = Members()
    world.keep_saying(10.0, alpha=(EntryState.BACKUP, NO_CLAIM))
    start = world.now
    world.keep_saying(start + 20.0, alpha=(EntryState.BACKUP, Claim(1, world.id, 100)))
    assert len(world.records("alpha", after=start)) == pytest.approx(20 / INTERVAL, abs=2)
    assert len(world.records("pyclient", after=start)) == pytest.approx(20 / FAR_INTERVAL, abs=1)


def test_all_are_told_several_times_of_a_change() -> None:
    world = Members()
    world.until(10.0)
    before = world.now
    world.guard.policy.drain(before, on=True)
    world.guard.act_now(before)
    world.take()
    world.until(before + 0.9)
    times = [at - before for at, _ in world.records("pyclient", after=before - 0.01)]
    assert times == pytest.approx(REPEATS)


def test_a_node_without_addresses_of_its_own_sends_no_record_and_learns_who_serves() -> None:
    world = Members(member=False)
    world.keep_saying(6.0, alpha=(EntryState.ACTIVE, Claim(4, id_of("alpha"))))
    assert world.all(SendRecord) == []
    assert (world.virtual.owner, world.virtual.state) == ("alpha", None)


def test_a_node_that_comes_and_goes_does_not_make_us_tell_everybody_each_time() -> None:
    world = Members()
    world.until(6.0)
    before = world.now
    for number in range(100):
        world.says("alpha", (EntryState.BACKUP, EntryState.REMOVED)[number % 2])
    assert not world.records("pyclient", after=before - 0.01)
    assert world.records("alpha", after=before - 0.01)


def test_an_address_that_is_back_at_once_is_not_said_to_be_removed() -> None:
    world = Members()
    world.until(4.0)
    config, more = VirtualIP(VIP, 32), [VirtualIP(bytes((10, 2, 1, last)), 32) for last in range(20)]
    world.configure(*more)
    before = world.now
    world.configure(*more, config)
    world.until(before + 2.0)
    states = {
        entry.state
        for at, record in world.records("alpha", after=before - 0.01)
        for entry in record.entries
        if entry.address == VIP
    }
    assert EntryState.REMOVED not in states


def test_members_and_some_other_nodes_are_watched() -> None:
    world = Members()
    world.mesh.neighbours = ["cee", "delta", "pyclient"]
    assert world.guard.policy.watched() == set(), "who has no address in common needs no witnesses"
    world.says("alpha")
    assert world.guard.policy.watched() == {"alpha", *world.mesh.neighbours[:MAX_WITNESSES]}
