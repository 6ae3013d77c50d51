"""What router mode does with packets, seen from outside, rule by rule (docs/protocol-data.md, "Router mode").

Node a, with neighbours b and c; d is behind c. Each owns 10.NUMBER.0.0/16 and fd00:NUMBER::/32. Whether the
fast code equals its plain twin in every combination is told by test_twin.py.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from ipaddress import ip_address

import pytest

from datapath.four_nodes import meet_others, one_by_one, single
from pytinc.datapath.datapath import DataPath
from pytinc.datapath.output import Output
from pytinc.datapath.peer_slot import PeerSlot
from pytinc.datapath.table import ForwardingTable, SwitchRules
from pytinc.wire import ip
from pytinc.wire.datagram import (
    DATAGRAM_OVERHEAD,
    NULL_ID,
    PREFIX_SIZE,
    TYPE_COMPRESSED,
    TYPE_MAC,
    TYPE_PACKET,
    TYPE_PROBE,
    node_id,
)
from pytinc.wire.subnet import DEFAULT_BROADCAST_SUBNETS, SubnetKind, parse_subnet

NUMBERS = {"a": 1, "b": 2, "c": 3, "d": 4}
NOW = 1.0
TAP = bytes.fromhex("02000000000a")
TAPS_ROUTER = bytes.fromhex("0200000000f5")
V4, V6 = b"\x08\x00", b"\x86\xdd"
TUN_V4, TUN_V6 = bytes(12) + V4, bytes(12) + V6


def packet(
    source: str,
    target: str,
    size: int = 100,
    *,
    ttl: int = 64,
    df: bool = False,
    protocol: int = 17,
    data: bytes = b"",
) -> bytes:
    """An IP packet of ``size`` bytes."""
    one, two = ip_address(source), ip_address(target)
    if one.version == 6:
        header = struct.pack(">IHBB", 6 << 28, size - 40, protocol, ttl)
        return (header + one.packed + two.packed + data).ljust(size, b"x")
    header = struct.pack(">BBHHHBBH", 0x45, 0, size, 7, 0x4000 if df else 0, ttl, protocol, 0)
    header += one.packed + two.packed
    total = ip.checksum(header).to_bytes(2, "big")
    return (header[:10] + total + header[12:] + data).ljust(size, b"x")


def framed(data: bytes, macs: bytes = bytes(12)) -> bytes:
    return macs + (V4 if data[0] >> 4 == 4 else V6) + data


class World:
    """The four nodes. Everyone has keys and a proved path of 1,400 bytes; a has a tun."""

    def __init__(
        self,
        *,
        forward: bool = True,
        kernel: bool = False,
        direct_only: bool = False,
        decrement_ttl: bool = False,
    ) -> None:
        self.table = ForwardingTable(
            PeerSlot("a", is_me=True),
            SwitchRules(
                router=True,
                forward=forward,
                kernel=kernel,
                direct_only=direct_only,
                decrement_ttl=decrement_ttl,
            ),
        )
        self.table.own_address = lambda remote: bytes((192, 0, 2, 77)) if len(remote) == 4 else None
        self.me = self.table.me
        self.far = meet_others(self.table)
        self.b, self.c, self.d = (self.table.slots[name] for name in "bcd")
        for name, number in NUMBERS.items():
            self.own(f"10.{number}.0.0/16", name)
            self.own(f"fd00:{number}::/32", name)
        for subnet in DEFAULT_BROADCAST_SUBNETS:
            if subnet.kind is not SubnetKind.MAC:
                self.table.routes.add(subnet, None)
        self.table.refresh_all()
        self.out = Output()
        self.datapath = DataPath(self.table)
        self.inbound = self.datapath.inbound

    def own(self, text: str, name: str) -> None:
        self.table.routes.add(parse_subnet(text), self.table.slots[name])

    def lose(self, name: str) -> None:
        slot = self.table.slots[name]
        slot.reachable = False
        self.table.set_route(slot, None, None)
        self.table.routes.flush()

    def send(self, *packets: bytes, now: float = NOW) -> None:
        self.datapath.frames_from_device([framed(data) for data in packets], now, self.out)

    def receive(self, name: str, *payloads: bytes, type_: int = TYPE_PACKET) -> None:
        slot = self.table.slots[name]
        assert slot.address is not None
        datagrams = self.far[name].seal_batch(NULL_ID + slot.id, type_, payloads)
        self.inbound.datagrams(datagrams, [slot.address] * len(datagrams), 0, NOW, self.out)

    def sent_to(self, name: str) -> list[bytes]:
        """What a node can open, in the order of the datagrams; router mode's records only."""
        payloads = []
        for path, datagrams in self.out.datagrams:
            for datagram in one_by_one(datagrams):
                if path.relay.name == name and datagram[:6] in (NULL_ID, node_id(name)):
                    record = self.far[name].receive(datagram[PREFIX_SIZE:])
                    assert record is not None
                    assert record.type == TYPE_PACKET
                    payloads.append(record.data)
        return payloads

    def sent(self) -> bool:
        return bool(self.out.datagrams or self.out.upcalls.packets or self.out.upcalls.sptps_packets)


