"""Poly1305 by either library: the same tags, and what is not right is refused."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest
from cryptography.hazmat.primitives.poly1305 import Poly1305
from hypothesis import given
from hypothesis import strategies as st

from pytinc.crypto import poly1305

KEYS = st.binary(min_size=32, max_size=64)


@given(KEYS, st.binary(max_size=2000))
def test_the_tag_is_that_of_openssl(key: bytes, data: bytes) -> None:
    tag = Poly1305.generate_tag(key[:32], data)
    assert poly1305.generate_tag(key, data) == tag
    assert poly1305.verify_tag(tag, key, data)


@given(KEYS, st.binary(max_size=100), st.integers(0, 127))
def test_a_tag_with_one_wrong_bit_is_refused(key: bytes, data: bytes, bit: int) -> None:
    tag = (int.from_bytes(poly1305.generate_tag(key, data), "big") ^ 1 << bit).to_bytes(16, "big")
    assert not poly1305.verify_tag(tag, key, data)


@pytest.mark.parametrize("size", [0, 1, 15, 17, 32])
def test_a_tag_of_another_length_is_refused(size: int) -> None:
    key, data = bytes(range(32)), b"data"
    tag = (poly1305.generate_tag(key, data) * 2)[:size]
    assert not poly1305.verify_tag(tag, key, data)


def test_a_short_key_is_never_read_beyond_its_end() -> None:
    with pytest.raises(ValueError, match="short"):
        poly1305.generate_tag(bytes(31), b"data")


@pytest.mark.skipif(poly1305.sodium is None, reason="libsodium's Poly1305 cannot be reached")
@given(KEYS, st.binary(min_size=1, max_size=2000))
def test_the_tag_is_the_same_by_address(key: bytes, data: bytes) -> None:
    assert poly1305.sodium is not None
    memory = np.frombuffer(bytearray(key[:32] + bytes(16) + data), np.uint8)
    at = memory.__array_interface__["data"][0]
    poly1305.sodium.tag_at(at + 32, at + 48, len(data), at)
    assert memory[32:48].tobytes() == poly1305.generate_tag(key, data)
    assert poly1305.sodium.verify_at(at + 32, at + 48, len(data), at) == 0
    memory[40] ^= 1
    assert poly1305.sodium.verify_at(at + 32, at + 48, len(data), at) != 0


WITHOUT_SODIUM = """
import sys
sys.modules["nacl"] = None
from pytinc.crypto import poly1305
from pytinc.crypto.aead import RecordCipher
assert poly1305.sodium is None
cipher = RecordCipher(bytes(range(64)))
sealed = cipher.seal(7, b"payload")
assert cipher.open(7, sealed) == b"payload"
assert cipher.open(8, sealed) is None
print(sealed.hex())
"""


def test_without_libsodium_openssl_makes_the_same_records() -> None:
    from pytinc.crypto.aead import RecordCipher

    done = subprocess.run([sys.executable, "-c", WITHOUT_SODIUM], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == RecordCipher(bytes(range(64))).seal(7, b"payload").hex()


@pytest.fixture
def by_openssl(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module as it is where libsodium cannot be reached."""
    monkeypatch.setitem(sys.modules, "nacl", None)
    spec = importlib.util.find_spec("pytinc.crypto.poly1305")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.sodium is None
    return module


@pytest.mark.parametrize("size", [0, 15, 16, 1500])
def test_openssl_makes_and_takes_the_same_tags(by_openssl: ModuleType, size: int) -> None:
    key, data = bytes(range(64)), bytes(size)
    tag = by_openssl.generate_tag(key, data)
    assert tag == poly1305.generate_tag(key, data)
    assert by_openssl.verify_tag(tag, key, data)
    assert not by_openssl.verify_tag(tag, key, data + b"x")
    assert not by_openssl.verify_tag(tag[:15], key, data)
