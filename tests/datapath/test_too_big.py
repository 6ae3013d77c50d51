"""Frames longer than the MTU of their path: fragments that a host can put together, or an ICMP error."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.datapath import icmp
from pytinc.datapath.icmp import ErrorLimit
from pytinc.datapath.too_big import MIN_FRAGMENT_MTU, TooBig, fragment_ipv4
from pytinc.wire import ethernet, ip

MACS = bytes.fromhex("02000000000202000000000a")
TAG = bytes.fromhex("81000064")
TAGS = st.sampled_from([b"", TAG])
DF = ip.DONT_FRAGMENT
MF = ip.MORE_FRAGMENTS


def plain_sum(data: bytes) -> int:
    total: int = sum(word for (word,) in struct.iter_unpack(">H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def frame_v4(size: int, *, flags: int = 0, tag: bytes = b"", options: bytes = b"") -> bytes:
    """An IPv4 frame of ``size`` bytes in all."""
    start = 14 + len(tag)
    header_size = 20 + len(options)
    first = 0x40 | header_size // 4
    header = struct.pack(">BBHHHBBH", first, 0, size - start, 7, flags, 64, 17, 0)
    data = bytes(number & 0xFF for number in range(size - start - header_size))
    return MACS + tag + ethernet.IPV4 + header + bytes((10, 0, 0, 1, 10, 0, 0, 2)) + options + data


def frame_v6(size: int, *, tag: bytes = b"") -> bytes:
    start = 14 + len(tag)
    header = struct.pack(">IHBB", 6 << 28, size - start - 40, 17, 64) + b"s" * 16 + b"d" * 16
    return MACS + tag + ethernet.IPV6 + header + bytes(size - start - 40)


def handle(frame: bytes, mtu: int) -> tuple[list[bytes], bytes | None]:
    return TooBig(ErrorLimit()).handle(frame, mtu, 1.0)


def joined(fragments: list[bytes], start: int) -> tuple[bytes, bool]:
    """The data of the fragments in its place, and whether more is to follow after them."""
    data, more = b"", True
    base = None
    for fragment in fragments:
        header = fragment[start : start + 20]
        assert plain_sum(header) == 0xFFFF
        (size,) = struct.unpack(">H", header[2:4])
        assert size == len(fragment) - start
        (flags,) = struct.unpack(">H", header[6:8])
        offset = (flags & ip.OFFSET_MASK) * 8
        base = offset if base is None else base
        assert offset - base == len(data)
        data += fragment[start + 20 :]
        more = bool(flags & MF)
        assert more or fragment is fragments[-1]
    return data, more


def test_a_packet_that_may_be_cut_is_cut_to_the_mtu() -> None:
    parts, error = handle(frame_v4(1514), 1439)

    assert error is None
    assert [len(part) for part in parts] == [1434, 114]  # 1400 bytes of data: a multiple of 8


def test_a_packet_that_must_not_be_cut_is_answered() -> None:
    frame = frame_v4(1514, flags=DF)

    assert handle(frame, 1439) == ([], icmp.too_big_v4(frame, 14, 1439))


def test_ipv6_is_never_cut() -> None:
    frame = frame_v6(1514)

    assert handle(frame, 1439) == ([], icmp.too_big_v6(frame, 14, 1439))


def test_a_tag_is_looked_behind() -> None:
    assert handle(frame_v6(1518, tag=TAG), 1439)[1] is not None
    assert handle(frame_v4(1518, flags=DF, tag=TAG), 1439)[1] is not None
    assert all(part[12:16] == TAG for part in handle(frame_v4(1518, tag=TAG), 1439)[0])


@pytest.mark.parametrize(
    "frame",
    [
        frame_v4(576 + 14, flags=DF),
        frame_v4(576 + 18, flags=DF, tag=TAG),
        frame_v6(1280 + 14),
        frame_v6(1280 + 18, tag=TAG),
        MACS + b"\x08\x06" + bytes(1500),
    ],
    ids=["ipv4", "tagged ipv4", "ipv6", "tagged ipv6", "not ip"],
)
def test_packets_of_the_least_mtu_go_on_whole(frame: bytes) -> None:
    assert handle(frame, 500) == ([frame], None)


def test_the_smallest_packets_that_are_treated_are_one_byte_longer() -> None:
    assert handle(frame_v4(576 + 15, flags=DF), 500)[0] == []
    assert handle(frame_v6(1280 + 15), 500)[0] == []


def test_a_packet_with_options_or_padding_goes_on_whole() -> None:
    odd = [frame_v4(1514, options=bytes(4)), frame_v4(1500) + b"padding"]

    for frame in odd:
        assert handle(frame, 1000) == ([frame], None)


def test_no_errors_are_made_beyond_the_limit() -> None:
    too_big = TooBig(ErrorLimit())
    frame = frame_v4(1514, flags=DF)

    answers = [too_big.handle(frame, 1439, 5.0 + number / 10) for number in range(10)]

    assert [error is not None for _, error in answers] == [True] * 3 + [False] * 7
    assert all(parts == [] for parts, _ in answers)
    assert too_big.handle(frame, 1439, 6.0)[1] is not None


@given(st.integers(591, 1514), st.integers(0, 1518), TAGS, st.sampled_from([0, MF]), st.integers(0, 300))
def test_fragments_put_together_are_the_packet(
    size: int, mtu: int, tag: bytes, more: int, offset: int
) -> None:
    start = 14 + len(tag)
    frame = frame_v4(size, flags=more | offset, tag=tag)

    parts = fragment_ipv4(frame, start, mtu)

    assert joined(parts, start) == (frame[start + 20 :], bool(more))
    for part in parts:
        assert len(part) <= max(mtu, MIN_FRAGMENT_MTU)
        assert part[:start] == frame[:start]
        assert part[start + 4 : start + 6] == frame[start + 4 : start + 6]
        assert part[start + 8 : start + 10] == frame[start + 8 : start + 10]
        assert part[start + 12 : start + 20] == frame[start + 12 : start + 20]
    assert int.from_bytes(parts[0][start + 6 : start + 8], "big") & ip.OFFSET_MASK == offset


@given(
    st.sampled_from([ethernet.IPV4, ethernet.IPV6, TAG + ethernet.IPV4, TAG + ethernet.IPV6, b"\x08\x06"]),
    st.binary(max_size=60),
    st.integers(0, 1600),
    st.integers(0, 1518),
)
def test_no_frame_makes_it_fail(kind: bytes, head: bytes, fill: int, mtu: int) -> None:
    parts, error = handle(MACS + kind + head + bytes(fill), mtu)

    assert bool(parts) != (error is not None)