@pytest.fixture
def world() -> World:
    return World()


def error_of(frame: bytes) -> tuple[str, str, int, int, int, bytes]:
    """Source, target, type, code, the MTU field and the quoted packet of an ICMP error."""
    data = frame[14:]
    if data[0] >> 4 == 4:
        assert (data[8], data[9]) == (255, 1)
        assert ip.checksum(data[:20]) == ip.checksum(data[20:]) == 0
        ends, body, mtu = (data[12:16], data[16:20]), data[20:], data[26:28]
    else:
        assert (data[6], data[7]) == (58, 255)
        ends, body, mtu = (data[8:24], data[24:40]), data[40:], data[44:48]
        assert ip.checksum(ip.pseudo_header_v6(*ends, len(body), 58) + body) == 0
    source, target = (str(ip_address(end)) for end in ends)
    return source, target, body[0], body[1], int.from_bytes(mtu, "big"), body[8:]


# -- to the owner --


@pytest.mark.parametrize(("host", "target"), [("10.1.0.9", "10.2.5.5"), ("fd00:1::9", "fd00:2::5")])
def test_a_packet_goes_to_the_owner_of_its_destination_without_ethernet_header(
    world: World, host: str, target: str
) -> None:
    data = packet(host, target)
    world.send(data)
    assert world.sent_to("b") == [data]
    ((path, datagrams),) = world.out.datagrams
    (datagram,) = one_by_one(datagrams)
    assert path.relay is world.b
    # docs/protocol-data.md, "Captured datagrams": 84 bytes make 117
    assert len(datagram) == len(data) + DATAGRAM_OVERHEAD
    assert not world.out.upcalls
    assert world.out.frames == []
    assert world.b.out_bytes == world.me.in_bytes == len(data) + 14


def test_one_batch_is_sorted_by_owner_and_keeps_the_order_of_each(world: World) -> None:
    to_b = [packet("10.1.0.9", f"10.2.0.{number}", 60 + number) for number in range(1, 5)]
    to_c = [packet("10.1.0.9", f"10.3.0.{number}", 60 + number) for number in range(1, 5)]
    world.send(*(data for pair in zip(to_b, to_c, strict=True) for data in pair))
    assert world.sent_to("b") == to_b
    assert world.sent_to("c") == to_c
    assert len(world.out.datagrams) == 2


@pytest.mark.parametrize(("host", "kind"), [("10.2.0.9", TUN_V4), ("fd00:2::9", TUN_V6)])
def test_a_packet_of_a_peer_comes_out_with_a_header_that_tells_its_kind(
    world: World, host: str, kind: bytes
) -> None:
    data = packet(host, "10.1.0.1" if "." in host else "fd00:1::1")
    world.receive("b", data)
    assert world.out.frames == [kind + data]
    assert world.b.in_bytes == world.b.maxrecentlen == len(data) + 14


def test_a_frame_of_a_peer_in_switch_mode_is_taken_with_its_header(world: World) -> None:
    frame = framed(packet("10.2.0.9", "10.1.0.1"), macs=b"abcdefghijkl")
    world.receive("b", frame, type_=TYPE_MAC)
    assert world.out.frames == [frame]


def test_a_frame_by_tcp_has_its_header_in_router_mode_too(world: World) -> None:
    world.b.minmtu = 0
    world.table.refresh_all()
    data = packet("10.1.0.9", "10.2.0.1")
    world.send(data)
    assert world.out.upcalls.packets == [(world.b, TUN_V4 + data)]
    world.inbound.frames_from_neighbour(
        world.b, [framed(packet("10.2.0.1", "10.1.0.9"), b"x" * 12)], NOW, world.out
    )
    assert len(world.out.frames) == 1


