"""ChaCha20-Poly1305 of SPTPS: vectors/chacha_poly1305.json, and an independent twin.

See docs/protocol-sptps.md, "Record cipher".

The fast tag is checked against the construction of RFC 8439, section 2.8, written out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.poly1305 import Poly1305
from hypothesis import given
from hypothesis import strategies as st

from pytinc.crypto import aead
from pytinc.crypto.aead import AesRecordCipher, RecordCipher, make_cipher
from pytinc.wire.records import SptpsCipher

FOLDER = Path(__file__).parents[1] / "data/vectors"
VECTORS = json.loads((FOLDER / "chacha_poly1305.json").read_text())
AES_VECTORS = json.loads((FOLDER / "aes_256_gcm.json").read_text())["cases"]
KEY = bytes(range(64))
SEQNOS = st.integers(0, 2**32 - 1)


def keystream(key: bytes, seqno: int, block: int, size: int) -> bytes:
    """A fresh cipher for every use, which `RecordCipher` avoids."""
    nonce = block.to_bytes(8, "little") + seqno.to_bytes(8, "big")
    return Cipher(algorithms.ChaCha20(key[:32], nonce), mode=None).encryptor().update(bytes(size))


def seal_plainly(key: bytes, seqno: int, plaintext: bytes) -> bytes:
    stream = keystream(key, seqno, 1, len(plaintext))
    ciphertext = bytes(a ^ b for a, b in zip(plaintext, stream, strict=True))
    return ciphertext + Poly1305.generate_tag(keystream(key, seqno, 0, 32), ciphertext)


@pytest.mark.parametrize("case", VECTORS["encrypt"], ids=lambda case: case["about"])
def test_encryption_vector(case: dict[str, Any]) -> None:
    cipher = RecordCipher(bytes.fromhex(case["key"]))
    plaintext, output = bytes.fromhex(case["plaintext"]), bytes.fromhex(case["output"])
    assert cipher.seal(case["seqno"], plaintext) == output
    assert cipher.open(case["seqno"], output) == plaintext


@pytest.mark.parametrize("case", VECTORS["reject"], ids=lambda case: case["about"])
def test_rejection_vector(case: dict[str, Any]) -> None:
    cipher = RecordCipher(bytes.fromhex(case["key"]))
    sealed = bytes.fromhex(case["input"])
    assert cipher.open(case["seqno"], sealed) is None


@given(st.binary(min_size=64, max_size=64), SEQNOS, st.binary(max_size=300))
def test_sealing_equals_the_construction_with_a_fresh_cipher(
    key: bytes, seqno: int, plaintext: bytes
) -> None:
    assert RecordCipher(key).seal(seqno, plaintext) == seal_plainly(key, seqno, plaintext)


@given(st.lists(st.tuples(SEQNOS, st.binary(max_size=200), st.sampled_from(["seal", "open", "bad"]))))
def test_one_context_serves_any_sequence_of_uses(uses: list[tuple[int, bytes, str]]) -> None:
    cipher = RecordCipher(KEY)
    for seqno, plaintext, use in uses:
        sealed = seal_plainly(KEY, seqno, plaintext)
        if use == "seal":
            assert cipher.seal(seqno, plaintext) == sealed
        elif use == "open":
            assert cipher.open(seqno, sealed) == plaintext
        else:
            assert cipher.open(seqno, sealed[:-1] + bytes((sealed[-1] ^ 1,))) is None


@given(SEQNOS, st.lists(st.binary(max_size=100), max_size=8), st.integers(0, 127), st.binary(max_size=12))
def test_a_batch_equals_its_records_one_at_a_time(
    first: int, payloads: list[bytes], type_: int, prefix: bytes
) -> None:
    numbers = [(first + i) % 2**32 for i in range(len(payloads))]
    cipher = RecordCipher(KEY)
    assert cipher.seal_batch(prefix, first, bytes((type_,)), payloads) == [
        prefix + number.to_bytes(4, "big") + RecordCipher(KEY).seal(number, bytes((type_,)) + payload)
        for number, payload in zip(numbers, payloads, strict=True)
    ]


@given(SEQNOS, st.binary(max_size=15))
def test_a_record_too_short_for_a_tag_is_rejected(seqno: int, sealed: bytes) -> None:
    assert RecordCipher(KEY).open(seqno, sealed) is None


@given(SEQNOS, st.binary(max_size=64), st.data())
def test_any_changed_bit_is_noticed(seqno: int, plaintext: bytes, data: st.DataObject) -> None:
    sealed = bytearray(RecordCipher(KEY).seal(seqno, plaintext))
    bit = data.draw(st.integers(0, 8 * len(sealed) - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    assert RecordCipher(KEY).open(seqno, bytes(sealed)) is None


def test_the_second_half_of_the_key_has_no_influence() -> None:
    assert RecordCipher(KEY).seal(7, b"x") == RecordCipher(KEY[:32] + bytes(32)).seal(7, b"x")


def test_repr_does_not_contain_the_key() -> None:
    assert repr(RecordCipher(KEY)) == "<RecordCipher>"


# -- the fast tag --


def rfc_mac_input(ciphertext: bytes) -> bytes:
    """What the tag of RFC 8439 covers when there is no associated data."""
    padding = bytes(-len(ciphertext) % 16)
    return ciphertext + padding + bytes(8) + len(ciphertext).to_bytes(8, "little")


@given(st.binary(min_size=64, max_size=64), SEQNOS | st.sampled_from([0, 2**32 - 1]), st.binary(max_size=300))
def test_the_fast_form_has_the_same_ciphertext_and_the_tag_of_the_rfc(
    key: bytes, seqno: int, plaintext: bytes
) -> None:
    usual, fast = RecordCipher(key).seal(seqno, plaintext), RecordCipher(key).seal_fast(seqno, plaintext)
    assert fast[:-16] == usual[:-16]
    mac_key = keystream(key, seqno, 0, 32)
    assert fast[-16:] == Poly1305.generate_tag(mac_key, rfc_mac_input(fast[:-16]))
    assert RecordCipher(key).open_fast(seqno, fast) == plaintext


@given(SEQNOS, st.binary(min_size=1, max_size=300))
def test_a_record_of_one_form_does_not_open_as_the_other(seqno: int, plaintext: bytes) -> None:
    cipher = RecordCipher(KEY)
    usual, fast = cipher.seal(seqno, plaintext), cipher.seal_fast(seqno, plaintext)
    assert cipher.open_fast(seqno, usual) is None
    assert cipher.open(seqno, fast) is None
    assert cipher.open_strict(seqno, fast) is None
    assert cipher.open_strict(seqno, usual) == plaintext


@given(SEQNOS, st.binary(min_size=1, max_size=300))
def test_a_record_with_the_fast_tag_cannot_be_extended_by_the_padding_that_the_tag_covers(
    seqno: int, plaintext: bytes
) -> None:
    cipher = RecordCipher(KEY)
    fast = cipher.seal_fast(seqno, plaintext)
    longer = rfc_mac_input(fast[:-16]) + fast[-16:]
    # By tinc's rule alone it is authentic, and begins with the true plaintext.
    opened = cipher.open(seqno, longer)
    assert opened is not None
    assert opened.startswith(plaintext)
    assert cipher.open_strict(seqno, longer) is None


@given(SEQNOS, st.binary(max_size=100), st.integers(0, 2000))
def test_a_changed_bit_or_number_is_never_accepted_with_the_fast_tag(
    seqno: int, plaintext: bytes, at: int
) -> None:
    cipher = RecordCipher(KEY)
    sealed = bytearray(cipher.seal_fast(seqno, plaintext))
    assert cipher.open_fast(seqno ^ 1, bytes(sealed)) is None
    sealed[at // 8 % len(sealed)] ^= 1 << at % 8
    assert cipher.open_fast(seqno, bytes(sealed)) is None


@given(SEQNOS, st.lists(st.binary(max_size=100), max_size=8), st.integers(0, 127), st.binary(max_size=12))
def test_a_fast_batch_equals_its_records_one_at_a_time(
    first: int, payloads: list[bytes], type_: int, prefix: bytes
) -> None:
    numbers = [(first + i) % 2**32 for i in range(len(payloads))]
    assert RecordCipher(KEY).seal_batch_fast(prefix, first, bytes((type_,)), payloads) == [
        prefix + number.to_bytes(4, "big") + RecordCipher(KEY).seal_fast(number, bytes((type_,)) + payload)
        for number, payload in zip(numbers, payloads, strict=True)
    ]


@given(SEQNOS, st.binary(max_size=15))
def test_a_record_too_short_for_a_tag_is_rejected_in_either_form(seqno: int, sealed: bytes) -> None:
    assert RecordCipher(KEY).open_fast(seqno, sealed) is None
    assert RecordCipher(KEY).open_strict(seqno, sealed) is None


# -- super-frames --


@pytest.mark.parametrize("has_rows", [True, False], ids=["into a buffer", "older library"])
def test_a_super_frame_has_a_nonce_of_its_own_and_opens_only_under_its_number(
    monkeypatch: pytest.MonkeyPatch, has_rows: bool
) -> None:
    monkeypatch.setattr(aead, "HAS_ROWS", has_rows)
    cipher, sealed, plaintext = RecordCipher(KEY), bytearray(1016), bytearray(range(250)) * 4
    cipher.seal_super_frame(7, plaintext, memoryview(sealed), aes=False)
    nonce = bytes.fromhex("000000010000000000000007")
    assert sealed == ChaCha20Poly1305(KEY[:32]).encrypt(nonce, bytes(plaintext), None)
    assert cipher.open_super_frame(7, memoryview(sealed), aes=False) == plaintext
    assert cipher.open_super_frame(8, memoryview(sealed), aes=False) is None
    sealed[500] ^= 1
    assert cipher.open_super_frame(7, memoryview(sealed), aes=False) is None


@pytest.mark.parametrize("has_rows", [True, False], ids=["into a buffer", "older library"])
@pytest.mark.parametrize("size", [0, 15])
def test_a_super_frame_that_is_too_short_for_a_tag_is_rejected(
    monkeypatch: pytest.MonkeyPatch, has_rows: bool, size: int
) -> None:
    monkeypatch.setattr(aead, "HAS_ROWS", has_rows)
    assert RecordCipher(KEY).open_super_frame(7, memoryview(bytearray(size)), aes=False) is None


def test_the_library_that_makes_tags_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aead, "sodium", None)
    assert aead.poly1305_library().startswith("OpenSSL ")
    monkeypatch.setattr(aead, "sodium", object())
    assert aead.poly1305_library() == "libsodium"


# -- AES-256-GCM --


@pytest.mark.parametrize("case", AES_VECTORS, ids=lambda case: case["about"])
def test_aes_records_are_those_of_tincr(case: dict[str, Any]) -> None:
    key, plaintext = bytes.fromhex(case["key"]) + bytes(32), bytes.fromhex(case["plaintext"])
    sealed = bytes.fromhex(case["ciphertext"] + case["tag"])
    cipher = make_cipher(SptpsCipher.AES_256_GCM, key)
    number = case["seqno"].to_bytes(4, "big")
    assert cipher.seal(case["seqno"], plaintext) == sealed
    assert cipher.open(case["seqno"], sealed) == plaintext
    assert cipher.open(case["seqno"] + 1, sealed) is None
    for seal_all in (cipher.seal_batch, cipher.seal_batch_fast):
        assert seal_all(b"prefix", case["seqno"], plaintext[:1], [plaintext[1:]]) == [
            b"prefix" + number + sealed
        ]


def test_all_ways_to_open_an_aes_record_are_one() -> None:
    """Its last bytes may look like those of the fast tag: that means nothing here."""
    cipher = AesRecordCipher(KEY)
    sealed = cipher.seal(7, b"x" * 40)
    assert cipher.open_strict(7, sealed) == cipher.open_fast(7, sealed) == b"x" * 40
    assert RecordCipher(KEY).open_fast(7, sealed) is None
    assert repr(cipher) == "<AesRecordCipher>"


@pytest.mark.parametrize("has_rows", [True, False], ids=["into a buffer", "older library"])
def test_a_super_frame_with_aes_has_a_key_of_its_own(monkeypatch: pytest.MonkeyPatch, has_rows: bool) -> None:
    monkeypatch.setattr(aead, "HAS_ROWS", has_rows)
    cipher, sealed, plaintext = RecordCipher(KEY), bytearray(1016), bytearray(range(250)) * 4
    cipher.seal_super_frame(7, plaintext, memoryview(sealed), aes=True)
    nonce = bytes.fromhex("000000010000000000000007")
    assert sealed == AESGCM(KEY[32:]).encrypt(nonce, bytes(plaintext), None)
    assert cipher.open_super_frame(7, memoryview(sealed), aes=True) == plaintext
    assert cipher.open_super_frame(8, memoryview(sealed), aes=True) is None
    assert cipher.open_super_frame(7, memoryview(sealed), aes=False) is None
    assert cipher.open_super_frame(7, memoryview(bytearray(15)), aes=True) is None


def test_super_frames_of_an_aes_session_share_its_key_but_no_nonce() -> None:
    cipher, sealed = AesRecordCipher(KEY), bytearray(1016)
    cipher.seal_super_frame(7, bytes(1000), memoryview(sealed), aes=False)
    assert sealed == AESGCM(KEY[:32]).encrypt(bytes.fromhex("000000010000000000000007"), bytes(1000), None)
    assert cipher.open(7, bytes(sealed)) is None
    assert cipher.open_super_frame(7, memoryview(sealed), aes=False) == bytearray(1000)


@pytest.mark.parametrize(("aes", "chacha", "faster"), [(1.0, 2.0, True), (2.0, 1.0, False)])
def test_the_trial_compares_the_best_of_its_times(aes: float, chacha: float, faster: bool) -> None:
    """One slow run, as on a busy machine, changes nothing."""
    now = 0.0
    durations = [9.0, *[aes] * 7, *[chacha] * 6, 8.0, 9.0]
    ticks = [step for duration in durations for step in (0.5, duration)]

    def timer() -> float:
        nonlocal now
        now += ticks.pop(0)
        return now

    assert aead.is_aes_faster(timer) is faster
    assert ticks == []
