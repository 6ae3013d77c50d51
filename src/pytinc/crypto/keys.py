"""Ed25519 and ECDH keys as tinc uses them, and its key files (docs/protocol-sptps.md).

tinc stores the expanded private key and not the seed, but `cryptography` can sign only with a seed. So this
module signs with PyNaCl's scalar arithmetic, which runs in constant time and makes the same signatures.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from nacl.bindings import (
    crypto_core_ed25519_scalar_add,
    crypto_core_ed25519_scalar_mul,
    crypto_core_ed25519_scalar_reduce,
    crypto_scalarmult_ed25519_base_noclamp,
)

from pytinc.errors import AuthenticationError, DecodeError
from pytinc.wire import b64
from pytinc.wire.pem import read_block

SEED_SIZE: Final = 32
PUBLIC_SIZE: Final = 32
EXPANDED_SIZE: Final = 64
BLOB_SIZE: Final = EXPANDED_SIZE + PUBLIC_SIZE
SIGNATURE_SIZE: Final = 64
PUBLIC_TEXT_LENGTH: Final = 43
HASH_SIZE: Final = 18
"""Bytes of a key hash and of a cookie in an invitation."""

PRIVATE_BLOCK: Final = "ED25519 PRIVATE KEY"
PUBLIC_BLOCK: Final = "ED25519 PUBLIC KEY"
_BYTES_PER_LINE: Final = 48
_P: Final = 2**255 - 19
"""The prime of the field over which both forms of the curve are defined."""
_LINE: Final = re.compile(r"[^\n]*\n|[^\n]+")


def _expand(seed: bytes) -> bytes:
    """Return the clamped scalar and the nonce prefix that belong to a seed."""
    h = bytearray(hashlib.sha512(seed).digest())
    h[0] &= 0xF8
    h[31] &= 0x3F
    h[31] |= 0x40
    return bytes(h)


def _public_of_seed(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


class PublicKey:
    """The long-term public key of a node: 32 bytes. Only its use checks that it is a point of the curve."""

    __slots__ = ("raw",)

    def __init__(self, raw: bytes) -> None:
        if len(raw) != PUBLIC_SIZE:
            raise DecodeError("public key of wrong length")
        self.raw = raw

    @classmethod
    def from_text(cls, text: str) -> PublicKey:
        """Parse the 43-character form. Raises `DecodeError` for any other text."""
        if len(text) != PUBLIC_TEXT_LENGTH:
            raise DecodeError("public key text of wrong length")
        return cls(b64.decode(text))

    @property
    def text(self) -> str:
        """The 43-character form."""
        return b64.encode(self.raw)

    def __eq__(self, other: object) -> bool:
        """Two keys are equal when their bytes are."""
        return isinstance(other, PublicKey) and other.raw == self.raw

    def __hash__(self) -> int:
        """Hash of the bytes."""
        return hash(self.raw)

    def __repr__(self) -> str:
        """The public text."""
        return f"PublicKey({self.text})"

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Return whether ``signature`` over ``message`` was made with the private key (RFC 8032)."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


class PrivateKey:
    """The long-term key of a node: expanded private key (64 bytes) and public key."""

    __slots__ = ("_expanded", "public")

    def __init__(self, expanded: bytes, public: PublicKey) -> None:
        self._expanded = expanded
        self.public = public

    @classmethod
    def from_seed(cls, seed: bytes) -> PrivateKey:
        """Make the key for a seed of 32 random bytes."""
        return cls(_expand(seed), PublicKey(_public_of_seed(seed)))

    @classmethod
    def from_blob(cls, blob: bytes) -> PrivateKey:
        """Make the key from the 96 bytes of a key file. The public part is not checked, as in tinc."""
        if len(blob) != BLOB_SIZE:
            raise DecodeError("private key of wrong length")
        return cls(blob[:EXPANDED_SIZE], PublicKey(blob[EXPANDED_SIZE:]))

    @property
    def blob(self) -> bytes:
        """The 96 bytes of a key file."""
        return self._expanded + self.public.raw

    def __repr__(self) -> str:
        """Show only the public part."""
        return f"<PrivateKey of {self.public.text}>"

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature (RFC 8032, from the expanded key)."""
        scalar, prefix = self._expanded[:32], self._expanded[32:]
        r = crypto_core_ed25519_scalar_reduce(hashlib.sha512(prefix + message).digest())
        point = crypto_scalarmult_ed25519_base_noclamp(r)
        k = crypto_core_ed25519_scalar_reduce(hashlib.sha512(point + self.public.raw + message).digest())
        return point + crypto_core_ed25519_scalar_add(crypto_core_ed25519_scalar_mul(k, scalar), r)


