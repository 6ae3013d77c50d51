"""The Internet checksum in its plainest form (RFC 1071), against which the tests hold the fast ones."""

from __future__ import annotations

import struct


def plain_sum(data: bytes) -> int:
    """Return the one's complement sum of big-endian words; right data with its checksum gives 0xFFFF."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(word for (word,) in struct.iter_unpack(">H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total
