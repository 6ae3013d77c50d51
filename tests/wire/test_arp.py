"""ARP packets and neighbour messages, against the layouts of RFC 826 and RFC 4861 written out by hand."""

from __future__ import annotations

from ipaddress import IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from pytinc.wire import arp, ip
from pytinc.wire.arp import Arp

MAC, OTHER = bytes.fromhex("02000000000a"), bytes.fromhex("02000000000b")
ONE, TWO = IPv6Address("fd00::1").packed, IPv6Address("fd00::2:3456").packed
HEADER_V6 = OTHER + MAC + bytes.fromhex("86dd")
REQUEST = bytes.fromhex(
    "ffffffffffff 02000000000a 08060001 0800 06 04 0001 02000000000a 0a000001 000000000000 0a000002"
)


def test_an_arp_request_is_read_and_made() -> None:
    packet = Arp(arp.REQUEST, MAC, bytes((10, 0, 0, 1)), arp.NO_MAC, bytes((10, 0, 0, 2)))
    assert arp.parse_arp(REQUEST) == packet
    assert arp.format_arp(packet) == REQUEST[14:]
    assert arp.parse_arp(REQUEST + bytes(18)) == packet, "Ethernet pads it to 60 bytes"


def test_arp_for_anything_but_ipv4_on_ethernet_is_not_understood() -> None:
    for at in range(14, 20):
        assert arp.parse_arp(REQUEST[:at] + bytes((REQUEST[at] ^ 1,)) + REQUEST[at + 1 :]) is None
    assert arp.parse_arp(REQUEST[:-1]) is None


def test_a_solicitation_has_the_layout_of_rfc_4861() -> None:
    packet = arp.solicitation(ONE, arp.solicited_group(TWO), TWO, arp.option(arp.SOURCE_LINK_LAYER, MAC))
    assert packet[:8] == bytes.fromhex("60000000 0020 3a ff"), "32 bytes of ICMPv6, hop limit 255"
    assert packet[8:24] == ONE
    assert packet[24:40] == IPv6Address("ff02::1:ff02:3456").packed
    body = packet[40:]
    assert (body[:2], body[4:8], body[8:24]) == (bytes((135, 0)), bytes(4), TWO)
    assert body[24:] == bytes.fromhex("0101 02000000000a")
    assert ip.checksum(ip.pseudo_header_v6(packet[8:24], packet[24:40], 32, 58) + body) == 0
    read = arp.parse_neighbour(HEADER_V6 + packet)
    assert read == (135, ONE, packet[24:40], TWO, body[24:])


def test_an_advertisement_comes_from_the_address_it_is_about() -> None:
    packet = arp.advertisement(TWO, MAC, ONE, arp.SOLICITED | arp.OVERRIDE)
    read = arp.parse_neighbour(HEADER_V6 + packet)
    assert read is not None
    assert (read.type, read.source, read.destination, read.target) == (136, TWO, ONE, TWO)
    assert packet[44] == 0x60
    assert arp.first_options(read.options) == {arp.TARGET_LINK_LAYER: MAC}


def test_a_message_with_a_wrong_byte_anywhere_is_not_understood() -> None:
    frame = HEADER_V6 + arp.solicitation(ONE, TWO, TWO)
    for at in (*range(18, 20), *range(22, len(frame))):
        assert arp.parse_neighbour(frame[:at] + bytes((frame[at] ^ 1,)) + frame[at + 1 :]) is None, at
    assert arp.parse_neighbour(frame[:-1]) is None


def test_the_first_option_of_a_type_counts_and_a_malformed_one_invalidates_all() -> None:
    first, second = arp.option(arp.NONCE, b"first_"), arp.option(arp.NONCE, b"second")
    long = bytes((200, 2)) + bytes(14)
    assert arp.first_options(first + long + second) == {arp.NONCE: b"first_", 200: bytes(6)}
    assert arp.first_options(b"") == {}
    for bad in (first[:-1], first + b"\1", first + bytes(8), long[:8]):
        assert arp.first_options(bad) is None


@given(st.binary(max_size=100))
def test_parsers_never_raise(data: bytes) -> None:
    arp.parse_arp(data)
    arp.parse_neighbour(data)
    arp.first_options(data)
