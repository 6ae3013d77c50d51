"""SPTPS over datagrams: the session between two nodes (sptps.md 3.9-3.11).

The first handshake is plain and strictly in order (it travels over TCP); after it, records may be lost,
reordered or repeated. `receive` and `seal` treat one record, in the clearest form; `seal_batch` and
`open_batch` are the hot path of `pytinc.datapath` and do the same for many.

Around a key exchange pytinc opens what tinc loses: a record under the new key that overtakes the peer's
ACK, and one under the old key that comes after it. No sequence number is accepted twice, whatever key it
came under.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from pytinc.crypto.aead import RecordCipher
from pytinc.crypto.keys import PrivateKey, PublicKey
from pytinc.errors import ProtocolError, UsageError
from pytinc.protocol.sptps.handshake import Handshake, Role, State
from pytinc.protocol.sptps.replay import ReplayWindow
from pytinc.wire.records import PLAIN_DATAGRAM_MIN, SEALED_DATAGRAM_MIN, TYPE_HANDSHAKE, Record

DEFAULT_REPLAY_WINDOW: Final = 16
OLD_KEY_RECORDS: Final = 1024
"""After this many records under the new key the old one is forgotten: what is still under way then is lost."""
REKEY_AFTER: Final = 2**31
"""Records under one key after which a new key exchange is due."""
KEY_LIMIT: Final = 2**32 - 2**16
"""Records under one key after which nothing more is sent: no number may be used twice under a key."""
_SEQNO_MASK: Final = 0xFFFFFFFF
_CONSUMED: Final = Record(TYPE_HANDSHAKE, b"")


class DatagramSession:
    """One end of a datagram session."""

    def __init__(
        self,
        role: Role,
        private_key: PrivateKey,
        peer_key: PublicKey,
        label: bytes,
        random_bytes: Callable[[int], bytes],
        replay_window: int = DEFAULT_REPLAY_WINDOW,
    ) -> None:
        self._handshake = Handshake(role, private_key, peer_key, label, random_bytes)
        self._sealer: RecordCipher | None = None
        self._opener: RecordCipher | None = None
        self._old_opener: RecordCipher | None = None
        self._old_key_left = 0
        self._pending_opener: RecordCipher | None = None
        self._out_seqno = 0
        self._out_count = 0
        """Records sealed under the present key."""
        self.window = ReplayWindow(replay_window)
        self._output: list[bytes] = []

    def __repr__(self) -> str:
        """Role and state; no keys."""
        return f"<DatagramSession {self._handshake!r}>"

    @property
    def role(self) -> Role:
        """Initiator or responder, for the session's whole life."""
        return self._handshake.role

    @property
    def state(self) -> State:
        """What the handshake waits for."""
        return self._handshake.state

    @property
    def in_handshake(self) -> bool:
        """A key exchange is under way."""
        return self._handshake.state is not State.ESTABLISHED

    @property
    def can_send(self) -> bool:
        """Application records can be sealed."""
        return self._sealer is not None and self._out_count < KEY_LIMIT

    @property
    def can_receive(self) -> bool:
        """Application records can be opened."""
        return self._opener is not None

    @property
    def needs_rekey(self) -> bool:
        """So many records were sealed under the present key that a new one is due."""
        return self._out_count >= REKEY_AFTER

    # -- handshake --

    def start(self) -> list[bytes]:
        """Begin; return our KEX datagram in a list."""
        return [self._frame(TYPE_HANDSHAKE, self._handshake.start())]

    def force_rekey(self) -> None:
        """Begin a new key exchange; its KEX is in `take_output`."""
        self._output.append(self._frame(TYPE_HANDSHAKE, self._handshake.force()))

    def take_output(self) -> list[bytes]:
        """Return the handshake datagrams to send, in order, and forget them."""
        output, self._output = self._output, []
        return output

    def forget_old_key(self) -> None:
        """Stop opening records under the key before the present one."""
        self._old_opener = None

    def receive_handshake(self, datagram: bytes) -> bool:
        """Take a datagram that must hold a handshake record; tell whether it was accepted."""
        record = self.receive(datagram)
        return record is not None and record.type == TYPE_HANDSHAKE

    # -- one record --

    def seal(self, type_: int, data: bytes) -> bytes:
        """Return the datagram that carries ``data``: sequence number, sealed type and data."""
        if not self.can_send or not 0 <= type_ < TYPE_HANDSHAKE:
            raise UsageError("application record before the handshake, or of a reserved type")
        return self._frame(type_, data)

    def receive(self, datagram: bytes) -> Record | None:
        """Take one datagram; None if it is rejected (the session goes on as if it had not come).

        A handshake record gives ``(128, b"")``; what it leads to is in `take_output`.
        """
        if self._opener is None:
            return self._receive_plain(datagram)
        if len(datagram) < SEALED_DATAGRAM_MIN:
            return None
        seqno = int.from_bytes(datagram[:4], "big")
        plaintext = self._open(seqno, datagram[4:])
        if plaintext is None or not self.window.accept(seqno):
            return None
        return self._dispatch(plaintext)

    def verify(self, datagram: bytes) -> bool:
        """Tell whether a datagram of unknown origin belongs to this session; nothing changes."""
        if self._opener is None or len(datagram) < SEALED_DATAGRAM_MIN:
            return False
        seqno = int.from_bytes(datagram[:4], "big")
        return self.window.check(seqno) and any(
            cipher is not None and cipher.verify(seqno, datagram[4:])
            for cipher in (self._opener, self._pending_opener, self._old_opener)
        )

    def _receive_plain(self, datagram: bytes) -> Record | None:
        if len(datagram) < PLAIN_DATAGRAM_MIN or int.from_bytes(datagram[:4], "big") != self.window.next:
            return None
        # The number is used up, whatever comes of the record.
        self.window.accept(self.window.next)
        return self._advance(datagram[5:]) if datagram[4] == TYPE_HANDSHAKE else None

    def _open(self, seqno: int, sealed: bytes) -> bytes | None:
        """Open with the present key, else with the one to come, else with the last one."""
        assert self._opener is not None
        plaintext = self._opener.open(seqno, sealed)
        if plaintext is not None:
            if self._old_opener is not None:
                self._age_old_key()
            return plaintext
        if self._pending_opener is not None:
            plaintext = self._pending_opener.open(seqno, sealed)
        if plaintext is None and self._old_opener is not None:
            plaintext = self._old_opener.open(seqno, sealed)
        return plaintext

    def _age_old_key(self) -> None:
        self._old_key_left -= 1
        if self._old_key_left <= 0:
            self._old_opener = None

    def _dispatch(self, plaintext: bytes) -> Record | None:
        type_ = plaintext[0]
        if type_ < TYPE_HANDSHAKE:
            return Record(type_, plaintext[1:])
        return self._advance(plaintext[1:]) if type_ == TYPE_HANDSHAKE else None

    def _advance(self, data: bytes) -> Record | None:
        try:
            step = self._handshake.receive(data)
        except ProtocolError:
            return None
        for message in step.send:
            self._output.append(self._frame(TYPE_HANDSHAKE, message))
        if step.new_out is not None:
            self._sealer = RecordCipher(step.new_out)
            self._out_count = 0
        if step.pending_in is not None:
            self._pending_opener = RecordCipher(step.pending_in)
        if step.new_in is not None:
            self._old_opener, self._old_key_left = self._opener, OLD_KEY_RECORDS
            self._opener = self._pending_opener or RecordCipher(step.new_in)
            self._pending_opener = None
        return _CONSUMED

    def _frame(self, type_: int, data: bytes) -> bytes:
        seqno = self._out_seqno
        self._out_seqno = (seqno + 1) & _SEQNO_MASK
        self._out_count += 1
        body = bytes((type_,)) + data
        if self._sealer is not None:
            body = self._sealer.seal(seqno, body)
        return seqno.to_bytes(4, "big") + body

    # -- HOT PATH: many records --

    def seal_batch(self, prefix: bytes, type_: int, payloads: Sequence[bytes]) -> list[bytes]:
        """Return complete UDP payloads: ``prefix``, sequence number, sealed type and payload, for each.

        Nothing is sealed (an empty list) when no key is in force.
        """
        sealer = self._sealer
        if sealer is None or self._out_count + len(payloads) > KEY_LIMIT:
            return []
        seqno = self._out_seqno
        seal = sealer.seal
        type_byte = bytes((type_,))
        result: list[bytes] = []
        append = result.append
        for payload in payloads:
            append(prefix + seqno.to_bytes(4, "big") + seal(seqno, type_byte + payload))
            seqno = (seqno + 1) & _SEQNO_MASK
        self._out_seqno = seqno
        self._out_count += len(payloads)
        return result

    def open_batch(self, datagrams: Sequence[bytes], offset: int) -> list[tuple[int, bytes] | None]:
        """Open each datagram from ``offset`` on: type and payload, None where it is rejected.

        Does exactly what `receive` does for each; handshake records take effect between two records.
        """
        result: list[tuple[int, bytes] | None] = []
        append = result.append
        accept = self.window.accept
        start = offset + 4
        minimum = offset + SEALED_DATAGRAM_MIN
        for datagram in datagrams:
            opener = self._opener
            if opener is None or self._old_opener is not None or len(datagram) < minimum:
                append(self.receive(datagram[offset:]))
                continue
            seqno = int.from_bytes(datagram[offset:start], "big")
            plaintext = opener.open(seqno, datagram[start:])
            if plaintext is None or plaintext[0] >= TYPE_HANDSHAKE:
                # Cold: another key, the handshake, or nothing good; the number is still unused.
                append(self.receive(datagram[offset:]))
            elif accept(seqno):
                append((plaintext[0], plaintext[1:]))
            else:
                append(None)
        return result
