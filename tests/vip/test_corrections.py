"""Clients that a host's question has led away by accident are told where they were."""

from __future__ import annotations

import itertools

import pytest

from pytinc.wire.neighbour import GUARD_MAC, Kind, Message
from vip.world import (
    ALPHA,
    BETA,
    OTHER,
    REMOTE,
    VIP,
    World,
    asks,
    ip_of,
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


def test_corrections_of_one_client_rest_longer_and_longer() -> None:
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


def test_an_insider_who_says_to_have_the_address_is_not_followed_nor_helped() -> None:
    world = World().remote_client(ALPHA, until=8.0)
    for step in range(50):
        misled(world, 8.0 + step / 10, by=OTHER)
    assert world.claims() == []
    # But somebody looks soon who answers, and not as often as the insider wants.
    assert 1 <= len([sent for sent in world.lone() if sent.at >= 8.0]) <= 8