class EphemeralKey:
    """One side's key of one key exchange. The public value is an Edwards point, as tinc sends it."""

    __slots__ = ("_private", "public")

    def __init__(self, seed: bytes) -> None:
        self.public = _public_of_seed(seed)
        # X25519 clamps the scalar itself.
        self._private = X25519PrivateKey.from_private_bytes(hashlib.sha512(seed).digest()[:32])

    def __repr__(self) -> str:
        """Show nothing of the key."""
        return "<EphemeralKey>"

    def shared(self, peer_public: bytes) -> bytes:
        """Return the 32-byte shared secret; `AuthenticationError` if it would be all zero.

        tinc continues with the zeros instead. The peer's value is public, so plain integers leak no secret.
        """
        if len(peer_public) != PUBLIC_SIZE:
            raise DecodeError("public value of wrong length")
        y = int.from_bytes(peer_public, "little") & (2**255 - 1)
        try:
            u = (1 + y) * pow(1 - y, -1, _P) % _P
            return self._private.exchange(X25519PublicKey.from_public_bytes(u.to_bytes(32, "little")))
        except ValueError:
            raise AuthenticationError("key exchange with a point of small order") from None


def _block(kind: str, data: bytes) -> str:
    lines = [
        b64.encode(data[start : start + _BYTES_PER_LINE]) for start in range(0, len(data), _BYTES_PER_LINE)
    ]
    return "\n".join([f"-----BEGIN {kind}-----", *lines, f"-----END {kind}-----", ""])


def parse_private_key(text: str) -> PrivateKey:
    """Parse the first private key block in a file's text. Raises `DecodeError` if there is no usable one."""
    return PrivateKey.from_blob(read_block(text, PRIVATE_BLOCK, BLOB_SIZE))


def parse_public_key(text: str) -> PublicKey:
    """Parse the first public key block in a file's text. Raises `DecodeError` if there is no usable one."""
    return PublicKey(read_block(text, PUBLIC_BLOCK, PUBLIC_SIZE))


def format_private_key(key: PrivateKey) -> str:
    """Return the text of a private key file."""
    return _block(PRIVATE_BLOCK, key.blob)


def format_public_key(key: PublicKey) -> str:
    """Return the text of a public key block."""
    return _block(PUBLIC_BLOCK, key.raw)


def disable_old_keys(text: str, kind: str) -> str | None:
    """Return ``text`` with keys of ``kind`` ("Ed25519" or "RSA") commented out, None if there were none.

    docs/protocol-sptps.md, "Replacing keys" (tinc: disable_old_keys()).
    """
    marker = f" {kind.upper()} "
    result: list[str] = []
    in_block = found = False
    # Not splitlines(): tinc's lines end only at LF, not at a form feed or a lone CR.
    for line in _LINE.findall(text):
        if not in_block and line.startswith("-----BEGIN ") and marker in line:
            in_block = found = True
        is_variable = kind.lower() == "ed25519" and _is_public_key_line(line)
        found = found or is_variable
        result.append("#" + line if in_block or is_variable else line)
        if in_block and line.startswith("-----END "):
            in_block = False
    return "".join(result) if found else None


def _is_public_key_line(line: str) -> bool:
    name = "ed25519publickey"
    return line[: len(name)].lower() == name and line[len(name) : len(name) + 1] in (" ", "\t", "=")


def key_hash(public_text: str) -> bytes:
    """Return the 18-byte hash of an invitation key for a URL (docs/protocol-sptps.md, "Hashes").

    ``public_text`` is hashed as received. Raises `DecodeError` if it cannot be the text of a key.
    """
    return hashlib.sha512(_ascii(public_text)).digest()[:HASH_SIZE]


def invitation_file_name(cookie: bytes, public_text: str) -> str:
    """Return the name of the file that holds the invitation with ``cookie`` (18 bytes)."""
    digest = hashlib.sha512(cookie + _ascii(public_text)).digest()
    return b64.encode(digest[:HASH_SIZE], urlsafe=True)


def document_message(content: bytes, name: str, time: int) -> bytes:
    """Return what ``tinc sign`` signs for a file: content, node name and Unix time.

    See docs/protocol-sptps.md, "Signed files".
    """
    return content + b" %s %d" % (_ascii(name), time)


def _ascii(text: str) -> bytes:
    try:
        return text.encode("ascii")
    except UnicodeEncodeError:
        raise DecodeError("text of a key or name that is not ASCII") from None
