"""SPTPS over datagrams: the session between two nodes.

See docs/protocol-sptps.md, "Datagram sessions" to "Worn-out keys".

Called by `pytinc.node.sessions` (handshakes, which travel over the meta connections) and by `pytinc.datapath`
(data, by UDP). The first handshake is plain and strictly in order; after it, records may be lost, reordered
or repeated. `receive` and `seal` handle one record, in the clearest form; `seal_batch` and `open_batch` are
the hot path and do the same for many. A rejected datagram gives None instead of an exception: the caller
counts it.

During a key exchange, data and handshake records can overtake each other, because they travel on different
paths. pytinc accepts records that tinc loses in this situation (but no number twice, under whatever key):

* A record under the new key that overtakes the peer's ACK. It proves what the ACK says (the peer has switched
  to the new key), so it also counts as the ACK.
* Data under the new key that overtakes even the responder's SIG (docs/protocol-sptps.md, "Datagram
  sessions").
* A record under the old key that arrives after the ACK, if it fills a gap inside the replay window. Records
  under the old key never move the window, and none is accepted with a window of 0.
* A handshake record whose number has left the window because much data has overtaken it; only if it came over
  a meta connection (`receive_handshake`). The state machine accepts each message once, so a replay has no
  effect.

Two pytinc nodes may agree on a faster tag for data by UDP (docs/protocol.md, FastTag). The node negotiates
it, with `accept_fast` and `peer_accepts_fast`; this module only chooses which tag to make and which one to
try first. In the same way they may agree to seal super-frames with AES-256-GCM (`accept_aes`,
`peer_accepts_aes`). All records of a session have another cipher only if both ends are configured so
(SPTPSCipher).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from pytinc.crypto.aead import RecordCipher, Rows, make_cipher
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
    SptpsCipher,
)

DEFAULT_REPLAY_WINDOW: Final = 16
"""Bytes. tinc's manual says 32, but that is the legacy protocol's default.

