"""Frames read one by one: equal ones become runs, and every frame is what it is when completed alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapath.super_frames import TAGS, super_frame
from pytinc.datapath.runs import MIN_RUN, FrameRun
from pytinc.datapath.segment import fill_checksum, gather
from pytinc.errors import DecodeError
from pytinc.net.marks import mark_of
from pytinc.wire.virtio import HEADER, NEEDS_CSUM, NULL_HEADER


def read(
    size: int = 64, *, is_tcp: bool = False, is_ipv4: bool = True, tags: bytes = b"", number: int = 1
) -> bytes:
    """A frame without its checksum, as one read of the device gives it."""
    payload = number.to_bytes(4, "big") * (size // 4) + bytes(size % 4)
    made = super_frame(is_tcp=is_tcp, is_ipv4=is_ipv4, tags=tags, payload=payload, identification=number)
    return made.header + made.frame


def one_by_one(reads: list[bytes]) -> tuple[list[bytes], int]:
    """What `gather` must give, as frames."""
    frames, dropped = [], 0
    for each in reads:
        flags, _, _, _, start, offset = HEADER.unpack_from(each)
        frame = each[HEADER.size :]
        try:
            frames.append(fill_checksum(frame, start, offset) if flags & NEEDS_CSUM else frame)
        except DecodeError:
            dropped += 1
    return frames, dropped


def checked(reads: list[bytes]) -> list[bytes | FrameRun]:
    items, dropped = gather(reads)
    frames = [frame for item in items for frame in ([item] if isinstance(item, bytes) else item.frames())]
    assert (frames, dropped) == one_by_one(reads)
    return items


@pytest.mark.parametrize("is_ipv4", [True, False])
@pytest.mark.parametrize("is_tcp", [True, False])
@pytest.mark.parametrize("tags", [b"", b"\x81\x00\x00\x05"])
@pytest.mark.parametrize("size", [0, 1, 63, 64, 1390])
def test_equal_frames_become_one_run_with_their_checksums(
    is_ipv4: bool, is_tcp: bool, tags: bytes, size: int
) -> None:
    reads = [read(size, is_tcp=is_tcp, is_ipv4=is_ipv4, tags=tags, number=number) for number in range(20)]
    (run,) = checked(reads)
    assert isinstance(run, FrameRun)
    assert len(run) == 20


def test_frames_that_need_no_checksum_become_a_run_as_they_are() -> None:
    header = bytes(12) + b"\x88\xb5\0\0"
    (run,) = checked([NULL_HEADER + header + bytes([number]) * 50 for number in range(MIN_RUN)])
    assert isinstance(run, FrameRun)


def test_a_few_frames_stay_alone() -> None:
    items = checked([read(number=number) for number in range(MIN_RUN - 1)])
    assert len(items) == MIN_RUN - 1


def test_a_run_ends_where_the_length_or_the_ethernet_header_changes() -> None:
    other = bytearray(read())
    other[HEADER.size + 5] ^= 1
    runs = checked([*[read(64)] * 9, *[read(65)] * 10, *[bytes(other)] * 8, read(64)])
    assert [len(run) for run in runs[:3]] == [9, 10, 8]
    assert len(runs) == 4


def test_all_packets_of_a_run_are_of_one_class() -> None:
    urgent = bytearray(read())
    urgent[HEADER.size + 15] = 0xB8
    runs = checked([*[read()] * 9, *[bytes(urgent)] * 9])
    assert [mark_of(run) for run in runs] == [0, 0xB8]


@pytest.mark.parametrize("start", [0, 13, 33, 34, 35, 36, 100, 0xFFFF])
@pytest.mark.parametrize("offset", [0, 5, 6, 16, 0xFFFF])
def test_a_checksum_in_any_place_is_filled_in_or_the_frame_dropped(start: int, offset: int) -> None:
    header = HEADER.pack(NEEDS_CSUM, 0, 0, 0, start, offset)
    checked([header + bytes(range(100))] * 12)


def test_long_frames_make_a_run_as_well() -> None:
    (run,) = checked([read(8000, number=number) for number in range(9)])
    assert isinstance(run, FrameRun)


def test_frames_without_an_ethernet_header_make_no_run() -> None:
    assert len(checked([NULL_HEADER + b"x" * 13] * 10)) == 10


@given(
    st.lists(
        st.tuples(
            st.integers(1, 12),
            st.sampled_from((0, 64, 65, 1400)),
            st.booleans(),
            st.booleans(),
            TAGS,
            st.booleans(),
        ),
        max_size=8,
    ),
    st.binary(max_size=40),
    st.integers(0, 40),
)
def test_any_mixture_gives_the_same_frames_in_the_same_order(
    pieces: list[tuple[int, int, bool, bool, bytes, bool]], odd: bytes, at: int
) -> None:
    reads: list[bytes] = []
    for count, size, is_tcp, is_ipv4, tags, done in pieces:
        for number in range(count):
            each = read(size, is_tcp=is_tcp, is_ipv4=is_ipv4, tags=tags, number=number)
            reads.append(NULL_HEADER + each[HEADER.size :] if done else each)
    reads.insert(at, HEADER.pack(NEEDS_CSUM, 0, 0, 0, 20, 6) + odd)
    checked(reads)
