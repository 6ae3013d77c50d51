"""What the data path does with frames and datagrams, seen from outside: `Outbound` and `Inbound` together.

Two nodes with real keys: what a sends to b, b opens. Whether the fast code equals its plain twin in every
combination is told by test_twin.py; here are the single behaviours.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.crypto.keys import PrivateKey
from pytinc.datapath.datapath import DataPath
from pytinc.datapath.output import Output
from pytinc.datapath.peer_slot import PeerSlot
from pytinc.datapath.table import BROADCAST_MAC, ForwardingTable
from pytinc.protocol.sptps.datagram import DatagramSession
from pytinc.protocol.sptps.handshake import Role
from pytinc.wire.datagram import (
    DATAGRAM_OVERHEAD,
    MAX_DATAGRAM_SIZE,
    MIN_DATAGRAM_SIZE,
    NULL_ID,
    PREFIX_SIZE,
    TYPE_COMPRESSED,
    TYPE_MAC,
    TYPE_PROBE,
    node_id,
)

KEYS = {name: PrivateKey.from_seed(name.encode() * 32) for name in "abcd"}
OWN, NEAR, FAR, LOST = (bytes((2, 0, 0, 0, 0, number)) for number in range(1, 5))
NEW = bytes((2, 0, 0, 0, 0, 9))
MULTICAST = bytes.fromhex("01005e000001")
STRANGER = ("198.51.100.1", 9)
NOW = 1.0


def frame(
    destination: bytes, source: bytes, size: int = 100, kind: bytes = b"\x88\xb5", fill: int = 0
) -> bytes:
    return (destination + source + kind + bytes((fill,)) * size)[:size]


def established(name: str) -> tuple[DatagramSession, DatagramSession]:
    rng = random.Random(1)
    ours = DatagramSession(Role.INITIATOR, KEYS["a"], KEYS[name].public, b"test", rng.randbytes)
    theirs = DatagramSession(Role.RESPONDER, KEYS[name], KEYS["a"].public, b"test", rng.randbytes)
    (first,), (answer,) = ours.start(), theirs.start()
    theirs.receive(first)
    ours.receive(answer)
    theirs.receive(*ours.take_output())
    ours.receive(*theirs.take_output())
    return ours, theirs


class World:
    """Node a with neighbours b and c; d is behind c. Everyone has keys and a proved path of 1,400 bytes."""

    def __init__(self) -> None:
        self.table = ForwardingTable(PeerSlot("a", is_me=True))
        self.me = self.table.me
        self.far: dict[str, DatagramSession] = {}
        for number, name in enumerate("bcd", 1):
            slot = self.table.add(name)
            slot.reachable = True
            self.table.set_route(slot, slot, slot)
            slot.minmtu, slot.mtu, slot.upkeep_due = 1400, 1400, 1e9
            slot.session, self.far[name] = established(name)
            slot.confirmed = True
            self.table.set_address(slot, (f"192.0.2.{number}", 655), 0)
        self.b, self.c, self.d = (self.table.slots[name] for name in "bcd")
        self.b.connection, self.c.connection = 1, 2
        self.table.set_route(self.d, self.d, self.c)
        self.table.tree = self.table.direct = (self.b, self.c)
        self.table.macs = {OWN: self.me, NEAR: self.b, FAR: self.c, LOST: self.d}
        self.table.own_macs = {OWN: 0.0}
        self.table.refresh_all()
        self.out = Output()
        self.datapath = DataPath(self.table)
        self.inbound = self.datapath.inbound

    def send(self, *frames: bytes, now: float = NOW) -> None:
        self.datapath.frames_from_device(frames, now, self.out)

    def receive(self, name: str, *frames: bytes, type_: int = TYPE_MAC) -> None:
        """Frames of a peer, sent straight."""
        slot = self.table.slots[name]
        assert slot.address is not None
        datagrams = self.far[name].seal_batch(NULL_ID + slot.id, type_, frames)
        self.take(*datagrams, address=slot.address)

    def take(self, *datagrams: bytes, address: tuple[str, int] = STRANGER, socket: int = 0) -> None:
        self.inbound.datagrams(datagrams, [address] * len(datagrams), socket, NOW, self.out)

    def sent_to(self, name: str) -> list[bytes]:
        """Frames that a node can open, in the order of the datagrams."""
        frames = []
        for path, datagrams in self.out.datagrams:
            for datagram in datagrams:
                if path.relay.name == name and datagram[:6] in (NULL_ID, node_id(name)):
                    record = self.far[name].receive(datagram[PREFIX_SIZE:])
                    assert record is not None
                    frames.append(record.data)
        return frames


@pytest.fixture
def world() -> World:
    return World()


# -- from the device --


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


def test_frames_of_one_flow_are_queued_together(world: World) -> None:
    world.send(*(frame(NEAR, OWN, fill=number) for number in range(64)))

    assert [len(datagrams) for _, datagrams in world.out.datagrams] == [64]


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


# -- ways --


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
    assert [answer[:12] for answer in world.out.frames] == [OWN + LOST] * expected


def test_another_node_gets_what_does_not_fit_its_path_by_the_next_hop(world: World) -> None:
    world.d.minmtu = 500
    world.table.refresh_all()

    world.send(frame(LOST, OWN, 500, fill=1), frame(LOST, OWN, 501, fill=2), frame(LOST, OWN, 1401, fill=3))

    ways = [(path.relay.name, [datagram[:6] for datagram in run]) for path, run in world.out.datagrams]
    assert ways == [("d", [NULL_ID]), ("c", [world.d.id])]
    ((target, source, record),) = world.out.upcalls.sptps_packets
    assert (target, source) == (world.d, world.me)
    opened = world.far["d"].receive(record)
    assert opened is not None
    assert opened.data == frame(LOST, OWN, 1401, fill=3)


def test_a_neighbour_without_a_key_gets_plain_frames_and_others_nothing(world: World) -> None:
    world.b.session = world.d.session = None

    world.send(frame(NEAR, OWN), frame(LOST, OWN))

    assert world.out.upcalls.packets == [(world.b, frame(NEAR, OWN))]
    assert world.table.total_drops().no_key == 1
    assert set(world.out.upcalls.touched) == {world.b, world.d}


def test_a_key_that_cannot_be_used_counts_as_none(world: World) -> None:
    for slot in (world.b, world.d):
        slot.session = DatagramSession(
            Role.INITIATOR, KEYS["a"], KEYS[slot.name].public, b"test", random.Random(1).randbytes
        )

    world.send(frame(NEAR, OWN), frame(LOST, OWN))

    assert world.out.upcalls.packets == [(world.b, frame(NEAR, OWN))]
    assert (world.table.total_drops().no_key, world.out.datagrams) == (1, [])


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

    (error,) = world.out.frames
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


def test_upkeep_is_asked_for_when_it_is_due(world: World) -> None:
    world.b.upkeep_due = 5.0

    world.send(frame(NEAR, OWN), now=4.9)
    assert not world.out.upcalls
    world.send(frame(NEAR, OWN), now=5.0)
    assert list(world.out.upcalls.touched) == [world.b]


# -- from peers --


def test_a_frame_for_us_goes_to_the_device(world: World) -> None:
    world.receive("b", frame(OWN, NEAR))

    assert (world.out.frames, world.out.datagrams) == ([frame(OWN, NEAR)], [])


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


def test_with_decrement_ttl_only_what_passes_through_loses_a_hop(world: World) -> None:
    world.table.rules.decrement_ttl = True
    packet = b"\x45\0\0\x28" + bytes(4) + b"\x40\x11" + bytes(30)

    world.receive("b", FAR + NEAR + b"\x08\x00" + packet, OWN + NEAR + b"\x08\x00" + packet)
    world.send(FAR + OWN + b"\x08\x00" + packet)

    assert [sent[14 + 8] for sent in world.sent_to("c")] == [0x3F, 0x40]
    assert world.out.frames[0][14 + 8] == 0x40


def test_with_decrement_ttl_a_broadcast_of_a_peer_loses_a_hop_before_anyone_gets_it(world: World) -> None:
    world.table.rules.decrement_ttl = True
    packets = [b"\x45\0\0\x28" + bytes(4) + bytes((hops, 0x11)) + bytes(30) for hops in (64, 1)]

    world.receive("b", *(BROADCAST_MAC + NEAR + b"\x08\x00" + packet for packet in packets))

    assert [sent[14 + 8] for sent in world.sent_to("c")] == [63]
    assert [sent[14 + 8] for sent in world.out.frames] == [63]
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
    assert int.from_bytes(world.out.frames[0][-2:], "big") == 1300 - 54


def test_frames_are_counted_where_they_come_from_and_where_they_go(world: World) -> None:
    world.send(frame(NEAR, OWN, 100), frame(NEAR, OWN, 200))
    world.receive("b", frame(OWN, NEAR, 300))

    me, b = world.me, world.b
    assert (me.in_packets, me.in_bytes, b.out_packets, b.out_bytes) == (2, 300, 2, 300)
    assert (b.in_packets, b.in_bytes, me.out_packets, me.out_bytes) == (1, 300, 1, 300)


# -- datagrams --


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


def test_strangers_cannot_use_us_as_a_relay(world: World) -> None:
    world.take(world.c.id + world.b.id + bytes(60))

    assert (world.out.datagrams, bool(world.out.upcalls), world.table.total_drops().unknown_source) == (
        [],
        False,
        1,
    )


def test_a_datagram_is_never_relayed_back_to_where_it_came_from(world: World) -> None:
    assert world.c.address is not None
    world.table.set_route(world.d, world.c, world.c)
    world.table.refresh_all()

    world.take(world.d.id + world.b.id + bytes(60), address=world.c.address)
    world.take(world.c.id + world.b.id + bytes(60), address=world.c.address)
    world.take(world.d.id + world.d.id + bytes(60), address=world.b.address or STRANGER)

    assert (world.out.datagrams, world.out.upcalls.sptps_packets) == ([], [])
    assert world.table.total_drops().looped == 3


def test_what_came_by_a_relay_proves_nothing_about_the_straight_path(world: World) -> None:
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
    assert not world.out.upcalls


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


# -- by TCP --


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


# -- capture --


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


def test_what_is_dropped_is_counted_for_the_peer_it_came_from_or_was_for(world: World) -> None:
    world.inbound.frames_from_neighbour(world.b, [b"short"], NOW, world.out)
    world.c.reachable = False
    world.table.macs[LOST] = world.c
    world.send(frame(LOST, OWN))

    drops = world.table.total_drops()
    assert (drops.short, world.b.drops.short, world.c.drops.short) == (1, 1, 0)
    assert (drops.unreachable, world.b.drops.unreachable, world.c.drops.unreachable) == (1, 0, 1)
