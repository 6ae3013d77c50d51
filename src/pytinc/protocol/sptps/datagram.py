"""SPTPS over datagrams: the session between two nodes.

See docs/protocol-sptps.md, "Datagram sessions" to "Worn-out keys".

Called by `pytinc.node.sessions` (handshakes, which travel over the meta connections) and by
`pytinc.datapath` (data, by UDP). The first handshake is plain and strictly in order; after it, records may
be lost, reordered or repeated. `receive` and `seal` treat one record, in the clearest form; `seal_batch`
and `open_batch` are the hot path and do the same for many. A datagram that is rejected is no exception but
a None: the caller counts it.

Around a key exchange, data and handshake records overtake each other, as they travel on different ways.
pytinc takes what tinc loses there (and no number twice, whatever key it came under):

* A record under the new key that overtakes the peer's ACK. It says what the ACK says (the peer has switched
  to the new key), so it is taken for the ACK as well.
* A record under the old key that comes after the ACK, if it fills a gap inside the replay window. Records
  under the old key never move the window, and none is taken with a window of 0.
* A handshake record that so much data has overtaken that its number has left the window; only where it came
  over a meta connection (`receive_handshake`). The state machine takes each message once, so a replay of one
  finds no use.

Two pytinc nodes may agree on a faster tag for data by UDP (docs/protocol.md, FastTag). The node negotiates,
by `accept_fast` and `peer_accepts_fast`; here it only matters which tag is made and which one is tried first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from pytinc.crypto.aead import RecordCipher, Rows
from pytinc.crypto.keys import PrivateKey, PublicKey
from pytinc.errors import ProtocolError, UsageError
from pytinc.protocol.sptps.handshake import KEY_LIMIT, REKEY_AFTER, Handshake, Role, State
from pytinc.protocol.sptps.replay import ReplayWindow
from pytinc.wire.records import (
    ACK,
    PLAIN_DATAGRAM_MIN,
    SEALED_DATAGRAM_MIN,
    SEQNO_SIZE,
    TYPE_HANDSHAKE,
    Record,
)

DEFAULT_REPLAY_WINDOW: Final = 16
"""Bytes. tinc's manual says 32, but that is the legacy protocol's default.

