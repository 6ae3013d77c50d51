"""Joining TCP frames to super-frames: cut again they are what they were, and the plain twin does the same."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapath.super_frames import TAGS, frame_run, possible_runs, super_frame
from pytinc.datapath import coalesce_reference
from pytinc.datapath.coalesce import Write, coalesce, coalesce_run
from pytinc.datapath.segment import segment
from pytinc.wire.ip import checksum
from pytinc.wire.virtio import HEADER, NULL_HEADER

PAYLOAD = random.Random(1).randbytes(65536)


def wire_frames(
    count: int,
    *,
    size: int = 1448,
    last: int | None = None,
    start: int = 1000,
    flags: int = 0x18,
    identification: int = 7,
    is_ipv4: bool = True,
    tags: bytes = b"",
    tcp_options: bytes = b"\x01\x01\x08\x0a" * 3,
    addresses: bytes = bytes(range(1, 33)),
) -> list[bytes]:
    """The frames of one flow that follow each other, as a kernel sends them."""
    length = (count - 1) * size + (size if last is None else last)
    return segment(
        *super_frame(
            tags=tags,
            is_ipv4=is_ipv4,
            flags=flags,
            sequence=start,
            identification=identification,
            tcp_options=tcp_options,
            addresses=addresses,
            payload=PAYLOAD[:length],
            gso_size=size,
        )
    )


def cut(writes: list[Write]) -> list[bytes]:
    return [frame for header, super_ in writes for frame in segment(header, super_)]


def checked(frames: list[bytes]) -> list[Write]:
    """What is written for a batch, after the two laws that always hold."""
    writes = coalesce(frames)
    assert cut(writes) == frames
    assert writes == coalesce_reference.coalesce(frames)
    for run in possible_runs(frames):
        assert coalesce_run(frame_run(run)) == coalesce_reference.coalesce(run)
    return writes


@pytest.mark.parametrize("is_ipv4", [True, False])
@pytest.mark.parametrize("tags", [b"", b"\x81\x00\x00\x05", b"\x88\xa8\x00\x07\x81\x00\x20\x05"])
@pytest.mark.parametrize("last", [None, 1, 777])
def test_a_chain_becomes_one_write(is_ipv4: bool, tags: bytes, last: int | None) -> None:
    frames = wire_frames(40, last=last, is_ipv4=is_ipv4, tags=tags)
    ((header, super_),) = checked(frames)
    assert HEADER.unpack(header)[3] == 1448
    assert len(super_) == sum(map(len, frames)) - 39 * (len(frames[0]) - 1448)


def test_no_write_is_longer_than_an_ip_packet_can_be() -> None:
    one = wire_frames(40, flags=0x10)
    two = wire_frames(40, flags=0x10, start=1000 + 40 * 1448, identification=47)
    writes = checked(one + two)
    assert [len(super_) for _, super_ in writes] == [66 + 45 * 1448, 66 + 35 * 1448]
    assert max(len(super_) for _, super_ in writes) <= 14 + 65535


def test_two_flows_in_one_batch_make_two_writes() -> None:
    one, two = wire_frames(9), wire_frames(9, addresses=bytes(range(2, 34)))
    assert len(checked(one + two)) == 2


def test_interleaved_flows_are_left_alone() -> None:
    one, two = wire_frames(5, flags=0x10), wire_frames(5, flags=0x10, addresses=bytes(range(2, 34)))
    mixed = [frame for pair in zip(one, two, strict=True) for frame in pair]
    assert len(checked(mixed)) == 10


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b""],
        [b"x" * 13, b"x" * 14, b"x" * 60],
        [b"\0" * 1514] * 3,
        [b"\xff" * 1514] * 3,
        wire_frames(1),
        wire_frames(5),
        wire_frames(30, size=66, tcp_options=b""),
        [bytes(12) + b"\x81\x00\x00\x05" * 10 + bytes(1000)] * 2,
    ],
)
def test_what_is_no_chain_comes_out_as_it_is(frames: list[bytes]) -> None:
    assert checked(frames) == [(NULL_HEADER, frame) for frame in frames]


def damaged(frame: bytes, at: int, value: int) -> bytes:
    return frame[:at] + bytes([value]) + frame[at + 1 :]


def resealed(frame: bytes) -> bytes:
    """The untagged IPv4 frame with its checksums made right again."""
    new = bytearray(frame)
    new[24:26] = bytes(2)
    new[24:26] = checksum(bytes(new[14:34])).to_bytes(2, "big")
    pseudo = bytes(new[26:34]) + (len(new) - 34).to_bytes(4, "big") + b"\0\0\0\x06"
    new[50:52] = bytes(2)
    segment_ = bytes(new[34:]) + bytes(len(new) % 2)
    new[50:52] = checksum(segment_ + pseudo).to_bytes(2, "big")
    return bytes(new)


@pytest.mark.parametrize("at", [24, 25, 50, 51, 60, 100, 1513])
def test_a_frame_with_a_wrong_checksum_stays_alone_and_unchanged(at: int) -> None:
    frames = wire_frames(19)
    frames[9] = damaged(frames[9], at, frames[9][at] ^ 0x55)
    writes = checked(frames)
    assert writes[1] == (NULL_HEADER, frames[9])
    assert len(writes) == 3


# Where one frame differs, with its checksums right: MAC, TTL, TOS, DF, id, length, address, port, sequence,
# acknowledgement, flags, window, urgent pointer, options.
@pytest.mark.parametrize(
    "at", [0, 6, 15, 16, 17, 18, 19, 20, 21, 22, 23, 26, 33, 34, 37, 41, 45, 46, 47, 48, 52, 54, 65]
)
def test_a_frame_that_differs_in_its_headers_is_never_joined(at: int) -> None:
    frames = wire_frames(19, flags=0x10)
    frames[9] = resealed(damaged(frames[9], at, frames[9][at] ^ 0x04))
    writes = checked(frames)
    assert (NULL_HEADER, frames[9]) in writes
    assert len(writes) >= 3


@pytest.mark.parametrize("flag", [0x01, 0x02, 0x04, 0x20, 0x80])
def test_fin_syn_rst_urg_and_cwr_stand_alone(flag: int) -> None:
    frames = wire_frames(9, flags=0x10)
    frames[8] = resealed(damaged(frames[8], 47, 0x10 | flag))
    _, alone = checked(frames)
    assert alone == (NULL_HEADER, frames[8])


def test_psh_ends_a_chain() -> None:
    frames = wire_frames(7) + wire_frames(7, start=1000 + 7 * 1448, identification=14)
    assert len(checked(frames)) == 2


def test_lost_repeated_and_swapped_frames_are_not_joined_over() -> None:
    frames = wire_frames(20, flags=0x10)
    assert len(checked(frames[:9] + frames[10:])) == 2
    assert len(checked(frames[:10] + frames[9:])) == 2
    assert len(checked([*frames[:9], frames[10], frames[9], *frames[11:]])) == 4


def test_sequence_numbers_and_ids_go_round() -> None:
    assert len(checked(wire_frames(9, start=2**32 - 2000, identification=0xFFFE))) == 1


def test_the_shorter_end_of_a_chain_too_short_to_join_may_begin_the_next_chain() -> None:
    few = wire_frames(3, size=1000, last=500, flags=0x10)
    more = wire_frames(8, size=500, flags=0x10, start=1000 + 2500, identification=10)
    assert [len(super_) for _, super_ in checked(few + more)] == [1066, 1066, 66 + 9 * 500]


def test_the_end_beyond_a_full_ip_packet_may_begin_the_next_chain() -> None:
    full = wire_frames(45, flags=0x10)
    more = wire_frames(9, size=500, flags=0x10, start=1000 + 45 * 1448, identification=52)
    assert [len(super_) for _, super_ in checked(full + more)] == [66 + 45 * 1448, 66 + 9 * 500]


@pytest.mark.parametrize("is_ipv4", [True, False])
@pytest.mark.parametrize("size", [65535, 65536, 65555, 70000, 140000])
def test_frames_longer_than_any_ip_packet_come_out_as_they_are(size: int, is_ipv4: bool) -> None:
    (frame,) = wire_frames(1, size=1000, is_ipv4=is_ipv4, flags=0x10)
    long = [frame + bytes(size - len(frame))] * 8
    assert checked(long) == [(NULL_HEADER, frame) for frame in long]


@pytest.mark.parametrize("is_ipv4", [True, False])
def test_a_shorter_last_frame_whose_ip_length_lies_is_not_joined(is_ipv4: bool) -> None:
    frames = wire_frames(9, last=700, is_ipv4=is_ipv4, flags=0x10)
    frames[8] += bytes(2)  # trailing padding: the checksums stay right
    (header, _), alone = checked(frames)
    assert header != NULL_HEADER
    assert alone == (NULL_HEADER, frames[8])


FIELDS = [0, 12, 14, 15, 16, 18, 20, 22, 23, 26, 34, 38, 42, 46, 47, 48, 50, 52, 54, 70]


@st.composite
def batches(draw: st.DrawFn) -> list[bytes]:
    """Flows in pieces, with frames that are lost, repeated, swapped, cut off and damaged."""
    frames: list[bytes] = []
    start, number = draw(st.integers(0, 2**32 - 1)), draw(st.integers(0, 0xFFFF))
    size = draw(st.integers(120, 1460))
    for _ in range(draw(st.integers(1, 4))):
        count = draw(st.integers(1, 20))
        last = draw(st.integers(1, size))
        frames += wire_frames(
            count,
            size=size,
            last=last,
            start=start % 2**32,
            flags=draw(st.sampled_from((0x10, 0x18, 0x10, 0x50, 0x11, 0x90))),
            identification=number % 2**16,
            is_ipv4=draw(st.integers(0, 3)) > 0,
            tags=draw(TAGS) if draw(st.integers(0, 2)) == 0 else b"",
            tcp_options=b"\x01\x01\x08\x0a" * draw(st.sampled_from((0, 3))),
            addresses=draw(st.sampled_from((bytes(range(1, 33)), bytes(range(2, 34))))),
        )
        number += count
        if draw(st.booleans()):
            start += count * size
        else:  # no hole: what follows is as long as the last one was
            start += (count - 1) * size + last
            size = last
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(frames) - 1))
        frame = frames[at]
        match draw(st.integers(0, 5)):
            case 0:
                del frames[at]
            case 1:
                frames.insert(at, frame)
            case 2 if frame:  # an earlier round may have cut it off whole
                frames[at] = damaged(frame, draw(st.integers(0, len(frame) - 1)), draw(st.integers(0, 255)))
            case 3 if frame:
                place = min(draw(st.sampled_from(FIELDS)), len(frame) - 1)
                frames[at] = damaged(frame, place, draw(st.integers(0, 255)))
                if frame[12:15] == b"\x08\x00\x45" and len(frame) >= 70:
                    frames[at] = resealed(frames[at])
            case 4:
                frames[at] = frame[: draw(st.integers(0, len(frame)))]
            case 5:
                frames[at] = frame + bytes(draw(st.integers(1, 6)))
        if not frames:
            break
    return frames


@given(batches())
def test_cut_again_it_is_the_same_and_the_twin_agrees(frames: list[bytes]) -> None:
    checked(frames)


@given(st.lists(st.binary(max_size=300), max_size=8))
def test_random_frames_come_out_as_they_are(frames: list[bytes]) -> None:
    assert cut(checked(frames)) == frames
