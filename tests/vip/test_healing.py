"""Which holder a client is led to, and when questions are asked in its name."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.vip.addresses import MAX_CLIENTS, AddressRecord, Client
from pytinc.vip.healing import PACE, PAUSE, ROUNDS, SEEN_ROUNDS, Healing, Question, choose

VIP = bytes((10, 1, 1, 10))
A, B, C = HOLDERS = tuple(bytes((2, 0, 0, 0, 0, number)) for number in (1, 2, 3))
macs = st.binary(min_size=6, max_size=6)


def client(number: int) -> Client:
    return Client(b"\x06" + number.to_bytes(5, "big"), bytes((10, 1)) + number.to_bytes(2, "big"), 0.0)


# -- the choice --


@given(client=macs, holders=st.lists(macs, min_size=1, max_size=8), data=st.data())
def test_the_choice_is_the_same_whoever_asks(
    client: bytes, holders: list[bytes], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(holders))
    chosen = choose(VIP, client, holders)
    assert chosen in holders
    assert choose(VIP, client, shuffled) == chosen


@given(client=macs, holders=st.sets(macs, min_size=2, max_size=8), data=st.data())
def test_only_the_clients_of_a_holder_that_goes_get_another_one(
    client: bytes, holders: set[bytes], data: st.DataObject
) -> None:
    gone = data.draw(st.sampled_from(sorted(holders)))
    before = choose(VIP, client, holders)
    after = choose(VIP, client, holders - {gone})
    assert after in holders - {gone}
    assert before in (gone, after)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_many_clients_are_spread_evenly(count: int) -> None:
    holders = [bytes((2, 0, 0, 0, 1, number)) for number in range(count)]
    chosen = Counter(choose(VIP, client(number).mac, holders) for number in range(3000))
    assert max(chosen.values()) / (3000 / count) <= 1.1
    few = Counter(choose(VIP, client(number).mac, HOLDERS) for number in range(100))
    assert max(few.values()) / (100 / 3) <= 1.3


def test_a_client_does_not_get_the_same_holder_of_every_address() -> None:
    chosen = {choose(bytes((10, 1, 1, last)), client(1).mac, HOLDERS) for last in range(30)}
    assert chosen == set(HOLDERS)


def test_no_holder_is_chosen_if_there_is_none() -> None:
    assert choose(VIP, client(1).mac, []) is None


# -- the rounds --


def healing(count: int = 1, now: float = 0.0, *, remote: bool = False) -> Healing:
    clients = [client(number) for number in range(count)]
    record = AddressRecord(VIP, 0.0)
    return Healing(record, "beta", frozenset((C,)), clients, "silent", 0.3, now, remote=remote)


def others(client: Client) -> list[bytes]:
    return [A, B]


def play(move: Healing, until: float = 10.0) -> list[tuple[float, list[Question]]]:
    """Ask whenever something is due."""
    asked = []
    while (now := move.next_deadline()) <= until:
        asked.append((round(now, 6), move.questions(now, others)))
    return asked


def test_there_are_five_rounds_for_clients_that_are_not_seen() -> None:
    asked = play(healing(2, now=100.0, remote=True), until=200.0)
    assert [when for when, _ in asked] == [100.0, 100.1, 100.3, 101.1, 103.0]
    assert all(len(questions) == 2 for _, questions in asked)


def test_rounds_are_closer_together_for_clients_that_are_seen() -> None:
    asked = play(healing(2, now=100.0), until=200.0)
    times = [when - 100.0 for when, _ in asked]
    assert times == pytest.approx(SEEN_ROUNDS)
    assert set(ROUNDS) <= set(SEEN_ROUNDS)
    assert all(later - sooner >= 0.1 - 1e-6 for sooner, later in itertools.pairwise(times))
    assert times[-1] == pytest.approx(3.0)


def test_every_round_asks_the_same_holder_for_a_client() -> None:
    asked = play(healing(20))
    first = {question.client.mac: question.to for question in asked[0][1]}
    assert set(first.values()) == {A, B}
    for _, questions in asked:
        assert {question.client.mac: question.to for question in questions} == first


def test_nothing_is_asked_between_two_rounds() -> None:
    move = healing()
    assert len(move.questions(0.0, others)) == 1
    assert move.questions(0.05, others) == []
    assert len(move.questions(0.1, others)) == 1


def test_there_are_no_more_questions_for_a_client_that_has_moved() -> None:
    move = healing(2)
    move.questions(0.0, others)
    move.moved(client(0), 0.05)
    (question,) = move.questions(0.1, others)
    assert question.client.mac == client(1).mac
    assert not move.is_over


def test_it_ends_when_all_have_moved() -> None:
    move = healing(2)
    move.questions(0.0, others)
    for number in range(2):
        move.moved(client(number), 0.05)
    assert move.is_over
    assert play(move) == []
    assert move.asked == 2


def test_it_can_be_ended_at_once() -> None:
    move = healing(2 * PACE)
    move.questions(0.0, others)
    move.end()
    assert move.is_over
    assert play(move) == []


def test_the_first_rounds_are_skipped_if_another_guard_has_asked() -> None:
    move = healing(now=100.0, remote=True)
    move.postpone(100.03)
    move.hush()
    asked = play(move, until=110.0)
    assert [when for when, _ in asked] == [pytest.approx(101.13), pytest.approx(103.03)]


def test_another_guards_question_changes_nothing_after_our_first_round() -> None:
    move = healing(remote=True)
    move.questions(0.0, others)
    move.hush()
    assert [when for when, _ in play(move)] == [0.1, 0.3, 1.1, 3.0]


def test_questions_for_thousands_of_clients_are_sent_at_a_bounded_rate() -> None:
    move = healing(MAX_CLIENTS, remote=True)
    asked = play(move, until=100.0)
    assert max(len(questions) for _, questions in asked) == PACE == 500
    times = [when for when, _ in asked]
    per_round = -(-MAX_CLIENTS // PACE)
    # One round takes so long that the next one is over before it could begin.
    assert len(asked) == per_round * (len(ROUNDS) - 1)
    for begin in times:
        a_second = [questions for when, questions in asked if begin <= when < begin + 1 - 1e-6]
        assert sum(map(len, a_second)) <= (1 / PAUSE + 2) * PACE
    first = [question.client.mac for _, questions in asked[:per_round] for question in questions]
    assert len(first) == len(set(first)) == MAX_CLIENTS
    assert times[per_round - 1] == pytest.approx(0.8, abs=0.11)