See docs/protocol-sptps.md, "Replay window".
"""
OLD_KEY_RECORDS: Final = 2**16
"""So many numbers after a change of keys the old one is forgotten. Data has no use for it beyond the replay
window; this is how far data may be ahead of an ACK that is on its way by TCP: a second on a fast link."""
_SEQNO_MASK: Final = 0xFFFFFFFF
_CONSUMED: Final = Record(TYPE_HANDSHAKE, b"")


class DatagramSession:
    """One end of a datagram session. Nothing a peer sends raises anything."""

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
        self._pending_opener: RecordCipher | None = None
        """The key to come, from the peer's SIG to its ACK."""
        self._old_opener: RecordCipher | None = None
        self._switched_at = 0
        """The number expected next when the present key replaced the old one."""
        self._out_seqno = 0
        self._out_count = 0
        """Records sealed under the present key."""
        self.key_changes = 0
        """How often the peer's records came under a new key: 1 after the first handshake."""
        self.peer_accepts_fast = False
        """The node's to set: data by UDP gets the fast tag. A new key begins without."""
        self._accepts_fast = False
        self.peer_accepts_super_frames = False
        """The node's to set, as above: `seal_super_frame` may be used."""
        self._accepts_super_frames = False
        self._fast_seen = False
        """The tag on the last record that was opened was the fast one: the next will have it, too."""
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
    def needs_rekey(self) -> bool:
        """So many records were sealed under the present key that a new one is due."""
        return self._out_count >= REKEY_AFTER

    @property
    def accepts_fast(self) -> bool:
        """Records with the fast tag are taken as well."""
        return self._accepts_fast

    def accept_fast(self) -> None:
        """Take records with the fast tag from now on: the peer is being told that we do.

        There is no way back: the peer might learn late, or never, that we changed our mind.
        """
        self._accepts_fast = True

    @property
    def accepts_super_frames(self) -> bool:
        """Super-frames are taken."""
        return self._accepts_super_frames

    def accept_super_frames(self) -> None:
        """Take super-frames from now on: the peer is being told that we do. There is no way back, either."""
        if not self._accepts_super_frames:
            self._accepts_super_frames = True
            self.window.believe_far()

    # -- handshake --

    def start(self) -> list[bytes]:
        """Begin; return our KEX datagram in a list."""
        return [self._frame(TYPE_HANDSHAKE, self._handshake.start())]

    def force_rekey(self) -> None:
        """Begin a new key exchange; its KEX is in `take_output`.

        `UsageError` before keys are in force or while `in_handshake`.
        """
        self._output.append(self._frame(TYPE_HANDSHAKE, self._handshake.force()))

    def take_output(self) -> list[bytes]:
        """Return the handshake datagrams to send, in order, and forget them."""
        output, self._output = self._output, []
        return output

    def receive_handshake(self, datagram: bytes) -> bool:
        """Take a handshake datagram that came over a meta connection; tell whether it was accepted.

        Its number may have left the replay window meanwhile, or be far ahead of it. Anything but a
        handshake record is refused.
        """
        opener = self._opener
        if opener is None:
            return self._receive_plain(datagram) is not None
        if len(datagram) < SEALED_DATAGRAM_MIN:
            return False
        seqno, sealed = int.from_bytes(datagram[:SEQNO_SIZE], "big"), datagram[SEQNO_SIZE:]
        plaintext = self._open_usual(opener, seqno, sealed)
        if plaintext is None and self._pending_opener is not None:
            plaintext = self._open_usual(self._pending_opener, seqno, sealed)
            if plaintext is not None:
                self._advance(ACK)  # was lost: what comes on this way comes in order
        if plaintext is None:
            return self._take_overtaken_ack(seqno, sealed)
        if plaintext[0] != TYPE_HANDSHAKE:
            return False
        self.window.accept(seqno)
        return self._advance(plaintext[1:]) is not None

    # -- one record --

    def seal(self, type_: int, data: bytes, *, may_be_fast: bool = False) -> bytes:
        """Return the datagram that carries ``data``: sequence number, sealed type and data.

        ``may_be_fast``: with the fast tag if the peer takes it, as `seal_batch` does.
        `UsageError` if not `can_send` or for a type that is not the application's.
        """
        if not self.can_send or not 0 <= type_ < TYPE_HANDSHAKE:
            raise UsageError("application record without a usable key, or of a reserved type")
        return self._frame(type_, data, fast=may_be_fast and self.peer_accepts_fast)

    def receive(self, datagram: bytes) -> Record | None:
        """Take one datagram; None if it is rejected (the session goes on as if it had not come).

        A handshake record that is accepted gives ``(128, b"")``; what it leads to is in `take_output`, and
        `in_handshake` tells whether (new) keys are in force.
        """
        open_ = self._likely_way()
        if open_ is None:
            return self._receive_plain(datagram)
        if len(datagram) < SEALED_DATAGRAM_MIN:
            return None
        seqno, sealed = int.from_bytes(datagram[:SEQNO_SIZE], "big"), datagram[SEQNO_SIZE:]
        return self._judge(seqno, sealed, open_(seqno, sealed))

    def _receive_plain(self, datagram: bytes) -> Record | None:
        if len(datagram) < PLAIN_DATAGRAM_MIN:
            return None
        seqno = int.from_bytes(datagram[:SEQNO_SIZE], "big")
        if seqno != self.window.next:
            return None
        # The number is used up, whatever comes of the record.
        self.window.accept(seqno)
        if datagram[SEQNO_SIZE] != TYPE_HANDSHAKE:
            return None
        return self._advance(datagram[PLAIN_DATAGRAM_MIN:])

    def _judge(self, seqno: int, sealed: bytes, plaintext: bytes | None) -> Record | None:
        """Go on with a record that the present key opened the likely way (or not: ``plaintext`` is None)."""
        if plaintext is None and self._accepts_fast:
            plaintext = self._open_unlikely(seqno, sealed)
        if plaintext is not None:
            return self._dispatch(plaintext) if self.window.accept(seqno) else None
        pending = self._pending_opener
        if pending is not None:
            plaintext = self._open_either(pending, seqno, sealed)
            if plaintext is not None:
                return self._take_early(seqno, plaintext)
        return self._take_late(seqno, sealed)

    def _take_early(self, seqno: int, plaintext: bytes) -> Record | None:
        """Take a record under the key to come: the peer has it and uses it, which is all an ACK says."""
        if not self.window.accept(seqno):
            return None
        self._advance(ACK)
        return self._dispatch(plaintext)

    def _take_late(self, seqno: int, sealed: bytes) -> Record | None:
        """Take a record under the old key, if it fills a gap."""
        old = self._usable_old_opener()
        # The window is asked first: garbage does not cost another tag.
        if old is None or not self.window.is_missing(seqno):
            return None
        plaintext = self._open_either(old, seqno, sealed)
        if plaintext is None:
            return None
        self.window.accept_missing(seqno)
        type_, data = plaintext[0], plaintext[1:]
        if type_ == TYPE_HANDSHAKE:
            return _CONSUMED if data == ACK else None
        return Record(type_, data) if type_ < TYPE_HANDSHAKE else None

    def _take_overtaken_ack(self, seqno: int, sealed: bytes) -> bool:
        """Take an ACK whose work a record under the new key has done already."""
        old = self._usable_old_opener()
        if old is None or old.open(seqno, sealed) != bytes((TYPE_HANDSHAKE,)) + ACK:
            return False
        self.window.accept_missing(seqno)
        return True

    # -- the two tags --

    def _likely_way(self) -> Callable[[int, bytes], bytes | None] | None:
        """Return what opens records under the present key with the tag seen last; None without a key."""
        opener = self._opener
        if opener is None:
            return None
        if not self._accepts_fast:
            return opener.open
        return opener.open_fast if self._fast_seen else opener.open_strict

    def _open_unlikely(self, seqno: int, sealed: bytes) -> bytes | None:
        """Open a record that has not the tag seen last; the other one is the likely one then."""
        opener = self._opener
        assert opener is not None
        plaintext = (opener.open_strict if self._fast_seen else opener.open_fast)(seqno, sealed)
        if plaintext is not None:
            self._fast_seen = not self._fast_seen
        return plaintext

    def _open_usual(self, cipher: RecordCipher, seqno: int, sealed: bytes) -> bytes | None:
        """Open a record that must have tinc's tag."""
        return (cipher.open_strict if self._accepts_fast else cipher.open)(seqno, sealed)

    def _open_either(self, cipher: RecordCipher, seqno: int, sealed: bytes) -> bytes | None:
        """Open a record under a key that is not the present one, whichever tag it has."""
        plaintext = self._open_usual(cipher, seqno, sealed)
        if plaintext is None and self._accepts_fast:
            plaintext = cipher.open_fast(seqno, sealed)
        return plaintext

    def _usable_old_opener(self) -> RecordCipher | None:
        if self._old_opener is not None:
            age = (self.window.next - self._switched_at) & _SEQNO_MASK
            if age > OLD_KEY_RECORDS:
                self._old_opener = None
        return self._old_opener

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
            self._sealer, self._out_count = RecordCipher(step.new_out), 0
            self.peer_accepts_fast = self.peer_accepts_super_frames = False
        if step.pending_in is not None:
            self._pending_opener = RecordCipher(step.pending_in)
        if step.new_in is not None:
            self._old_opener, self._switched_at = self._opener, self.window.next
            self._opener, self._pending_opener = RecordCipher(step.new_in), None
            self.key_changes += 1
            self._fast_seen = False
        return _CONSUMED

    def _frame(self, type_: int, data: bytes, *, fast: bool = False) -> bytes:
        seqno, self._out_seqno = self._out_seqno, (self._out_seqno + 1) & _SEQNO_MASK
        self._out_count += 1
        body = bytes((type_,)) + data
        if self._sealer is not None:
            body = (self._sealer.seal_fast if fast else self._sealer.seal)(seqno, body)
        return seqno.to_bytes(SEQNO_SIZE, "big") + body

    # -- HOT PATH: many records --

    def seal_batch(self, prefix: bytes, type_: int, payloads: Sequence[bytes]) -> list[bytes]:
        """Return complete UDP payloads: ``prefix``, sequence number, sealed type and payload, for each.

        Nothing is sealed (an empty list) when no key is in force or the present one is used up.
        """
        if not 0 <= type_ < TYPE_HANDSHAKE:
            raise UsageError("application record of a reserved type")
        sealer, count = self._sealer, len(payloads)
        if sealer is None or self._out_count + count > KEY_LIMIT:
            return []
        first = self._out_seqno
        # Numbers are taken before they are used: should sealing fail, none is used again.
        self._out_seqno = (first + count) & _SEQNO_MASK
        self._out_count += count
        seal_all = sealer.seal_batch_fast if self.peer_accepts_fast else sealer.seal_batch
        return seal_all(prefix, first, bytes((type_,)), payloads)

    def seal_rows(self, plain: memoryview, sealed: memoryview, rows: Rows) -> int | None:
        """Write ciphertext and tag of plaintexts (type and payload) that lie in one buffer.

        Return the sequence number of the first, which is the caller's to write, before each ciphertext. None:
        not this way, nothing is sealed (`seal_batch` may do it). See `Rows` and `RecordCipher.seal_rows`.
        """
        sealer, count, first = self._sealer, rows.records, self._out_seqno
        if sealer is None or self._out_count + count > KEY_LIMIT or first + count > _SEQNO_MASK:
            return None
        # As in `seal_batch`: taken before they are used.
        self._out_seqno = first + count
        self._out_count += count
        seal_all = sealer.seal_rows_fast if self.peer_accepts_fast else sealer.seal_rows
        if not seal_all(first, plain, sealed, rows):
            self._out_seqno, self._out_count = first, self._out_count - count
            return None
        return first

    def open_rows(self, first_seqno: int, sealed: memoryview, plain: memoryview, rows: Rows) -> bool:
        """Write the plaintexts (type and payload) of records that lie in one buffer, numbered in order.

        Nothing is accepted yet: once the caller has seen the types it calls `accept_rows`. False: not all of
        them are ordinary records under the present key (`open_batch` judges them one by one).
        """
        opener = self._opener
        if opener is None or not self.window.is_ahead(first_seqno, rows.records):
            return False
        if not self._accepts_fast:
            return opener.open_rows(first_seqno, sealed, plain, rows)
        open_all = opener.open_rows_fast if self._fast_seen else opener.open_rows_strict
        return open_all(first_seqno, sealed, plain, rows)

    def accept_rows(self, first_seqno: int, count: int) -> None:
        """Take the records that `open_rows` has just opened."""
        self.window.accept_run(first_seqno, count)
        self._usable_old_opener()  # forgets it when it is due

    def seal_super_frame(self, plain: bytes | bytearray, pieces: int, sealed: memoryview) -> int | None:
        """Seal a super-frame that is sent in so many pieces; return its number, that of its first piece.

        ``sealed`` is 16 bytes longer than ``plain``. None: not this way, nothing is sealed.
        """
        sealer, first = self._sealer, self._out_seqno
        if (
            sealer is None
            or not self.peer_accepts_super_frames
            or self._out_count + pieces > KEY_LIMIT
            or first + pieces > _SEQNO_MASK
        ):
            return None
        # As in `seal_batch`: taken before they are used.
        self._out_seqno = first + pieces
        self._out_count += pieces
        sealer.seal_super_frame(first, plain, sealed)
        return first

    def open_super_frame(self, number: int, pieces: int, sealed: memoryview) -> bytearray | None:
        """Return the plaintext of a super-frame that came in so many pieces; None if it is rejected.

        As with single records one under the old key is taken where it fills a gap.
        """
        opener, window = self._opener, self.window
        if opener is None or not self._accepts_super_frames or not window.are_free(number, pieces):
            return None
        plain = opener.open_super_frame(number, sealed)
        if plain is None:
            old = self._usable_old_opener()
            if old is None or number + pieces > window.next:
                return None
            plain = old.open_super_frame(number, sealed)
        if plain is not None:
            window.accept_free(number, pieces)
            self._usable_old_opener()  # forgets it when it is due
        return plain

    def open_batch(self, datagrams: Sequence[bytes], offset: int) -> list[tuple[int, bytes] | None]:
        """Open each datagram from ``offset`` on: type and payload, None where it is rejected.

        Does exactly what `receive` does for each; handshake records take effect between two records.
        """
        result: list[tuple[int, bytes] | None] = []
        append = result.append
        accept = self.window.accept
        start = offset + SEQNO_SIZE
        minimum = offset + SEALED_DATAGRAM_MIN
        self._usable_old_opener()  # forgets it when it is due
        open_ = self._likely_way()
        for datagram in datagrams:
            if open_ is None or len(datagram) < minimum:
                append(self.receive(datagram[offset:]))
                open_ = self._likely_way()
                continue
            seqno = int.from_bytes(datagram[offset:start], "big")
            sealed = datagram[start:]
            plaintext = open_(seqno, sealed)
            if plaintext is not None and plaintext[0] < TYPE_HANDSHAKE:
                append((plaintext[0], plaintext[1:]) if accept(seqno) else None)
            else:
                # Cold: the other tag, another key, the handshake, or nothing good.
                append(self._judge(seqno, sealed, plaintext))
                open_ = self._likely_way()
        return result
