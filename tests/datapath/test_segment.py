from __future__ import annotations

import contextlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapath.super_frames import TAGS, Super, super_frame, super_frames
from pytinc.datapath import segment_reference
from pytinc.datapath.segment import segment
from pytinc.errors import DecodeError
from pytinc.wire.ip import checksum
from pytinc.wire.virtio import GSO_NONE, GSO_TCPV4, GSO_UDP_L4, HEADER, NEEDS_CSUM

NOTHING = bytes(10)


@given(super_frames())
def test_the_fast_cut_and_its_plain_twin_agree(given: Super) -> None:
    assert segment(given.header, given.frame) == segment_reference.segment(given.header, given.frame)


@given(super_frames())
def test_a_kept_buffer_is_read_and_neither_changed_nor_kept(given: Super) -> None:
    header, frame = bytearray(given.header), bytearray(given.frame)
    frames = segment(memoryview(header), memoryview(frame))
    assert (bytes(header), bytes(frame)) == given
    frame[:] = bytes(len(frame))
    assert frames == segment(given.header, given.frame)
    assert all(type(piece) is bytes for piece in frames)


@given(st.binary(max_size=2000))
def test_a_frame_with_which_nothing_is_left_to_do_comes_back_as_it_is(frame: bytes) -> None:
    assert segment(NOTHING, frame) == [frame]
    assert segment(HEADER.pack(2, GSO_NONE, 0, 0, 0, 0), frame) == [frame]  # DATA_VALID: no business of ours


@given(st.binary(min_size=40, max_size=2000), st.integers(0, 19).map(lambda half: 2 * half))
def test_a_single_frame_adds_up_to_zero_afterwards_whatever_its_protocol(frame: bytes, start: int) -> None:
    (done,) = segment(HEADER.pack(NEEDS_CSUM, GSO_NONE, 0, 0, start, 0), frame)
    given = int.from_bytes(frame[start : start + 2], "big")
    # With the value that the kernel had put there in place of the pseudo header, a receiver gets zero.
    assert checksum(done[start:] + b"\0" * (len(frame) % 2) + given.to_bytes(2, "big")) == 0
    assert done[:start] + frame[start : start + 2] + done[start + 2 :] == frame


@pytest.mark.parametrize("is_tcp", [True, False])
@pytest.mark.parametrize("size", [2, 1002])
def test_a_single_frame_never_gets_a_checksum_of_zero(is_tcp: bool, size: int) -> None:
    plain = super_frame(is_tcp=is_tcp, payload=bytes(size))
    (before,) = segment(*plain)
    at = 34 + (16 if is_tcp else 6)
    # A payload word that makes the sum complete.
    payload = bytes(size - 2) + before[at : at + 2]
    (done,) = segment(*super_frame(is_tcp=is_tcp, payload=payload))
    assert done[at : at + 2] == b"\xff\xff"


def test_flags_ids_and_sequence_numbers_of_a_super_frame() -> None:
    given = super_frame(
        flags=0x99, identification=0xFFFF, sequence=2**32 - 5, payload=bytes(range(25)), gso_size=10
    )
    frames = segment(*given)
    assert [frame[54:] for frame in frames] == [
        bytes(range(10)),
        bytes(range(10, 20)),
        bytes(range(20, 25)),
    ]
    assert [frame[16:20].hex() for frame in frames] == ["0032ffff", "00320000", "002d0001"]
    assert [int.from_bytes(frame[38:42], "big") for frame in frames] == [2**32 - 5, 5, 15]
    assert [frame[47] for frame in frames] == [0x90, 0x10, 0x19]
    assert all(checksum(frame[14:34]) == 0 for frame in frames)


@given(st.binary(max_size=10), st.binary(max_size=200))
def test_a_header_that_makes_no_sense_gives_frames_or_a_decode_error(header: bytes, frame: bytes) -> None:
    with contextlib.suppress(DecodeError):
        segment(header.ljust(10, b"\0"), frame)


@given(super_frames(), st.integers(0, 9), st.integers(0, 255), st.integers(0, 200))
def test_a_damaged_super_frame_gives_frames_or_a_decode_error(
    given: Super, where: int, what: int, length: int
) -> None:
    header = bytearray(given.header)
    header[where] = what
    for frame in (given.frame, given.frame[:length]):
        with contextlib.suppress(DecodeError):
            segment(header, frame)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gso_size": 0}, "cannot be cut"),
        ({"flags": 0}, "without the place"),
        ({"kind": GSO_UDP_L4}, "not where its checksum is"),
        ({"kind": 3}, "type 3"),
        ({"kind": 4}, "type 4"),
        ({"start": 36}, "not where its checksum is"),
        ({"offset": 6}, "not where its checksum is"),
        ({"start": 2000}, "beyond the frame"),
    ],
)
def test_a_lying_header_is_told_by_name(change: dict[str, int], message: str) -> None:
    fields = {"flags": 1, "kind": GSO_TCPV4, "size": 0, "gso_size": 100, "start": 34, "offset": 16}
    frame = super_frame(payload=bytes(1000)).frame
    assert len(segment(HEADER.pack(*fields.values()), frame)) == 10
    with pytest.raises(DecodeError, match=message):
        segment(HEADER.pack(*(fields | change).values()), frame)


@pytest.mark.parametrize("is_ipv4", [True, False])
@pytest.mark.parametrize("is_tcp", [True, False])
def test_frames_too_long_for_their_own_length_field_are_not_made(is_ipv4: bool, is_tcp: bool) -> None:
    made = super_frame(is_ipv4=is_ipv4, is_tcp=is_tcp, payload=bytes(60000), gso_size=1000)
    flags, kind, size, _, start, offset = HEADER.unpack(made.header)
    longer = made.frame + bytes(8000)  # what a virtual machine behind a raw socket may write
    with pytest.raises(DecodeError, match="cannot be cut"):
        segment(HEADER.pack(flags, kind, size, 65535, start, offset), longer)


@given(TAGS, st.booleans())
def test_the_largest_super_frame_loses_nothing(tags: bytes, is_ipv4: bool) -> None:
    payload = os.urandom(65535 - 60)
    given = super_frame(tags=tags, is_ipv4=is_ipv4, payload=payload, gso_size=1400)
    frames = segment(*given)
    headers = len(given.frame) - len(payload)
    assert b"".join(frame[headers:] for frame in frames) == payload
