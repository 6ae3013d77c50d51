"""Compression of packets inside records, at tinc's levels 1 to 12 (docs/protocol-data.md, "Compression").

A receiver announces the level that it wants with its key; a sender uses it where it makes the packet shorter.
Levels 1 to 9 are zlib. LZO (10 and 11) and LZ4 (12) need the libraries lzallright and lz4; a peer that wants
a missing one gets its packets uncompressed, which every node accepts. The data path calls this for every
packet of such a peer; `pytinc.config.building` refuses to ask for a level whose library is missing. The
libraries are loaded at once: a daemon that has changed its root directory could not find them.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

HIGHEST_OF_ZLIB: Final = 9


class Codec(NamedTuple):
    """One way to compress. The formats have no frame and no length around them."""

    compress: Callable[[bytes], bytes]
    expand: Callable[[bytes, int], bytes | None]
    """Returns the payload, None if the data is damaged or more than the given number of bytes comes out."""


def _lzo() -> Codec | None:
    try:
        from lzallright import LZOCompressor, LZOError
    except ImportError:
        return None

    def expand(data: bytes, limit: int) -> bytes | None:
        # The library cannot be told where to stop. But no byte of LZO gives more than 255, and what is longer
        # than the limit was not worth compressing: a peer can make us take 400 kB for a moment, not more.
        if len(data) > limit:
            return None
        try:
            payload = LZOCompressor.decompress(data, limit)
        except LZOError:
            return None
        return payload if len(payload) <= limit else None

    # Both levels have the same decoder. The library knows only one way to encode, close to level 11.
    return Codec(LZOCompressor().compress, expand)


def _lz4() -> Codec | None:
    try:
        from lz4 import block
    except ImportError:
        return None

    def compress(payload: bytes) -> bytes:
        return bytes(block.compress(payload, store_size=False))

    def expand(data: bytes, limit: int) -> bytes | None:
        try:
            return bytes(block.decompress(data, uncompressed_size=limit))
        except block.LZ4BlockError:
            return None

    return Codec(compress, expand)


def _codecs() -> Mapping[int, Codec]:
    """Return the codecs of the levels above zlib's, as far as they are installed."""
    lzo, lz4 = _lzo(), _lz4()
    return {level: codec for level, codec in ((10, lzo), (11, lzo), (12, lz4)) if codec is not None}


_CODECS: Final = _codecs()


def usable(level: int) -> int:
    """Return the level to compress with for a peer that wants ``level``; 0: not at all."""
    return level if 1 <= level <= HIGHEST_OF_ZLIB or level in _CODECS else 0


def compress(level: int, payload: bytes) -> bytes | None:
    """Return ``payload`` compressed at a `usable` level, None if that does not make it shorter."""
    data = zlib.compress(payload, level) if level <= HIGHEST_OF_ZLIB else _CODECS[level].compress(payload)
    return data if len(data) < len(payload) else None


def expand(level: int, data: bytes, limit: int) -> bytes | None:
    """Return the uncompressed packet; None if the data are damaged or the packet exceeds ``limit`` bytes.

    ``level`` is the one that this node announces to peers; 0 means none. The memory used is bounded, whatever
    the data claim.
    """
    if level > HIGHEST_OF_ZLIB:
        codec = _CODECS.get(level)
        return None if codec is None else codec.expand(data, limit)
    return _inflated(data, limit) if level else None


def _inflated(data: bytes, limit: int) -> bytes | None:
    stream = zlib.decompressobj()
    try:
        payload = stream.decompress(data, limit)
    except zlib.error:
        return None
    return payload if stream.eof and not stream.unused_data else None
