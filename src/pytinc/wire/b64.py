"""tinc's base64: least significant bits first, no padding (docs/protocol-sptps.md, "Base64").

It differs from RFC 4648: the whole input is one little-endian number, and its lowest six bits are the first
character. The text read backwards is that of RFC 4648 for the reversed bytes, so `binascii` does the work.
tinc uses this form for keys, invitations, and handshake records in requests.
"""

from __future__ import annotations

import binascii
from typing import Final

from pytinc.errors import DecodeError

_TO_URLSAFE: Final = str.maketrans("+/", "-_")
_TO_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_CHARACTERS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"


def encode(data: bytes, *, urlsafe: bool = False) -> str:
    """Return the text form: ceil(8n/6) characters for n bytes."""
    whole_groups = bytes(-len(data) % 3) + data[::-1]
    text = binascii.b2a_base64(whole_groups, newline=False)[::-1].decode("ascii")
    text = text[: (8 * len(data) + 5) // 6]
    return text.translate(_TO_URLSAFE) if urlsafe else text


def decode(text: str | bytes) -> bytes:
    """Return the bytes of ``text``: floor(6m/8) for m characters. Both alphabets are accepted, even mixed.

    Reading ends at a zero byte. Left-over bits are ignored. Raises `DecodeError` for any other
    character (tinc reports that as "no bytes").
    """
    try:
        raw = text.partition("\0")[0].encode("ascii") if isinstance(text, str) else text.partition(b"\0")[0]
    except UnicodeEncodeError:
        raise DecodeError("invalid base64") from None
    if raw.translate(None, _CHARACTERS):
        raise DecodeError("invalid base64")
    whole_groups = raw.translate(_TO_STANDARD) + b"A" * (-len(raw) % 4)
    return binascii.a2b_base64(whole_groups[::-1])[::-1][: 6 * len(raw) // 8]
