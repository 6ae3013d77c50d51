"""ChaCha20-Poly1305 as SPTPS uses it (sptps.md 1.1), and with the tag of RFC 8439 between pytinc nodes.

The nonce is the record's sequence number as 64 bits and the block counter has 64 bits (the original
construction); the tag covers the bare ciphertext: no associated data, no padding, no lengths. Only the
first half of the 64-byte key is used. `tests/data/vectors/chacha_poly1305.json` proves it.

Called by the sessions of `pytinc.protocol.sptps`, one object per key and direction. It keeps one cipher
context and winds it back with `reset_nonce`: a new one costs more than encrypting a packet. One reset
serves a whole record: block 0 of the keystream gives the MAC key, and the next `update` goes on with
block 1, where the data starts. The tag comes from `pytinc.crypto.poly1305`.

It does not see to it that a number is used only once: the sessions do.

The methods with "fast" in their names make and take the tag of RFC 8439's AEAD (docs/protocol.md, FastTag).
The ciphertext is the same, as its nonce of 12 bytes is 32 zero bits and the sequence number as 64 bits, but
the library makes ciphertext and tag in one call. Both tags come from one MAC key, so one of them must never
be taken for the other: see `RecordCipher.open_strict`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from pytinc.crypto.poly1305 import generate_tag, verify_tag
from pytinc.wire.records import SEQNO_SIZE, TAG_SIZE

CIPHER_KEY_SIZE: Final = 32
"""What ChaCha20 takes of the 64 bytes that the handshake derives for each direction."""
_SEQNO_MASK: Final = 0xFFFFFFFF
_BLOCK_ZERO: Final = bytes(64)
_COUNTER_ZERO: Final = bytes(8)
_COUNTER_ZERO_SHORT: Final = bytes(12)
"""Block counter, and the half of the nonce that is always zero."""
_NONCE_ZERO: Final = bytes(4)
_NONCE_ZERO_LONG: Final = bytes(8)
"""What stands before a sequence number of 8 and of 4 bytes in a nonce of RFC 8439."""
_NO_ASSOCIATED_DATA: Final = bytes(8)
"""The length of the associated data, which the MAC of RFC 8439 covers just before that of the ciphertext."""
_LENGTHS_AT: Final = slice(-TAG_SIZE - 16, -TAG_SIZE - 8)
"""Where it would stand in a record if what the MAC covers were the whole ciphertext."""


class RecordCipher:
    """Seals or opens the records of one direction under one key."""

    __slots__ = ("_aead", "_context")

    def __init__(self, key: bytes) -> None:
        self._aead = ChaCha20Poly1305(key[:CIPHER_KEY_SIZE])
        algorithm = algorithms.ChaCha20(key[:CIPHER_KEY_SIZE], bytes(16))
        self._context: CipherContext = Cipher(algorithm, mode=None).encryptor()

    def __repr__(self) -> str:
        """Nothing of the key."""
        return "<RecordCipher>"

    def seal(self, seqno: int, plaintext: bytes) -> bytes:
        """Return ciphertext and tag: 16 bytes more than ``plaintext``."""
        context = self._context
        context.reset_nonce(_COUNTER_ZERO + seqno.to_bytes(8, "big"))
        mac_key = context.update(_BLOCK_ZERO)
        ciphertext = context.update(plaintext)
        return ciphertext + generate_tag(mac_key, ciphertext)

    def open(self, seqno: int, sealed: bytes) -> bytes | None:
        """Return the plaintext, None if the tag is not right (or ``sealed`` has none)."""
        ciphertext = sealed[:-TAG_SIZE]
        if not self._is_authentic(seqno, ciphertext, sealed[-TAG_SIZE:]):
            return None
        # The context has just given block 0: it stands where the data starts.
        return self._context.update(ciphertext)

    def verify(self, seqno: int, sealed: bytes) -> bool:
        """Tell whether `open` would succeed, without decrypting."""
        return self._is_authentic(seqno, sealed[:-TAG_SIZE], sealed[-TAG_SIZE:])

    def open_strict(self, seqno: int, sealed: bytes) -> bytes | None:
        """Do what `open` does where the peer may use the fast tag as well.

        RFC 8439 makes its tag over the ciphertext, zeros up to a multiple of 16, and two lengths. Somebody
        on the way could append just that to a record with the fast tag, and its tag would be right for the
        longer record by tinc's rule. So what ends like that is refused; of honest records, one in 2**64.
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

    def _is_authentic(self, seqno: int, ciphertext: bytes, tag: bytes) -> bool:
        context = self._context
        context.reset_nonce(_COUNTER_ZERO + seqno.to_bytes(8, "big"))
        return verify_tag(tag, context.update(_BLOCK_ZERO), ciphertext)

    # -- HOT PATH --

    def seal_batch(
        self, prefix: bytes, first_seqno: int, type_byte: bytes, payloads: Sequence[bytes]
    ) -> list[bytes]:
        """Return ``prefix | be32 number | seal(number, type_byte | payload)`` for each payload.

        Numbers count up from ``first_seqno`` modulo 2**32. It is `seal` written out in a loop.
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