@pytest.mark.parametrize("first", [0x00, 0x50, 0xF0])
def test_a_record_that_is_neither_ipv4_nor_ipv6_is_a_bad_one(world: World, first: int) -> None:
    world.receive("b", bytes((first,)) + bytes(60), b"")
    world.receive("b", packet("10.2.0.9", "10.1.0.1"), type_=TYPE_COMPRESSED)
    world.receive("b", packet("10.2.0.9", "10.1.0.1", 1505))
    assert world.out.frames == []
    assert world.table.total_drops().bad_record == 4
    world.receive("b", bytes(18), type_=TYPE_PROBE)
    assert len(world.out.upcalls.probes) == 1


def test_when_the_owner_is_lost_the_backup_gets_the_packets(world: World) -> None:
    world.own("10.9.0.0/16#1", "b")
    world.own("10.9.0.0/16#2", "c")
    world.send(packet("10.1.0.9", "10.9.0.1"))
    assert len(world.sent_to("b")) == 1
    world.out.clear()
    world.lose("b")
    world.send(packet("10.1.0.9", "10.9.0.1"))
    assert len(world.sent_to("c")) == 1


def test_multicast_and_broadcast_go_to_all_neighbours_of_the_tree(world: World) -> None:
    data = packet("10.1.0.9", "224.0.0.251")
    world.send(data, packet("fd00:1::9", "ff02::fb"), packet("10.1.0.9", "255.255.255.255"))
    assert [len(world.sent_to(name)) for name in "bc"] == [3, 3]
    world.out.clear()
    world.receive("b", packet("10.2.0.9", "224.0.0.251"))
    assert len(world.out.frames) == 1
    assert (world.sent_to("b"), len(world.sent_to("c"))) == ([], 1)


def test_the_way_through_a_relay_carries_both_ids(world: World) -> None:
    world.table.set_route(world.d, world.c, world.c)
    world.table.refresh_all()
    world.send(packet("10.1.0.9", "10.4.0.1"))
    ((path, datagrams),) = world.out.datagrams
    (datagram,) = one_by_one(datagrams)
    assert path.relay is world.c
    assert datagram[:PREFIX_SIZE] == node_id("d") + node_id("a")


# -- what cannot be delivered --


@pytest.mark.parametrize(
    ("host", "target", "code"), [("10.1.0.9", "10.99.0.1", (3, 6)), ("fd00:1::9", "fd00:99::1", (1, 3))]
)
def test_an_address_of_nobody_is_answered_from_that_address(
    world: World, host: str, target: str, code: tuple[int, int]
) -> None:
    data = packet(host, target)
    world.send(data)
    (error,) = map(single, world.out.frames)
    assert error_of(error) == (target, host, *code, 0, data)
    assert not world.sent()
    assert world.table.total_drops().unknown_destination == 1


@pytest.mark.parametrize(
    ("host", "target", "code"), [("10.1.0.9", "10.2.0.1", (3, 0)), ("fd00:1::9", "fd00:2::1", (1, 0))]
)
def test_an_owner_that_cannot_be_reached_is_told(
    world: World, host: str, target: str, code: tuple[int, int]
) -> None:
    world.lose("b")
    world.send(packet(host, target))
    (error,) = map(single, world.out.frames)
    assert error_of(error)[:4] == (target, host, *code)
    assert world.table.total_drops().unreachable == 1


def test_an_error_about_a_packet_of_a_peer_goes_back_to_it_sealed(world: World) -> None:
    world.receive("b", packet("10.2.0.9", "10.99.0.1"))
    (error,) = world.sent_to("b")
    assert error_of(TUN_V4 + error)[:4] == ("10.99.0.1", "10.2.0.9", 3, 6)
    assert world.out.frames == []


def test_three_errors_are_made_in_a_second_and_all_drops_are_counted(world: World) -> None:
    world.send(*[packet("10.1.0.9", "10.99.0.1")] * 10)
    assert len(world.out.frames) == 3
    assert world.table.total_drops().unknown_destination == 10
    world.send(packet("10.1.0.9", "10.99.0.1"), now=NOW + 1)
    assert len(world.out.frames) == 4


