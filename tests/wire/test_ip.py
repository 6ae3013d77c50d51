"""Internet checksums against the definition, and against an example of the RFC."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from pytinc.wire import ip

WORDS = st.integers(0, 0xFFFF)


def plain_sum(data: bytes) -> int:
    """RFC 1071 word by word: 16-bit words, each carry added at the other end."""
    if len(data) % 2:
        data += b"\0"
    total = 0
    for (word,) in struct.iter_unpack(">H", data):
        total += word
        if total > 0xFFFF:
            total = (total & 0xFFFF) + 1
    return total


def test_the_example_of_rfc_1071() -> None:
    assert ip.checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2


def test_a_last_odd_byte_counts_as_the_upper_half_of_a_word() -> None:
    assert ip.checksum(b"\x12\x34\x56") == 0xFFFF - (0x1234 + 0x5600)


def test_a_sum_of_all_ones_is_not_taken_for_zero() -> None:
    assert ip.checksum(b"\xff\xff") == 0
    assert ip.checksum(b"\xff\xfe\0\1") == 0


def test_the_example_of_rfc_1624() -> None:
    assert ip.update_checksum(0xDD2F, 0x5555, 0x3285) == 0


def test_nothing_and_zeros_sum_up_to_zero() -> None:
    assert ip.checksum(b"") == 0xFFFF
    assert ip.checksum(bytes(20)) == 0xFFFF


@given(st.binary(max_size=1600))
def test_the_checksum_is_the_complement_of_the_plain_sum(data: bytes) -> None:
    assert ip.checksum(data) == 0xFFFF - plain_sum(data)


@given(st.binary(min_size=1, max_size=64).filter(lambda data: len(data) % 2 == 0 and any(data)))
def test_data_with_its_checksum_sums_up_to_all_ones(data: bytes) -> None:
    assert plain_sum(data + ip.checksum(data).to_bytes(2, "big")) == 0xFFFF


@given(st.lists(WORDS, min_size=2, max_size=40), st.data())
def test_an_updated_checksum_equals_a_new_one(words: list[int], data: st.DataObject) -> None:
    words[0] |= 1  # headers are never all zero, and only then the two forms of zero could differ
    position = data.draw(st.integers(1, len(words) - 1))
    after = data.draw(WORDS)
    old = ip.checksum(struct.pack(f">{len(words)}H", *words))
    before, words[position] = words[position], after

    assert ip.update_checksum(old, before, after) == ip.checksum(struct.pack(f">{len(words)}H", *words))


def test_the_ipv6_pseudo_header_is_forty_bytes_in_order() -> None:
    header = ip.pseudo_header_v6(b"s" * 16, b"d" * 16, 0x010203, ip.PROTOCOL_ICMPV6)

    assert header == b"s" * 16 + b"d" * 16 + bytes.fromhex("000102030000003a")
