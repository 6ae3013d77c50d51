"""The joiner's side of an invitation: from the greeting to "accepted".

See docs/protocol-invitations.md, "Exchange" and "Joiner".

`pytinc join` makes one `Joiner` for each connection it tries, carries bytes between it and the socket, and
acts on its events. `pytinc.config.joined` reads the invitation's content. The inviter's side is
`pytinc.protocol.invitation`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from pytinc.crypto.keys import PrivateKey, PublicKey, key_hash
from pytinc.errors import AuthenticationError, DecodeError, UnexpectedRequest, UsageError
from pytinc.protocol.sptps.handshake import Role
from pytinc.protocol.sptps.stream import StreamSession
from pytinc.wire.invitation import (
    LABEL,
    MAX_INVITATION_SIZE,
    RECORD_ACCEPTED,
    RECORD_DATA,
    RECORD_FINISH,
)
from pytinc.wire.names import is_valid_name
from pytinc.wire.records import TYPE_HANDSHAKE
from pytinc.wire.requests import MAX_LINE_LENGTH, Id, decode_line

VERSION: Final = "17.1"
"""The protocol version in our greeting: after a minor version of 2 or more the inviter expects SPTPS at
once."""
_MAJOR: Final = 17
_KEY_NUMBER: Final = "4"
_KEY_FIELDS: Final = 2


@dataclass(frozen=True, slots=True)
class InviterGreeted:
    """The peer has the key whose hash the URL contains; ``name`` is the name it gave."""

    name: str


@dataclass(frozen=True, slots=True)
class InvitationReceived:
    """The whole invitation has arrived. The inviter waits for our new key (`Joiner.register`)."""

    data: bytes


@dataclass(frozen=True, slots=True)
class JoinAccepted:
    """The inviter has registered our key; the connection can be closed."""


JoinEvent: TypeAlias = InviterGreeted | InvitationReceived | JoinAccepted


class Stage(enum.Enum):
    """What the inviter must send next."""

    IDENTITY = "its name"
    KEY = "its key"
    DATA = "the invitation"
    NOTHING = "nothing: it waits for our key"
    ACCEPTED = "the acknowledgement of our key"
    DONE = "nothing: the exchange is complete"


class Joiner:
    """One connection to an inviter.

    ``hash_`` and ``cookie`` are those of the URL, ``key`` is the throw-away key of this attempt. Any
    `ProtocolError` is final: close the connection. Up to and including stage `Stage.KEY` the peer may be some
    other program; an `AuthenticationError` in these stages means that it is a tinc node, but not the inviter.
    """

    def __init__(
        self, hash_: bytes, cookie: bytes, key: PrivateKey, random_bytes: Callable[[int], bytes]
    ) -> None:
        self.stage = Stage.IDENTITY
        self._hash = hash_
        self._cookie = cookie
        self._key = key
        self._random_bytes = random_bytes
        self._session: StreamSession | None = None
        self._plain = bytearray()
        self._name = ""
        self._data = bytearray()
        self._output = bytearray(f"0 ?{key.public.text} {VERSION}\n".encode("ascii"))

    def __repr__(self) -> str:
        """Show what it waits for; no secrets."""
        return f"<Joiner waits for {self.stage.value}>"

    def take_output(self) -> bytes:
        """Return the bytes to write, and forget them; the greeting is there from the start."""
        output = bytes(self._output)
        self._output.clear()
        return output

    def feed(self, data: bytes) -> None:
        """Buffer bytes that arrived."""
        if self._session is None:
            self._plain += data
        else:
            self._session.feed(data)

    def next_event(self) -> JoinEvent | None:
        """Return what the inviter did, None when more bytes are needed. Raises `ProtocolError`."""
        if self._session is None:
            return self._next_plain()
        event = self._next_secure(self._session)
        self._output += self._session.take_output()
        return event

    def register(self, key: PublicKey) -> None:
        """Send the inviter the key of the new node. The node's files must be on the disk already."""
        if self._session is None or self.stage is not Stage.NOTHING:
            raise UsageError("key sent before the invitation was there, or twice")
        self._output += self._session.send(RECORD_FINISH, key.text.encode("ascii"))
        self.stage = Stage.ACCEPTED

    # -- the two plain lines -------------------------------------------------------------------------------

    def _next_plain(self) -> JoinEvent | None:
        while (line := self._take_line()) is not None:
            if self.stage is Stage.IDENTITY:
                self._on_identity(line)
            else:
                return self._on_key(line)
        return None

    def _take_line(self) -> str | None:
        end = self._plain.find(b"\n")
        if end < 0:
            if len(self._plain) > MAX_LINE_LENGTH:
                raise DecodeError("no newline in the greeting")
            return None
        line = decode_line(bytes(self._plain[: end + 1]))
        del self._plain[: end + 1]
        return line

    def _on_identity(self, line: str) -> None:
        number, _, _ = line.partition(" ")
        if number != "0":
            raise DecodeError("the peer does not greet as a tinc node does")
        greeting = Id.parse(line)
        if not is_valid_name(greeting.name):
            raise DecodeError("the peer's name is invalid")
        if greeting.major != _MAJOR:
            raise DecodeError(f"the peer speaks version {greeting.major} of the protocol, not {_MAJOR}")
        self._name = greeting.name
        self.stage = Stage.KEY

    def _on_key(self, line: str) -> JoinEvent:
        words = line.split(" ")
        if len(words) != _KEY_FIELDS or words[0] != _KEY_NUMBER:
            raise DecodeError("the peer did not send an invitation key")
        text = words[1]
        # The hash covers the text as received: two texts can stand for one key.
        if key_hash(text) != self._hash:
            raise AuthenticationError("the peer's key is not the one in the invitation")
        peer_key = PublicKey.from_text(text)
        session = StreamSession(Role.INITIATOR, self._key, peer_key, LABEL, self._random_bytes)
        self._output += session.start()
        session.feed(bytes(self._plain))
        self._plain.clear()
        self._session = session
        self.stage = Stage.DATA
        return InviterGreeted(self._name)

    # -- records -------------------------------------------------------------------------------------------

    def _next_secure(self, session: StreamSession) -> JoinEvent | None:
        while (record := session.next_record()) is not None:
            # Our part of the handshake must leave before the records that its completion triggers.
            self._output += session.take_output()
            if record.type == TYPE_HANDSHAKE:
                self._show_cookie(session)
            elif record.type == RECORD_DATA and self.stage is Stage.DATA:
                self._collect(record.data)
            else:
                return self._on_end(record.type)
        return None

    def _show_cookie(self, session: StreamSession) -> None:
        """Send the cookie, which proves that we are invited; a later key exchange does not send it again."""
        if self._cookie:
            self._output += session.send(RECORD_DATA, self._cookie)
            self._cookie = b""

    def _collect(self, data: bytes) -> None:
        if len(self._data) + len(data) > MAX_INVITATION_SIZE:
            raise DecodeError(f"the invitation is longer than {MAX_INVITATION_SIZE} bytes")
        self._data += data

    def _on_end(self, type_: int) -> JoinEvent:
        if type_ == RECORD_FINISH and self.stage is Stage.DATA:
            self.stage = Stage.NOTHING
            return InvitationReceived(bytes(self._data))
        if type_ == RECORD_ACCEPTED and self.stage is Stage.ACCEPTED:
            self.stage = Stage.DONE
            return JoinAccepted()
        raise UnexpectedRequest(f"record of type {type_} while we wait for {self.stage.value}")