@pytest.mark.parametrize(
    "data",
    [
        packet("10.1.0.9", "10.99.0.1", protocol=1, data=b"\x03\x01"),
        packet("10.1.0.9", "10.99.0.1", protocol=1, data=b"\x0b\x00"),
        packet("0.0.0.0", "10.99.0.1"),
        packet("224.0.0.1", "10.99.0.1"),
        packet("10.1.0.9", "240.0.0.1"),
        packet("fd00:1::9", "fd00:99::1", protocol=58, data=b"\x01\x00"),
        packet("::", "fd00:99::1"),
        packet("ff02::1", "fd00:99::1"),
    ],
)
def test_no_error_is_made_about_an_error_or_to_no_single_host(world: World, data: bytes) -> None:
    world.send(data)
    assert world.out.frames == []
    assert not world.sent()
    assert world.table.total_drops().unknown_destination == 1


def test_no_error_is_made_about_a_later_fragment(world: World) -> None:
    data = bytearray(packet("10.1.0.9", "10.99.0.1"))
    data[6:8] = b"\x00\x10"
    world.send(bytes(data))
    assert world.out.frames == []


@pytest.mark.parametrize("ping", [(1, "10.1.0.9", "10.99.0.1", 8), (58, "fd00:1::9", "fd00:99::1", 128)])
def test_a_ping_is_answered(world: World, ping: tuple[int, str, str, int]) -> None:
    protocol, host, target, kind = ping
    world.send(packet(host, target, protocol=protocol, data=bytes((kind, 0))))
    assert len(world.out.frames) == 1


def test_own_addresses_are_not_sent_out_and_others_not_back(world: World) -> None:
    world.send(packet("10.1.0.9", "10.1.0.1"))
    world.receive("b", packet("10.2.0.9", "10.2.0.1"))
    assert world.table.total_drops().looped == 2
    assert not world.sent()
    assert world.out.frames == []


def test_a_packet_never_goes_back_the_way_it_came(world: World) -> None:
    world.table.set_route(world.d, world.c, world.c)
    world.table.refresh_all()
    world.receive("c", packet("10.3.0.9", "10.4.0.1"))
    assert world.table.total_drops().looped == 1
    assert not world.sent()


@pytest.mark.parametrize(
    "frame",
    [
        TUN_V4 + packet("10.1.0.9", "10.2.0.1")[:19],
        TUN_V6 + packet("fd00:1::9", "fd00:2::1")[:39],
        b"",
        bytes(13),
        bytes(12) + b"\x88\xb5" + bytes(60),
        bytes(12) + b"\x81\x00\x00\x05" + V4 + packet("10.1.0.9", "10.2.0.1"),
    ],
    ids=["short IPv4", "short IPv6", "empty", "short", "other", "VLAN"],
)
def test_what_is_no_whole_ip_packet_goes_nowhere(world: World, frame: bytes) -> None:
    world.datapath.frames_from_device([frame], NOW, world.out)
    assert not world.sent()
    assert world.out.frames == []
    assert world.table.total_drops().short + world.table.total_drops().bad_record == 1


# -- rules --


@pytest.mark.parametrize(
    ("ends", "code"), [(("10.2.0.9", "10.3.0.1"), (3, 9)), (("fd00:2::9", "fd00:3::1"), (1, 1))]
)
def test_forwarding_off_refuses_only_what_is_between_two_others(
    ends: tuple[str, str], code: tuple[int, int]
) -> None:
    world = World(forward=False)
    world.receive("b", packet(*ends))
    assert world.sent_to("c") == []
    (error,) = world.sent_to("b")
    assert error_of(framed(error))[:4] == (*reversed(ends), *code)
    world.out.clear()
    world.send(packet("10.1.0.9", "10.2.0.1"))
    world.receive("b", packet("10.2.0.9", "10.1.0.1"))
    assert len(world.sent_to("b")) == len(world.out.frames) == 1


def test_forwarding_kernel_gives_all_of_the_peers_to_the_host() -> None:
    world = World(kernel=True)
    data = packet("10.2.0.9", "10.3.0.1")
    world.receive("b", data)
    assert world.out.frames == [TUN_V4 + data]
    assert not world.sent()
    world.send(data)  # the host has routed it, and sends it on
    assert world.sent_to("c") == [data]


def test_forwarding_internal_passes_on_between_others(world: World) -> None:
    data = packet("10.2.0.9", "10.3.0.1", ttl=1)
    world.receive("b", data)
    assert world.sent_to("c") == [data]
    assert world.out.frames == []


