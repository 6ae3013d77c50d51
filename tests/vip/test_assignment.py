"""Clients are spread by weight, and only those move that must."""

from __future__ import annotations

from collections import Counter

import pytest

from pytinc.vip.assignment import choose, surplus

VIP = bytes((10, 1, 1, 10))


def ids(count: int) -> list[bytes]:
    return [f"n{number:05}".encode() for number in range(count)]


def macs(count: int) -> list[bytes]:
    return [bytes((2, 0, 0, 0)) + number.to_bytes(2, "big") for number in range(count)]


def spread(weights: dict[bytes, int], clients: list[bytes]) -> dict[bytes, bytes]:
    """Give one client after the other its member."""
    counts = Counter[bytes]()
    found = {}
    for number, client in enumerate(clients, 1):
        found[client] = choose(VIP, client, weights, counts, number)
        counts[found[client]] += 1
    return found


@pytest.mark.parametrize("members", [1, 2, 3, 7, 20])
def test_a_hundred_clients_are_spread_evenly(members: int) -> None:
    counts = Counter(spread(dict.fromkeys(ids(members), 10), macs(100)).values())
    assert max(counts.values()) / (100 / members) <= 1.25


def test_weights_are_kept_within_ten_percent() -> None:
    weights = dict(zip(ids(3), (10, 20, 40), strict=True))
    counts = Counter(spread(weights, macs(3500)).values())
    for member, weight in weights.items():
        assert counts[member] == pytest.approx(3500 * weight / 70, rel=0.1)


def test_no_member_gets_more_than_its_room_whatever_the_hash_says() -> None:
    one, other = ids(2)
    counts = {one: 58, other: 41}
    assert choose(VIP, macs(1)[0], {one: 1, other: 1}, counts, 100) == other
    assert choose(VIP, macs(1)[0], {one: 1, other: 1}, {one: 41, other: 58}, 100) == one


def test_the_order_of_a_client_does_not_depend_on_other_members() -> None:
    weights = dict.fromkeys(ids(5), 10)
    for client in macs(50):
        first = choose(VIP, client, weights, {}, 1000)
        for lost in weights:
            rest = {member: weight for member, weight in weights.items() if member != lost}
            if lost != first:
                assert choose(VIP, client, rest, {}, 1000) == first


def test_nothing_moves_where_nobody_has_more_than_its_share() -> None:
    weights = dict.fromkeys(ids(3), 10)
    clients = [(mac, ids(3)[number % 3]) for number, mac in enumerate(macs(99))]
    assert surplus(VIP, clients, weights) == {}


def test_a_member_that_came_back_gets_the_surplus_of_the_others() -> None:
    one, two, three = ids(3)
    clients = [(mac, (one, two)[number % 2]) for number, mac in enumerate(macs(90))]
    moves = surplus(VIP, clients, dict.fromkeys((one, two, three), 10))
    assert set(moves.values()) == {three}
    assert len(moves) == 30
    assert Counter((dict(clients) | moves).values()) == {one: 30, two: 30, three: 30}


def test_clients_of_a_member_that_does_not_serve_move_as_well() -> None:
    one, two, gone = ids(3)
    moves = surplus(VIP, [(mac, gone) for mac in macs(10)], {one: 10, two: 10})
    assert Counter(moves.values()) == {one: 5, two: 5}
