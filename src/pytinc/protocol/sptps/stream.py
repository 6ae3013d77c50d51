"""SPTPS over a byte stream: meta connections and invitations (docs/protocol-sptps.md, "Stream sessions").

Called by `pytinc.protocol.meta` and the `join` command. The caller feeds bytes and takes records one at a
time, because raw bytes may follow a record on the stream (SPTPS_PACKET): between two records it can call
`take_raw`. It must not continue after a `ProtocolError`.

The buffer is bounded: a caller that takes all records after each `feed` leaves less than one record behind,
which is 65,554 bytes at most (68 before keys are in force, because any other length is refused as soon as it
is read). So the buffer never holds more than that plus the bytes of one `feed`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from pytinc.crypto.aead import RecordCipher, make_cipher
from pytinc.crypto.keys import PrivateKey, PublicKey
from pytinc.errors import AuthenticationError, DecodeError, ProtocolError, UnexpectedRequest, UsageError
from pytinc.protocol.sptps.handshake import (
    FIRST_HANDSHAKE_SIZES,
    KEY_LIMIT,
    REKEY_AFTER,
    Handshake,
    Role,
    State,
)
from pytinc.wire.records import (
    MAX_RECORD_DATA,
    STREAM_HEADER_SIZE,
    TAG_SIZE,
    TYPE_HANDSHAKE,
    Record,
    SptpsCipher,
)

_SEQNO_MASK: Final = 0xFFFFFFFF


class StreamSession:
    """One end of a stream session. Any `ProtocolError` is fatal: close, send nothing."""

    def __init__(
        self,
        role: Role,
        private_key: PrivateKey,
        peer_key: PublicKey,
        label: bytes,
        random_bytes: Callable[[int], bytes],
        cipher: SptpsCipher = SptpsCipher.CHACHA20_POLY1305,
    ) -> None:
        self._cipher = cipher
        self._handshake = Handshake(role, private_key, peer_key, label + cipher.label_suffix, random_bytes)
        self._sealer: RecordCipher | None = None
        self._opener: RecordCipher | None = None
        self._out_seqno = 0
        self._in_seqno = 0
        self._out_count = 0
        """Records sent under the present key; a change of keys does not reset the sequence numbers."""
        self._in_count = 0
        self._input = bytearray()
        self._output = bytearray()

    def __repr__(self) -> str:
        """Role and state; no keys."""
        return f"<StreamSession {self._handshake!r}>"

    @property
    def established(self) -> bool:
        """Records can be sent."""
        return self._sealer is not None

    @property
    def state(self) -> State:
        """What the handshake waits for."""
        return self._handshake.state

    def start(self) -> bytes:
        """Begin the first handshake; return our KEX record."""
        return self._frame(TYPE_HANDSHAKE, self._handshake.start())

    def send(self, type_: int, data: bytes) -> bytes:
        """Return the record that carries ``data``; `UsageError` before keys are in force.

        Once in billions of records a KEX record precedes it, because the keys are worn out
        (docs/protocol-sptps.md, "Worn-out keys").
        """
        if self._sealer is None or not 0 <= type_ < TYPE_HANDSHAKE:
            raise UsageError("application record before the handshake, or of a reserved type")
        if len(data) > MAX_RECORD_DATA:
            raise UsageError("record too long")
        if self._out_count >= KEY_LIMIT:
            raise ProtocolError("the peer did not complete the key exchange that is due")
        is_due = max(self._out_count, self._in_count) >= REKEY_AFTER and self.state is State.ESTABLISHED
        return (self.force_rekey() if is_due else b"") + self._frame(type_, data)

    def send_all(self, type_: int, records: Sequence[bytes]) -> bytes:
        """Return the records that carry all these data, as `send` does one by one."""
        sealer, seqno = self._sealer, self._out_seqno
        is_near = max(self._out_count, self._in_count) + len(records) >= REKEY_AFTER
        is_usual = 0 <= type_ < TYPE_HANDSHAKE and max(map(len, records), default=0) <= MAX_RECORD_DATA
        if sealer is None or is_near or not is_usual:
            return b"".join([self.send(type_, data) for data in records])
        seal, type_byte = sealer.seal, bytes((type_,))
        pieces: list[bytes] = []
        for data in records:
            pieces += (len(data).to_bytes(STREAM_HEADER_SIZE, "big"), seal(seqno, type_byte + data))
            seqno = (seqno + 1) & _SEQNO_MASK
        self._out_seqno = seqno
        self._out_count += len(records)
        return b"".join(pieces)

    def force_rekey(self) -> bytes:
        """Begin a new key exchange; return our KEX record. `UsageError` before keys or during another."""
        return self._frame(TYPE_HANDSHAKE, self._handshake.force())

    def take_output(self) -> bytes:
        """Return the handshake records that answer received ones, and forget them."""
        output = bytes(self._output)
        self._output.clear()
        return output

    def feed(self, data: bytes) -> None:
        """Buffer bytes from the peer."""
        self._input += data

    def take_raw(self, size: int) -> bytes | None:
        """Take ``size`` bytes that are outside SPTPS; None if not all of them have arrived."""
        if len(self._input) < size:
            return None
        data = bytes(self._input[:size])
        del self._input[:size]
        return data

    def next_record(self) -> Record | None:
        """Return the next application record, or ``(128, b"")`` when (new) keys came into force.

        None when more bytes are needed. Handshake records that only advance the machine are not reported.
        """
        while True:
            plaintext = self._next_plaintext()
            if plaintext is None:
                return None
            type_ = plaintext[0]
            if type_ < TYPE_HANDSHAKE:
                if self._opener is None:
                    raise UnexpectedRequest("application record before the handshake was complete")
                return Record(type_, plaintext[1:])
            if type_ != TYPE_HANDSHAKE:
                raise DecodeError(f"record of invalid type {type_}")
            if self._advance(plaintext[1:]):
                return Record(TYPE_HANDSHAKE, b"")

    def _next_plaintext(self) -> bytes | None:
        """Return type and data of the next record, decrypted."""
        buffer, opener = self._input, self._opener
        if len(buffer) < STREAM_HEADER_SIZE:
            return None
        size = buffer[0] << 8 | buffer[1]
        if opener is None and size != FIRST_HANDSHAKE_SIZES.get(self.state):
            raise DecodeError("record of impossible length in the handshake")
        end = STREAM_HEADER_SIZE + 1 + size + (0 if opener is None else TAG_SIZE)
        if len(buffer) < end:
            return None
        body = bytes(buffer[STREAM_HEADER_SIZE:end])
        del buffer[:end]
        if self._in_count > _SEQNO_MASK:
            raise ProtocolError("the peer used up all numbers of a key")
        seqno, self._in_seqno = self._in_seqno, (self._in_seqno + 1) & _SEQNO_MASK
        self._in_count += 1
        if opener is None:
            return body
        plaintext = opener.open(seqno, body)
        if plaintext is None:
            raise AuthenticationError("record does not authenticate")
        return plaintext

    def _advance(self, data: bytes) -> bool:
        step = self._handshake.receive(data)
        for message in step.send:
            self._output += self._frame(TYPE_HANDSHAKE, message)
        if step.new_out is not None:
            self._sealer, self._out_count = make_cipher(self._cipher, step.new_out), 0
        if step.new_in is not None:
            self._opener, self._in_count = make_cipher(self._cipher, step.new_in), 0
        return step.done

    def _frame(self, type_: int, data: bytes) -> bytes:
        seqno, self._out_seqno = self._out_seqno, (self._out_seqno + 1) & _SEQNO_MASK
        self._out_count += 1
        body = bytes((type_,)) + data
        if self._sealer is not None:
            body = self._sealer.seal(seqno, body)
        return len(data).to_bytes(STREAM_HEADER_SIZE, "big") + body
