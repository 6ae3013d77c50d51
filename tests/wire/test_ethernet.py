"""The offsets of a frame, with and without a VLAN tag."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.wire import ethernet

MACS = bytes.fromhex("02000000000202000000000a")
TAG = bytes.fromhex("81000064")


@pytest.mark.parametrize("kind", [ethernet.IPV4, ethernet.IPV6, ethernet.NO_TYPE])
def test_the_payload_of_an_untagged_frame_follows_its_header(kind: bytes) -> None:
    frame = MACS + kind + b"payload"

    start = ethernet.payload_offset(frame)

    assert frame[start:] == b"payload"
    assert ethernet.ethertype(frame, start) == kind


def test_the_payload_of_a_tagged_frame_follows_its_tag() -> None:
    frame = MACS + TAG + ethernet.IPV6 + b"payload"

    start = ethernet.payload_offset(frame)

    assert frame[start:] == b"payload"
    assert ethernet.ethertype(frame, start) == ethernet.IPV6


def test_a_second_tag_is_payload() -> None:
    frame = MACS + TAG + TAG + ethernet.IPV4

    assert ethernet.ethertype(frame, ethernet.payload_offset(frame)) == ethernet.VLAN


def test_the_slices_cut_the_header_into_its_three_fields() -> None:
    header = MACS + ethernet.IPV4

    assert header[ethernet.DESTINATION] + header[ethernet.SOURCE] + header[ethernet.ETHERTYPE] == header
    assert len(header) == ethernet.HEADER_SIZE


@pytest.mark.parametrize(
    ("mac", "expected"),
    [("ffffffffffff", True), ("01005e000001", True), ("333300000001", True), ("020000000001", False)],
)
def test_group_addresses_have_the_lowest_bit_of_their_first_byte(mac: str, expected: bool) -> None:
    assert ethernet.is_group(bytes.fromhex(mac)) is expected


@given(st.binary(max_size=20))
def test_a_truncated_frame_has_no_known_ethertype(frame: bytes) -> None:
    start = ethernet.payload_offset(frame)

    if len(frame) < start:
        assert ethernet.ethertype(frame, start) not in (ethernet.IPV4, ethernet.IPV6, ethernet.VLAN)
