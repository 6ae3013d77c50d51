"""ChaCha20-Poly1305 as SPTPS uses it (sptps.md 1.1). Not RFC 8439's AEAD.

The nonce is the record's sequence number as 64 bits and the block counter has 64 bits (the original
construction); the tag covers the bare ciphertext: no associated data, no padding, no lengths. Only the
first half of the 64-byte key is used. `tests/data/vectors/chacha_poly1305.json` proves it.

One cipher context is kept per key and direction and wound back with `reset_nonce`: a new one costs more
than encrypting a packet.
"""

from __future__ import annotations

import hmac
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms
from cryptography.hazmat.primitives.poly1305 import Poly1305

TAG_SIZE: Final = 16
_ZERO_BLOCK: Final = bytes(64)
_COUNTER_ZERO: Final = bytes(8)
_COUNTER_ONE: Final = (1).to_bytes(8, "little")

generate_tag = Poly1305.generate_tag
compare_digest = hmac.compare_digest


class RecordCipher:
    """Seals and opens the records of one direction under one key."""

    __slots__ = ("_context",)

    def __init__(self, key: bytes) -> None:
        algorithm = algorithms.ChaCha20(key[:32], bytes(16))
        self._context: CipherContext = Cipher(algorithm, mode=None).encryptor()

    def __repr__(self) -> str:
        """Nothing of the key."""
        return "<RecordCipher>"

    def seal(self, seqno: int, plaintext: bytes) -> bytes:
        """Return ciphertext and tag: 16 bytes more than ``plaintext``."""
        context = self._context
        context.reset_nonce(_COUNTER_ZERO + seqno.to_bytes(8, "big"))
        stream = context.update(_ZERO_BLOCK + plaintext)
        sealed = stream[64:]
        return sealed + generate_tag(stream[:32], sealed)

    def open(self, seqno: int, sealed: bytes) -> bytes | None:
        """Return the plaintext, None if the tag is not right (or there is none)."""
        ciphertext = sealed[:-TAG_SIZE]
        if not self._is_authentic(seqno, ciphertext, sealed[-TAG_SIZE:]):
            return None
        # The MAC key took half of block 0; the data starts at block 1.
        context = self._context
        context.reset_nonce(_COUNTER_ONE + seqno.to_bytes(8, "big"))
        return context.update(ciphertext)

    def verify(self, seqno: int, sealed: bytes) -> bool:
        """Tell whether `open` would succeed, without decrypting."""
        return self._is_authentic(seqno, sealed[:-TAG_SIZE], sealed[-TAG_SIZE:])

    def _is_authentic(self, seqno: int, ciphertext: bytes, tag: bytes) -> bool:
        if len(tag) != TAG_SIZE:
            return False
        context = self._context
        context.reset_nonce(_COUNTER_ZERO + seqno.to_bytes(8, "big"))
        return compare_digest(generate_tag(context.update(_ZERO_BLOCK)[:32], ciphertext), tag)
