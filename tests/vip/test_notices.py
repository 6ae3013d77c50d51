"""Which clients a guard tells the others of, when, and how many at a time."""

from __future__ import annotations

import math

import pytest

from pytinc.vip.actions import SendFrame
from pytinc.vip.addresses import AddressRecord, Client
from pytinc.vip.core import Core
from pytinc.vip.notices import HEARD_REST, MAX_WAITING, NEWCOMER_DELAYS, PER_SECOND, Notices
from pytinc.wire.neighbour import GUARD_MAC, NO_NOTE, Kind, Message, parse
from vip.world import ALPHA, BETA, LOCAL, OTHER, REMOTE, VIP, Mesh, ip_of


class Told:
    """The notices of one node that holds the address as ``LOCAL``, played on a virtual clock."""

    def __init__(self) -> None:
        self.mesh = Mesh()
        self.core = Core("me", b"me----", self.mesh, lambda: 0.5)
        self.notices = Notices(self.core)
        self.record: AddressRecord = self.core.table.use(VIP, 0.0)
        for mac in (LOCAL, ALPHA):
            self.record.answer(mac, 0.0)
        self.sent: list[tuple[float, Message]] = []

    def client(self, mac: bytes, holder: bytes | None = None) -> Client:
        client = self.core.table.client(self.record, mac, ip_of(mac), 0.0)
        client.believe(holder, 0.0)
        return client

    def until(self, end: float) -> list[tuple[float, Message]]:
        while (due := self.notices.next_deadline()) <= end:
            self.notices.tick(due)
            for action in self.core.actions:
                assert isinstance(action, SendFrame)
                message = parse(action.frame)
                assert message is not None
                self.sent.append((due, message))
            self.core.actions.clear()
        return self.sent


def test_one_notice_is_sent_soon_for_a_client_that_begins_to_use_our_holder() -> None:
    told = Told()
    client = told.client(REMOTE, LOCAL)
    told.notices.used(told.record, client, LOCAL, 0.0)
    told.notices.used(told.record, client, LOCAL, 0.0)
    ((at, message),) = told.until(100.0)
    assert at <= 0.1
    assert message == Message(Kind.QUESTION, REMOTE, ip_of(REMOTE), VIP, GUARD_MAC, LOCAL)
    assert told.core.counters.notices == 1
    assert told.notices.next_deadline() == math.inf


@pytest.mark.parametrize("why", ["a holder elsewhere", "a station of our own", "a guarded node"])
def test_no_notice_is_sent_for_clients_that_others_know(why: str) -> None:
    told = Told()
    client, holder = told.client(REMOTE, LOCAL), LOCAL
    if why == "a holder elsewhere":
        holder = ALPHA
    elif why == "a station of our own":
        told.mesh.owners[REMOTE] = "me"
    else:
        told.mesh.guards.add("cee")
    told.notices.used(told.record, client, holder, 0.0)
    assert told.until(100.0) == []


def test_a_notice_names_no_holder_that_does_not_serve() -> None:
    told = Told()
    client = told.client(REMOTE, ALPHA)
    told.mesh.unreachable.add("alpha")
    told.notices.used(told.record, client, LOCAL, 0.0)
    ((_, message),) = told.until(1.0)
    assert message.note == NO_NOTE


def test_notices_of_all_clients_are_sent_three_times_for_a_newcomer() -> None:
    told = Told()
    told.client(REMOTE, ALPHA)
    told.client(OTHER)
    told.client(ALPHA)
    told.notices.newcomer(told.record, 10.0)
    told.notices.newcomer(told.record, 10.0)
    sent = told.until(100.0)
    assert len(sent) == 2 * len(NEWCOMER_DELAYS)
    for (first, last), pair in zip(NEWCOMER_DELAYS, (sent[:2], sent[2:4], sent[4:]), strict=True):
        assert {message.mac: message.note for _, message in pair} == {REMOTE: ALPHA, OTHER: NO_NOTE}
        assert all(first <= at - 10.0 <= last + 0.1 for at, _ in pair)


def test_a_recent_notice_of_another_guard_is_not_repeated() -> None:
    told = Told()
    client = told.client(REMOTE, LOCAL)
    told.notices.used(told.record, client, LOCAL, 0.0)
    told.notices.heard(told.record, client, 0.01)
    told.notices.used(told.record, client, LOCAL, 0.02)
    assert told.until(HEARD_REST) == []
    told.notices.used(told.record, client, LOCAL, 0.02 + HEARD_REST)
    assert len(told.until(10.0)) == 1


def test_no_notice_is_sent_for_a_client_or_address_that_was_forgotten_meanwhile() -> None:
    told = Told()
    for mac in (REMOTE, OTHER):
        told.notices.used(told.record, told.client(mac, LOCAL), LOCAL, 0.0)
    told.core.table.drop_client(told.record, REMOTE)
    told.core.table.forget(told.record)
    told.notices.newcomer(told.record, 0.0)
    assert told.until(100.0) == []


def test_notices_of_many_clients_have_a_bounded_rate_and_a_bounded_queue() -> None:
    told = Told()
    for number in range(MAX_WAITING + 100):
        mac = b"\x06" + number.to_bytes(5, "big")
        told.mesh.owners[mac] = "cee"
        told.notices.used(told.record, told.client(mac, LOCAL), LOCAL, 0.0)
    sent = told.until(100.0)
    assert len(sent) == len({message.mac for _, message in sent}) == MAX_WAITING
    a_second = [at for at, _ in sent if at < 1.0]
    assert len(a_second) <= PER_SECOND
    assert sent[-1][0] >= MAX_WAITING / PER_SECOND - 1


def test_newcomers_of_many_addresses_are_bounded() -> None:
    told = Told()
    for number in range(MAX_WAITING):
        record = told.core.table.use((0x0B000000 + number).to_bytes(4, "big"), 0.0)
        record.answer(BETA, 0.0)
        told.core.table.client(record, REMOTE, ip_of(REMOTE), 0.0)
        told.notices.newcomer(record, 0.0)
    sent = told.until(1000.0)
    assert {message.mac for _, message in sent} == {REMOTE}
    assert len(sent) <= MAX_WAITING + len(NEWCOMER_DELAYS)
