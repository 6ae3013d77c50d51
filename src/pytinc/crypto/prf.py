"""Key expansion of SPTPS (sptps.md 1.2): like TLS's P_hash, but the running value is fed back with the seed."""

from __future__ import annotations

import hashlib
import hmac


def prf(secret: bytes, seed: bytes, size: int) -> bytes:
    """Return ``size`` bytes expanded from ``secret`` and ``seed`` with HMAC-SHA512."""
    running = bytes(64)
    output = bytearray()
    while len(output) < size:
        running = hmac.digest(secret, running + seed, hashlib.sha512)
        output += hmac.digest(secret, running + seed, hashlib.sha512)
    return bytes(output[:size])