@pytest.mark.parametrize(
    ("ends", "error"),
    [
        (("10.2.0.9", "10.3.0.1"), ("192.0.2.77", "10.2.0.9", 11, 0)),
        (("fd00:2::9", "fd00:3::1"), (None, "fd00:2::9", 3, 0)),
    ],
)
def test_decrement_ttl_takes_a_hop_between_others_and_answers_the_last_one(
    ends: tuple[str, str], error: tuple[str | None, str, int, int]
) -> None:
    world = World(decrement_ttl=True)
    world.receive("b", packet(*ends, ttl=2))
    assert world.sent_to("c") == [packet(*ends, ttl=1)]
    world.out.clear()
    world.receive("b", packet(*ends, ttl=1))
    (answer,) = world.sent_to("b")
    told = error_of(framed(answer))
    assert told[1:4] == error[1:]
    assert error[0] is None or told[0] == error[0]
    assert world.sent_to("c") == []
    world.out.clear()
    world.send(packet("10.1.0.9", "10.2.0.1", ttl=1))
    world.receive("b", packet("10.2.0.9", "10.1.0.1", ttl=1))
    assert len(world.sent_to("b")) == len(world.out.frames) == 1


def test_a_last_hop_of_what_goes_to_all_is_not_answered() -> None:
    world = World(decrement_ttl=True)
    world.receive("b", packet("10.2.0.9", "224.0.0.251", ttl=1), packet("fd00:2::9", "ff02::fb", ttl=1))
    assert world.table.total_drops().ttl_exceeded == 2
    assert not world.sent()
    assert world.out.frames == []


@pytest.mark.parametrize(
    ("ends", "code"), [(("10.1.0.9", "10.4.0.1"), (3, 9)), (("fd00:1::9", "fd00:4::1"), (1, 1))]
)
def test_direct_only_refuses_what_a_relay_would_carry(ends: tuple[str, str], code: tuple[int, int]) -> None:
    world = World(direct_only=True)
    world.table.set_route(world.d, world.c, world.c)
    world.send(packet(*ends))
    assert not world.sent()
    (error,) = map(single, world.out.frames)
    assert error_of(error)[:4] == (*reversed(ends), *code)
    world.send(packet("10.1.0.9", "10.3.0.1"))
    assert len(world.sent_to("c")) == 1


# -- sizes: the MTU of 1400 counts 14 bytes that a record does not have --


def test_a_packet_that_just_fits_goes_out_whole(world: World) -> None:
    world.send(packet("10.1.0.9", "10.2.0.1", 1386, df=True))
    assert [len(data) for data in world.sent_to("b")] == [1386]


def test_a_packet_that_is_too_big_is_answered_with_the_mtu_or_cut(world: World) -> None:
    world.send(packet("10.1.0.9", "10.2.0.1", 1387, df=True))
    assert error_of(single(world.out.frames.pop()))[2:5] == (3, 4, 1386)
    world.send(packet("fd00:1::9", "fd00:2::1", 1387))
    assert error_of(single(world.out.frames.pop()))[2:5] == (2, 0, 1386)
    assert not world.sent()
    world.send(packet("10.1.0.9", "10.2.0.1", 1500))
    fragments = world.sent_to("b")
    assert len(fragments) == 2
    assert b"".join(data[20:] for data in fragments) == packet("10.1.0.9", "10.2.0.1", 1500)[20:]
    assert all(ip.checksum(data[:20]) == 0 and len(data) <= 1386 for data in fragments)


def test_an_mtu_below_what_every_host_takes_stops_no_small_packet(world: World) -> None:
    world.b.mtu = 300
    world.send(packet("10.1.0.9", "10.2.0.1", 576, df=True), packet("fd00:1::9", "fd00:2::1", 1280))
    assert [len(data) for data in world.sent_to("b")] == [576, 1280]
    world.send(packet("10.1.0.9", "10.2.0.1", 577, df=True), packet("fd00:1::9", "fd00:2::1", 1281))
    assert len(world.out.frames) == 2


def test_the_record_of_a_relayed_packet_may_be_as_long_as_the_path_proved(world: World) -> None:
    """Its length counts without the header there (3.3); towards a neighbour with it (3.2)."""
    world.d.minmtu, world.d.mtu = 1000, 1518
    world.table.refresh_all()
    world.send(packet("10.1.0.9", "10.4.0.1", 1000))
    ((path, _),) = world.out.datagrams
    assert path.relay is world.d
    world.out.clear()
    world.send(packet("10.1.0.9", "10.4.0.1", 1001))
    ((path, _),) = world.out.datagrams
    assert path.relay is world.c
    world.b.mtu = 1518
    world.send(packet("10.1.0.9", "10.2.0.1", 1387))
    assert [slot.name for slot, _ in world.out.upcalls.packets] == ["b"]


