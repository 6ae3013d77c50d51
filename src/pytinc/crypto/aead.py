"""ChaCha20-Poly1305 as SPTPS uses it, and with the tag of RFC 8439 between pytinc nodes; AES-256-GCM.

See docs/protocol-sptps.md, "Record cipher".

The nonce is the record's sequence number as 64 bits and the block counter has 64 bits (the original
construction); the tag covers the bare ciphertext: no associated data, no padding, no lengths. Only the
first half of the 64-byte key is used. The vectors in `tests/data/vectors/chacha_poly1305.json` prove it.

The sessions of `pytinc.protocol.sptps` use one object per key and direction. It keeps one cipher context and
rewinds it with `reset_nonce`, because a new context costs more than encrypting a packet. One reset serves a
whole record: block 0 of the keystream gives the MAC key, and the next `update` continues with block 1, where
the data starts. The tag comes from `pytinc.crypto.poly1305`.

The sessions, not this module, ensure that a number is used only once.

The methods with "fast" in their names make and check the tag of RFC 8439's AEAD (docs/protocol.md, FastTag).
The ciphertext is the same, because the nonce of 12 bytes is 32 zero bits and the sequence number as 64 bits;
but the library makes ciphertext and tag in one call. Both tags come from one MAC key, so one of them must
never be accepted in place of the other: see `RecordCipher.open_strict`.

Super-frames may be sealed with AES-256-GCM, under the second half of the key, which nothing else uses
(docs/protocol.md, "Super-frames"). `AesRecordCipher` seals all records of a session with it, under the first
half (docs/protocol.md, "AES-256-GCM"). Where the CPU has instructions for AES, it takes a third of the time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import repeat
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from pytinc.crypto.poly1305 import generate_tag, sodium, verify_tag
from pytinc.wire.records import SEQNO_SIZE, TAG_SIZE, SptpsCipher

CIPHER_KEY_SIZE: Final = 32
"""Bytes that a cipher uses of the 64 that the handshake derives for each direction."""
_SEQNO_MASK: Final = 0xFFFFFFFF
_BLOCK_ZERO: Final = bytes(64)
_COUNTER_ZERO: Final = bytes(8)
_COUNTER_ZERO_SHORT: Final = bytes(12)
"""Block counter, and the half of the nonce that is always zero."""
_NONCE_ZERO: Final = bytes(4)
_NONCE_ZERO_LONG: Final = bytes(8)
"""The bytes before a sequence number of 8 and of 4 bytes in a nonce of RFC 8439."""
_NONCE_SUPER_FRAME: Final = b"\0\0\0\1"
"""The same for a super-frame, so that it shares keystream and MAC key with no other kind of record."""
_NO_ASSOCIATED_DATA: Final = bytes(8)
"""The length of the associated data. The MAC of RFC 8439 covers it just before that of the ciphertext."""
_TRIAL_SIZE: Final = 60_000
_TRIALS: Final = 8
"""Size in bytes and number of the plaintexts that `is_aes_faster` seals with each cipher."""
_LENGTHS_AT: Final = slice(-TAG_SIZE - 16, -TAG_SIZE - 8)
"""Its place in a record if everything that the MAC covers were ciphertext."""


class Rows(NamedTuple):
    """The layout of many plaintexts of one length in a buffer, and of their records in another buffer."""

    records: int
    size: int
    """Length of a plaintext."""
    last: int
    """Length of the last plaintext, which may be shorter."""
    plain: int
    """Offset of the first plaintext, at least `ROOM_BEFORE_PLAIN`."""
    plain_step: int
    """Distance from one plaintext to the next."""
    sealed: int
    """Offset of the first ciphertext, which its tag follows."""
    sealed_step: int


ROOM_BEFORE_PLAIN: Final = 64
"""Zeros before each plaintext that is sealed in rows; they become the block with the MAC key."""
ROOM_BEFORE_SEALED: Final = 64
"""Bytes before each ciphertext that sealing in rows overwrites."""
HAS_ROWS: Final = hasattr(ChaCha20Poly1305, "encrypt_into") and hasattr(AESGCM, "encrypt_into")
"""Whether the library can write into a buffer; older versions cannot."""


def poly1305_library() -> str:
    """Return the name of the library that makes tags, for the log."""
    return "OpenSSL (libsodium's function, which is faster, was not found)" if sodium is None else "libsodium"


def is_aes_faster(timer: Callable[[], float]) -> bool:
    """Tell whether this machine seals a super-frame sooner with AES-256-GCM. It takes about a millisecond.

    ``timer`` returns seconds, such as `time.perf_counter`.
    """
    plaintext, nonce = bytes(_TRIAL_SIZE), bytes(12)

    def best(cipher: AESGCM | ChaCha20Poly1305) -> float:
        times = []
        for _ in range(_TRIALS):
            start = timer()
            cipher.encrypt(nonce, plaintext, None)
            times.append(timer() - start)
        return min(times)

    key = bytes(CIPHER_KEY_SIZE)
    return best(AESGCM(key)) < best(ChaCha20Poly1305(key))


class RecordCipher:
    """Seals or opens the records of one direction under one key, with ChaCha20-Poly1305."""

    __slots__ = ("_aead", "_context", "_super_frame_aes", "_super_frame_key")

    def __init__(self, key: bytes) -> None:
        self._aead: AESGCM | ChaCha20Poly1305 = ChaCha20Poly1305(key[:CIPHER_KEY_SIZE])
        self._super_frame_key = key[CIPHER_KEY_SIZE : 2 * CIPHER_KEY_SIZE]
        self._super_frame_aes: AESGCM | None = None
        """Made at the first use: most keys never seal a super-frame."""
        algorithm = algorithms.ChaCha20(key[:CIPHER_KEY_SIZE], bytes(16))
        self._context: CipherContext = Cipher(algorithm, mode=None).encryptor()

    def __repr__(self) -> str:
        """Show nothing of the key."""
        return f"<{type(self).__name__}>"

    def seal(self, seqno: int, plaintext: bytes) -> bytes:
        """Return ciphertext and tag, 16 bytes more than ``plaintext``."""
        context = self._context
        context.reset_nonce(_COUNTER_ZERO + seqno.to_bytes(8, "big"))
        mac_key = context.update(_BLOCK_ZERO)
        ciphertext = context.update(plaintext)
        return ciphertext + generate_tag(mac_key, ciphertext)

    def open(self, seqno: int, sealed: bytes) -> bytes | None:
        """Return the plaintext; None if the tag is wrong or missing."""
        context = self._context
        context.reset_nonce(_COUNTER_ZERO + seqno.to_bytes(8, "big"))
        ciphertext = sealed[:-TAG_SIZE]
        if not verify_tag(sealed[-TAG_SIZE:], context.update(_BLOCK_ZERO), ciphertext):
            return None
        # The context has just produced block 0, so it is at the start of the data.
        return context.update(ciphertext)

    def open_strict(self, seqno: int, sealed: bytes) -> bytes | None:
        """Do what `open` does, for a peer that may use the fast tag as well.

        The tag of RFC 8439 covers the ciphertext, zeros up to a multiple of 16, and two lengths. An attacker
        on the path could append these zeros and lengths to a record with the fast tag; by tinc's rule, the
        tag would be right for the longer record. So records that end like that are refused, which one in
        2**64 honest records does.
        """
        if sealed[_LENGTHS_AT] == _NO_ASSOCIATED_DATA:
            return None
        return self.open(seqno, sealed)

    def seal_fast(self, seqno: int, plaintext: bytes) -> bytes:
        """Do what `seal` does, with the tag of RFC 8439."""
        return self._aead.encrypt(_NONCE_ZERO + seqno.to_bytes(8, "big"), plaintext, None)

    def open_fast(self, seqno: int, sealed: bytes) -> bytes | None:
        """Do what `open` does, with the tag of RFC 8439."""
        try:
            return self._aead.decrypt(_NONCE_ZERO + seqno.to_bytes(8, "big"), sealed, None)
        except InvalidTag:
            return None

    def seal_super_frame(
        self, number: int, plaintext: bytes | bytearray, sealed: memoryview, *, aes: bool
    ) -> None:
        """Write ciphertext and tag into ``sealed``, which is 16 bytes longer: by RFC 8439 or AES-256-GCM."""
        aead = self._super_frame_aead(aes=aes)
        nonce = _NONCE_SUPER_FRAME + number.to_bytes(8, "big")
        if HAS_ROWS:
            aead.encrypt_into(nonce, plaintext, None, sealed)
        else:
            sealed[:] = aead.encrypt(nonce, plaintext, None)

    def open_super_frame(self, number: int, sealed: memoryview, *, aes: bool) -> bytearray | None:
        """Return the plaintext of a super-frame; None if the tag is wrong or missing."""
        aead = self._super_frame_aead(aes=aes)
        nonce = _NONCE_SUPER_FRAME + number.to_bytes(8, "big")
        try:
            if not HAS_ROWS or len(sealed) < TAG_SIZE:
                return bytearray(aead.decrypt(nonce, sealed, None))
            plaintext = bytearray(len(sealed) - TAG_SIZE)
            aead.decrypt_into(nonce, sealed, None, plaintext)
        except InvalidTag:
            return None
        return plaintext

    def _super_frame_aead(self, *, aes: bool) -> AESGCM | ChaCha20Poly1305:
        if not aes:
            return self._aead
        if self._super_frame_aes is None:
            self._super_frame_aes = AESGCM(self._super_frame_key)
        return self._super_frame_aes

    # -- HOT PATH --

    def seal_batch(
        self, prefix: bytes, first_seqno: int, type_byte: bytes, payloads: Sequence[bytes]
    ) -> list[bytes]:
        """Return ``prefix | be32 number | seal(number, type_byte | payload)`` for each payload.

        Numbers count up from ``first_seqno`` modulo 2**32. This is `seal`, inlined in a loop.
        """
        reset_nonce, update = self._context.reset_nonce, self._context.update
        seqno = first_seqno
        result: list[bytes] = []
        append = result.append
        for payload in payloads:
            number = seqno.to_bytes(SEQNO_SIZE, "big")
            reset_nonce(_COUNTER_ZERO_SHORT + number)
            mac_key = update(_BLOCK_ZERO)
            ciphertext = update(type_byte + payload)
            append(prefix + number + ciphertext + generate_tag(mac_key, ciphertext))
            seqno = (seqno + 1) & _SEQNO_MASK
        return result

    def seal_batch_fast(
        self, prefix: bytes, first_seqno: int, type_byte: bytes, payloads: Sequence[bytes]
    ) -> list[bytes]:
        """Do what `seal_batch` does, with the tag of RFC 8439."""
        encrypt = self._aead.encrypt
        seqno = first_seqno
        result: list[bytes] = []
        append = result.append
        for payload in payloads:
            number = seqno.to_bytes(SEQNO_SIZE, "big")
            append(prefix + number + encrypt(_NONCE_ZERO_LONG + number, type_byte + payload, None))
            seqno = (seqno + 1) & _SEQNO_MASK
        return result

    # Rows: plaintexts and records in two buffers. The only work per record is the calls into the library.

    def seal_rows(self, first_seqno: int, plain: memoryview, sealed: memoryview, rows: Rows) -> bool:
        """Write the ciphertext and tag of each plaintext; return whether the library can do that.

        Numbers count up from ``first_seqno`` and must not wrap. `ROOM_BEFORE_PLAIN` zeros must precede each
        plaintext; the bytes before each ciphertext are overwritten.
        """
        if not HAS_ROWS or sodium is None:
            return False
        reset_nonce, update_into, tag_at = self._context.reset_nonce, self._context.update_into, sodium.tag_at
        room = ROOM_BEFORE_PLAIN
        sources = _views(plain, rows.plain - room, rows.plain_step, rows, room)
        targets = _views(sealed, rows.sealed - room, rows.sealed_step, rows, room)
        begin = sodium.address_of(sealed) + rows.sealed
        step, size = rows.sealed_step, rows.last
        # From the end: the bytes overwritten before a record belong to one that is written later.
        for index in range(rows.records - 1, -1, -1):
            reset_nonce(_COUNTER_ZERO + (first_seqno + index).to_bytes(8, "big"))
            update_into(sources[index], targets[index])
            at = begin + index * step
            tag_at(at + size, at, size, at - room)
            size = rows.size
        return True

    def seal_rows_fast(self, first_seqno: int, plain: memoryview, sealed: memoryview, rows: Rows) -> bool:
        """Do what `seal_rows` does, with the tag of RFC 8439."""
        if not HAS_ROWS:
            return False
        sources = _views(plain, rows.plain, rows.plain_step, rows)
        targets = _views(sealed, rows.sealed, rows.sealed_step, rows, TAG_SIZE)
        calls = map(self._aead.encrypt_into, _nonces(first_seqno, rows), sources, repeat(None), targets)
        deque(calls, 0)
        return True

    def open_rows(self, first_seqno: int, sealed: memoryview, plain: memoryview, rows: Rows) -> bool:
        """Write the plaintext of each record; return whether that is possible and all are authentic."""
        if not HAS_ROWS or sodium is None:
            return False
        reset_nonce, update_into = self._context.reset_nonce, self._context.update_into
        verify_at = sodium.verify_at
        mac_key = bytearray(len(_BLOCK_ZERO))
        key_at = sodium.address_of(mac_key)
        at, size = sodium.address_of(sealed) + rows.sealed, rows.size
        sources = _views(sealed, rows.sealed, rows.sealed_step, rows)
        targets = _views(plain, rows.plain, rows.plain_step, rows)
        last = rows.records - 1
        for index in range(rows.records):
            if index == last:
                size = rows.last
            reset_nonce(_COUNTER_ZERO + (first_seqno + index).to_bytes(8, "big"))
            update_into(_BLOCK_ZERO, mac_key)
            if verify_at(at + size, at, size, key_at):
                return False
            update_into(sources[index], targets[index])
            at += rows.sealed_step
        return True

    def open_rows_strict(self, first_seqno: int, sealed: memoryview, plain: memoryview, rows: Rows) -> bool:
        """Do what `open_rows` does, for a peer that may use the fast tag as well (see `open_strict`)."""
        if any(
            record[_LENGTHS_AT] == _NO_ASSOCIATED_DATA
            for record in _views(sealed, rows.sealed, rows.sealed_step, rows, TAG_SIZE)
        ):
            return False
        return self.open_rows(first_seqno, sealed, plain, rows)

    def open_rows_fast(self, first_seqno: int, sealed: memoryview, plain: memoryview, rows: Rows) -> bool:
        """Do what `open_rows` does, with the tag of RFC 8439."""
        if not HAS_ROWS:
            return False
        sources = _views(sealed, rows.sealed, rows.sealed_step, rows, TAG_SIZE)
        targets = _views(plain, rows.plain, rows.plain_step, rows)
        calls = map(self._aead.decrypt_into, _nonces(first_seqno, rows), sources, repeat(None), targets)
        try:
            deque(calls, 0)
        except InvalidTag:
            return False
        return True


class AesRecordCipher(RecordCipher):
    """Seals or opens the records of one direction under one key, with AES-256-GCM (as tincr does).

    The nonces are those of RFC 8439's form. There is only one form of records, so the methods for tinc's form
    do the same.
    """

    __slots__ = ()

    def __init__(self, key: bytes) -> None:
        super().__init__(key)
        self._aead = AESGCM(key[:CIPHER_KEY_SIZE])

    seal = RecordCipher.seal_fast
    open = RecordCipher.open_fast
    open_strict = RecordCipher.open_fast
    seal_batch = RecordCipher.seal_batch_fast
    seal_rows = RecordCipher.seal_rows_fast
    open_rows = RecordCipher.open_rows_fast
    open_rows_strict = RecordCipher.open_rows_fast

    def _super_frame_aead(self, *, aes: bool) -> AESGCM | ChaCha20Poly1305:
        return self._aead


def make_cipher(cipher: SptpsCipher, key: bytes) -> RecordCipher:
    """Return what seals or opens records under one key of 64 bytes."""
    return AesRecordCipher(key) if cipher is SptpsCipher.AES_256_GCM else RecordCipher(key)


def _nonces(first: int, rows: Rows) -> list[bytes]:
    return [_NONCE_ZERO + number.to_bytes(8, "big") for number in range(first, first + rows.records)]


def _views(buffer: memoryview, start: int, step: int, rows: Rows, more: int = 0) -> list[memoryview]:
    """Return a view of each row, ``more`` bytes longer than its plaintext."""
    return list(
        map(buffer.__getitem__, _slices(start, step, rows.records, rows.size + more, rows.last + more))
    )


@lru_cache(maxsize=64)
def _slices(start: int, step: int, count: int, size: int, last: int) -> tuple[slice, ...]:
    begins = range(start, start + step * count, step)
    return (*(slice(at, at + size) for at in begins[:-1]), slice(begins[-1], begins[-1] + last))
