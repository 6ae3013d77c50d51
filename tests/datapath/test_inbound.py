"""Datagrams and records by TCP: their source is found, and they are opened, relayed or dropped."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapath.four_nodes import (
    LOST,
    NEAR,
    NOW,
    OWN,
    STRANGER,
    World,
    frame,
)
from pytinc.wire.datagram import (
    MAX_DATAGRAM_SIZE,
    MIN_DATAGRAM_SIZE,
    NULL_ID,
    TYPE_COMPRESSED,
    TYPE_MAC,
    TYPE_PACKET,
    TYPE_PROBE,
)


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("size", [0, MIN_DATAGRAM_SIZE - 1, MAX_DATAGRAM_SIZE + 1])
def test_datagrams_of_impossible_size_are_dropped_before_any_look_up(world: World, size: int) -> None:
    world.take((NULL_ID + world.b.id + bytes(size))[:size])

    drops = world.table.total_drops()
    assert (drops.short, drops.oversized) == ((0, 1) if size else (1, 0)) or drops.short == 1
    assert not world.out.upcalls


def test_the_longest_record_is_taken(world: World) -> None:
    world.receive("b", frame(OWN, NEAR, 1518))

    assert world.out.frames == [frame(OWN, NEAR, 1518)]
    assert world.b.maxrecentlen == 1518


def test_a_replayed_datagram_is_dropped_and_counted(world: World) -> None:
    assert world.b.address is not None
    (datagram,) = world.far["b"].seal_batch(NULL_ID + world.b.id, TYPE_MAC, [frame(OWN, NEAR)])

    world.take(datagram, datagram, address=world.b.address)

    assert len(world.out.frames) == 1
    assert world.table.total_drops().not_authentic == 1


def test_authentic_data_from_elsewhere_is_taken_and_the_address_reported(world: World) -> None:
    datagrams = world.far["b"].seal_batch(NULL_ID + world.b.id, TYPE_MAC, [frame(OWN, NEAR)])

    world.take(*datagrams, socket=1)

    assert world.out.frames == [frame(OWN, NEAR)]
    assert world.out.upcalls.moved == {world.b: (STRANGER, 1)}


def test_forged_data_is_reported_only_when_it_comes_from_a_proved_address(world: World) -> None:
    forged = NULL_ID + world.b.id + bytes(40)
    assert world.b.address is not None

    world.take(forged)
    assert not world.out.upcalls
    world.take(forged, address=world.b.address)
    assert list(world.out.upcalls.failed) == [world.b]
    assert world.table.total_drops().not_authentic == 2


def test_a_stranger_cannot_make_us_ask_for_keys(world: World) -> None:
    world.b.session = None
    assert world.b.address is not None

    world.take(NULL_ID + world.b.id + bytes(40))
    assert not world.out.upcalls
    world.take(NULL_ID + world.b.id + bytes(40), address=world.b.address)
    assert list(world.out.upcalls.no_session) == [world.b]


def test_a_peer_that_kept_its_key_is_asked_for_a_new_one_although_its_address_is_not_proved(
    world: World,
) -> None:
    world.b.session = None
    address = world.b.address
    assert address is not None
    world.b.confirmed = False
    world.table.set_address(world.b, address, 0)

    world.take(NULL_ID + world.b.id + bytes(40), address=address)

    assert list(world.out.upcalls.no_session) == [world.b]


def test_forged_data_from_an_address_that_is_not_proved_is_only_counted(world: World) -> None:
    address = world.b.address
    assert address is not None
    world.b.confirmed = False
    world.table.set_address(world.b, address, 0)

    world.take(NULL_ID + world.b.id + bytes(40), address=address)

    assert not world.out.upcalls
    assert world.table.total_drops().not_authentic == 1


def test_an_answer_goes_out_of_the_socket_that_took_the_last_good_datagram(world: World) -> None:
    assert world.b.address is not None
    datagrams = world.far["b"].seal_batch(NULL_ID + world.b.id, TYPE_MAC, [frame(OWN, NEAR)])

    world.take(*datagrams, address=world.b.address, socket=1)
    world.send(frame(NEAR, OWN))

    assert [path.socket for path, _ in world.out.datagrams] == [1]


def test_strangers_cannot_use_us_as_a_relay(world: World) -> None:
    world.take(world.c.id + world.b.id + bytes(60))

    assert (world.out.datagrams, bool(world.out.upcalls), world.table.total_drops().unknown_source) == (
        [],
        False,
        1,
    )


def test_datagrams_from_a_relay_prove_nothing_about_the_direct_path(world: World) -> None:
    assert world.c.address is not None
    datagrams = world.far["d"].seal_batch(world.me.id + world.d.id, TYPE_MAC, [frame(OWN, LOST, 1000)])

    world.take(*datagrams, address=world.c.address)

    assert world.out.frames == [frame(OWN, LOST, 1000)]
    assert world.d.maxrecentlen == 0
    assert world.out.upcalls.moved == {}
    assert list(world.out.upcalls.relayed) == [(world.c, world.d, world.me)]


def test_probes_go_up_to_the_node_with_where_they_came_from(world: World) -> None:
    world.receive("b", bytes(18), type_=TYPE_PROBE)

    (probe,) = world.out.upcalls.probes
    assert (probe.source, probe.payload, probe.address, probe.direct) == (
        world.b,
        bytes(18),
        world.b.address,
        True,
    )
    assert world.out.frames == []


@pytest.mark.parametrize("type_", [0, 1, TYPE_MAC | TYPE_COMPRESSED, 5, 127])
def test_records_of_other_types_are_counted_and_dropped(world: World, type_: int) -> None:
    world.receive("b", frame(OWN, NEAR), type_=type_)

    assert (world.table.total_drops().bad_record, world.out.frames) == (1, [])
    assert set(world.out.upcalls.other_mode) == ({world.b} if type_ == TYPE_PACKET else set())


def test_a_new_handshake_by_udp_is_reported_and_data_goes_on(world: World) -> None:
    assert world.b.address is not None
    far = world.far["b"]
    before = far.seal_batch(NULL_ID + world.b.id, TYPE_MAC, [frame(OWN, NEAR, fill=1)])
    far.force_rekey()
    (kex,) = far.take_output()
    after = far.seal_batch(NULL_ID + world.b.id, TYPE_MAC, [frame(OWN, NEAR, fill=2)])

    world.take(*before, NULL_ID + world.b.id + kex, *after, address=world.b.address)

    assert world.out.frames == [frame(OWN, NEAR, fill=1), frame(OWN, NEAR, fill=2)]
    assert list(world.out.upcalls.handshakes) == [world.b]


def test_plain_frames_of_a_neighbour_are_switched_and_a_c_nodes_keyless_probes_are_not(world: World) -> None:
    world.inbound.frames_from_neighbour(
        world.b, [frame(OWN, NEAR), bytes(18), bytes(13), frame(OWN, NEAR, 1519)], NOW, world.out
    )

    drops = world.table.total_drops()
    assert world.out.frames == [frame(OWN, NEAR)]
    assert (drops.bad_record, drops.short, drops.oversized) == (1, 1, 1)
    assert (world.b.in_packets, world.b.maxrecentlen) == (1, 0)


def test_a_record_by_tcp_is_opened_or_passed_on_without_a_key_of_our_own(world: World) -> None:
    (mine,) = world.far["d"].seal_batch(world.me.id + world.d.id, TYPE_MAC, [frame(OWN, LOST)])
    world.c.session = None
    passing = world.c.id + world.d.id + bytes(60)

    world.inbound.sptps_packet(mine, NOW, world.out)
    world.inbound.sptps_packet(passing, NOW, world.out)

    assert world.out.frames == [frame(OWN, LOST)]
    assert [run for _, run in world.out.datagrams] == [[passing]]


def test_a_probe_by_tcp_is_an_error(world: World) -> None:
    (probe,) = world.far["d"].seal_batch(world.me.id + world.d.id, TYPE_PROBE, [bytes(18)])

    world.inbound.sptps_packet(probe, NOW, world.out)

    assert (world.table.total_drops().bad_record, world.out.upcalls.probes) == (1, [])


@given(st.lists(st.binary(max_size=80), max_size=5), st.binary(max_size=40), st.booleans())
def test_no_bytes_make_it_raise(packets: list[bytes], record: bytes, known: bool) -> None:
    world = World()
    assert world.b.address is not None
    address = world.b.address if known else STRANGER

    world.send(*packets)
    world.take(*packets, address=address)
    world.inbound.frames_from_neighbour(world.b, packets, NOW, world.out)
    for destination in (NULL_ID, world.me.id, world.c.id):
        world.take(destination + world.b.id + record, address=address)
        world.inbound.sptps_packet(destination + world.b.id + record, NOW, world.out)
    for packet in packets:
        world.inbound.sptps_packet(packet, NOW, world.out)


def test_what_is_dropped_is_counted_for_the_peer_it_came_from_or_was_for(world: World) -> None:
    world.inbound.frames_from_neighbour(world.b, [b"short"], NOW, world.out)
    world.c.reachable = False
    world.table.macs[LOST] = world.c
    world.send(frame(LOST, OWN))

    drops = world.table.total_drops()
    assert (drops.short, world.b.drops.short, world.c.drops.short) == (1, 1, 0)
    assert (drops.unreachable, world.b.drops.unreachable, world.c.drops.unreachable) == (1, 0, 1)
