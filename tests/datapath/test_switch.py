"""What the switch does with frames of the device and of peers: owner, learning, capture, what ends there.

Whether the fast code equals its plain twin in every combination is told by test_twin.py.
"""

from __future__ import annotations

import pytest

from datapath.four_nodes import (
    FAR,
    MULTICAST,
    NEAR,
    NEW,
    NOW,
    OWN,
    STRANGER,
    World,
    frame,
)
from pytinc.datapath.table import BROADCAST_MAC


@pytest.fixture
def world() -> World:
    return World()


def test_a_frame_goes_sealed_to_the_owner_of_its_destination_alone(world: World) -> None:
    world.send(frame(NEAR, OWN))

    assert world.sent_to("b") == [frame(NEAR, OWN)]
    assert len(world.out.datagrams) == 1
    assert not world.out.upcalls


@pytest.mark.parametrize("destination", [BROADCAST_MAC, MULTICAST, NEW])
def test_what_nobody_owns_goes_to_all_neighbours_of_the_tree(world: World, destination: bytes) -> None:
    world.send(frame(destination, OWN))

    assert [world.sent_to(name) for name in "bc"] == [[frame(destination, OWN)]] * 2
    assert world.out.frames == []


def test_frames_to_one_node_keep_their_order_whatever_they_are_mixed_with(world: World) -> None:
    mixed = [
        frame(NEAR, OWN, fill=1),
        frame(FAR, OWN, fill=2),
        frame(BROADCAST_MAC, OWN, fill=3),
        frame(NEAR, NEW, fill=4),
        frame(NEAR, OWN, fill=5),
    ]

    world.send(*mixed)

    assert world.sent_to("b") == [mixed[0], mixed[2], mixed[3], mixed[4]]
    assert world.sent_to("c") == [mixed[1], mixed[2]]


def test_new_source_macs_are_reported_once_and_known_ones_are_renewed(world: World) -> None:
    world.send(frame(NEAR, NEW), frame(NEAR, OWN), frame(NEAR, NEW), now=7.0)

    assert list(world.out.upcalls.learn) == [NEW]
    assert world.table.own_macs == {OWN: 7.0}


@pytest.mark.parametrize("source", [MULTICAST, BROADCAST_MAC, bytes(6)])
def test_no_group_address_and_no_zeros_are_learned(world: World, source: bytes) -> None:
    world.send(frame(NEAR, source))

    assert not world.out.upcalls


def test_a_hub_learns_nothing_and_tells_everything_to_all(world: World) -> None:
    world.table.rules.hub = True

    world.send(frame(NEAR, NEW))

    assert not world.out.upcalls
    assert [world.sent_to(name) for name in "bc"] == [[frame(NEAR, NEW)]] * 2


def test_frames_between_two_hosts_of_our_side_stay_there(world: World) -> None:
    world.send(frame(OWN, NEW))

    assert world.out.datagrams == []
    assert world.table.total_drops().looped == 1


def test_a_mac_that_moved_to_us_is_not_sent_to_its_old_owner(world: World) -> None:
    world.table.own_macs[NEAR] = 0.0

    world.send(frame(NEAR, OWN))
    world.receive("c", frame(NEAR, FAR))

    assert world.out.datagrams == []
    assert world.out.frames == [frame(NEAR, FAR)]


@pytest.mark.parametrize("size", range(14))
def test_a_frame_without_a_whole_header_is_counted_and_dropped(world: World, size: int) -> None:
    world.send(frame(NEAR, OWN, size))

    assert (world.table.total_drops().short, world.out.datagrams, bool(world.out.upcalls)) == (1, [], False)


def test_a_frame_that_a_peer_would_take_for_a_probe_is_dropped(world: World) -> None:
    world.send(frame(NEAR, OWN, kind=b"\0\0"))

    assert (world.table.total_drops().bad_record, world.out.datagrams) == (1, [])


def test_a_frame_for_us_goes_to_the_device(world: World) -> None:
    world.receive("b", frame(OWN, NEAR))

    assert (world.out.frames, world.out.datagrams) == ([frame(OWN, NEAR)], [])


def test_without_forwarding_peers_reach_only_us_but_their_broadcasts_all(world: World) -> None:
    world.table.rules.forward = False

    world.receive("b", frame(FAR, NEAR), frame(OWN, NEAR), frame(BROADCAST_MAC, NEAR))

    assert world.table.total_drops().not_for_us == 1
    assert world.out.frames == [frame(OWN, NEAR), frame(BROADCAST_MAC, NEAR)]
    assert world.sent_to("c") == [frame(BROADCAST_MAC, NEAR)]


def test_with_forwarding_in_the_kernel_everything_of_peers_goes_to_the_device(world: World) -> None:
    world.table.rules.kernel = True
    batch = [frame(FAR, NEAR), frame(BROADCAST_MAC, NEAR), frame(NEAR, NEAR)]

    world.receive("b", *batch)

    assert (world.out.frames, world.out.datagrams) == (batch, [])


def test_a_frame_never_goes_back_to_the_node_it_came_from(world: World) -> None:
    world.receive("b", frame(NEAR, FAR))

    assert (world.table.total_drops().looped, world.out.datagrams) == (1, [])


def test_while_somebody_listens_every_frame_that_enters_the_switch_is_kept_once(world: World) -> None:
    world.table.capture = []
    short, near, far = frame(NEAR, OWN, 5), frame(NEAR, OWN), frame(OWN, NEAR)

    world.send(short, near)
    world.receive("b", far, frame(BROADCAST_MAC, NEAR))
    world.inbound.frames_from_neighbour(world.c, [frame(OWN, FAR)], NOW, world.out)
    world.take(world.c.id + world.b.id + bytes(60), address=world.b.address or STRANGER)

    assert world.table.capture == [short, near, far, frame(BROADCAST_MAC, NEAR), frame(OWN, FAR)]


def test_while_nobody_listens_nothing_is_kept(world: World) -> None:
    world.send(frame(NEAR, OWN))

    assert world.table.capture is None
