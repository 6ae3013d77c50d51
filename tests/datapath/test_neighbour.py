"""ARP and neighbour discovery in router mode, against the layouts of RFC 826 and RFC 4861."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.datapath.neighbour import is_solicitation, parse_arp, parse_solicitation, router_mac
from pytinc.wire import ip

HOST = bytes.fromhex("02000000000a")
ROUTER = bytes.fromhex("0200000000f5")
OTHER = bytes.fromhex("02000000000b")
HOST_V4, TARGET_V4 = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))
HOST_V6, TARGET_V6 = IPv6Address("fd00::1").packed, IPv6Address("fd00::2").packed
ASKED_MULTICAST = IPv6Address("ff02::1:ff00:2").packed


def arp(operation: int = 1, mac: bytes = HOST, kinds: bytes = b"\0\1\x08\0\6\4") -> bytes:
    ethernet = b"\xff" * 6 + HOST + b"\x08\x06"
    return ethernet + kinds + struct.pack(">H", operation) + mac + HOST_V4 + bytes(6) + TARGET_V4


def solicitation(
    option: bytes = b"\1\1" + HOST,
    *,
    source: bytes = HOST_V6,
    head: bytes = b"\x87\0",
    wrong: int = 0,
    more: bytes = b"",
) -> bytes:
    body = bytearray(head + bytes(6) + TARGET_V6 + option)
    pseudo = ip.pseudo_header_v6(source, ASKED_MULTICAST, len(body), 58)
    body[2:4] = (ip.checksum(pseudo + bytes(body)) ^ wrong).to_bytes(2, "big")
    header = struct.pack(">IHBB", 6 << 28, len(body), 58, 255) + source + ASKED_MULTICAST
    return bytes.fromhex("3333ff000002") + HOST + b"\x86\xdd" + header + bytes(body) + more


def test_the_router_has_the_hosts_mac_with_the_last_byte_inverted() -> None:
    assert router_mac(HOST) == ROUTER


def test_an_arp_request_is_answered_with_the_routers_mac() -> None:
    question = parse_arp(arp())
    assert question is not None
    assert (question.mac, question.target) == (HOST, TARGET_V4)
    answer = question.answer
    assert answer[12:22] == bytes.fromhex("08060001080006040002")
    assert answer[22:28] + answer[28:32] == ROUTER + TARGET_V4
    assert answer[32:38] + answer[38:42] == HOST + HOST_V4
    assert len(answer) == 42


def test_padding_behind_an_arp_request_does_no_harm() -> None:
    question = parse_arp(arp().ljust(60, b"\0"))
    assert question is not None
    assert len(question.answer) == 42


@pytest.mark.parametrize(
    "frame",
    [arp(2), arp(mac=b"\1" + HOST[1:]), arp(kinds=b"\0\1\x86\xdd\6\4"), arp()[:41]],
    ids=["reply", "group address", "not IPv4", "cut"],
)
def test_other_arp_packets_are_no_questions(frame: bytes) -> None:
    assert parse_arp(frame) is None


def test_a_solicitation_is_answered_from_its_target() -> None:
    frame = solicitation()
    assert is_solicitation(frame)
    question = parse_solicitation(frame)
    assert question is not None
    assert (question.mac, question.target) == (HOST, TARGET_V6)
    answer = question.answer
    length, protocol, hops = struct.unpack(">HBB", answer[18:22])
    assert (length, protocol, hops) == (32, 58, 255)
    assert answer[22:38] + answer[38:54] == TARGET_V6 + HOST_V6
    body = answer[54:]
    assert ip.checksum(ip.pseudo_header_v6(TARGET_V6, HOST_V6, 32, 58) + body) == 0
    assert body[:2] + body[4:8] == bytes.fromhex("880040000000")
    assert body[8:24] == TARGET_V6
    assert body[24:] == b"\2\1" + ROUTER


def test_a_solicitation_without_option_is_answered_to_the_sender_of_its_frame() -> None:
    question = parse_solicitation(solicitation(b""))
    assert question is not None
    assert question.mac == HOST
    assert question.answer[-6:] == ROUTER


@pytest.mark.parametrize(
    "frame",
    [
        solicitation(wrong=1),
        solicitation(head=b"\x88\0"),
        solicitation(source=bytes(16)),
        solicitation(b"\2\1" + HOST),
        solicitation(b"\1\1" + HOST[:3]),
        solicitation(b"\1\1" + b"\1" + HOST[1:]),
        solicitation()[:-1],
        solicitation()[:54],
    ],
    ids=["checksum", "advertisement", "no sender", "other option", "short option", "group", "cut", "no body"],
)
def test_malformed_solicitations_are_no_questions(frame: bytes) -> None:
    assert parse_solicitation(frame) is None


@given(st.binary(max_size=120), st.booleans())
def test_no_bytes_at_all_make_it_stumble(data: bytes, starts_well: bool) -> None:
    frame = (solicitation()[:54] + data) if starts_well else data.ljust(54, b"\0")
    parse_solicitation(frame)
    parse_arp(frame)


@given(st.binary(min_size=20, max_size=20), st.binary(min_size=6, max_size=6))
def test_an_answer_is_never_a_question(rest: bytes, mac: bytes) -> None:
    question = parse_arp(arp()[:22] + mac + rest[:14])
    if question is not None:
        assert parse_arp(question.answer) is None
    question = parse_solicitation(solicitation(b"\1\1" + mac))
    if question is not None:
        assert not is_solicitation(question.answer)
