"""Key expansion of SPTPS. The handshake uses it once for each key exchange.

See docs/protocol-sptps.md, "Key expansion".

It is like TLS's P_hash, but the running value starts as zeros and is fed back together with the seed.
"""

from __future__ import annotations

import hmac
from typing import Final

_HASH: Final = "sha512"
_HASH_SIZE: Final = 64


def prf(secret: bytes, seed: bytes, size: int) -> bytes:
    """Return ``size`` bytes expanded from ``secret`` and ``seed`` with HMAC-SHA512."""
    running = bytes(_HASH_SIZE)
    output = bytearray()
    while len(output) < size:
        running = hmac.digest(secret, running + seed, _HASH)
        output += hmac.digest(secret, running + seed, _HASH)
    return bytes(output[:size])
