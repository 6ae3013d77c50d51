"""Node names and network names.

See docs/protocol-meta.md, "Names"; docs/tinc-program.md, "Values" and "Paths".
"""

from __future__ import annotations

import re
from typing import Final

from pytinc.errors import DecodeError

MAX_NAME_LENGTH: Final = 2048
"""tinc reads string fields of up to this many characters."""

_NAME: Final = re.compile(r"[A-Za-z0-9_]+", re.ASCII)
_UNSAFE_IN_NETNAME: Final = frozenset(' $%<>:`"|?*')


def is_valid_name(text: str) -> bool:
    """Return whether ``text`` can be the name of a node: letters, digits and ``_`` (tinc: check_id())."""
    return len(text) <= MAX_NAME_LENGTH and _NAME.fullmatch(text) is not None


def parse_name(text: str) -> str:
    """Return ``text`` if it is a valid node name; raise `DecodeError` otherwise."""
    if not is_valid_name(text):
        raise DecodeError("invalid node name")
    return text


def is_valid_netname(text: str) -> bool:
    """Return whether ``text`` may name a network: not empty, no leading dot, slash or control character."""
    return (
        text != ""
        and not text.startswith(".")
        and not any(c in "/\\" or ord(c) < 0x20 or ord(c) == 0x7F for c in text)
    )


def is_safe_netname(text: str) -> bool:
    """Return whether ``text`` is a valid network name without characters that are special in a shell."""
    return is_valid_netname(text) and not _UNSAFE_IN_NETNAME.intersection(text)
