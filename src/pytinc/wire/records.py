"""Layouts of SPTPS records and handshake messages (sptps.md 3.2-3.4)."""

from __future__ import annotations

from typing import Final, NamedTuple

from pytinc.errors import DecodeError

TYPE_HANDSHAKE: Final = 128
"""Types below are the application's; 129 and 130 are reserved and everything above is invalid."""

KEX_VERSION: Final = 0
NONCE_SIZE: Final = 32
POINT_SIZE: Final = 32
KEX_SIZE: Final = 1 + NONCE_SIZE + POINT_SIZE
SIG_SIZE: Final = 64

STREAM_HEADER_SIZE: Final = 2
TAG_SIZE: Final = 16
PLAIN_DATAGRAM_MIN: Final = 5
SEALED_DATAGRAM_MIN: Final = 21
MAX_RECORD_DATA: Final = 65535


class Record(NamedTuple):
    """One received record: its type and its data."""

    type: int
    data: bytes


class Kex(NamedTuple):
    """The two values of a KEX message."""

    nonce: bytes
    public: bytes


def format_kex(nonce: bytes, public: bytes) -> bytes:
    """Return the data of a KEX message: version, nonce, ephemeral public value."""
    return bytes((KEX_VERSION,)) + nonce + public


def parse_kex(data: bytes) -> Kex:
    """Read a KEX message; `DecodeError` for another size or version."""
    if len(data) != KEX_SIZE:
        raise DecodeError("KEX of wrong size")
    if data[0] != KEX_VERSION:
        raise DecodeError(f"KEX of unknown version {data[0]}")
    return Kex(data[1 : 1 + NONCE_SIZE], data[1 + NONCE_SIZE :])
