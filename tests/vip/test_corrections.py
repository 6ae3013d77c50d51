"""Clients that a host's question has led away by accident are told where they were."""

from __future__ import annotations

import itertools

import pytest

from pytinc.vip.corrections import MAX_WAITING
from pytinc.wire.neighbour import GUARD_MAC, Kind, Message
from vip.world import (
    ALPHA,
    BETA,
    BROADCAST,
    GAMMA,
    OTHER,
    REMOTE,
    VIP,
    World,
    asks,
    ip_of,
    lone,
)


def misled(world: World, at: float, by: bytes = BETA) -> None:
    """A server's question for somebody names the address as its sender: all who hear it move."""
    world.hear(asks(by, bytes((10, 1, 2, 99)), address=VIP), at)


def test_a_client_that_was_led_away_is_told_where_it_was_after_20_ms() -> None:
    world = World().remote_client(ALPHA)
    misled(world, 8.0)
    world.until(9.0)
    (claim,) = world.claims()
    assert claim.at == pytest.approx(8.02, abs=0.005)
    assert claim.message == Message(Kind.QUESTION, ALPHA, VIP, ip_of(REMOTE), REMOTE)
    assert claim.source == GUARD_MAC
    assert world.counters["corrections"] == 1


def test_the_pauses_between_corrections_of_one_client_grow() -> None:
    world = World().remote_client(ALPHA)
    for step in range(600):
        misled(world, 8.0 + step / 10)
    world.until(69.0)
    gaps = [later.at - sooner.at for sooner, later in itertools.pairwise(world.claims())]
    assert gaps == pytest.approx([1.0, 10.0, 30.0], abs=0.3)


def test_local_clients_and_those_of_the_asker_are_not_corrected() -> None:
    world = World().local_client(ALPHA)
    world.remote_client(BETA, until=8.0)
    misled(world, 8.0, by=BETA)
    world.until(9.0)
    assert world.claims() == []


def test_nobody_is_led_back_to_a_holder_that_is_gone() -> None:
    world = World().remote_client(ALPHA)
    world.until(8.0)
    world.mesh.unreachable.add("alpha")
    misled(world, 8.0)
    world.until(9.0)
    assert world.claims() == []


def test_an_insider_who_claims_the_address_is_neither_believed_nor_helped() -> None:
    world = World().remote_client(ALPHA, until=8.0)
    for step in range(50):
        misled(world, 8.0 + step / 10, by=OTHER)
    assert world.claims() == []
    # But somebody looks soon who answers, and not as often as the insider wants.
    assert 1 <= len([sent for sent in world.lone() if sent.at >= 8.0]) <= 8


def test_a_client_that_a_holder_asks_itself_is_not_corrected() -> None:
    """The holder has told it on purpose, or the client has asked for it."""
    world = World().remote_client(ALPHA)
    world.hear(asks(BETA, ip_of(REMOTE), address=VIP, to=REMOTE), 8.0)
    misled(world, 8.5, by=BETA)
    world.until(9.0)
    assert world.claims() == []
    misled(world, 9.0, by=GAMMA)
    world.until(10.0)
    assert [claim.message.mac for claim in world.claims()] == [BETA]


def test_the_pauses_start_again_from_the_shortest_after_a_minute_without_corrections() -> None:
    world = World().remote_client(ALPHA)
    for at in (8.0, 9.5, 20.0, 100.0, 101.5):
        misled(world, at)
    world.until(200.0)
    assert [claim.at for claim in world.claims()] == pytest.approx(
        [8.02, 9.52, 20.02, 100.02, 101.52], abs=0.005
    )


def test_a_client_whose_holder_is_unknown_stays_where_it_was_led() -> None:
    world = World().remote_client()
    misled(world, 8.0, by=BETA)
    misled(world, 8.5, by=GAMMA)
    world.until(9.0)
    assert [claim.message.mac for claim in world.claims()] == [BETA]


def test_only_the_first_guard_corrects() -> None:
    told = []
    for number in range(20):
        world = World().remote_client(ALPHA)
        caller = bytes((number,)) * 6
        world.mesh.ids[caller] = "other"
        world.hear(lone(caller), 7.0)
        misled(world, 8.0)
        told.append(len(world.until(9.0).claims()))
    assert set(told) == {0, 1}, "each of two guards is the first one for some other guards"


def test_misleading_questions_in_quick_succession_are_handled_once() -> None:
    """There may be thousands of clients to look at."""
    world = World().remote_client()
    for by in (BETA, GAMMA, ALPHA):
        misled(world, 8.0, by=by)
    (client,) = world.view().clients
    assert client.holder == BETA.hex(":"), "the first question was looked at, and the others were not"
    world.until(8.05)
    assert world.claims() == []
    misled(world, 8.1, by=GAMMA)
    world.until(9.0)
    assert len(world.claims()) == 1


def test_no_more_corrections_wait_than_the_bound() -> None:
    world = World()
    for number in range(MAX_WAITING + 200):
        mac = b"\x06" + number.to_bytes(5, "big")
        world.mesh.owners[mac] = "cee"
        world.hear(Message(Kind.QUESTION, mac, b"\x0a\x02" + number.to_bytes(2, "big"), VIP, BROADCAST))
    world.until(3.0)
    for number in range(MAX_WAITING + 200):
        mac = b"\x06" + number.to_bytes(5, "big")
        world.hear(Message(Kind.QUESTION, mac, b"\x0a\x02" + number.to_bytes(2, "big"), VIP, ALPHA))
    misled(world, 8.0)
    world.until(8.5)
    assert len(world.claims()) == MAX_WAITING
