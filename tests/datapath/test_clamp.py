"""Only the MSS of a SYN is touched, and the packet stays right."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapath.plain_sum import plain_sum
from pytinc.datapath.clamp import LONGEST_SYN, clamp_mss
from pytinc.wire import ethernet, ip

MTU = 1439
SYN, ACK, FIN = 0x02, 0x10, 0x01
MACS = bytes.fromhex("02000000000202000000000a")
SOURCE_V4, TARGET_V4 = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))
SOURCE_V6, TARGET_V6 = bytes(15) + b"\1", bytes(15) + b"\2"


def mss_option(value: int) -> bytes:
    return bytes((2, 4)) + value.to_bytes(2, "big")


def tcp(options: bytes, pseudo: bytes, *, flags: int = SYN, data: bytes = b"") -> bytes:
    """A TCP segment with a right checksum. Options are filled up with zeros."""
    options += bytes(-len(options) % 4)
    offset = (20 + len(options)) // 4
    segment = bytearray(struct.pack(">HHIIBBHHH", 1000, 80, 1, 0, offset << 4, flags, 64240, 0, 0))
    segment += options + data
    total = plain_sum(pseudo + struct.pack(">I", len(segment)) + bytes((0, 0, 0, 6)) + segment)
    segment[16:18] = (0xFFFF - total).to_bytes(2, "big")
    return bytes(segment)


def is_right(frame: bytes, start: int, pseudo: bytes) -> bool:
    segment = frame[start:]
    return plain_sum(pseudo + struct.pack(">I", len(segment)) + bytes((0, 0, 0, 6)) + segment) == 0xFFFF


def ipv4(payload: bytes, *, protocol: int = 6, options: bytes = b"", fragment: int = 0) -> bytes:
    size = 20 + len(options)
    header = struct.pack(">BBHHHBBH", 0x40 | size // 4, 0, size + len(payload), 7, fragment, 64, protocol, 0)
    return header + SOURCE_V4 + TARGET_V4 + options + payload


def ipv6(payload: bytes) -> bytes:
    return struct.pack(">IHBB", 6 << 28, len(payload), 6, 64) + SOURCE_V6 + TARGET_V6 + payload


def frame_v4(options: bytes = b"", *, tag: bytes = b"", flags: int = SYN, data: bytes = b"") -> bytes:
    segment = tcp(options, SOURCE_V4 + TARGET_V4, flags=flags, data=data)
    return MACS + tag + ethernet.IPV4 + ipv4(segment)


def frame_v6(options: bytes, *, tag: bytes = b"") -> bytes:
    return MACS + tag + ethernet.IPV6 + ipv6(tcp(options, SOURCE_V6 + TARGET_V6))


def mss_of(frame: bytes, start: int) -> int:
    """The MSS if it is the first option of the TCP header at ``start``."""
    assert frame[start + 20 : start + 22] == bytes((2, 4))
    return int.from_bytes(frame[start + 22 : start + 24], "big")


TAG = bytes.fromhex("81000064")


def test_an_ipv4_syn_announces_what_fits_the_path() -> None:
    clamped = clamp_mss(frame_v4(mss_option(1460)), MTU)

    assert mss_of(clamped, 34) == 1385  # as seen with tincd
    assert is_right(clamped, 34, SOURCE_V4 + TARGET_V4)


def test_an_ipv6_syn_announces_what_fits_the_path() -> None:
    clamped = clamp_mss(frame_v6(mss_option(1440)), MTU)

    assert mss_of(clamped, 54) == 1365
    assert is_right(clamped, 54, SOURCE_V6 + TARGET_V6)


def test_a_vlan_tag_takes_four_bytes_more() -> None:
    assert mss_of(clamp_mss(frame_v4(mss_option(1460), tag=TAG), MTU), 38) == 1381
    assert mss_of(clamp_mss(frame_v6(mss_option(1440), tag=TAG), MTU), 58) == 1361


def test_the_answer_to_a_syn_is_clamped_as_well() -> None:
    assert mss_of(clamp_mss(frame_v4(mss_option(1460), flags=SYN | ACK), MTU), 34) == 1385


def test_ip_options_take_their_room() -> None:
    segment = tcp(mss_option(1460), SOURCE_V4 + TARGET_V4)
    frame = MACS + ethernet.IPV4 + ipv4(segment, options=bytes(8))

    assert mss_of(clamp_mss(frame, MTU), 42) == 1377


def test_a_tcp_packet_inside_an_ipv4_tunnel_is_found() -> None:
    inner = ipv4(tcp(mss_option(1460), SOURCE_V4 + TARGET_V4))
    frame = MACS + ethernet.IPV4 + ipv4(inner, protocol=4)

    assert mss_of(clamp_mss(frame, MTU), 54) == 1365


@pytest.mark.parametrize(
    "fill", [b"", b"\1", b"\1\1", bytes((4, 2)), bytes((3, 3, 7)), bytes((8, 10)) + bytes(8)]
)
def test_the_mss_is_found_behind_other_options(fill: bytes) -> None:
    clamped = clamp_mss(frame_v4(fill + mss_option(1460)), MTU)

    assert fill + mss_option(1385) in clamped
    assert is_right(clamped, 34, SOURCE_V4 + TARGET_V4)


@pytest.mark.parametrize("mss", [1385, 1000, 0])
def test_an_mss_that_fits_is_left_alone(mss: int) -> None:
    frame = frame_v4(mss_option(mss))

    assert clamp_mss(frame, MTU) is frame


@pytest.mark.parametrize(
    "frame",
    [
        frame_v4(mss_option(1460), flags=ACK),
        frame_v4(mss_option(1460), flags=FIN | ACK, tag=TAG),
        frame_v4(),
        MACS + ethernet.IPV4 + ipv4(bytes(40), protocol=17),
        MACS + b"\x08\x06" + bytes(60),
        MACS + ethernet.IPV4 + ipv4(tcp(mss_option(1460), b""), fragment=5),
        frame_v4(mss_option(1460), data=bytes(LONGEST_SYN)),
    ],
    ids=["ack", "tagged fin", "no option", "udp", "arp", "later fragment", "syn with data"],
)
def test_other_frames_come_back_as_they_are(frame: bytes) -> None:
    assert clamp_mss(frame, MTU) is frame


@pytest.mark.parametrize(
    "options",
    [
        b"\0" + mss_option(1460)[:3],
        bytes((3, 0)) + b"\1\1",
        bytes((3, 1)) + b"\1\1",
        bytes((3, 200)) + b"\1\1",
        bytes((2, 3, 0xFF, 1)),
        bytes((1, 1, 1, 2)),
        bytes((1, 1, 2, 4)),
    ],
    ids=["end first", "length 0", "length 1", "beyond the end", "wrong length", "no length", "no value"],
)
def test_options_that_lie_are_left_alone(options: bytes) -> None:
    frame = frame_v4(options)

    assert clamp_mss(frame, MTU) is frame


def test_a_header_longer_than_the_frame_is_left_alone() -> None:
    frame = bytearray(frame_v4(mss_option(1460)))
    frame[34 + 12] = 0xF0

    assert clamp_mss(bytes(frame), MTU) == bytes(frame)


def test_an_ip_header_shorter_than_it_can_be_is_left_alone() -> None:
    """Else the "flags" and "options" would be bytes of the IP header and what follows it."""
    segment = tcp(b"", b"", data=mss_option(1460) * 4)
    frame = bytearray(MACS + ethernet.IPV4 + ipv4(segment))
    frame[14] = 0x44
    frame[30 + 12] = 0x60
    frame[30 + 13] = SYN
    frame[50:54] = mss_option(1460)

    assert clamp_mss(bytes(frame), MTU) == bytes(frame)


def test_a_path_with_no_room_for_any_data_changes_nothing() -> None:
    frame = frame_v4(mss_option(1460))

    assert clamp_mss(frame, 54) is frame


@given(
    st.integers(0, 3).map(lambda count: b"\1" * count),
    st.integers(0, 0xFFFF),
    st.integers(0, 1518),
    st.sampled_from([b"", TAG]),
)
def test_checksums_stay_right_whatever_the_value_and_its_place(
    fill: bytes, mss: int, mtu: int, tag: bytes
) -> None:
    frame = frame_v4(fill + mss_option(mss), tag=tag)
    start = 34 + len(tag)

    clamped = clamp_mss(frame, mtu)

    limit = mtu - start - 20
    expected = min(mss, limit) if limit > 0 else mss
    assert fill + mss_option(expected) in clamped
    assert is_right(clamped, start, SOURCE_V4 + TARGET_V4)


@given(
    st.sampled_from([ethernet.IPV4, ethernet.IPV6, TAG + ethernet.IPV4, TAG + ethernet.IPV6, b"\x08\x06"]),
    st.binary(max_size=140),
    st.integers(0, 1518),
)
def test_no_frame_makes_it_fail_or_changes_its_length(kind: bytes, payload: bytes, mtu: int) -> None:
    frame = MACS + kind + payload

    assert len(clamp_mss(frame, mtu)) == len(frame)


@given(st.data())
def test_a_damaged_syn_is_changed_in_its_mss_and_checksum_at_most(data: st.DataObject) -> None:
    frame = bytearray(
        frame_v4(b"\1" + mss_option(1460) + bytes((4, 2)), tag=data.draw(st.sampled_from([b"", TAG])))
    )
    for _ in range(data.draw(st.integers(0, 4))):
        frame[data.draw(st.integers(12, len(frame) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(frame[: data.draw(st.integers(0, len(frame)))])

    clamped = clamp_mss(cut, MTU)

    assert len(clamped) == len(cut)
    assert sum(one != other for one, other in zip(cut, clamped, strict=True)) <= 4
    assert cut[:14] == clamped[:14]


def test_the_protocol_numbers_are_those_of_the_iana() -> None:
    assert (ip.PROTOCOL_ICMP, ip.PROTOCOL_IPIP, ip.PROTOCOL_TCP, ip.PROTOCOL_ICMPV6) == (1, 4, 6, 58)
