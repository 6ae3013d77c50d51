"""How a frame leaves for another node: sealed or plain, straight or by a relay, by UDP or TCP."""

from __future__ import annotations

import random

import pytest

from datapath.four_nodes import (
    KEYS,
    LOST,
    NEAR,
    NOW,
    OWN,
    STRANGER,
    World,
    frame,
    one_by_one,
)
from pytinc.datapath.compression import expand
from pytinc.protocol.sptps.datagram import DatagramSession
from pytinc.protocol.sptps.handshake import Role
from pytinc.wire.datagram import (
    DATAGRAM_OVERHEAD,
    NULL_ID,
    PREFIX_SIZE,
)


@pytest.fixture
def world() -> World:
    return World()


def test_frames_of_one_flow_are_queued_together(world: World) -> None:
    world.send(*(frame(NEAR, OWN, fill=number) for number in range(64)))

    assert [len(datagrams) for _, datagrams in world.out.datagrams] == [64]


def test_a_neighbour_gets_what_does_not_fit_its_path_as_plain_frame_by_tcp(world: World) -> None:
    world.send(frame(NEAR, OWN, 1400), frame(NEAR, OWN, 1401))

    assert world.sent_to("b") == [frame(NEAR, OWN, 1400)]
    assert world.out.upcalls.packets == [(world.b, frame(NEAR, OWN, 1401))]


def test_a_neighbours_own_path_decides_even_where_a_relay_would_carry_more(world: World) -> None:
    world.table.set_route(world.b, world.c, world.b)
    world.b.minmtu = 500
    world.table.refresh_all()

    world.send(frame(NEAR, OWN, 501))

    assert world.out.upcalls.packets == [(world.b, frame(NEAR, OWN, 501))]
    assert world.out.datagrams == []


def test_another_node_gets_what_does_not_fit_its_path_by_the_next_hop(world: World) -> None:
    world.d.minmtu = 500
    world.table.refresh_all()

    world.send(frame(LOST, OWN, 500, fill=1), frame(LOST, OWN, 501, fill=2), frame(LOST, OWN, 1401, fill=3))

    ways = [
        (path.relay.name, [datagram[:6] for datagram in one_by_one(run)]) for path, run in world.out.datagrams
    ]
    assert ways == [("d", [NULL_ID]), ("c", [world.d.id])]
    ((target, source, record),) = world.out.upcalls.sptps_packets
    assert (target, source) == (world.d, world.me)
    opened = world.far["d"].receive(record)
    assert opened is not None
    assert opened.data == frame(LOST, OWN, 1401, fill=3)


def test_a_neighbour_without_a_key_gets_plain_frames_and_those_for_others_wait(world: World) -> None:
    world.b.session = world.d.session = None

    world.send(frame(NEAR, OWN), frame(LOST, OWN))

    assert world.out.upcalls.packets == [(world.b, frame(NEAR, OWN))]
    assert (world.d.held, world.table.total_drops().no_key) == ([(NOW, frame(LOST, OWN))], 0)
    assert set(world.out.upcalls.touched) == {world.b, world.d}


def test_a_key_that_cannot_be_used_counts_as_none(world: World) -> None:
    for slot in (world.b, world.d):
        slot.session = DatagramSession(
            Role.INITIATOR, KEYS["a"], KEYS[slot.name].public, b"test", random.Random(1).randbytes
        )

    world.send(frame(NEAR, OWN), frame(LOST, OWN))

    assert world.out.upcalls.packets == [(world.b, frame(NEAR, OWN))]
    assert (len(world.d.held), world.out.datagrams) == (1, [])


@pytest.mark.parametrize("compression", [0, 1])
def test_frames_that_waited_for_a_key_are_sent_in_order_and_counted_once(
    world: World, compression: int
) -> None:
    session, world.d.session, world.d.compression = world.d.session, None, compression
    sent = [frame(LOST, OWN, 200, fill=number) for number in (1, 2)]
    world.send(*sent)
    before = world.d.out_packets
    world.d.session = session

    world.datapath.send_held(world.d, NOW + 1, world.out)

    datagrams = [datagram for _, some in world.out.datagrams for datagram in one_by_one(some)]
    records = [world.far["d"].receive(datagram[12:]) for datagram in datagrams]
    assert [
        expand(1, record.data, 1600) if compression else record.data for record in records if record
    ] == sent
    assert (world.d.held, world.d.out_packets) == ([], before)


def test_a_neighbour_behind_a_relay_gets_by_udp_only_what_its_own_path_has_proved(world: World) -> None:
    world.table.set_route(world.b, world.c, world.b)
    world.b.minmtu = 150
    world.table.refresh_all()

    world.send(frame(NEAR, OWN, 150), frame(NEAR, OWN, 151))

    assert [(path.relay, len(run)) for path, run in world.out.datagrams] == [(world.c, 1)]
    assert world.out.upcalls.packets == [(world.b, frame(NEAR, OWN, 151))]


def test_a_neighbours_whole_batch_goes_by_tcp_if_only_the_relays_path_is_proved(world: World) -> None:
    world.table.set_route(world.b, world.c, world.b)
    world.b.minmtu = 0
    world.table.refresh_all()

    world.send(frame(NEAR, OWN))

    assert (world.out.datagrams, len(world.out.upcalls.packets)) == ([], 1)


def test_nothing_longer_than_a_frame_may_be_leaves(world: World) -> None:
    world.b.mtu = world.d.mtu = 1518

    world.send(frame(NEAR, OWN, 1519), frame(LOST, OWN, 1519), frame(NEAR, OWN, 1518))

    assert world.table.total_drops().oversized == 2
    assert [len(plain) for _, plain in world.out.upcalls.packets] == [1518]
    assert world.out.upcalls.sptps_packets == []


def test_upkeep_is_asked_for_when_it_is_due(world: World) -> None:
    world.b.upkeep_due = 5.0

    world.send(frame(NEAR, OWN), now=4.9)
    assert not world.out.upcalls
    world.send(frame(NEAR, OWN), now=5.0)
    assert list(world.out.upcalls.touched) == [world.b]


def test_datagrams_between_others_are_passed_on_unchanged_together(world: World) -> None:
    assert world.b.address is not None
    datagrams = [world.c.id + world.b.id + bytes((number,)) * 60 for number in range(5)]

    world.take(*datagrams, address=world.b.address)

    assert [(path.relay, run) for path, run in world.out.datagrams] == [(world.c, datagrams)]
    assert list(world.out.upcalls.relayed) == [(world.b, world.b, world.c)]


def test_a_relayed_datagram_that_fits_no_path_goes_on_by_tcp(world: World) -> None:
    assert world.b.address is not None
    record = bytes(1401 + DATAGRAM_OVERHEAD - PREFIX_SIZE)

    world.take(world.c.id + world.b.id + record, address=world.b.address)

    assert world.out.upcalls.sptps_packets == [(world.c, world.b, record)]


def test_a_datagram_is_never_relayed_back_to_where_it_came_from(world: World) -> None:
    assert world.c.address is not None
    world.table.set_route(world.d, world.c, world.c)
    world.table.refresh_all()

    world.take(world.d.id + world.b.id + bytes(60), address=world.c.address)
    world.take(world.c.id + world.b.id + bytes(60), address=world.c.address)
    world.take(world.d.id + world.d.id + bytes(60), address=world.b.address or STRANGER)

    assert (world.out.datagrams, world.out.upcalls.sptps_packets) == ([], [])
    assert world.table.total_drops().looped == 3
