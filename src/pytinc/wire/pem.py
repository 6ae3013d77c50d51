"""Reading the PEM-like blocks in which tinc keeps Ed25519 keys (docs/protocol-sptps.md, "Key files").

Used by `pytinc.config.store` for public keys in host files and by `pytinc.crypto.keys` for private ones.
The content is tinc's own base64, not that of RFC 7468, and each line is decoded separately.
"""

from __future__ import annotations

import re
from typing import Final

from pytinc.errors import DecodeError
from pytinc.wire import b64

_LINE_END: Final = re.compile(r"[\r\n]")


def read_block(text: str, kind: str, size: int) -> bytes:
    """Return the ``size`` bytes of the first block of ``kind``, for example ``ED25519 PUBLIC KEY``.

    Everything before and after the block is ignored, and its END line may be missing. Raises `DecodeError`
    if there is no such block or it does not hold exactly ``size`` bytes; the content is never quoted.
    """
    lines = iter(text.split("\n"))
    begin = f"-----BEGIN {kind}"
    if not any(line.startswith(begin) for line in lines):
        raise DecodeError(f"no {kind} found")
    content = bytearray()
    for line in lines:
        if line.startswith("-----END "):
            break
        piece = _decode_line(line)
        if not piece:
            break
        if len(content) + len(piece) > size:
            if len(content) == size:
                break  # further lines after the complete key are ignored
            raise DecodeError("Too much base64 data in PEM file")
        content += piece
    if len(content) < size:
        raise DecodeError("Too little base64 data in PEM file")
    return bytes(content)


def _decode_line(line: str) -> bytes:
    """Return the bytes of one line; none if the line is empty or not base64."""
    try:
        return b64.decode(_LINE_END.split(line, maxsplit=1)[0])
    except DecodeError:
        return b""
