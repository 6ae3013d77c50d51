"""What both ends of an invitation share: the URL, and the records of the stream.

See docs/protocol-invitations.md, "Inviting" and "Exchange".

No I/O and no keys: `pytinc.crypto.keys` computes the hashes that the URL holds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from pytinc.errors import DecodeError
from pytinc.wire import b64

COOKIE_SIZE: Final = 18
"""Random bytes that authenticate the joiner."""
FILE_NAME_LENGTH: Final = 24
"""Characters in the file name of an outstanding invitation."""
LABEL: Final = b"tinc invitation"
"""SPTPS label; unlike other labels it has no NUL at its end."""
RECORD_DATA: Final = 0
"""From the joiner: the cookie. From the inviter: a piece of the invitation."""
RECORD_FINISH: Final = 1
"""From the inviter: the invitation is complete. From the joiner: its new public key, as text."""
RECORD_ACCEPTED: Final = 2
MAX_INVITATION_SIZE: Final = 1024 * 1024
"""Bytes, enough for a thousand host files. Both ends keep the whole invitation in memory."""
CHUNK: Final = 1024
"""Bytes of the invitation in one record."""
SEPARATOR: Final = "#---------------------------------------------------------------#"
"""The line between the parts of an invitation."""
DEFAULT_PORT: Final = "655"

_SECRET_LENGTH: Final = 48
_HASH_LENGTH: Final = 24
_ADDRESS: Final = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<host>[^\[\]:]+))(?::(?P<port>[^\[\]:]+))?")


@dataclass(frozen=True, slots=True)
class InvitationUrl:
    """``HOST[:PORT]/HASHCOOKIE``: where the inviter is, the hash of its key, and the secret."""

    host: str
    port: str | None
    key_hash: bytes
    """The 18-byte hash of the invitation key (`pytinc.crypto.keys.key_hash`)."""
    cookie: bytes = field(repr=False)

    def text(self) -> str:
        """Return the URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        return (
            f"{host}{port}/{b64.encode(self.key_hash, urlsafe=True)}{b64.encode(self.cookie, urlsafe=True)}"
        )


def parse_url(text: str) -> InvitationUrl:
    """Parse the URL of an invitation. Raises `DecodeError`, whose message does not contain the secret."""
    address, slash, secret = text.partition("/")
    if not slash:
        raise DecodeError("no slash in it")
    if len(secret) != _SECRET_LENGTH:
        raise DecodeError(f"{_SECRET_LENGTH} characters must follow the slash, not {len(secret)}")
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise DecodeError("it does not begin with HOST, HOST:PORT, [IPv6] or [IPv6]:PORT")
    key_hash, cookie = b64.decode(secret[:_HASH_LENGTH]), b64.decode(secret[_HASH_LENGTH:])
    if not len(key_hash) == len(cookie) == COOKIE_SIZE:  # a zero byte ends base64
        raise DecodeError("invalid base64")
    return InvitationUrl(match["v6"] or match["host"], match["port"], key_hash, cookie)
