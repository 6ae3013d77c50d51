"""Compression of packets inside records: zlib, tinc's levels 1 to 9 (dataplane.md 8).

A receiver announces the level it wants with its key; a sender uses it where that makes the packet shorter.
LZO and LZ4 (levels 10 to 12) are not there: peers that want them get packets uncompressed, which they take.
"""

from __future__ import annotations

import zlib
from typing import Final

HIGHEST: Final = 9


def usable(level: int) -> int:
    """Return the level to compress with for a peer that wants ``level``; 0: not at all."""
    return level if 1 <= level <= HIGHEST else 0


def compress(level: int, payload: bytes) -> bytes | None:
    """Return ``payload`` compressed, None if that does not make it shorter."""
    data = zlib.compress(payload, level)
    return data if len(data) < len(payload) else None


def expand(data: bytes, limit: int) -> bytes | None:
    """Return what was compressed, None if it is damaged or longer than ``limit`` bytes.

    No more memory than that is used, whatever the data claims.
    """
    stream = zlib.decompressobj()
    try:
        payload = stream.decompress(data, limit)
    except zlib.error:
        return None
    return payload if stream.eof and not stream.unused_data else None