See docs/protocol-sptps.md, "Replay window".
"""
OLD_KEY_RECORDS: Final = 2**16
"""The old key is forgotten this many numbers after a change of keys. Data needs it no longer than the replay
window. The number allows for data that runs ahead of an ACK on its way by TCP: a second on a fast link."""
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
        cipher: SptpsCipher = SptpsCipher.CHACHA20_POLY1305,
    ) -> None:
        self.cipher = cipher
        """The cipher of all records; only super-frames may have another one."""
        self._handshake = Handshake(role, private_key, peer_key, label + cipher.label_suffix, random_bytes)
        self._sealer: RecordCipher | None = None
        self._opener: RecordCipher | None = None
        self._pending_opener: RecordCipher | None = None
        """The next key; set from the peer's SIG until its ACK, at the initiator already from its KEX."""
        self._old_opener: RecordCipher | None = None
        self._switched_at = 0
        """The number expected next when the present key replaced the old one."""
        self._out_seqno = 0
        self._out_count = 0
        """Records sealed under the present key."""
        self.key_changes = 0
        """How many keys the peer's records have used: 1 after the first handshake."""
        self.peer_accepts_fast = False
        """Set by the node: data by UDP gets the fast tag. A new key starts without it."""
        self._accepts_fast = False
        self.peer_accepts_super_frames = False
        """Set by the node, as above: `seal_super_frame` may be used."""
        self._accepts_super_frames = False
        self.peer_accepts_aes = False
        """Set by the node, as above: super-frames are sealed with AES-256-GCM."""
        self._accepts_aes = False
        self._aes_seen = False
        """The last opened super-frame had AES-256-GCM; the next one probably has it, too."""
        self._fast_seen = False
        """The last opened record had the fast tag; the next one probably has it, too."""
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
        """A key exchange is in progress."""
        return self._handshake.state is not State.ESTABLISHED

    @property
    def can_send(self) -> bool:
        """Application records can be sealed."""
        return self._sealer is not None and self._out_count < KEY_LIMIT

    @property
    def needs_rekey(self) -> bool:
        """A new key is due, because many records were sealed under the present one."""
        return self._out_count >= REKEY_AFTER

    @property
    def accepts_fast(self) -> bool:
        """Records with the fast tag are accepted as well."""
        return self._accepts_fast

    def accept_fast(self) -> None:
        """Accept records with the fast tag from now on, because we announce to the peer that we do.

        This cannot be undone: the peer might learn of the change late or never. With another cipher than
        tinc's there is only one tag.
        """
        self._accepts_fast = self.cipher is SptpsCipher.CHACHA20_POLY1305

    @property
    def accepts_super_frames(self) -> bool:
        """Super-frames are accepted."""
        return self._accepts_super_frames

    def accept_super_frames(self) -> None:
        """Accept super-frames from now on, because we announce it to the peer. This is final, too."""
        if not self._accepts_super_frames:
            self._accepts_super_frames = True
            self.window.believe_far()

    @property
    def super_frames_cipher(self) -> SptpsCipher | None:
        """The cipher of the super-frames that are sent; None if none are."""
        if not self.peer_accepts_super_frames:
            return None
        return SptpsCipher.AES_256_GCM if self.peer_accepts_aes else self.cipher

    def accept_aes(self) -> None:
        """Accept super-frames with AES-256-GCM from now on, because we announce it. This is final, too."""
        self._accepts_aes = self.cipher is SptpsCipher.CHACHA20_POLY1305

    # -- handshake --

    def start(self) -> list[bytes]:
        """Begin the first handshake; return our KEX datagram in a list."""
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
        """Handle a handshake datagram that came over a meta connection; return whether it was accepted.

        Its number may have left the replay window by now, or be far ahead of it. Every other kind of record
        is refused.
        """
        opener = self._opener
        if opener is None:
            return self._receive_plain(datagram) is not None
        if len(datagram) < SEALED_DATAGRAM_MIN:
            return False
        seqno, sealed = int.from_bytes(datagram[:SEQNO_SIZE], "big"), datagram[SEQNO_SIZE:]
        plaintext = self._open_usual(opener, seqno, sealed)
        if plaintext is None and self._pending_opener is not None and self._pending_is_signed:
            plaintext = self._open_usual(self._pending_opener, seqno, sealed)
            if plaintext is not None:
                self._advance(ACK)  # was lost: datagrams on this path arrive in order
        if plaintext is None:
            return self._take_overtaken_ack(seqno, sealed)
        if plaintext[0] != TYPE_HANDSHAKE:
            return False
        self.window.accept(seqno)
        return self._advance(plaintext[1:]) is not None

    # -- one record --

    def seal(self, type_: int, data: bytes, *, may_be_fast: bool = False) -> bytes:
        """Return the datagram that carries ``data``: sequence number, sealed type and data.

        ``may_be_fast``: use the fast tag if the peer accepts it, as `seal_batch` does. `UsageError` if not
        `can_send`, or for a type reserved for the handshake.
        """
        if not self.can_send or not 0 <= type_ < TYPE_HANDSHAKE:
            raise UsageError("application record without a usable key, or of a reserved type")
        return self._frame(type_, data, fast=may_be_fast and self.peer_accepts_fast)

    def receive(self, datagram: bytes) -> Record | None:
        """Handle one datagram; None if it is rejected (the session goes on as if it had not arrived).

        An accepted handshake record gives ``(128, b"")``; `take_output` then returns our answers, and
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
        if seqno != self.window.next or datagram[SEQNO_SIZE] != TYPE_HANDSHAKE:
            return None
        record = self._advance(datagram[PLAIN_DATAGRAM_MIN:])
        if record is not None:
            # Unlike in tinc, what is refused does not use the number up: the true record may follow.
            self.window.accept(seqno)
        return record

    def _judge(self, seqno: int, sealed: bytes, plaintext: bytes | None) -> Record | None:
        """Continue with a record after the likely way to open it; ``plaintext`` is None if that failed."""
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
        """Accept a record under the next key: it proves that the peer uses this key, as an ACK does.

        Before the peer's SIG only data is accepted, and it changes nothing.
        """
        if not self._pending_is_signed and plaintext[0] >= TYPE_HANDSHAKE:
            return None
        if not self.window.accept(seqno):
            return None
        if self._pending_is_signed:
            self._advance(ACK)
        return self._dispatch(plaintext)

    @property
    def _pending_is_signed(self) -> bool:
        return self._handshake.state is State.REKEY_ACK

    def _take_late(self, seqno: int, sealed: bytes) -> Record | None:
        """Accept a record under the old key if it fills a gap."""
        old = self._usable_old_opener()
        # The window is checked first, so that garbage does not cost another tag.
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
        """Accept an ACK after a record under the new key has already had its effect."""
        old = self._usable_old_opener()
        if old is None or old.open(seqno, sealed) != bytes((TYPE_HANDSHAKE,)) + ACK:
            return False
        self.window.accept_missing(seqno)
        return True

    # -- the two tags --

    def _likely_way(self) -> Callable[[int, bytes], bytes | None] | None:
        """Return the function that opens records with the present key and the last tag; None without key."""
        opener = self._opener
        if opener is None:
            return None
        if not self._accepts_fast:
            return opener.open
        return opener.open_fast if self._fast_seen else opener.open_strict

    def _open_unlikely(self, seqno: int, sealed: bytes) -> bytes | None:
        """Open a record that does not have the tag seen last; the other tag then becomes the likely one."""
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
            self._sealer, self._out_count = make_cipher(self.cipher, step.new_out), 0
            self.peer_accepts_fast = self.peer_accepts_super_frames = self.peer_accepts_aes = False
        pending = step.pending_in or step.early_in
        if pending is not None:
            self._pending_opener = make_cipher(self.cipher, pending)
        if step.new_in is not None:
            self._old_opener, self._switched_at = self._opener, self.window.next
            self._opener, self._pending_opener = make_cipher(self.cipher, step.new_in), None
            self.key_changes += 1
            self._fast_seen = self._aes_seen = False
        return _CONSUMED

    def _frame(self, type_: int, data: bytes, *, fast: bool = False) -> bytes:
        seqno, self._out_seqno = self._out_seqno, (self._out_seqno + 1) & _SEQNO_MASK
        self._out_count += 1
        body = bytes((type_,)) + data
        if self._sealer is not None:
            body = (self._sealer.seal_fast if fast else self._sealer.seal)(seqno, body)
        return seqno.to_bytes(SEQNO_SIZE, "big") + body

    # -- HOT PATH: one record, without the lists of a batch --

    def seal_one(self, prefix: bytes, type_byte: bytes, payload: bytes) -> bytes | None:
        """Do what `seal_batch` does with one payload. None: nothing is sealed.

        ``type_byte`` must be that of an application record.
        """
        sealer, seqno = self._sealer, self._out_seqno
        if sealer is None or self._out_count >= KEY_LIMIT:
            return None
        # Reserved before it is used, as in `seal_batch`.
        self._out_seqno = (seqno + 1) & _SEQNO_MASK
        self._out_count += 1
        number = seqno.to_bytes(SEQNO_SIZE, "big")
        if self.peer_accepts_fast:
            return prefix + number + sealer.seal_fast(seqno, type_byte + payload)
        return prefix + number + sealer.seal(seqno, type_byte + payload)

    def open_one(self, datagram: bytes, offset: int) -> bytes | Record | None:
        """Do what `open_batch` does with one datagram.

        An ordinary record, under the present key and with the likely tag, comes back as one piece: type and
        payload. Every other one as a `Record`, or as None if it is rejected.
        """
        opener, start = self._opener, offset + SEQNO_SIZE
        if opener is None or len(datagram) < offset + SEALED_DATAGRAM_MIN:
            return self.receive(datagram[offset:])
        if self._old_opener is not None:
            self._usable_old_opener()  # forgets it when it is due
        seqno, sealed = int.from_bytes(datagram[offset:start], "big"), datagram[start:]
        if not self._accepts_fast:
            plaintext = opener.open(seqno, sealed)
        elif self._fast_seen:
            plaintext = opener.open_fast(seqno, sealed)
        else:
            plaintext = opener.open_strict(seqno, sealed)
        if plaintext is None or plaintext[0] >= TYPE_HANDSHAKE:
            return self._judge(seqno, sealed, plaintext)
        return plaintext if self.window.accept(seqno) else None

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
        # Numbers are reserved before they are used: if sealing fails, none is used again.
        self._out_seqno = (first + count) & _SEQNO_MASK
        self._out_count += count
        seal_all = sealer.seal_batch_fast if self.peer_accepts_fast else sealer.seal_batch
        return seal_all(prefix, first, bytes((type_,)), payloads)

    def seal_rows(self, plain: memoryview, sealed: memoryview, rows: Rows) -> int | None:
        """Write ciphertext and tag of plaintexts (type and payload) that lie in one buffer.

        Return the sequence number of the first; the caller writes the numbers before each ciphertext. None:
        nothing is sealed because it cannot be done this way (`seal_batch` may be able to). See `Rows` and
        `RecordCipher.seal_rows`.
        """
        sealer, count, first = self._sealer, rows.records, self._out_seqno
        if sealer is None or self._out_count + count > KEY_LIMIT or first + count > _SEQNO_MASK:
            return None
        # Reserved before they are used, as in `seal_batch`.
        self._out_seqno = first + count
        self._out_count += count
        seal_all = sealer.seal_rows_fast if self.peer_accepts_fast else sealer.seal_rows
        if not seal_all(first, plain, sealed, rows):
            self._out_seqno, self._out_count = first, self._out_count - count
            return None
        return first

    def open_rows(self, first_seqno: int, sealed: memoryview, plain: memoryview, rows: Rows) -> bool:
        """Write the plaintexts (type and payload) of records that lie in one buffer, numbered in order.

        No number is accepted yet: the caller first checks the types and then calls `accept_rows`. False: not
        all of them are ordinary records under the present key (`open_batch` handles them one by one).
        """
        opener = self._opener
        if opener is None or not self.window.is_ahead(first_seqno, rows.records):
            return False
        if not self._accepts_fast:
            return opener.open_rows(first_seqno, sealed, plain, rows)
        open_all = opener.open_rows_fast if self._fast_seen else opener.open_rows_strict
        return open_all(first_seqno, sealed, plain, rows)

    def accept_rows(self, first_seqno: int, count: int) -> None:
        """Accept the records that `open_rows` has just opened."""
        self.window.accept_run(first_seqno, count)
        self._usable_old_opener()  # forgets it when it is due

    def seal_super_frame(self, plain: bytes | bytearray, pieces: int, sealed: memoryview) -> int | None:
        """Seal a super-frame that is sent in this many ``pieces``; return the number of the first piece.

        ``sealed`` is 16 bytes longer than ``plain``. None: it cannot be done this way, and nothing is sealed.
        """
        sealer, first = self._sealer, self._out_seqno
        if (
            sealer is None
            or not self.peer_accepts_super_frames
            or self._out_count + pieces > KEY_LIMIT
            or first + pieces > _SEQNO_MASK
        ):
            return None
        # Reserved before they are used, as in `seal_batch`.
        self._out_seqno = first + pieces
        self._out_count += pieces
        sealer.seal_super_frame(first, plain, sealed, aes=self.peer_accepts_aes)
        return first

    def open_super_frame(self, number: int, pieces: int, sealed: memoryview) -> bytearray | None:
        """Return the plaintext of a super-frame that came in this many ``pieces``; None if it is rejected.

        As with single records, one under the next key may come early, and one under the old key is accepted
        where it fills a gap.
        """
        opener, pending, window = self._opener, self._pending_opener, self.window
        if opener is None or not self._accepts_super_frames or not window.are_free(number, pieces):
            return None
        plain = self._open_super_frame(opener, number, sealed)
        if plain is None and pending is not None:
            plain = self._open_super_frame(pending, number, sealed)
            if plain is not None and self._pending_is_signed:
                self._advance(ACK)
        if plain is None:
            old = self._usable_old_opener()
            if old is None or number + pieces > window.next:
                return None
            plain = self._open_super_frame(old, number, sealed)
        if plain is not None:
            window.accept_free(number, pieces)
            self._usable_old_opener()  # forgets it when it is due
        return plain

    def _open_super_frame(self, opener: RecordCipher, number: int, sealed: memoryview) -> bytearray | None:
        """Open a super-frame: first with the cipher of the last one, then with the other, if it may be."""
        plain = opener.open_super_frame(number, sealed, aes=self._aes_seen)
        if plain is None and self._accepts_aes:
            plain = opener.open_super_frame(number, sealed, aes=not self._aes_seen)
            if plain is not None:
                self._aes_seen = not self._aes_seen
        return plain

    def open_batch(self, datagrams: Sequence[bytes], offset: int) -> list[tuple[int, bytes] | None]:
        """Open each datagram from ``offset`` on; return its type and payload, None where it is rejected.

        The effect is that of `receive` for each; handshake records take effect between two records.
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
                # Rare: the other tag, another key, the handshake, or garbage.
                append(self._judge(seqno, sealed, plaintext))
                open_ = self._likely_way()
        return result
