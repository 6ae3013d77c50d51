"""Member records of other nodes: which count, and how much of them is remembered."""

from __future__ import annotations

import pytest

from pytinc.errors import DecodeError
from pytinc.vip.hearing import MAX_ADDRESSES, MAX_ADDRESSES_OF_NODE
from pytinc.wire.vip_record import Claim, EntryState
from vip.world import NODES, Members, id_of


def test_records_of_nodes_without_the_right_are_ignored() -> None:
    world = Members()
    world.mesh.without_right.add("alpha")
    world.until(4.0)
    world.says("alpha", EntryState.ACTIVE, claim=Claim(9, id_of("alpha")))
    assert world.serves
    assert world.virtual.owner == "me"


def test_a_malformed_record_is_an_error_for_the_caller() -> None:
    with pytest.raises(DecodeError):
        Members().guard.member_record("alpha", id_of("alpha"), b"\x03\x01", 0.0)


def test_made_up_addresses_are_bounded() -> None:
    world = Members(member=False)
    for number, node in enumerate(NODES):
        for last in range(MAX_ADDRESSES_OF_NODE + 5):
            world.says(node, address=bytes((10, 2, number, last)))
        count = len(world.guard.policy.view(world.now).addresses)
        assert count == min((number + 1) * MAX_ADDRESSES_OF_NODE, MAX_ADDRESSES)
