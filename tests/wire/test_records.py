"""Layouts of SPTPS messages (docs/protocol-sptps.md, "Records" and "Handshake")."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.errors import DecodeError
from pytinc.wire.records import (
    KEX_SIZE,
    PLAIN_DATAGRAM_MIN,
    SEALED_DATAGRAM_MIN,
    Kex,
    format_kex,
    parse_kex,
)

NONCE, POINT = bytes(range(32)), bytes(range(32, 64))


def test_a_kex_is_version_nonce_and_public_value() -> None:
    assert format_kex(NONCE, POINT) == b"\0" + NONCE + POINT
    assert parse_kex(format_kex(NONCE, POINT)) == Kex(NONCE, POINT)


def test_the_sizes_are_those_of_tinc() -> None:
    assert (KEX_SIZE, PLAIN_DATAGRAM_MIN, SEALED_DATAGRAM_MIN) == (65, 5, 21)


@pytest.mark.parametrize("version", [1, 2, 128, 255])
def test_a_kex_of_another_version_is_refused(version: int) -> None:
    with pytest.raises(DecodeError, match="version"):
        parse_kex(bytes((version,)) + NONCE + POINT)


@pytest.mark.parametrize("size", [0, 1, 64, 66, 130])
def test_a_kex_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(DecodeError, match="size"):
        parse_kex(bytes(size))


@given(st.one_of(st.binary(), st.binary(min_size=KEX_SIZE, max_size=KEX_SIZE)))
def test_any_bytes_raise_nothing_but_decode_error(data: bytes) -> None:
    with contextlib.suppress(DecodeError):
        assert format_kex(*parse_kex(data)) == data
