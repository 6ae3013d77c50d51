"""What clients are told of who serves, and when."""

from __future__ import annotations

from pytinc.vip.actions import SendFrame, ServiceChanged
from pytinc.vip.addresses import MAX_ADDRESSES as MAX_IN_USE
from pytinc.vip.own_member import INIT_TIME
from pytinc.wire import neighbour
from pytinc.wire.neighbour import Kind
from pytinc.wire.vip_record import Claim, EntryState
from vip.world import MINE, REMOTE, VIP, Members, asks, id_of


def test_a_member_that_begins_to_serve_announces_it_to_all() -> None:
    world = Members()
    world.until(INIT_TIME + 0.1)
    frames = [action.frame for action in world.all(SendFrame)]
    assert neighbour.announcement(MINE, VIP) in frames
    (up,) = world.all(ServiceChanged)
    assert up.script == "vip-up"
    assert up.environment["VIP"] == "10.1.1.10"
    assert up.environment["OWNER"] == "me"
    assert "10.1.1.10: me serves; nobody did" in world.notices()


def test_clients_are_told_again_when_another_member_leaves_that_may_have_served_them_unheard() -> None:
    world = Members()
    world.hear(asks(REMOTE))
    world.until(4.0)
    world.keep_saying(10.0, alpha=(EntryState.BACKUP, Claim(1, world.id, 100)))
    assert world.serves
    world.sent.clear()
    world.mesh.unreachable.add("alpha")
    world.guard.reachability("alpha", world.now, reachable=False)
    world.take()
    told = [sent.message for sent in world.sent if sent.message.to == REMOTE]
    assert [(message.kind, message.mac) for message in told] == [(Kind.QUESTION, MINE)]


def test_one_that_serves_under_a_lower_claim_is_told_and_so_are_the_clients() -> None:
    world = Members()
    world.hear(asks(REMOTE))
    world.until(4.0)
    world.says("alpha")
    world.until(5.0)
    world.sent.clear()
    before = world.now
    world.says("alpha", EntryState.ACTIVE, claim=Claim(0, id_of("alpha")))
    assert world.serves
    assert world.records("alpha", after=before - 0.01)
    told = [sent.message for sent in world.sent if sent.message.to == REMOTE]
    assert [(message.kind, message.mac) for message in told] == [(Kind.QUESTION, MINE)]
    for _ in range(20):
        world.says("alpha", EntryState.ACTIVE, claim=Claim(0, id_of("alpha")))
    assert sum(sent.message.to == REMOTE for sent in world.sent) == 1, "not for each record"


def test_a_scan_does_not_make_us_forget_whom_to_tell_of_a_new_owner() -> None:
    world = Members()
    world.hear(asks(REMOTE))
    world.keep_saying(4.0, alpha=(EntryState.ACTIVE, Claim(1, id_of("alpha"))))
    for number in range(2 * MAX_IN_USE):
        world.hear(asks(REMOTE, bytes((10, 3)) + number.to_bytes(2, "big")))
    world.sent.clear()
    world.says("alpha", EntryState.DRAIN, claim=Claim(1, id_of("alpha")))
    assert world.serves
    assert [sent.message.mac for sent in world.sent if sent.message.to == REMOTE] == [MINE]
