"""Compressed packets: levels, bounds, and that damage costs nothing but the packet (dataplane.md 8)."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.datapath.compression import compress, expand, usable


@given(st.binary(max_size=3000), st.integers(1, 9))
def test_what_is_compressed_is_shorter_and_comes_back(payload: bytes, level: int) -> None:
    data = compress(level, payload)
    if data is not None:
        assert len(data) < len(payload)
        assert expand(data, 3000) == payload


def test_what_does_not_get_shorter_is_left_alone() -> None:
    assert compress(9, b"") is None
    assert compress(9, bytes(range(64))) is None


@pytest.mark.parametrize(("level", "used"), [(0, 0), (1, 1), (9, 9), (10, 0), (11, 0), (12, 0), (-1, 0)])
def test_a_peer_that_wants_what_we_do_not_have_gets_its_packets_uncompressed(level: int, used: int) -> None:
    assert usable(level) == used


def test_nothing_expands_beyond_the_limit() -> None:
    assert expand(zlib.compress(bytes(1518)), 1518) == bytes(1518)
    assert expand(zlib.compress(bytes(1519)), 1518) is None
    assert expand(zlib.compress(bytes(100_000_000)), 1518) is None


@given(st.binary(max_size=200))
def test_nonsense_expands_to_nothing(data: bytes) -> None:
    payload = expand(data, 1518)
    assert payload is None or len(payload) <= 1518


def test_a_truncated_or_lengthened_stream_is_refused() -> None:
    data = zlib.compress(b"frame" * 100)
    assert expand(data[:-1], 1518) is None
    assert expand(data + b"x", 1518) is None
