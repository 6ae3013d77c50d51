"""Which packets belong together."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.wire.flow import Packet, parse
from pytinc.wire.ip import TCP_ACK, TCP_SYN

HEADER4, HEADER6 = bytes(12) + b"\x08\x00", bytes(12) + b"\x86\xdd"
CLIENT, SERVER = bytes((10, 0, 0, 2)), bytes((10, 0, 0, 1))
CLIENT6, SERVER6 = (bytes.fromhex("fd00") + bytes(13) + bytes((last,)) for last in (2, 1))
PORTS = b"\x0f\xa0\x00\x50"
ACK = PORTS + bytes(8) + b"\x50\x10" + bytes(6)


def ipv4(
    protocol: int,
    body: bytes,
    *,
    source: bytes = CLIENT,
    destination: bytes = SERVER,
    place: int = 0x4000,
    number: int = 7,
    options: bytes = b"",
) -> bytes:
    length = 20 + len(options) + len(body)
    head = struct.pack("!BBHHHBBH", 0x45 + len(options) // 4, 0, length, number, place, 64, protocol, 0)
    return head + source + destination + options + body


def ipv6(protocol: int, body: bytes, *, source: bytes = CLIENT6, destination: bytes = SERVER6) -> bytes:
    return struct.pack("!IHBB", 6 << 28, len(body), protocol, 64) + source + destination + body


def of4(packet: bytes) -> Packet:
    told = parse(HEADER4 + packet)
    assert told is not None
    return told


def of6(packet: bytes) -> Packet:
    told = parse(HEADER6 + packet)
    assert told is not None
    return told


def test_a_tcp_segment_has_the_flow_of_its_ports_and_tells_its_flags() -> None:
    assert of4(ipv4(6, ACK)) == Packet(b"\x06" + CLIENT + SERVER + PORTS, SERVER, 0x10)
    assert of6(ipv6(6, ACK)) == Packet(b"\x06" + CLIENT6 + SERVER6 + PORTS, SERVER6, 0x10)


def test_options_of_ipv4_do_not_hide_the_ports() -> None:
    assert of4(ipv4(6, ACK, options=bytes(8))).flow == of4(ipv4(6, ACK)).flow


def test_a_udp_packet_has_no_flags() -> None:
    assert of4(ipv4(17, PORTS + bytes(4))) == Packet(b"\x11" + CLIENT + SERVER + PORTS, SERVER)


def test_a_segment_that_is_cut_off_after_its_ports_has_no_flags() -> None:
    assert of4(ipv4(6, ACK[:13])) == Packet(b"\x06" + CLIENT + SERVER + PORTS, SERVER)


@pytest.mark.parametrize("body", [b"", PORTS[:3]])
def test_without_ports_only_the_ends_tell_the_flow(body: bytes) -> None:
    assert of4(ipv4(17, body)).flow == CLIENT + SERVER


@pytest.mark.parametrize(
    ("packet", "kind"),
    [(ipv4(1, b"\x08\0\0\0\x12\x34\0\x01"), b"\x01"), (ipv4(1, b"\x00\0\0\0\x12\x34\0\x02"), b"\x01")],
)
def test_the_echoes_of_one_ping_are_one_flow(packet: bytes, kind: bytes) -> None:
    assert of4(packet).flow == kind + CLIENT + SERVER + b"\x12\x34"


def test_the_echoes_of_one_ping_are_one_flow_in_ipv6() -> None:
    assert of6(ipv6(58, b"\x80\0\0\0\x12\x34\0\x01")).flow == b"\x3a" + CLIENT6 + SERVER6 + b"\x12\x34"


def test_other_protocols_and_other_icmp_are_one_flow_for_two_ends() -> None:
    for packet in (ipv4(47, bytes(30)), ipv4(1, b"\x0d" + bytes(19)), ipv4(1, b"\x08\0\0"), ipv4(1, b"")):
        assert of4(packet).flow == CLIENT + SERVER
    assert of6(ipv6(58, b"\x8f" + bytes(19))).flow == CLIENT6 + SERVER6
    assert of6(ipv6(58, b"")).flow == CLIENT6 + SERVER6


# -- ICMP errors --


def test_an_icmp_error_belongs_to_the_flow_that_the_packet_in_it_answers() -> None:
    answer = ipv4(6, PORTS[2:] + PORTS[:2] + bytes(4), source=SERVER, destination=CLIENT)
    error = ipv4(1, b"\x03\x04" + bytes(6) + answer)
    assert of4(error) == Packet(of4(ipv4(6, ACK)).flow, SERVER, is_error=True)

    answer6 = ipv6(17, PORTS[2:] + PORTS[:2] + bytes(4), source=SERVER6, destination=CLIENT6)
    error6 = ipv6(58, b"\x02\x00" + bytes(6) + answer6)
    assert of6(error6) == Packet(b"\x11" + CLIENT6 + SERVER6 + PORTS, SERVER6, is_error=True)


def test_an_icmp_error_about_an_echo_belongs_to_its_ping() -> None:
    answer = ipv4(1, b"\x00\0\0\0\x12\x34\0\x01", source=SERVER, destination=CLIENT)
    assert of4(ipv4(1, b"\x0b\x00" + bytes(6) + answer)).flow == b"\x01" + CLIENT + SERVER + b"\x12\x34"


def test_an_icmp_error_about_a_later_fragment_knows_the_ends_only() -> None:
    answer = ipv4(17, PORTS + bytes(4), source=SERVER, destination=CLIENT, place=3)
    assert of4(ipv4(1, b"\x0b\x00" + bytes(6) + answer)).flow == CLIENT + SERVER


def test_an_icmp_error_about_nothing_that_can_be_read_knows_the_ends_only() -> None:
    assert of4(ipv4(1, b"\x03\x04" + bytes(9))) == Packet(CLIENT + SERVER, SERVER, is_error=True)


# -- fragments --


def test_the_fragments_of_a_packet_name_each_other() -> None:
    first = of4(ipv4(17, PORTS + bytes(12), place=0x2000))
    later = of4(ipv4(17, bytes(16), place=0x2002))
    last = of4(ipv4(17, bytes(16), place=4))
    assert (first.flow, first.is_later) == (b"\x11" + CLIENT + SERVER + PORTS, False)
    assert (later.flow, later.is_later) == (last.flow, last.is_later) == (CLIENT + SERVER, True)
    assert first.fragment == later.fragment == last.fragment != b""
    assert of4(ipv4(17, bytes(16), place=4, number=8)).fragment != last.fragment
    assert of4(ipv4(6, bytes(16), place=4)).fragment != last.fragment


def test_the_fragments_of_an_ipv6_packet_name_each_other() -> None:
    first = of6(ipv6(44, b"\x11\0\0\x01" + b"four" + PORTS + bytes(4)))
    last = of6(ipv6(44, b"\x11\0\0\x10" + b"four" + bytes(8)))
    assert (first.flow, first.is_later) == (b"\x11" + CLIENT6 + SERVER6 + PORTS, False)
    assert (last.flow, last.is_later) == (CLIENT6 + SERVER6, True)
    assert first.fragment == last.fragment != b""


def test_a_packet_in_one_fragment_is_whole() -> None:
    told = of6(ipv6(44, b"\x06\0\0\0" + b"four" + ACK))
    assert told == of6(ipv6(6, ACK))


# -- headers of IPv6 --


@pytest.mark.parametrize("kind", [0, 43, 60])
def test_headers_of_ipv6_do_not_hide_the_ports(kind: int) -> None:
    assert of6(ipv6(kind, b"\x3c\x01" + bytes(14) + b"\x06\0" + bytes(6) + ACK)) == of6(ipv6(6, ACK))


def test_a_packet_with_too_many_headers_is_known_by_its_ends() -> None:
    chain = (b"\x3c\0" + bytes(6)) * 20
    assert of6(ipv6(60, chain)).flow == CLIENT6 + SERVER6


@pytest.mark.parametrize("body", [b"\x06", b"\x06\xff" + bytes(6)])
def test_a_header_that_is_cut_off_leaves_the_ends(body: bytes) -> None:
    assert of6(ipv6(60, body)).flow == CLIENT6 + SERVER6


# -- what is no packet of a flow --


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        HEADER4,
        HEADER4 + ipv4(6, b"")[:19],
        HEADER4 + b"\x44" + ipv4(6, ACK)[1:],
        HEADER4 + b"\x65" + ipv4(6, ACK)[1:],
        HEADER6 + ipv6(6, b"")[:39],
        HEADER6 + b"\x40" + ipv6(6, ACK)[1:],
        bytes(12) + b"\x08\x06" + ipv4(6, ACK),
        bytes(12) + b"\x81\x00\x00\x05\x08\x00" + ipv4(6, ACK),
        HEADER6 + ipv6(58, b"\x87" + bytes(23)),
        HEADER6 + ipv6(0, b"\x3a\0" + bytes(6) + b"\x88" + bytes(23)),
    ],
    ids=[
        "nothing",
        "no packet",
        "cut IPv4",
        "short IPv4 header",
        "another version",
        "cut IPv6",
        "another version of IPv6",
        "ARP",
        "with a VLAN tag",
        "neighbour discovery",
        "neighbour discovery behind options",
    ],
)
def test_other_frames_belong_to_no_flow(frame: bytes) -> None:
    assert parse(frame) is None


@given(kind=st.sampled_from((HEADER4 + b"\x45", HEADER6 + b"\x60", HEADER4, HEADER6)), rest=st.binary())
def test_any_bytes_are_read_without_an_error_and_their_name_is_short(kind: bytes, rest: bytes) -> None:
    told = parse(kind + rest)
    if told is not None:
        assert len(told.flow) <= 37
        assert len(told.fragment) <= 37


@pytest.mark.parametrize(
    ("flags", "begins"), [(TCP_SYN, True), (TCP_SYN | TCP_ACK, False), (TCP_ACK, False), (None, False)]
)
def test_only_a_syn_without_an_acknowledgement_begins_a_connection(flags: int | None, begins: bool) -> None:
    assert Packet(b"flow", bytes(4), flags).begins is begins
