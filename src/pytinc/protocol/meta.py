"""One meta connection: greeting, SPTPS handshake, then requests and packets from the byte stream.

The node (`pytinc.node.connections`) owns one `MetaConnection` per TCP connection. It feeds bytes in, calls
`next_event()` until that returns None, and writes what `take_output()` returns. This module knows which
messages are allowed at each step of the login; the node knows what a request means.

docs/protocol-meta.md, "Login" (tinc: id_h(), receive_meta_sptps()). The states, in order::

    CONNECTING -> ID -> SPTPS -> ACK -> ACTIVE
    (outgoing)    plain  handshake  only ACK   everything
                     `-> INVITATION (a joiner, which never becomes a neighbour: pytinc.protocol.invitation)
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from pytinc.crypto.keys import PrivateKey, PublicKey
from pytinc.errors import AuthenticationError, DecodeError, ProtocolError, UnexpectedRequest, UsageError
from pytinc.protocol.invitation import InvitationEvent, InvitationServer
from pytinc.protocol.sptps.handshake import Role
from pytinc.protocol.sptps.stream import StreamSession
from pytinc.wire.names import is_valid_name
from pytinc.wire.records import SptpsCipher
from pytinc.wire.requests import (
    MAX_LINE_LENGTH,
    Ack,
    Id,
    Number,
    Packet,
    Request,
    SptpsPacket,
    decode_line,
    parse_number,
    parse_request,
)
from pytinc.wire.version import PROTOCOL_MAJOR, PROTOCOL_MINOR

HANDSHAKE_RECORD: Final = 128
REQUEST_RECORD: Final = 0

PeerKeyLookup: TypeAlias = Callable[[str], PublicKey | None]
"""Returns the Ed25519 key of a peer, None if its host file has none; raises `AuthenticationError` for an
unknown peer (no host file)."""

_ADD_EDGE: Final = f"{Number.ADD_EDGE:d} "


class State(enum.Enum):
    """The steps of the login."""

    CONNECTING = enum.auto()
    ID = enum.auto()
    SPTPS = enum.auto()
    ACK = enum.auto()
    ACTIVE = enum.auto()
    INVITATION = enum.auto()


@dataclass(frozen=True, slots=True)
class Identified:
    """The peer gave its name and may continue; nothing is authenticated yet."""

    name: str


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The peer proved its key: send ACK now."""


@dataclass(frozen=True, slots=True)
class Received:
    """A request arrived. ``line`` is its text as received, so that it can be forwarded."""

    request: Request
    line: str


@dataclass(frozen=True, slots=True)
class FrameReceived:
    """A plain Ethernet frame arrived (PACKET)."""

    frame: bytes


@dataclass(frozen=True, slots=True)
class SptpsPacketReceived:
    """A sealed record with its two node ids arrived (SPTPS_PACKET)."""

    data: bytes


MetaEvent: TypeAlias = (
    Identified | Authenticated | Received | FrameReceived | SptpsPacketReceived | InvitationEvent
)


def tcp_label(initiator: str, responder: str) -> bytes:
    """Return the SPTPS label of a meta connection; its NUL byte is part of what is signed."""
    return b"tinc TCP key expansion %s %s\0" % (initiator.encode(), responder.encode())


class RequestCounts:
    """How many requests of each kind went over meta connections, in both directions."""

    def __init__(self) -> None:
        self._sent: Counter[str] = Counter()
        """By the first two characters of the line: that is the number, unless a peer writes it in an odd way
        in a line that is passed on."""
        self.received: Counter[Number] = Counter()

    def sending(self, line: str) -> None:
        """Count a line that leaves."""
        self._sent[line[:2]] += 1

    @property
    def sent(self) -> dict[Number, int]:
        """What was sent."""
        known = {f"{number:d}": number for number in Number}
        found: Counter[Number] = Counter()
        for word, count in self._sent.items():
            if (number := known.get(word.strip())) is not None:
                found[number] += count
        return found


