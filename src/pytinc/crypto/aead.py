"""ChaCha20-Poly1305 as SPTPS uses it (sptps.md 1.1). Not RFC 8439's AEAD.

The nonce is the record's sequence number as 64 bits and the block counter has 64 bits (the original
construction); the tag covers the bare ciphertext: no associated data, no padding, no lengths. Only the
first half of the 64-byte key is used. `tests/data/vectors/chacha_poly1305.json` proves it.

Called by the sessions of `pytinc.protocol.sptps`, one object per key and direction. It keeps one cipher
context and winds it back with `reset_nonce`: a new one costs more than encrypting a packet. One reset
serves a whole record: block 0 of the keystream gives the MAC key, and the next `update` goes on with
block 1, where the data starts. What is left is Poly1305's set-up inside the library, two thirds of a
record's cost (benchmarks/micro_sptps.py).

It does not see to it that a number is used only once: the sessions do.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms
from cryptography.hazmat.primitives.poly1305 import Poly1305

from pytinc.wire.records import SEQNO_SIZE, TAG_SIZE

CIPHER_KEY_SIZE: Final = 32
"""What ChaCha20 takes of the 64 bytes that the handshake derives for each direction."""
_MAC_KEY_SIZE: Final = 32
_SEQNO_MASK: Final = 0xFFFFFFFF
_BLOCK_ZERO: Final = bytes(64)
_COUNTER_ZERO: Final = bytes(8)
_COUNTER_ZERO_SHORT: Final = bytes(12)
"""Block counter, and the half of the nonce that is always zero."""

_generate_tag = Poly1305.generate_tag
_compare_digest = hmac.compare_digest


class RecordCipher:
    """Seals or opens the records of one direction under one key."""

    __slots__ = ("_context",)

    def __init__(self, key: bytes) -> None:
        algorithm = algorithms.ChaCha20(key[:CIPHER_KEY_SIZE], bytes(16))
        self._context: CipherContext = Cipher(algorithm, mode=None).encryptor()

    def __repr__(self) -> str:
        """Nothing of the key."""
        return "<RecordCipher>"

    def seal(self, seqno: int, plaintext: bytes) -> bytes:
        """Return ciphertext and tag: 16 bytes more than ``plaintext``."""
        context = self._context
        context.reset_nonce(_COUNTER_ZERO + seqno.to_bytes(8, "big"))
        mac_key = context.update(_BLOCK_ZERO)[:_MAC_KEY_SIZE]
        ciphertext = context.update(plaintext)
        return ciphertext + _generate_tag(mac_key, ciphertext)

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

    def _is_authentic(self, seqno: int, ciphertext: bytes, tag: bytes) -> bool:
        if len(tag) != TAG_SIZE:
            return False
        context = self._context
        context.reset_nonce(_COUNTER_ZERO + seqno.to_bytes(8, "big"))
        mac_key = context.update(_BLOCK_ZERO)[:_MAC_KEY_SIZE]
        return _compare_digest(_generate_tag(mac_key, ciphertext), tag)

    # -- HOT PATH --

    def seal_batch(
        self, prefix: bytes, first_seqno: int, type_byte: bytes, payloads: Sequence[bytes]
    ) -> list[bytes]:
        """Return ``prefix | be32 number | seal(number, type_byte | payload)`` for each payload.

        Numbers count up from ``first_seqno`` modulo 2**32. It is `seal` written out in a loop.
        """
        reset_nonce, update, generate_tag = self._context.reset_nonce, self._context.update, _generate_tag
        seqno = first_seqno
        result: list[bytes] = []
        append = result.append
        for payload in payloads:
            number = seqno.to_bytes(SEQNO_SIZE, "big")
            reset_nonce(_COUNTER_ZERO_SHORT + number)
            mac_key = update(_BLOCK_ZERO)[:_MAC_KEY_SIZE]
            ciphertext = update(type_byte + payload)
            append(prefix + number + ciphertext + generate_tag(mac_key, ciphertext))
            seqno = (seqno + 1) & _SEQNO_MASK
        return result
