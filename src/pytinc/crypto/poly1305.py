"""Poly1305 tags, made by libsodium if its function is available, else by OpenSSL.

For each tag, OpenSSL needs about 3 us of set-up and libsodium 0.4 us (benchmarks/micro_sptps.py); each of
tinc's records needs one tag. PyNaCl includes libsodium but does not expose this function, which is part of
libsodium's public interface. So this module looks it up in PyNaCl's library, and calls it in PyNaCl's way, by
the compiled part of cffi. (The package cffi would load a parser of C at each start.) If the function is not
exported, or makes a wrong tag, OpenSSL does the work.

Only `pytinc.crypto.aead` uses this module.
"""

from __future__ import annotations

import ctypes
import hmac
from collections.abc import Callable
from typing import Any, Final

from cryptography.hazmat.primitives.poly1305 import Poly1305 as _OpenSSL

KEY_SIZE: Final = 32
TAG_SIZE: Final = 16

GenerateTag = Callable[[bytes, bytes], bytes]
VerifyTag = Callable[[bytes, bytes, bytes], bool]
TagAt = Callable[[int, int, int, int], int]

_SYMBOL: Final = "crypto_onetimeauth_poly1305"
_GENERATE_BY_BUFFER: Final = (
    "int(*)(unsigned char *out, const unsigned char *in, unsigned long long inlen, const unsigned char *k)"
)
_VERIFY_BY_BUFFER: Final = (
    "int(*)(const unsigned char *tag, const unsigned char *in, unsigned long long inlen,"
    " const unsigned char *k)"
)
_BY_ADDRESS: Final = "int(*)(uintptr_t out, uintptr_t in, unsigned long long inlen, uintptr_t k)"
"""The same functions with plain numbers for pointers: making a pointer takes longer than making a tag."""

# RFC 8439, 2.5.2.
_TEST_KEY: Final = bytes.fromhex("85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b")
_TEST_DATA: Final = b"Cryptographic Forum Research Group"
_TEST_TAG: Final = bytes.fromhex("a8061dc1305136c6c22b8baf0c0127a9")


def _generate_by_openssl(key: bytes, data: bytes) -> bytes:
    return _OpenSSL.generate_tag(key[:KEY_SIZE], data)


def _verify_by_openssl(tag: bytes, key: bytes, data: bytes) -> bool:
    return hmac.compare_digest(_generate_by_openssl(key, data), tag)


class Sodium:
    """libsodium's functions, for one thread. Raises `OSError` or `AttributeError` if they are missing."""

    def __init__(self) -> None:
        from nacl import _sodium

        # Selects the fastest code for this processor, unless PyNaCl has done so already.
        _sodium.lib.sodium_init()
        library = ctypes.CDLL(_sodium.__file__)
        generate = ctypes.cast(getattr(library, _SYMBOL), ctypes.c_void_p).value
        verify = ctypes.cast(getattr(library, f"{_SYMBOL}_verify"), ctypes.c_void_p).value
        self._ffi: Any = _sodium.ffi
        self._tag = bytearray(TAG_SIZE)
        self._tag_pointer = self._ffi.from_buffer(self._tag)
        self._generate: Any = self._ffi.cast(_GENERATE_BY_BUFFER, generate)
        self._verify: Any = self._ffi.cast(_VERIFY_BY_BUFFER, verify)
        self.tag_at: TagAt = self._ffi.cast(_BY_ADDRESS, generate)
        """Writes a tag. Arguments: the address of its 16 bytes, address and length of the data, address of
        the key. The caller must make sure that the addresses are valid."""
        self.verify_at: TagAt = self._ffi.cast(_BY_ADDRESS, verify)
        """Takes the same arguments, with the address of a tag to check; returns 0 if the tag is right."""

    def generate(self, key: bytes, data: bytes) -> bytes:
        """Do what `generate_tag` does."""
        if len(key) < KEY_SIZE:
            raise ValueError("a key that is too short")
        self._generate(self._tag_pointer, data, len(data), key)
        return bytes(self._tag)

    def address_of(self, buffer: bytearray | memoryview) -> int:
        """Return the address of a writable buffer. It is valid while the buffer exists and is not resized."""
        address: int = int(self._ffi.cast("uintptr_t", self._ffi.from_buffer(buffer)))
        return address

    def verify(self, tag: bytes, key: bytes, data: bytes) -> bool:
        """Do what `verify_tag` does."""
        if len(key) < KEY_SIZE or len(tag) != TAG_SIZE:
            return False
        result: int = self._verify(tag, data, len(data), key)
        return result == 0


def _load() -> Sodium | None:
    try:
        library = Sodium()
    except (ImportError, OSError, AttributeError):
        return None
    return library if library.generate(_TEST_KEY, _TEST_DATA) == _TEST_TAG else None


sodium: Final = _load()
"""None if libsodium's Poly1305 is not available."""
generate_tag: Final[GenerateTag] = _generate_by_openssl if sodium is None else sodium.generate
"""Return the tag of ``data`` under a one-time key, the first 32 bytes of its argument."""
verify_tag: Final[VerifyTag] = _verify_by_openssl if sodium is None else sodium.verify
"""Return whether ``tag`` (the first argument) is that of ``data`` (the last one) under a key."""
