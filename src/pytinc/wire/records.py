"""Layouts of SPTPS records and handshake messages (docs/protocol-sptps.md, "Records" and "Handshake").

    stream:    be16 length of the data | type | data          encrypted: be16 length | seal(type | data)
    datagram:  be32 sequence number    | type | data                     be32 number | seal(type | data)

`pytinc.protocol.sptps` uses these layouts and decides when a record is allowed.
"""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

from pytinc.errors import DecodeError

TYPE_HANDSHAKE: Final = 128
"""Lower types belong to the application; 129 and 130 are reserved, and higher types are invalid."""

ACK: Final = b""
"""Data of an ACK message. A KEX has a layout (below); a SIG is a bare signature."""

KEX_VERSION: Final = 0
NONCE_SIZE: Final = 32
POINT_SIZE: Final = 32
KEX_SIZE: Final = 1 + NONCE_SIZE + POINT_SIZE
SIG_SIZE: Final = 64

STREAM_HEADER_SIZE: Final = 2
TAG_SIZE: Final = 16
SEQNO_SIZE: Final = 4
PLAIN_DATAGRAM_MIN: Final = SEQNO_SIZE + 1
SEALED_DATAGRAM_MIN: Final = SEQNO_SIZE + 1 + TAG_SIZE
MAX_RECORD_DATA: Final = 65535
"""The largest length of a stream record; the length counts the data only."""


_X25519: Final = 0
_AES_256_GCM: Final = 1
"""The numbers that tincr gives to the key exchange and to the cipher."""


class SptpsCipher(enum.Enum):
    """The cipher of the records of a session (docs/protocol.md, "AES-256-GCM").

    The values are the words of the variable SPTPSCipher.
    """

    CHACHA20_POLY1305 = "chacha20-poly1305"
    """tinc's only cipher, in tinc's own form."""
    AES_256_GCM = "aes-256-gcm"

    @property
    def label_suffix(self) -> bytes:
        """What follows the session's label: key exchange and cipher as a byte each, nothing for tinc's own.

        It is signed and goes into the keys, so two ends with different ciphers refuse each other's signature.
        """
        return b"" if self is SptpsCipher.CHACHA20_POLY1305 else bytes((_X25519, _AES_256_GCM))


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
    """Parse a KEX message. Raises `DecodeError` if its size or version is wrong."""
    if len(data) != KEX_SIZE:
        raise DecodeError("KEX of wrong size")
    if data[0] != KEX_VERSION:
        raise DecodeError(f"KEX of unknown version {data[0]}")
    return Kex(data[1 : 1 + NONCE_SIZE], data[1 + NONCE_SIZE :])
