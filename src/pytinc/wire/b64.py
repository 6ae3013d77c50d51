"""tinc's base64: least significant bits first, no padding (sptps.md 2.1).

Not RFC 4648's. Three bytes b0 b1 b2 form the number b0 + 256 b1 + 65536 b2, and the first character is its
lowest six bits.
"""

from __future__ import annotations

from typing import Final

from pytinc.errors import DecodeError

_COMMON: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_STANDARD: Final = _COMMON + "+/"
_URLSAFE: Final = _COMMON + "-_"
_VALUES: Final = {ord(c): i for alphabet in (_STANDARD, _URLSAFE) for i, c in enumerate(alphabet)}


def encode(data: bytes, *, urlsafe: bool = False) -> str:
    """Return the text form: ceil(8n/6) characters for n bytes."""
    alphabet = _URLSAFE if urlsafe else _STANDARD
    characters: list[str] = []
    for start in range(0, len(data), 3):
        group = data[start : start + 3]
        value = int.from_bytes(group, "little")
        characters += [alphabet[value >> 6 * i & 63] for i in range(len(group) + 1)]
    return "".join(characters)


def decode(text: str | bytes) -> bytes:
    """Return the bytes of ``text``; both alphabets are accepted, mixed as well.

    Reading ends at a zero byte. Left-over bits are ignored. Raises `DecodeError` for any other
    character (tinc reports that as "no bytes").
    """
    try:
        raw = text.encode("ascii") if isinstance(text, str) else text
        values = [_VALUES[character] for character in raw.partition(b"\0")[0]]
    except (KeyError, UnicodeEncodeError):
        raise DecodeError("invalid base64") from None
    result = bytearray()
    for start in range(0, len(values), 4):
        group = values[start : start + 4]
        number = sum(value << 6 * i for i, value in enumerate(group))
        result += number.to_bytes(3, "little")[: len(group) * 6 // 8]
    return bytes(result)
