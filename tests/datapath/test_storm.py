"""How much a node may send to all in a second, and what is counted by itself."""

from __future__ import annotations

import pytest

from datapath.four_nodes import FAR, MULTICAST, NEAR, NEW, NOW, OWN, World, frame
from pytinc.datapath.flood_meter import FloodKind
from pytinc.datapath.storm import kind_of
from pytinc.datapath.table import BROADCAST_MAC
from pytinc.wire import neighbour
from pytinc.wire.ethernet import ARP
from pytinc.wire.neighbour import GUARD_MAC

SECOND = 1.0


@pytest.fixture
def world() -> World:
    made = World()
    made.table.rules.broadcast_limit = 3
    return made


@pytest.mark.parametrize("destination", [BROADCAST_MAC, MULTICAST, NEW])
def test_what_the_device_floods_beyond_the_limit_is_dropped_and_counted(
    world: World, destination: bytes
) -> None:
    frames = [frame(destination, OWN, fill=number) for number in range(5)]

    world.send(*frames)

    assert [world.sent_to(name) for name in "bc"] == [frames[:3]] * 2
    assert (world.me.drops.storm, list(world.out.upcalls.storms)) == (2, [world.me])


def test_frames_beyond_a_peers_flood_limit_reach_neither_the_device_nor_others(world: World) -> None:
    frames = [frame(BROADCAST_MAC, NEAR, fill=number) for number in range(5)]

    world.receive("b", *frames)

    assert world.out.frames == frames[:3]
    assert world.sent_to("c") == frames[:3]
    assert (world.b.drops.storm, list(world.out.upcalls.storms)) == (2, [world.b])


def test_the_flood_of_one_node_does_not_count_for_another(world: World) -> None:
    world.receive("b", *[frame(BROADCAST_MAC, NEAR)] * 5)
    world.receive("c", frame(BROADCAST_MAC, FAR))
    world.send(frame(BROADCAST_MAC, OWN))

    assert frame(BROADCAST_MAC, FAR) in world.out.frames
    assert world.sent_to("c")[-1] == frame(BROADCAST_MAC, OWN)


def test_after_a_second_as_many_may_pass_again_and_the_storm_is_reported_again(world: World) -> None:
    for now in (NOW, NOW + 0.5, NOW + SECOND):
        world.send(*[frame(BROADCAST_MAC, OWN)] * 4, now=now)
        reported = list(world.out.take_upcalls().storms)
        assert reported == ([] if now == NOW + 0.5 else [world.me])

    assert len(world.sent_to("b")) == 6
    assert world.me.drops.storm == 6


def test_the_second_does_not_begin_with_a_frame_that_has_come_back(world: World) -> None:
    world.table.floods.breaks_loops = True
    world.receive("b", frame(BROADCAST_MAC, NEAR))
    world.send(frame(BROADCAST_MAC, NEAR), now=NOW + 0.5)
    for number, now in enumerate((NOW + 1, NOW + 1.75)):
        world.send(*[frame(BROADCAST_MAC, OWN, fill=3 * number + each) for each in range(3)], now=now)

    assert len(world.sent_to("b")) == 3


def test_frames_for_one_owner_are_not_limited(world: World) -> None:
    world.send(*[frame(NEAR, OWN)] * 5)

    assert len(world.sent_to("b")) == 5
    assert not world.out.upcalls


def test_a_limit_of_0_is_none(world: World) -> None:
    world.table.rules.broadcast_limit = 0

    world.send(*[frame(BROADCAST_MAC, OWN)] * 20)

    assert len(world.sent_to("b")) == 20


def test_a_hub_limits_broadcasts_but_not_what_is_for_one_station(world: World) -> None:
    world.table.rules.hub = True

    world.send(*[frame(NEAR, OWN)] * 5, *[frame(BROADCAST_MAC, OWN)] * 5)

    assert world.sent_to("b") == [frame(NEAR, OWN)] * 5 + [frame(BROADCAST_MAC, OWN)] * 3


def test_a_storm_leaves_arp_and_the_guards_alone_and_so_does_one_of_arp(world: World) -> None:
    question = frame(BROADCAST_MAC, OWN, kind=ARP)
    announcement = neighbour.announcement(OWN, bytes((10, 0, 0, 1)))
    storm = [frame(BROADCAST_MAC, OWN)] * 9

    world.send(*storm, *[question] * 9, announcement)

    assert world.sent_to("b") == [*storm[:3], *[question] * 3, announcement]


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        (BROADCAST_MAC + OWN + b"\x08\x00", FloodKind.OTHER),
        (MULTICAST + OWN + b"\x86\xdd", FloodKind.OTHER),
        (NEW + OWN + b"\x86\xdd", FloodKind.OTHER),
        (bytes.fromhex("3333000000fb") + OWN + b"\x86\xdd", FloodKind.OTHER),  # mDNS
        (BROADCAST_MAC + OWN + b"\x08\x06", FloodKind.NEIGHBOUR),
        (bytes.fromhex("3333ff000001") + OWN + b"\x86\xdd", FloodKind.NEIGHBOUR),
        (bytes.fromhex("333300000001") + OWN + b"\x86\xdd", FloodKind.NEIGHBOUR),
        (BROADCAST_MAC + GUARD_MAC + b"\x08\x06", FloodKind.GUARD),
    ],
)
def test_the_ethernet_header_tells_how_a_frame_counts(header: bytes, kind: FloodKind) -> None:
    assert kind_of(header) is kind


@pytest.mark.parametrize("address", [bytes((10, 0, 0, 1)), bytes.fromhex("fd") + bytes(14) + b"\1"])
def test_questions_for_macs_and_announcements_of_both_kinds_count_as_such(address: bytes) -> None:
    assert kind_of(neighbour.question(OWN, address, address)) is FloodKind.GUARD
    assert kind_of(neighbour.announcement(OWN, address)) is FloodKind.GUARD
