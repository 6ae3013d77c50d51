"""The ICMP errors that the switch makes, against the layouts of the RFCs."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapath.plain_sum import plain_sum
from pytinc.datapath import icmp
from pytinc.datapath.icmp import ERRORS_PER_SECOND, ErrorLimit
from pytinc.wire import ethernet
from pytinc.wire.datagram import node_id

SENDER, TARGET = bytes.fromhex("02000000000a"), bytes.fromhex("020000000002")
TAG = bytes.fromhex("81000064")
SENDER_V4, TARGET_V4 = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))
SENDER_V6, TARGET_V6 = b"\xfd" + bytes(14) + b"\1", b"\xfd" + bytes(14) + b"\2"


def frame_v4(size: int, tag: bytes = b"") -> bytes:
    packet = struct.pack(">BBHHHBBH", 0x45, 0, size - 14 - len(tag), 7, 0x4000, 64, 17, 0)
    packet += SENDER_V4 + TARGET_V4
    return (TARGET + SENDER + tag + ethernet.IPV4 + packet).ljust(size, b"x")


def frame_v6(size: int, tag: bytes = b"") -> bytes:
    packet = struct.pack(">IHBB", 6 << 28, size - 54 - len(tag), 17, 64) + SENDER_V6 + TARGET_V6
    return (TARGET + SENDER + tag + ethernet.IPV6 + packet).ljust(size, b"x")


def body_v4(error: bytes, start: int) -> tuple[bytes, bytes]:
    """Header and ICMP message of an IPv4 error; both checksums are looked at."""
    header, body = error[start : start + 20], error[start + 20 :]
    assert plain_sum(header) == plain_sum(body) == 0xFFFF
    assert header[0] == 0x45
    assert header[9] == 1
    assert int.from_bytes(header[2:4], "big") == len(error) - start
    return header, body


def body_v6(error: bytes, start: int) -> tuple[bytes, bytes]:
    header, body = error[start : start + 40], error[start + 40 :]
    pseudo = header[8:40] + struct.pack(">I", len(body)) + bytes((0, 0, 0, 58))
    assert plain_sum(pseudo + body) == 0xFFFF
    assert header[:4] == bytes((0x60, 0, 0, 0))
    assert header[6] == 58
    assert int.from_bytes(header[4:6], "big") == len(body)
    return header, body


@pytest.mark.parametrize("tag", [b"", TAG])
def test_fragmentation_needed_tells_the_sender_which_ip_mtu_fits(tag: bytes) -> None:
    frame, start = frame_v4(1514, tag), 14 + len(tag)

    error = icmp.too_big_v4(frame, start, 1439)

    assert error[:start] == SENDER + TARGET + tag + ethernet.IPV4
    header, body = body_v4(error, start)
    assert header[4:9] == bytes((0, 0, 0, 0, 255))
    assert header[12:20] == TARGET_V4 + SENDER_V4
    assert body[:2] == bytes((3, 4))
    assert body[4:8] == (1439 - start).to_bytes(4, "big")
    assert body[8:] == frame[start : start + 548]


@pytest.mark.parametrize("tag", [b"", TAG])
def test_packet_too_big_tells_the_sender_which_ip_mtu_fits(tag: bytes) -> None:
    frame, start = frame_v6(1514, tag), 14 + len(tag)

    error = icmp.too_big_v6(frame, start, 1439)

    assert error[:start] == SENDER + TARGET + tag + ethernet.IPV6
    header, body = body_v6(error, start)
    assert header[7] == 255
    assert header[8:40] == TARGET_V6 + SENDER_V6
    assert body[:2] == bytes((2, 0))
    assert body[4:8] == (1439 - start).to_bytes(4, "big")
    assert body[8:] == frame[start : start + 528]


def test_no_more_of_the_packet_is_quoted_than_the_mtu() -> None:
    _, body = body_v4(icmp.too_big_v4(frame_v4(1514), 14, 100), 14)

    assert len(body) == 8 + 100 - 14


def test_time_exceeded_quotes_the_packet_and_tells_no_mtu() -> None:
    frame = frame_v4(100)

    header, body = body_v4(icmp.time_exceeded_v4(frame, 14), 14)

    assert header[12:20] == bytes((192, 0, 0, 8)) + SENDER_V4
    assert body == bytes((11, 0)) + body[2:4] + bytes(4) + frame[14:]


def test_ipv6_time_exceeded_comes_from_a_link_local_address_of_the_node() -> None:
    frame = frame_v6(100)

    header, body = body_v6(icmp.time_exceeded_v6(frame, 14, node_id("a")), 14)

    source = IPv6Address(header[8:24])
    assert source.is_link_local
    assert source != IPv6Address(body_v6(icmp.time_exceeded_v6(frame, 14, node_id("b")), 14)[0][8:24])
    assert header[24:40] == SENDER_V6
    assert body == bytes((3, 0)) + body[2:4] + bytes(4) + frame[14:]


def test_no_error_is_larger_than_what_every_host_must_take() -> None:
    assert len(icmp.too_big_v4(frame_v4(1518), 14, 1518)) <= 14 + 576
    assert len(icmp.too_big_v6(frame_v6(1518), 14, 1518)) <= 14 + 1280


@given(st.integers(0, 1518), st.integers(0, 1518))
def test_any_mtu_and_any_size_give_a_right_error(size: int, mtu: int) -> None:
    body_v4(icmp.too_big_v4(frame_v4(size + 34), 14, mtu), 14)
    body_v6(icmp.too_big_v6(frame_v6(size + 54), 14, mtu), 14)


def test_three_errors_are_allowed_in_one_second() -> None:
    limit = ErrorLimit()

    allowed = [limit.allows(7.0 + number / 100) for number in range(99)]

    assert allowed == [True] * ERRORS_PER_SECOND + [False] * (99 - ERRORS_PER_SECOND)
    assert limit.allows(8.0)
