"""The capability block in the padding of probes (docs/protocol.md)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.wire.capabilities import (
    BLOCK_SIZE,
    IN_REQUEST,
    IN_SHORT_REPLY,
    Capability,
    format_block,
    parse_block,
)


def test_the_block_is_a_magic_word_a_version_and_flags() -> None:
    assert format_block(Capability.FAST_TAG) == b"pytinc" + b"\x01" + b"\x00\x01"


@given(st.integers(0, 0xFFFF), st.binary(max_size=30), st.binary(max_size=30))
def test_announced_capabilities_are_read_back_and_unknown_bits_are_ignored(
    flags: int, before: bytes, after: bytes
) -> None:
    block = format_block(Capability(flags))
    assert len(block) == BLOCK_SIZE
    found = parse_block(before + block + after, len(before))
    assert found == flags
    assert (Capability.FAST_TAG in found) == bool(flags & 1)


@given(st.binary(max_size=40), st.sampled_from([IN_REQUEST, IN_SHORT_REPLY]))
def test_any_other_bytes_announce_nothing(payload: bytes, offset: int) -> None:
    assert parse_block(payload, offset) == Capability.NONE


@pytest.mark.parametrize(
    "payload",
    [
        b"pytinc\x02\x00\x01",
        b"pytinc\x00\x00\x01",
        b"Pytinc\x01\x00\x01",
        b"pytinc\x01\x00",
        b"pytinc\x01\x00\x00",
        b"\x00pytinc\x01\x00\x01",
    ],
)
def test_a_block_of_another_version_truncated_or_elsewhere_announces_nothing(payload: bytes) -> None:
    assert parse_block(payload, 0) == Capability.NONE