class MetaConnection:
    """The protocol side of one TCP connection to a peer.

    ``dialled`` is the peer's name if we opened the connection, None if we accepted it. ``cipher_with`` gives
    the cipher of the records for a peer's name. ``invitation_key`` is
    the key that signs invitations, None if there is none. ``insecure`` is tinc's ``--bypass-security``: no
    keys, everything in plain text.
    """

    def __init__(
        self,
        me: str,
        dialled: str | None,
        private_key: PrivateKey,
        peer_key: PeerKeyLookup,
        random_bytes: Callable[[int], bytes],
        *,
        cipher_with: Callable[[str], SptpsCipher] = lambda name: SptpsCipher.CHACHA20_POLY1305,
        invitation_key: PrivateKey | None = None,
        insecure: bool = False,
    ) -> None:
        self.me = me
        self.dialled = dialled
        self.name: str | None = dialled
        self.state = State.CONNECTING if dialled is not None else State.ID
        self._private_key = private_key
        self._peer_key = peer_key
        self._random_bytes = random_bytes
        self._cipher_with = cipher_with
        self._invitation_key = invitation_key
        self._insecure = insecure
        self._session: StreamSession | None = None
        self._invitation: InvitationServer | None = None
        self._plain = bytearray()
        """Bytes not yet read. Used until SPTPS takes over the stream; for the whole connection when
        insecure."""
        self._output = bytearray()
        self._frame_length = 0
        """Length of the frame that the next record must hold; 0 if the next record is a request."""
        self.is_old_news: Callable[[str], bool] = lambda line: False
        """Tells whether the same ADD_EDGE has arrived before. Most have, and need not be parsed again."""
        self._raw_length = 0
        """Length of the SPTPS packet that follows on the stream; 0 if a record follows."""
        self.counts = RequestCounts()
        """Counts all requests but greetings; connections may share it."""
        self.trace: Callable[[str, str], None] | None = None
        """Called for every request with the direction ("Sending" or "Got") and the request's text."""

    def connected(self) -> None:
        """Report that the TCP connection we dialled is up: the greeting goes out."""
        self.state = State.ID
        self._send_id()

    def activate(self) -> None:
        """Allow every request from now on; called when the peer's ACK was accepted."""
        self.state = State.ACTIVE

    def take_output(self) -> bytes:
        """Return the bytes to write, and forget them."""
        output = bytes(self._output)
        self._output.clear()
        return output if self._invitation is None else output + self._invitation.take_output()

    def send(self, request: Request) -> None:
        """Send a request."""
        self.send_line(request.format())

    def send_line(self, line: str) -> None:
        """Send the text of a request unchanged (for forwarding)."""
        if len(line) > MAX_LINE_LENGTH:
            raise DecodeError("request too long to send")
        if self.trace is not None:
            self.trace("Sending", line)
        self.counts.sending(line)
        self._send_record(line.encode("ascii") + b"\n")

    def send_lines(self, lines: Iterable[str]) -> None:
        """Send the texts of many requests."""
        if self.trace is not None or self._session is None:
            for line in lines:
                self.send_line(line)
            return
        data: list[bytes] = []
        for line in lines:
            if len(line) > MAX_LINE_LENGTH:
                raise DecodeError("request too long to send")
            self.counts.sending(line)
            data.append(line.encode("ascii") + b"\n")
        self._output += self._session.send_all(REQUEST_RECORD, data)

    def send_frame(self, frame: bytes) -> None:
        """Send an Ethernet frame in plain text within this connection (PACKET)."""
        self.send(Packet(len(frame)))
        self._send_record(frame)

    def send_sptps_packet(self, data: bytes) -> None:
        """Send destination id, source id and sealed record (SPTPS_PACKET)."""
        self.send(SptpsPacket(len(data)))
        self._output += data

    @property
    def invitation(self) -> InvitationServer:
        """The invitation exchange with this peer; valid after an `InvitationEvent`."""
        if self._invitation is None:
            raise UsageError("the peer takes no invitation")
        return self._invitation

    def feed(self, data: bytes) -> None:
        """Buffer bytes that arrived."""
        secure = self._session or self._invitation
        if secure is None:
            self._plain += data
        else:
            secure.feed(data)

    def next_event(self) -> MetaEvent | None:
        """Return the next event, None when more bytes are needed.

        Raises `ProtocolError` for every fault that must end the connection.
        """
        if self._invitation is not None:
            return self._invitation.next_event()
        event = self._next_plain() if self._session is None else self._next_secure(self._session)
        if self._session is not None:
            self._output += self._session.take_output()
        return event

    # -- plain text: the greeting, and everything with --bypass-security --

    def _next_plain(self) -> MetaEvent | None:
        while True:
            if self._raw_length or self._frame_length:
                return self._take_plain_packet()
            end = self._plain.find(b"\n")
            if end < 0:
                if len(self._plain) > MAX_LINE_LENGTH:
                    raise DecodeError("no newline in the greeting")
                return None
            line = decode_line(bytes(self._plain[: end + 1]))
            del self._plain[: end + 1]
            if self.state is State.ID:
                return self._on_id(line)
            event = self._on_line(line)
            if event is not None:
                return event

    def _take_plain_packet(self) -> MetaEvent | None:
        length = self._raw_length or self._frame_length
        if len(self._plain) < length:
            return None
        data = bytes(self._plain[:length])
        del self._plain[:length]
        raw, self._raw_length, self._frame_length = self._raw_length, 0, 0
        return SptpsPacketReceived(data) if raw else FrameReceived(data)

    def _on_id(self, line: str) -> MetaEvent | None:
        if parse_number(line) is not Number.ID:
            raise UnexpectedRequest("something other than a greeting")
        greeting = Id.parse(line)
        if self.trace is not None:
            self.trace("Got", line)
        name = greeting.name
        if name.startswith("?"):
            return self._on_joiner(greeting)
        if not is_valid_name(name) or name == self.me:
            raise DecodeError("invalid or own name in ID")
        if self.dialled is not None and name != self.dialled:
            raise AuthenticationError(f"peer is {name} instead of {self.dialled}")
        if greeting.major != PROTOCOL_MAJOR:
            raise UnexpectedRequest(
                f"{name} uses incompatible protocol version {greeting.major}.{greeting.minor}"
            )
        if self._insecure:
            self.name = name
            if self.dialled is None:
                self._send_id()
            self.state = State.ACK
            return Authenticated()
        key = self._peer_key(name)
        self._refuse_legacy(name, greeting.minor, key)
        assert key is not None
        self.name = name
        if self.dialled is None:
            self._send_id()
        self._start_sptps(name, key)
        return Identified(name)

    def _on_joiner(self, greeting: Id) -> MetaEvent | None:
        """Answer the greeting of a node that has an invitation: it knows us by the hash of our key.

        See docs/protocol-invitations.md, "Exchange".
        """
        if self.dialled is not None:
            raise AuthenticationError(f"peer wants an invitation instead of being {self.dialled}")
        if self._invitation_key is None:
            raise AuthenticationError("a joiner connects, but we don't have an invitation key")
        # A minor version of 2 or more would announce that SPTPS with our node key follows at once.
        if greeting.major != PROTOCOL_MAJOR or greeting.minor > 1:
            raise UnexpectedRequest(f"joining with protocol version {greeting.major}.{greeting.minor}")
        joiner_key = PublicKey.from_text(greeting.name[1:])
        self._send_id()
        self._output += f"{Number.ACK.value} {self._invitation_key.public.text}\n".encode("ascii")
        self._invitation = InvitationServer(self._invitation_key, joiner_key, self._random_bytes)
        self.state = State.INVITATION
        self._invitation.feed(bytes(self._plain))
        self._plain.clear()
        return self._invitation.next_event()

    @staticmethod
    def _refuse_legacy(name: str, minor: int, key: PublicKey | None) -> None:
        """Refuse a peer that cannot use SPTPS: there is no legacy login. The error says what is missing."""
        if key is None:
            raise AuthenticationError(
                f"no Ed25519 public key of {name} is known (its host file has none); "
                "the legacy protocol is not supported"
            )
        if minor < 1:
            raise AuthenticationError(
                f"{name} speaks only the legacy protocol (17.0), which is not supported"
            )
        if minor < 2:
            raise AuthenticationError(
                f"{name} does not know our Ed25519 public key and asks for the legacy protocol, "
                "which is not supported"
            )

    def _send_id(self) -> None:
        line = Id(self.me, PROTOCOL_MAJOR, PROTOCOL_MINOR).format()
        if self.trace is not None:
            self.trace("Sending", line)
        self._output += line.encode("ascii") + b"\n"

    def _start_sptps(self, name: str, key: PublicKey) -> None:
        if self.dialled is not None:
            role, label = Role.INITIATOR, tcp_label(self.me, name)
        else:
            role, label = Role.RESPONDER, tcp_label(name, self.me)
        self._session = StreamSession(
            role, self._private_key, key, label, self._random_bytes, self._cipher_with(name)
        )
        self.state = State.SPTPS
        self._output += self._session.start()
        self._session.feed(bytes(self._plain))
        self._plain.clear()

    # -- inside SPTPS --

    def _next_secure(self, session: StreamSession) -> MetaEvent | None:
        while True:
            if self._raw_length:
                data = session.take_raw(self._raw_length)
                if data is None:
                    return None
                self._raw_length = 0
                return SptpsPacketReceived(data)
            record = session.next_record()
            if record is None:
                return None
            if record.type == HANDSHAKE_RECORD:
                if self.state is State.SPTPS:
                    self.state = State.ACK
                    return Authenticated()
                continue  # a re-key by the peer: no event
            if self._frame_length:
                return self._take_frame(record.data)
            event = self._on_line(decode_line(record.data.partition(b"\n")[0]))
            if event is not None:
                return event

    def _take_frame(self, data: bytes) -> MetaEvent:
        if len(data) != self._frame_length:
            raise DecodeError("PACKET of a length other than the announced one")
        self._frame_length = 0
        return FrameReceived(data)

    def _on_line(self, line: str) -> MetaEvent | None:
        is_old = line.startswith(_ADD_EDGE) and self.state is State.ACTIVE and self.is_old_news(line)
        request = None if is_old else parse_request(line)
        self.counts.received[Number.ADD_EDGE if request is None else request.number] += 1
        if self.trace is not None:
            self.trace("Got", line)
        if request is None:
            return None
        if (self.state is State.ACK) != isinstance(request, Ack) or isinstance(request, Id):
            raise UnexpectedRequest(f"{type(request).__name__} is not allowed now")
        if isinstance(request, Packet):
            self._frame_length = request.length
            return None
        if isinstance(request, SptpsPacket):
            self._raw_length = request.length
            return None
        return Received(request, line)

    def _send_record(self, data: bytes) -> None:
        if self._session is None:
            if not self._insecure:
                raise ProtocolError("request before the connection is secure")
            self._output += data
        else:
            self._output += self._session.send(REQUEST_RECORD, data)
