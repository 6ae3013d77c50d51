"""Shared addresses, their holders and their clients, all in bounded tables."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.vip import addresses
from pytinc.vip.addresses import (
    CALLER_LIFE,
    MAX_ADDRESSES,
    MAX_ALL_CLIENTS,
    MAX_CALLERS,
    MAX_CLIENTS,
    MAX_HOLDERS,
    ROUND_TIME,
    AddressRecord,
    AddressTable,
)

VIP = bytes((10, 1, 1, 10))
A, B, C = (bytes((2, 0, 0, 0, 0, number)) for number in (1, 2, 3))
OWNERS = {A: "alpha", B: "beta", C: "gamma"}


def mac(number: int) -> bytes:
    return b"\x06" + number.to_bytes(5, "big")


def address(number: int) -> bytes:
    return (0x0B000000 + number).to_bytes(4, "big")


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds alone decide here."""
    monkeypatch.setattr(addresses, "HOLDER_LIFE", 0.0)


class Network:
    """One address, and rounds of questions about it, ten seconds apart."""

    def __init__(self) -> None:
        self.record = AddressRecord(VIP, 0.0)
        self.owners: dict[bytes, str] = dict(OWNERS)
        self.now = 0.0

    def round(self, answering: Iterable[bytes]) -> None:
        self.now += 10.0
        self.record.begin_round(self.now)
        for number, mac in enumerate(answering):
            self.record.answer(mac, self.now + 0.01 * number)
        self.now += ROUND_TIME
        self.record.end_round(self.now)

    @property
    def shared(self) -> bool:
        return self.record.is_shared(self.owners.get)

    @property
    def holders(self) -> set[bytes]:
        return set(self.record.holders)


# -- shared, or not --


def test_a_holder_that_does_not_answer_for_a_while_may_still_replace_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(addresses, "HOLDER_LIFE", 60.0)
    network = Network()
    network.round([A, B])
    for _ in range(4):
        network.round([A])
    assert network.shared
    assert [holder.mac for holder in network.record.present()] == [A]
    network.round([A])
    network.round([A])
    assert not network.shared


def test_two_answers_to_one_question_make_an_address_shared() -> None:
    network = Network()
    network.round([A])
    assert not network.shared
    network.round([A, B])
    assert network.shared


def test_the_second_answer_counts_at_once() -> None:
    network = Network()
    network.record.begin_round(0.0)
    network.record.answer(A, 0.01)
    network.record.answer(B, 0.02)
    assert network.shared
    assert network.record.verified


def test_a_lease_that_moves_to_another_host_does_not_make_an_address_shared() -> None:
    network = Network()
    for answering in [A], [A], [B], [B], [C], [A]:
        network.round(answering)
        assert not network.shared


def test_announcements_between_questions_do_not_make_an_address_shared() -> None:
    network = Network()
    network.round([A])
    network.record.answer(B, network.now + 5.0)
    network.record.answer(A, network.now + 5.1)
    assert not network.shared


def test_an_answer_after_the_end_of_a_round_does_not_count_for_it() -> None:
    network = Network()
    network.record.begin_round(0.0)
    network.record.answer(A, 0.1)
    network.record.answer(B, ROUND_TIME + 0.1)
    assert not network.shared


def test_a_virtual_mac_that_moves_between_nodes_does_not_make_an_address_shared() -> None:
    network = Network()
    for owner in ("alpha", "beta", "alpha"):
        network.owners[A] = owner
        network.round([A, A])
        assert not network.shared


def test_two_macs_behind_one_node_do_not_make_an_address_shared() -> None:
    network = Network()
    network.owners[B] = "alpha"
    network.round([A, B])
    assert not network.shared
    network.round([A, B, C])
    assert network.shared


def test_a_mac_without_an_owner_does_not_make_an_address_shared() -> None:
    """The answer by UDP is faster than the announcement by TCP."""
    network = Network()
    del network.owners[B]
    network.round([A, B])
    assert not network.shared
    network.owners[B] = "beta"
    assert network.shared


def test_an_address_is_no_longer_shared_when_one_holder_is_left() -> None:
    network = Network()
    network.round([A, B])
    for _ in range(5):
        network.round([A])
    assert not network.shared
    # And a new lease does not make it so again.
    network.round([B])
    assert not network.shared


# -- holders that go --


def test_a_holder_that_misses_three_questions_is_dropped() -> None:
    network = Network()
    network.round([A, B])
    network.round([A])
    network.round([A])
    assert network.holders == {A, B}
    assert {holder.mac for holder in network.record.present()} == {A}
    network.round([A])
    assert network.holders == {A}


def test_one_answer_in_three_keeps_a_holder() -> None:
    network = Network()
    for answering in [A, B], [A], [A], [A, B], [A], [A], [B]:
        network.round(answering)
    assert network.holders == {A, B}


def test_a_question_that_nobody_answers_says_nothing_about_the_holders() -> None:
    network = Network()
    network.round([A, B])
    for _ in range(10):
        network.round([])
    assert network.holders == {A, B}
    assert network.shared


