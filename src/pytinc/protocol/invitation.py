"""The inviter's side of an invitation: from the joiner's ``0 ?KEY`` to "accepted".

See docs/protocol-invitations.md, "Exchange" and "Inviter".

`pytinc.protocol.meta` makes one `InvitationServer` when a joiner greets, and passes its events to the node.
`pytinc.node.invitations` knows which invitations are open and what they contain. The joiner's side is
`pytinc.protocol.joining`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from pytinc.crypto.keys import PrivateKey, PublicKey, invitation_file_name
from pytinc.errors import DecodeError, UnexpectedRequest
from pytinc.protocol.sptps.handshake import Role
from pytinc.protocol.sptps.stream import StreamSession
from pytinc.wire.invitation import (
    CHUNK,
    COOKIE_SIZE,
    LABEL,
    RECORD_ACCEPTED,
    RECORD_DATA,
    RECORD_FINISH,
)
from pytinc.wire.records import TYPE_HANDSHAKE


@dataclass(frozen=True, slots=True)
class InvitationClaimed:
    """The joiner knows the cookie of the invitation in the file ``file_name``."""

    file_name: str


@dataclass(frozen=True, slots=True)
class InviteeKey:
    """The joiner has read the invitation and sends the public key that it will log in with."""

    key: PublicKey


InvitationEvent: TypeAlias = InvitationClaimed | InviteeKey


class _Stage(enum.Enum):
    """What the joiner must send next."""

    COOKIE = enum.auto()
    NOTHING = enum.auto()
    KEY = enum.auto()


class InvitationServer:
    """One joiner's connection. ``joiner_key`` is its throw-away key, ``key`` our invitation key."""

    def __init__(self, key: PrivateKey, joiner_key: PublicKey, random_bytes: Callable[[int], bytes]) -> None:
        self._key_text = key.public.text
        self._session = StreamSession(Role.RESPONDER, key, joiner_key, LABEL, random_bytes)
        self._stage = _Stage.COOKIE
        self._output = bytearray(self._session.start())

    def feed(self, data: bytes) -> None:
        """Buffer bytes that arrived."""
        self._session.feed(data)

    def take_output(self) -> bytes:
        """Return the bytes to write, and forget them."""
        output = bytes(self._output)
        self._output.clear()
        return output

    def next_event(self) -> InvitationEvent | None:
        """Return what the joiner did, None when more bytes are needed.

        Raises `ProtocolError` for every fault that must end the connection.
        """
        while True:
            record = self._session.next_record()
            self._output += self._session.take_output()
            if record is None:
                return None
            if record.type != TYPE_HANDSHAKE:
                return self._on_record(record.type, record.data)

    def offer(self, content: bytes) -> None:
        """Send the invitation: the joiner answers with its key."""
        for start in range(0, len(content), CHUNK):
            self._output += self._session.send(RECORD_DATA, content[start : start + CHUNK])
        self._output += self._session.send(RECORD_FINISH, b"")
        self._stage = _Stage.KEY

    def accept(self) -> None:
        """Tell the joiner that its key is registered; it closes the connection then."""
        self._output += self._session.send(RECORD_ACCEPTED, b"")

    def _on_record(self, type_: int, data: bytes) -> InvitationEvent:
        stage, self._stage = self._stage, _Stage.NOTHING
        if stage is _Stage.COOKIE and type_ == RECORD_DATA:
            if len(data) != COOKIE_SIZE:
                raise DecodeError("invitation cookie of wrong length")
            return InvitationClaimed(invitation_file_name(data, self._key_text))
        if stage is _Stage.KEY and type_ == RECORD_FINISH:
            # tinc accepts any text without a newline and writes it to the host file.
            return InviteeKey(_parse_key(data))
        raise UnexpectedRequest("unexpected record in an invitation")


def _parse_key(data: bytes) -> PublicKey:
    try:
        return PublicKey.from_text(data.decode("ascii"))
    except UnicodeDecodeError:
        raise DecodeError("the joining node's key is not text") from None
