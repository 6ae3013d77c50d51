"""Questions in the guard's own name: when it asks who has an address, and which guards go on asking."""

from __future__ import annotations

from pytinc.vip.asking import MAX_CLAIMS
from pytinc.wire.neighbour import GUARD_ADDRESS, GUARD_MAC, NOBODY, Kind, Message
from vip.world import (
    ALPHA,
    BROADCAST,
    OTHER,
    REMOTE,
    SERVERS,
    VIP,
    VIP6,
    World,
    answers,
    asks,
    ip6_of,
)


def test_an_address_that_a_station_elsewhere_asks_for_is_asked_for_in_our_own_name() -> None:
    world = World().remote_client()
    sent = world.lone()[0]
    assert 0.2 <= sent.at <= 0.7
    assert sent.message.note == world.id
    assert sent.message.address == NOBODY
    assert sent.source == GUARD_MAC
    assert world.view().shared


def test_an_address_that_nobody_uses_is_asked_for_no_more() -> None:
    world = World().local_client()
    world.streams.clear()
    world.until(700.0)
    before = len(world.lone())
    world.until(3000.0)
    assert len(world.lone()) == before
    assert world.probed(after=100.0) == set()


def test_an_address_that_is_not_shared_is_asked_for_ever_less_often() -> None:
    world = World()
    world.servers[VIP] = (ALPHA,)
    world.local_client(until=3600.0)
    asked = world.lone()
    assert 8 <= len(asked) <= 16
    assert asked[-1].at - asked[-2].at > 400


def test_a_shared_address_is_asked_for_every_half_minute() -> None:
    world = World().local_client(until=300.0)
    assert 8 <= len(world.lone()) <= 14


def test_a_lone_question_for_ipv6_comes_from_the_guards_address_and_is_answered_for_later() -> None:
    world = World()
    world.servers = {VIP6: SERVERS}
    world.hear(asks(REMOTE, VIP6))
    world.until(2.0)
    sent = world.lone(VIP6)[0]
    assert sent.message.address == GUARD_ADDRESS
    assert world.view("fd00::10").shared
    world.hear(asks(ALPHA, GUARD_ADDRESS, to=GUARD_MAC))
    assert world.sent[-1].message[:4] == (Kind.ANSWER, GUARD_MAC, GUARD_ADDRESS, ip6_of(ALPHA))


def test_three_guards_of_many_care_and_the_others_stand_by() -> None:
    worlds = {f"guard{number}": World(f"guard{number}", seed=number) for number in range(8)}
    for world in worlds.values():
        world.mesh.ids = {other.id: name for name, other in worlds.items()}
        assert len(world.mesh.ids) == 8
        world.hear(asks(REMOTE))
    # Every guard hears the lone questions of all others.
    heard = dict.fromkeys(worlds, 0)
    for step in range(1, 800):
        for name, world in worlds.items():
            world.until(step / 10)
            asked = world.lone()
            for sent in asked[heard[name] :]:
                for other in worlds.values():
                    if other is not world:
                        other.hear(sent.message)
                        for server in SERVERS:
                            other.later(0.005, answers(server, GUARD_MAC))
            heard[name] = len(asked)
    watching = {name for name, world in worlds.items() if world.probed(after=78.0)}
    assert len(watching) == 3
    for world in worlds.values():
        world.kill("alpha")
        world.until(85.0)
    # Without hearing each other now, the three ask, and nobody else.
    assert {name for name, world in worlds.items() if world.in_names(after=79.0)} == watching
    # And all of them lead the client to the same holder.
    assert len({s.message.to for world in worlds.values() for s in world.in_names(after=79.0)}) == 1


def test_a_host_that_makes_sure_that_nobody_has_an_address_is_not_disturbed() -> None:
    world = World()
    world.hear(Message(Kind.PROBE, OTHER, NOBODY, VIP, BROADCAST))
    world.hear(asks(REMOTE))
    world.until(9.9)
    assert world.lone() == []
    world.until(12.0)
    assert 10.0 <= world.lone()[0].at <= 10.1


def test_made_up_claims_are_bounded() -> None:
    world = World()
    for number in range(100_000):
        world.hear(Message(Kind.PROBE, OTHER, NOBODY, number.to_bytes(4, "big"), BROADCAST))
    assert len(world.guard._asking._claims) <= MAX_CLAIMS