def test_a_question_within_a_round_does_not_begin_another() -> None:
    """Whether an answer belongs to the first or the second could not be told."""
    network = Network()
    network.record.begin_round(0.0)
    network.record.answer(A, 0.1)
    network.record.begin_round(0.5)
    network.record.answer(B, 0.6)
    assert network.record.round_end() == ROUND_TIME
    network.record.end_round(ROUND_TIME)
    assert network.shared


@given(st.lists(st.sets(st.sampled_from((A, B, C))), max_size=30))
def test_holders_are_those_who_answered_one_of_the_last_three_questions_that_were_answered(
    rounds: list[set[bytes]],
) -> None:
    network = Network()
    for answering in rounds:
        network.round(sorted(answering))
    answered = [answering for answering in rounds if answering][-3:]
    assert network.holders == set().union(*answered)


# -- bounds --


def test_an_insider_who_answers_with_a_million_macs_fills_a_bounded_table_and_displaces_nobody() -> None:
    network = Network()
    network.round([A, B])
    network.round([A, B, *map(mac, range(100_000))])
    assert len(network.holders) == MAX_HOLDERS
    assert {A, B} < network.holders
    for _ in range(3):
        network.round([A, B])
    assert network.holders == {A, B}


def test_a_scan_displaces_the_least_recently_used_addresses_but_no_shared_one() -> None:
    table = AddressTable()
    record = table.use(VIP, 0.0)
    record.reported = True
    for number in range(3 * MAX_ADDRESSES):
        table.use(address(number), 1.0)
        if number % 100 == 0:
            table.use(address(0), 1.0)
    assert len(table) == MAX_ADDRESSES
    assert table.get(VIP) is record
    assert table.get(address(0)) is not None
    assert table.get(address(1)) is None
    assert table.get(address(3 * MAX_ADDRESSES - 1)) is not None


def test_shared_addresses_are_bounded_as_well() -> None:
    table = AddressTable()
    for number in range(2 * MAX_ADDRESSES):
        table.use(address(number), 0.0).reported = True
    assert len(table) == MAX_ADDRESSES


def test_the_least_recently_seen_client_of_a_full_address_is_dropped() -> None:
    table = AddressTable()
    record = table.use(VIP, 0.0)
    for number in range(MAX_CLIENTS):
        table.client(record, mac(number), address(number), 0.0)
    table.client(record, mac(0), address(0), 1.0)
    table.client(record, A, address(1), 2.0)
    assert len(record.clients) == MAX_CLIENTS
    assert mac(0) in record.clients
    assert mac(1) not in record.clients
    assert A in record.clients


def test_clients_of_all_addresses_together_are_bounded() -> None:
    table = AddressTable()
    for number in range(8):
        record = table.use(address(number), 0.0)
        for client in range(MAX_CLIENTS):
            table.client(record, mac(number * MAX_CLIENTS + client), VIP, 0.0)
    assert sum(len(record.clients) for record in table) == MAX_ALL_CLIENTS
    # A first client finds its place even then.
    record = table.use(VIP, 1.0)
    table.client(record, A, address(1), 1.0)
    assert list(record.clients) == [A]
    assert sum(len(record.clients) for record in table) == MAX_ALL_CLIENTS


def test_forgotten_addresses_and_clients_make_room() -> None:
    table = AddressTable()
    for number in range(10):
        for kind in range(4):
            record = table.use(address(kind), 0.0)
            for client in range(MAX_CLIENTS):
                table.client(record, mac(client), VIP, 0.0)
            table.drop_client(record, mac(number))
        assert sum(len(record.clients) for record in table) == 4 * (MAX_CLIENTS - 1)
        for record in list(table):
            table.forget(record)
    assert len(table) == 0


def test_a_client_that_is_seen_again_is_the_same_with_its_new_address() -> None:
    table = AddressTable()
    record = table.use(VIP, 0.0)
    first = table.client(record, A, address(1), 0.0)
    first.holder = B
    again = table.client(record, A, address(2), 5.0)
    assert again is first
    assert (again.address, again.seen, again.holder) == (address(2), 5.0, B)


def test_callers_are_bounded_and_those_heard_last_count() -> None:
    record = AddressRecord(VIP, 0.0)
    for number in range(3 * MAX_CALLERS):
        record.heard_caller(mac(number), 0.0)
        record.heard_caller(A, 0.0)
    assert len(record.callers) == MAX_CALLERS
    assert A in record.present_callers(1.0)
    assert mac(0) not in record.present_callers(1.0)


def test_a_guard_that_has_stopped_asking_is_not_a_caller() -> None:
    record = AddressRecord(VIP, 0.0)
    record.heard_caller(A, 0.0)
    record.heard_caller(B, 50.0)
    assert record.present_callers(CALLER_LIFE - 1) == [A, B]
    assert record.present_callers(CALLER_LIFE + 1) == [B]
    assert addresses.CALLER_LIFE > 2 * 30  # two questions, one of which is lost
