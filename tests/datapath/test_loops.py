"""Flooded frames that come back: reports and drops."""

from __future__ import annotations

import pytest

from datapath.four_nodes import LOST, MULTICAST, NEAR, NEW, NOW, OWN, World, frame
from pytinc.datapath.flood_history import MEMORY
from pytinc.datapath.guard_table import GuardTable
from pytinc.datapath.loops import ROUND_TRIP
from pytinc.datapath.table import BROADCAST_MAC
from pytinc.wire import neighbour

VRRP = bytes.fromhex("00005e000101")


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("destination", [BROADCAST_MAC, MULTICAST, NEW])
def test_a_frame_of_the_device_that_comes_from_a_peer_is_reported_and_passes(
    world: World, destination: bytes
) -> None:
    world.send(frame(destination, OWN))
    world.receive("b", frame(destination, OWN))

    assert world.out.upcalls.returned == {world.b: OWN}
    assert world.table.floods.returned == 1
    assert world.out.frames == [frame(destination, OWN)]


def test_a_frame_of_a_peer_that_comes_from_the_device_is_reported_and_passes(world: World) -> None:
    world.receive("b", frame(BROADCAST_MAC, NEAR))
    world.send(frame(BROADCAST_MAC, NEAR))

    assert world.out.upcalls.returned == {world.b: NEAR}
    assert world.sent_to("b") == [frame(BROADCAST_MAC, NEAR)]


def test_the_mac_of_a_frame_that_the_device_gives_back_is_not_learned(world: World) -> None:
    world.receive("b", frame(BROADCAST_MAC, LOST, fill=1))
    world.send(frame(BROADCAST_MAC, LOST, fill=1))
    assert not world.out.upcalls.learn

    world.send(frame(BROADCAST_MAC, LOST, fill=1), frame(BROADCAST_MAC, LOST, fill=2))
    assert list(world.out.upcalls.learn) == [LOST]


def test_the_mac_of_a_station_that_has_moved_is_learned_though_it_says_the_same(world: World) -> None:
    world.receive("b", frame(BROADCAST_MAC, LOST))
    world.send(frame(BROADCAST_MAC, LOST), now=NOW + ROUND_TRIP)
    assert list(world.out.upcalls.learn) == [LOST]


@pytest.mark.parametrize(("mac", "learned"), [(NEAR, False), (NEW, True)])
def test_while_a_loop_passes_here_only_macs_that_nobody_owns_are_learned(
    world: World, mac: bytes, learned: bool
) -> None:
    floods = world.table.floods
    floods.breaks_loops = True
    world.receive("b", frame(BROADCAST_MAC, LOST, fill=1))
    world.send(frame(BROADCAST_MAC, LOST, fill=1))
    world.send(frame(BROADCAST_MAC, mac, fill=2))
    assert (mac in world.out.upcalls.learn) is learned


def test_what_the_device_gave_back_long_ago_keeps_no_mac_in_place(world: World) -> None:
    world.receive("b", frame(BROADCAST_MAC, LOST, fill=1))
    world.send(frame(BROADCAST_MAC, LOST, fill=1))
    world.table.floods.breaks_loops = True
    world.send(frame(BROADCAST_MAC, NEAR, fill=2), now=NOW + MEMORY)
    assert NEAR in world.out.upcalls.learn


def test_while_a_loop_is_elsewhere_macs_move_to_us(world: World) -> None:
    world.table.floods.breaks_loops = True
    world.send(frame(BROADCAST_MAC, OWN, fill=1))
    world.receive("b", frame(BROADCAST_MAC, OWN, fill=1))
    world.send(frame(BROADCAST_MAC, NEAR, fill=2))
    assert NEAR in world.out.upcalls.learn


def test_another_frame_of_the_same_station_is_not_reported(world: World) -> None:
    world.send(frame(BROADCAST_MAC, OWN, fill=1))
    world.receive("b", frame(BROADCAST_MAC, OWN, fill=2))

    assert not world.out.upcalls.returned


def test_while_there_is_a_loop_what_comes_back_ends_here_and_all_else_passes(world: World) -> None:
    world.table.floods.breaks_loops = True
    world.send(frame(BROADCAST_MAC, OWN, fill=1))
    world.receive("b", frame(BROADCAST_MAC, OWN, fill=1), frame(BROADCAST_MAC, OWN, fill=2), frame(OWN, NEAR))

    assert world.out.frames == [frame(BROADCAST_MAC, OWN, fill=2), frame(OWN, NEAR)]
    assert world.b.drops.looped == 1
    assert world.out.upcalls.returned == {world.b: OWN}


@pytest.mark.parametrize(
    ("sure", "later", "copies"), [(False, 0.1, 2), (True, 0.1, 1), (True, ROUND_TRIP, 2)]
)
def test_a_quick_repetition_of_the_device_ends_here_while_there_is_a_loop(
    world: World, sure: bool, later: float, copies: int
) -> None:
    world.table.floods.breaks_loops = sure
    for now in (NOW, NOW + later):
        world.send(frame(BROADCAST_MAC, OWN), now=now)

    assert len(world.sent_to("b")) == copies
    assert not world.out.upcalls.returned


def test_frames_for_one_owner_are_not_looked_at(world: World) -> None:
    world.send(frame(NEAR, OWN))
    world.receive("b", frame(NEAR, OWN))

    assert not world.out.upcalls.returned


@pytest.mark.parametrize("mac", [VRRP, OWN])
def test_what_several_hosts_with_one_mac_send_is_no_sign_of_a_loop(world: World, mac: bytes) -> None:
    world.table.guard = GuardTable(macs=frozenset((OWN,)))
    world.send(frame(BROADCAST_MAC, mac))
    world.receive("b", frame(BROADCAST_MAC, mac))

    assert not world.out.upcalls.returned


def test_what_the_guards_of_two_nodes_send_is_no_sign_of_a_loop(world: World) -> None:
    announcement = neighbour.announcement(OWN, bytes((10, 0, 0, 1)))
    world.send(announcement)
    world.receive("b", announcement)

    assert not world.out.upcalls.returned
