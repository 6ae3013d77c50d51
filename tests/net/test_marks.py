"""The priority of a packet, read from its frame."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapath.super_frames import frame_run, super_frame
from pytinc.datapath.super_frames import SuperFrame, take
from pytinc.net.marks import groups_by_mark, mark_of

MACS = bytes(12)
V4, V6, ARP, VLAN = b"\x08\x00", b"\x86\xdd", b"\x08\x06", b"\x81\x00"


@pytest.mark.parametrize(
    ("frame", "mark"),
    [
        (MACS + V4 + b"\x45\xb8" + bytes(18), 0xB8),
        (MACS + V4 + b"\x45\xbb" + bytes(18), 0xB8),  # without ECN
        (MACS + V6 + b"\x6b\x80" + bytes(38), 0xB8),
        (MACS + V6 + b"\x6b\xbf" + bytes(38), 0xB8),
        (MACS + V6 + b"\x60\x00" + bytes(38), 0),
        (MACS + ARP + b"\x45\xb8" + bytes(26), 0),
        (MACS + VLAN + b"\x00\x07" + V4 + b"\x45\xb8" + bytes(18), 0),
        (MACS + V4 + b"\x45", 0),
        (b"", 0),
    ],
)
def test_the_mark_is_the_class_of_the_packet(frame: bytes, mark: int) -> None:
    assert mark_of(frame) == mark


@pytest.mark.parametrize("is_ipv4", [True, False])
def test_all_frames_of_a_run_have_the_mark_of_the_run(is_ipv4: bool) -> None:
    made = super_frame(payload=bytes(9000), gso_size=1000, flags=0x10, is_ipv4=is_ipv4)
    marked = bytearray(made.frame)
    marked[14:16] = b"\x45\xb8" if is_ipv4 else b"\x6b\x80"
    whole = take(made.header, bytes(marked))
    assert isinstance(whole, SuperFrame)
    for run in (whole, frame_run(whole.frames())):
        assert mark_of(run) == 0xB8 == mark_of(run.frames()[3])
    assert mark_of(frame_run([MACS + V4 + b"\x45"] * 3)) == 0


@given(st.lists(st.sampled_from([MACS + V4 + bytes((0x45, tos)) for tos in (0, 1, 0xB8, 0x28)])))
def test_groups_keep_every_frame_in_order_and_have_one_mark_each(frames: list[bytes]) -> None:
    groups = list(groups_by_mark(frames))
    assert [frame for _, group in groups for frame in group] == frames
    assert all(mark_of(frame) == mark for mark, group in groups for frame in group)
    assert all(one != other for (one, _), (other, _) in pairwise(groups))
