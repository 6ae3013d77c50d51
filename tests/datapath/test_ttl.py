"""DecrementTTL: IP packets lose a hop, all other frames pass."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.datapath import icmp
from pytinc.datapath.icmp import ErrorLimit
from pytinc.datapath.ttl import TimeToLive
from pytinc.wire import ethernet
from pytinc.wire.datagram import node_id

MACS = bytes.fromhex("02000000000202000000000a")
GROUP = bytes.fromhex("01005e00000102000000000a")
TAG = bytes.fromhex("81000064")
ME = node_id("me")
TIME_EXCEEDED_V4, TIME_EXCEEDED_V6 = bytes((11, 0)), bytes((3, 0))


def plain_sum(data: bytes | bytearray) -> int:
    total: int = sum(word for (word,) in struct.iter_unpack(">H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def frame_v4(
    ttl: int, *, macs: bytes = MACS, tag: bytes = b"", protocol: int = 17, data: bytes = b"x"
) -> bytes:
    header = bytearray(struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(data), 7, 0, ttl, protocol, 0))
    header += bytes((10, 0, 0, 1, 10, 0, 0, 2))
    header[10:12] = (0xFFFF - plain_sum(header)).to_bytes(2, "big")
    return macs + tag + ethernet.IPV4 + bytes(header) + data


def frame_v6(
    hops: int, *, macs: bytes = MACS, tag: bytes = b"", protocol: int = 17, data: bytes = b"x"
) -> bytes:
    header = struct.pack(">IHBB", 6 << 28, len(data), protocol, hops) + b"s" * 16 + b"d" * 16
    return macs + tag + ethernet.IPV6 + header + data


def decrement(frame: bytes) -> tuple[bytes | None, bytes | None]:
    return TimeToLive(ME, ErrorLimit()).decrement(frame, 1.0)


@given(st.integers(2, 255), st.sampled_from([b"", TAG]))
def test_a_packet_with_hops_left_loses_one_and_nothing_else(hops: int, tag: bytes) -> None:
    assert decrement(frame_v4(hops, tag=tag)) == (frame_v4(hops - 1, tag=tag), None)
    assert decrement(frame_v6(hops, tag=tag)) == (frame_v6(hops - 1, tag=tag), None)


@pytest.mark.parametrize("hops", [0, 1])
def test_a_packet_without_hops_ends_here_and_its_sender_is_told(hops: int) -> None:
    for tag in (b"", TAG):
        start = 14 + len(tag)
        v4, v6 = frame_v4(hops, tag=tag), frame_v6(hops, tag=tag)
        assert decrement(v4) == (None, icmp.time_exceeded_v4(v4, start))
        assert decrement(v6) == (None, icmp.time_exceeded_v6(v6, start, ME))


def test_an_error_about_a_packet_without_hops_is_not_answered() -> None:
    assert decrement(frame_v4(1, protocol=1, data=TIME_EXCEEDED_V4)) == (None, None)
    assert decrement(frame_v6(1, protocol=58, data=TIME_EXCEEDED_V6)) == (None, None)


def test_a_ping_without_hops_is_answered() -> None:
    assert decrement(frame_v4(1, protocol=1, data=bytes((8, 0))))[1] is not None
    assert decrement(frame_v6(1, protocol=58, data=bytes((128, 0))))[1] is not None


def test_what_went_to_many_is_not_answered() -> None:
    assert decrement(frame_v4(1, macs=GROUP)) == (None, None)
    assert decrement(frame_v6(1, macs=GROUP)) == (None, None)


def test_errors_are_limited_together_with_the_others() -> None:
    limit = ErrorLimit()
    ttl = TimeToLive(ME, limit)
    assert limit.allows(1.0)

    answers = [ttl.decrement(frame_v4(1), 1.5)[1] for _ in range(5)]

    assert [answer is not None for answer in answers] == [True, True, False, False, False]


@pytest.mark.parametrize("kind", [b"\x08\x06", TAG + b"\x08\x06", TAG + TAG + ethernet.IPV4])
def test_other_frames_pass_as_they_are(kind: bytes) -> None:
    frame = MACS + kind + bytes(60)

    assert decrement(frame) == (frame, None)


def test_a_packet_without_a_whole_header_ends_here() -> None:
    assert decrement(frame_v4(64)[: 14 + 19]) == (None, None)
    assert decrement(frame_v6(64)[: 14 + 39]) == (None, None)


@given(
    st.sampled_from([ethernet.IPV4, ethernet.IPV6, TAG + ethernet.IPV4, TAG + ethernet.IPV6, b"\x08\x06"]),
    st.binary(max_size=60),
)
def test_no_frame_makes_it_fail(kind: bytes, payload: bytes) -> None:
    frame = MACS + kind + payload
    changed, error = decrement(frame)

    assert changed is None or len(changed) == len(frame)
    assert changed is None or error is None