@pytest.mark.parametrize("received", [False, True])
def test_the_mss_is_clamped_both_ways(world: World, received: bool) -> None:
    syn = bytes(12) + bytes((6 << 4, 2)) + bytes(6) + b"\x02\x04\x05\xb4"
    data = packet("10.1.0.9", "10.2.0.1", 44, protocol=6, data=syn)
    if received:
        world.me.clamp_mss = True
        data = data[:12] + data[16:20] + data[12:16] + data[20:]
        world.receive("b", data)
        (after,) = (single(frame)[14:] for frame in world.out.frames)
    else:
        world.b.clamp_mss = True
        world.send(data)
        (after,) = world.sent_to("b")
    assert int.from_bytes(after[-2:], "big") == 1400 - 14 - 40


# -- the tap --


@pytest.fixture
def tap() -> World:
    world = World()
    world.table.hwaddr = TAP
    return world


def arp_request(target: str, mac: bytes = TAP) -> bytes:
    packed = ip_address(target).packed
    body = bytes.fromhex("0001080006040001") + mac + ip_address("10.1.0.9").packed + bytes(6) + packed
    return b"\xff" * 6 + mac + b"\x08\x06" + body


def solicitation(target: str, mac: bytes = TAP) -> bytes:
    body = bytearray(b"\x87\0" + bytes(6) + ip_address(target).packed + b"\1\1" + mac)
    ends = ip_address("fd00:1::9").packed, ip_address("ff02::1:ff00:1").packed
    body[2:4] = ip.checksum(ip.pseudo_header_v6(*ends, len(body), 58) + bytes(body)).to_bytes(2, "big")
    header = struct.pack(">IHBB", 6 << 28, len(body), 58, 255) + b"".join(ends)
    return bytes.fromhex("3333ff000001") + mac + V6 + header + bytes(body)


def test_a_packet_for_a_tap_comes_from_the_routers_mac(tap: World) -> None:
    data = packet("10.2.0.9", "10.1.0.1")
    tap.receive("b", data)
    tap.send(packet("10.1.0.9", "10.99.0.1"))
    assert tap.out.frames[0] == TAP + TAPS_ROUTER + V4 + data
    assert single(tap.out.frames[1])[:12] == TAP + TAPS_ROUTER


@pytest.mark.parametrize(("ask", "target"), [(arp_request, "10.2.0.1"), (solicitation, "fd00:2::1")])
def test_a_question_for_the_mac_of_anothers_address_is_answered(
    tap: World, ask: Callable[[str], bytes], target: str
) -> None:
    tap.datapath.frames_from_device([ask(target)], NOW, tap.out)
    (answer,) = map(single, tap.out.frames)
    assert answer[:12] == TAP + TAPS_ROUTER
    assert TAPS_ROUTER in answer[14:]
    assert not tap.sent()
    assert tap.me.out_packets == 1


@pytest.mark.parametrize(
    "frame",
    [
        arp_request("10.1.0.1"),
        arp_request("10.99.0.1"),
        solicitation("fd00:1::1"),
        solicitation("fd00:99::1"),
    ],
)
def test_a_question_for_an_own_or_unknown_address_is_not_answered(tap: World, frame: bytes) -> None:
    tap.datapath.frames_from_device([frame], NOW, tap.out)
    assert tap.out.frames == []
    assert not tap.sent()


@pytest.mark.parametrize(("ask", "target"), [(arp_request, "10.1.0.1"), (solicitation, "fd00:1::1")])
def test_who_asks_gets_the_packets_from_then_on(
    tap: World, ask: Callable[[str, bytes], bytes], target: str
) -> None:
    station = bytes.fromhex("020000000055")
    tap.datapath.frames_from_device([ask(target, station)], NOW, tap.out)
    tap.receive("b", packet("10.2.0.9", "10.1.0.1"))
    assert single(tap.out.frames[0])[:12] == station + bytes.fromhex("0200000000aa")


@pytest.mark.parametrize("frame", [arp_request("10.3.0.1"), solicitation("fd00:3::1")])
def test_questions_of_peers_and_of_a_tun_are_not_answered(world: World, tap: World, frame: bytes) -> None:
    tap.receive("b", frame, type_=TYPE_MAC)
    world.datapath.frames_from_device([frame], NOW, world.out)
    for each in (world, tap):
        assert each.out.frames == []
        assert not each.sent()
        assert each.table.total_drops().bad_record == 1
    assert tap.table.hwaddr == TAP
