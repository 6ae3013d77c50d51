"""This node as a member: when it may serve, and why not."""

from __future__ import annotations

import math
from itertools import pairwise

from pytinc.vip.health import Outcome
from pytinc.vip.own_member import (
    CALM,
    FREE_PREEMPTIONS,
    HOLDS,
    INIT_AFTER_CONTACT,
    INIT_TIME,
    LONGEST_INIT,
    OwnMember,
)
from pytinc.wire.vip_record import EntryState
from pytinc.wire.virtual_ip import TcpCheck, VirtualIP

VIP = bytes((10, 1, 1, 10))
CHECK, OTHER = TcpCheck(80), TcpCheck(443)
WELL = Outcome(well=True, drain=False, detail="connected", seconds=0.01)
UNWELL = Outcome(well=False, drain=False, detail="refused", seconds=0.01)
DRAINS = Outcome(well=True, drain=True, detail="status 2", seconds=0.01)


def state(own: OwnMember, now: float = 10.0, *, holds: bool = False, drains: bool = False) -> EntryState:
    own.state = own.find_state(now, holds=holds, drains=drains)
    return own.state


def test_a_member_listens_at_first_and_longer_when_it_has_just_found_somebody() -> None:
    own = OwnMember(VirtualIP(VIP, 32), 0.0)
    assert state(own, INIT_TIME - 0.1) is EntryState.INIT
    own.contact(INIT_TIME - 0.1)
    assert state(own, INIT_TIME) is EntryState.INIT
    assert state(own, INIT_TIME - 0.1 + INIT_AFTER_CONTACT) is EntryState.BACKUP
    own.contact(20.0)
    assert state(own, 20.0) is EntryState.BACKUP


def test_contacts_do_not_keep_a_member_from_serving_for_ever() -> None:
    own = OwnMember(VirtualIP(VIP, 32), 0.0)
    for tenth in range(100):
        own.contact(tenth / 10)
    assert state(own, LONGEST_INIT) is EntryState.BACKUP


def test_the_state_of_a_member_that_is_well() -> None:
    own = OwnMember(VirtualIP(VIP, 32), 0.0)
    assert state(own) is EntryState.BACKUP
    assert state(own, holds=True) is EntryState.ACTIVE
    assert state(own, holds=True, drains=True) is EntryState.DRAIN
    own.present = False
    assert state(own, holds=True) is EntryState.ABSENT
    assert own.trouble() == "the host does not have the address"


def test_all_checks_must_be_well() -> None:
    own = OwnMember(VirtualIP(VIP, 32, checks=(CHECK, OTHER), rise=1, fall=1), 0.0)
    assert state(own) is EntryState.FAULT
    assert own.trouble() == "check tcp:80 has not run yet"
    own.feed(CHECK, WELL, 1.0)
    assert own.trouble() == "check tcp:443 has not run yet"
    own.feed(OTHER, WELL, 1.0)
    assert own.trouble() is None
    assert state(own) is EntryState.BACKUP
    own.feed(OTHER, UNWELL, 2.0)
    assert own.trouble() == "check tcp:443 fails"
    assert state(own, holds=True) is EntryState.FAULT


def test_a_check_that_wants_a_drain_makes_the_member_drain() -> None:
    own = OwnMember(VirtualIP(VIP, 32, checks=(CHECK,), rise=1), 0.0)
    own.feed(CHECK, DRAINS, 1.0)
    assert state(own) is EntryState.DRAIN
    assert own.wants_drain() == "check tcp:80 drains"


def test_a_result_of_a_check_that_was_removed_is_ignored_and_the_others_keep_theirs() -> None:
    own = OwnMember(VirtualIP(VIP, 32, checks=(CHECK, OTHER), rise=1), 0.0)
    own.feed(CHECK, WELL, 1.0)
    own.reconfigure(VirtualIP(VIP, 32, checks=(CHECK,), rise=1))
    own.feed(OTHER, UNWELL, 2.0)
    assert own.trouble() is None
    assert [view.text for view in own.check_views(3.0)] == ["tcp:80"]


def test_a_backup_takes_the_address_back_only_if_it_may() -> None:
    own = OwnMember(VirtualIP(VIP, 32, preempt=30.0), 0.0)
    own.ready_since = 5.0
    state(own)
    assert own.preemption_due() == 35.0
    state(own, holds=True)
    assert own.preemption_due() == math.inf
    never = OwnMember(VirtualIP(VIP, 32), 0.0)
    state(never)
    assert never.preemption_due() == math.inf


def preemptions(own: OwnMember, times: int, *, pause: float = 1.0) -> list[float]:
    """Return when a member takes the address back that loses it again at once; it is well after a pause."""
    found = []
    now = 100.0
    for _ in range(times):
        own.state, own.ready_since = EntryState.BACKUP, now
        now = own.preemption_due()
        own.preempts(now)
        found.append(now)
        now += pause
    return found


def test_a_member_that_takes_the_address_back_too_often_is_held_back_longer_and_longer() -> None:
    own = OwnMember(VirtualIP(VIP, 32, preempt=0.0), 0.0)
    found = preemptions(own, 12)
    pauses = [later - earlier for earlier, later in pairwise(found)]
    assert pauses[:FREE_PREEMPTIONS] == [1.0] * FREE_PREEMPTIONS
    assert pauses[FREE_PREEMPTIONS:] == [10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0, 300.0, 300.0]
    assert HOLDS == (10.0, 300.0)


def test_a_member_that_takes_the_address_back_now_and_then_is_not_held_back() -> None:
    own = OwnMember(VirtualIP(VIP, 32, preempt=0.0), 0.0)
    found = preemptions(own, 10, pause=CALM + 1.0)
    assert {later - earlier for earlier, later in pairwise(found)} == {CALM + 1.0}
