"""The delivery of frames to their owner, to all, or to the device; TTL, MTU and MSS."""

from __future__ import annotations

import pytest

from datapath.four_nodes import (
    FAR,
    LOST,
    NEAR,
    OWN,
    World,
    frame,
    single,
)
from pytinc.datapath.table import BROADCAST_MAC


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize(("direct_only", "expected"), [(False, 1), (True, 0)])
def test_where_the_first_edge_is_indirect_the_next_hop_counts_as_the_relay(
    world: World, direct_only: bool, expected: int
) -> None:
    """The MTU and DirectOnly look at the node that the datagram is sent to, not at ourselves."""
    world.table.set_route(world.d, world.me, world.c)
    world.c.mtu = 1000
    world.table.rules.direct_only = direct_only
    world.table.refresh_all()
    packet = bytes.fromhex("450004ce00074000401100000a0000010a000002").ljust(1230, b"x")

    world.send(frame(LOST, OWN, 100), LOST + OWN + b"\x08\x00" + packet)

    assert [(path.relay.name, len(run)) for path, run in world.out.datagrams] == [("c", 1)] * expected
    assert world.table.total_drops().no_path == 2 * direct_only
    assert [single(answer)[:12] for answer in world.out.frames] == [OWN + LOST] * expected


def test_a_jumbo_packet_is_cut_into_fragments_or_its_sender_is_told_what_fits(world: World) -> None:
    def packet(flags: int) -> bytes:
        return (
            b"\x08\x00\x45\0" + (8000).to_bytes(2, "big") + b"\0\1" + bytes((flags, 0, 64, 17)) + bytes(7990)
        )

    world.send(NEAR + OWN + packet(0x00))

    fragments = world.sent_to("b")
    assert max(map(len, fragments)) <= 1400
    assert sum(len(fragment) - 34 for fragment in fragments) == 7980

    world.send(NEAR + OWN + packet(0x40))

    (error,) = map(single, world.out.frames)
    assert (error[:12], error[34:36], error[40:42]) == (OWN + NEAR, b"\x03\x04", (1386).to_bytes(2, "big"))
    assert world.table.total_drops().oversized == 0


def test_an_unreachable_owner_gets_nothing(world: World) -> None:
    world.b.reachable = False
    world.table.set_route(world.b, None, None)

    world.send(frame(NEAR, OWN))

    assert (world.table.total_drops().unreachable, world.out.datagrams, world.b.out_packets) == (1, [], 0)


def test_with_direct_only_nothing_goes_by_a_relay(world: World) -> None:
    world.table.rules.direct_only = True
    world.table.set_route(world.d, world.c, world.c)

    world.send(frame(LOST, OWN), frame(NEAR, OWN))

    assert world.table.total_drops().no_path == 1
    assert world.sent_to("b") == [frame(NEAR, OWN)]


def test_a_broadcast_of_a_peer_goes_to_the_device_and_on_but_not_back(world: World) -> None:
    world.receive("b", frame(BROADCAST_MAC, NEAR))

    assert world.out.frames == [frame(BROADCAST_MAC, NEAR)]
    assert [path.relay for path, _ in world.out.datagrams] == [world.c]


def test_a_broadcast_of_a_node_further_off_does_not_go_back_to_its_next_hop(world: World) -> None:
    world.receive("d", frame(BROADCAST_MAC, LOST))

    assert [path.relay for path, _ in world.out.datagrams] == [world.b]


@pytest.mark.parametrize(("mode", "from_device", "from_peer"), [("direct", "bc", ""), ("no", "", "")])
def test_other_broadcast_modes_pass_nothing_on(
    world: World, mode: str, from_device: str, from_peer: str
) -> None:
    world.table.rules.broadcast = mode
    world.send(frame(BROADCAST_MAC, OWN))
    assert "".join(path.relay.name for path, _ in world.out.datagrams) == from_device

    world.out.clear()
    world.receive("b", frame(BROADCAST_MAC, NEAR))
    assert "".join(path.relay.name for path, _ in world.out.datagrams) == from_peer
    assert len(world.out.frames) == 1


def test_with_decrement_ttl_only_what_passes_through_loses_a_hop(world: World) -> None:
    world.table.rules.decrement_ttl = True
    packet = b"\x45\0\0\x28" + bytes(4) + b"\x40\x11" + bytes(30)

    world.receive("b", FAR + NEAR + b"\x08\x00" + packet, OWN + NEAR + b"\x08\x00" + packet)
    world.send(FAR + OWN + b"\x08\x00" + packet)

    assert [sent[14 + 8] for sent in world.sent_to("c")] == [0x3F, 0x40]
    assert single(world.out.frames[0])[14 + 8] == 0x40


def test_with_decrement_ttl_a_broadcast_of_a_peer_loses_a_hop_before_anyone_gets_it(world: World) -> None:
    world.table.rules.decrement_ttl = True
    packets = [b"\x45\0\0\x28" + bytes(4) + bytes((hops, 0x11)) + bytes(30) for hops in (64, 1)]

    world.receive("b", *(BROADCAST_MAC + NEAR + b"\x08\x00" + packet for packet in packets))

    assert [sent[14 + 8] for sent in world.sent_to("c")] == [63]
    assert [single(sent)[14 + 8] for sent in world.out.frames] == [63]
    assert world.table.total_drops().ttl_exceeded == 1


def test_a_packet_without_hops_is_answered_to_the_node_it_came_from(world: World) -> None:
    world.table.rules.decrement_ttl = True

    world.receive("b", FAR + NEAR + b"\x08\x00\x45\0\0\x28" + bytes(4) + b"\x01\x11" + bytes(30))

    (error,) = world.sent_to("b")
    assert (error[:12], error[34:36]) == (NEAR + FAR, b"\x0b\x00")
    assert world.table.total_drops().ttl_exceeded == 1


def test_a_syn_is_clamped_to_the_shorter_of_both_ways(world: World) -> None:
    tcp = bytes(12) + b"\x60\x02" + bytes(6) + b"\x02\x04\xff\xff"
    syn = b"\x08\x00\x45\0\0\x2c" + bytes(4) + b"\x40\x06" + bytes(10) + tcp
    world.c.clamp_mss = world.me.clamp_mss = True
    world.b.mtu, world.c.mtu = 1300, 1350

    world.send(FAR + OWN + syn)
    world.receive("b", FAR + NEAR + syn, OWN + NEAR + syn)

    assert [int.from_bytes(sent[-2:], "big") for sent in world.sent_to("c")] == [1350 - 54, 1300 - 54]
    assert int.from_bytes(single(world.out.frames[0])[-2:], "big") == 1300 - 54


def test_frames_are_counted_where_they_come_from_and_where_they_go(world: World) -> None:
    world.send(frame(NEAR, OWN, 100), frame(NEAR, OWN, 200))
    world.receive("b", frame(OWN, NEAR, 300))

    me, b = world.me, world.b
    assert (me.in_packets, me.in_bytes, b.out_packets, b.out_bytes) == (2, 300, 2, 300)
    assert (b.in_packets, b.in_bytes, me.out_packets, me.out_bytes) == (1, 300, 1, 300)
