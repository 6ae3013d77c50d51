"""Keys, key files and hashes (docs/protocol-sptps.md): five vector files, and properties."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from pytinc.crypto.keys import (
    EphemeralKey,
    PrivateKey,
    PublicKey,
    disable_old_keys,
    document_message,
    format_private_key,
    format_public_key,
    invitation_file_name,
    key_hash,
    parse_private_key,
    parse_public_key,
)
from pytinc.errors import AuthenticationError, DecodeError
from pytinc.wire import b64
from pytinc.wire.datagram import node_id

FOLDER = Path(__file__).parents[1] / "data/vectors"
ED25519, ECDH, KEYFILES, HASHES, BASE64 = (
    json.loads((FOLDER / f"{name}.json").read_text())
    for name in ("ed25519", "ecdh", "keyfiles", "hashes", "base64")
)
SEEDS = st.binary(min_size=32, max_size=32)
PRIVATE = PrivateKey.from_seed(bytes(range(32)))


def about(case: dict[str, Any]) -> str:
    return str(case["about"])


# -- long-term keys --


@pytest.mark.parametrize("case", ED25519["keys"], ids=about)
def test_key_vector(case: dict[str, Any]) -> None:
    key = PrivateKey.from_seed(bytes.fromhex(case["seed"]))
    assert key.blob.hex() == case["private_expanded"] + case["public"]
    assert key.public.raw.hex() == case["public"]
    assert key.public.text == case["public_text"]
    assert format_private_key(key) == case["private_file"]
    assert format_public_key(key.public) == case["public_file"]
    assert parse_private_key(case["private_file"]).blob == key.blob
    assert parse_public_key(case["public_file"]) == key.public
    assert PublicKey.from_text(case["public_text"]) == key.public


@pytest.mark.parametrize("case", ED25519["signatures"], ids=about)
def test_signature_vector(case: dict[str, Any]) -> None:
    key = PrivateKey.from_blob(bytes.fromhex(case["private_expanded"] + case["public"]))
    message, signature = bytes.fromhex(case["message"]), bytes.fromhex(case["signature"])
    assert key.sign(message) == signature
    assert key.public.verify(signature, message)


@pytest.mark.parametrize("case", ED25519["verify"], ids=about)
def test_verification_vector(case: dict[str, Any]) -> None:
    key = PublicKey(bytes.fromhex(case["public"]))
    verdict = key.verify(bytes.fromhex(case["signature"]), bytes.fromhex(case["message"]))
    if "S+L" in case["about"]:
        assert not verdict, "pytinc is stricter than tinc with the malleable form; both conform"
    else:
        assert verdict is case["accept"]


@given(SEEDS, st.binary(max_size=300))
def test_signing_with_the_expanded_key_equals_rfc_8032_with_the_seed(seed: bytes, message: bytes) -> None:
    signature = PrivateKey.from_seed(seed).sign(message)
    assert signature == Ed25519PrivateKey.from_private_bytes(seed).sign(message)


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_verifying_garbage_returns_false(signature: bytes, message: bytes) -> None:
    assert not PRIVATE.public.verify(signature, message)
    assert not PublicKey(b"\x02" + bytes(31)).verify(signature, message)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_public_key_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(DecodeError):
        PublicKey(bytes(size))


@pytest.mark.parametrize("size", [0, 64, 95, 97])
def test_a_private_key_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(DecodeError):
        PrivateKey.from_blob(bytes(size))


def test_public_keys_compare_by_value_and_can_be_looked_up() -> None:
    twin = PublicKey.from_text(PRIVATE.public.text)
    assert twin == PRIVATE.public
    assert len({twin, PRIVATE.public}) == 1
    assert twin != PublicKey(bytes(32))
    assert twin != PRIVATE.public.raw
    assert PRIVATE.public.text in repr(twin)


def test_repr_contains_no_secret() -> None:
    ephemeral = EphemeralKey(bytes(range(32)))
    for shown in (repr(PRIVATE), repr(ephemeral)):
        for secret in (PRIVATE.blob[:64], bytes(range(32))):
            assert b64.encode(secret)[:10] not in shown
            assert secret.hex()[:10] not in shown
            assert repr(secret)[2:12] not in shown


# -- ephemeral keys --


@pytest.mark.parametrize("case", ECDH["pairs"], ids=about)
def test_key_exchange_vector(case: dict[str, Any]) -> None:
    a, b = (EphemeralKey(bytes.fromhex(case[name])) for name in ("seed_a", "seed_b"))
    assert (a.public.hex(), b.public.hex()) == (case["public_a"], case["public_b"])
    assert a.shared(b.public).hex() == b.shared(a.public).hex() == case["shared"]


@pytest.mark.parametrize("case", ECDH["unusual"], ids=about)
def test_unusual_public_value_vector(case: dict[str, Any]) -> None:
    key, peer = EphemeralKey(bytes.fromhex(case["seed"])), bytes.fromhex(case["peer_public"])
    if case["may_reject"] == "should":
        with pytest.raises(AuthenticationError):
            key.shared(peer)
    else:
        assert key.shared(peer).hex() == case["tinc_shared"]


def test_the_neutral_element_is_refused_in_its_non_canonical_form_too() -> None:
    with pytest.raises(AuthenticationError):
        EphemeralKey(bytes(32)).shared((2**255 - 19 + 1).to_bytes(32, "little"))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_public_value_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(DecodeError):
        EphemeralKey(bytes(32)).shared(b"\x09" * size)


@given(SEEDS, SEEDS)
def test_both_sides_derive_the_same_secret(a: bytes, b: bytes) -> None:
    assert EphemeralKey(a).shared(EphemeralKey(b).public) == EphemeralKey(b).shared(EphemeralKey(a).public)


@given(SEEDS)
def test_any_public_value_raises_nothing_but_authentication_error(peer: bytes) -> None:
    with contextlib.suppress(AuthenticationError):
        assert len(EphemeralKey(bytes(32)).shared(peer)) == 32


# -- text and files --


@pytest.mark.parametrize("case", BASE64["public_key"], ids=lambda case: case["text"])
def test_public_key_text_vector(case: dict[str, Any]) -> None:
    if case["accept"]:
        assert len(PublicKey.from_text(case["text"]).raw) == 32
    else:
        with pytest.raises(DecodeError):
            PublicKey.from_text(case["text"])


@pytest.mark.parametrize("case", KEYFILES["read"], ids=about)
def test_key_file_vector(case: dict[str, Any]) -> None:
    def read() -> bytes:
        if case["kind"] == "private":
            return parse_private_key(case["text"]).blob
        return parse_public_key(case["text"]).raw

    if case["accept"]:
        assert read().hex() == case["key"]
    else:
        with pytest.raises(DecodeError):
            read()


@given(SEEDS)
def test_a_formatted_key_is_read_back(seed: bytes) -> None:
    key = PrivateKey.from_seed(seed)
    assert len(format_private_key(key)) == 200
    assert len(format_public_key(key.public)) == 112
    assert parse_private_key(format_private_key(key)).blob == key.blob
    assert parse_public_key(format_public_key(key.public)) == key.public


@given(
    st.one_of(
        st.text(),
        st.lists(st.sampled_from([*format_private_key(PRIVATE).splitlines(), "", "#", "\0", "AAAA"])).map(
            "\n".join
        ),
    )
)
def test_any_text_raises_nothing_but_decode_error(text: str) -> None:
    for parse in (parse_private_key, parse_public_key, PublicKey.from_text):
        with contextlib.suppress(DecodeError):
            parse(text)


# -- replacing keys --


@pytest.mark.parametrize("case", KEYFILES["disable"], ids=about)
def test_old_key_vector(case: dict[str, Any]) -> None:
    result = disable_old_keys(case["before"], case["what"].split()[1])
    if case["before"] == case["after"]:
        assert result is None
    else:
        assert result == case["after"]


@pytest.mark.parametrize("separator", ["\f", "\v", "\r", "\x1c", "\x85", "\u2028"])
def test_only_a_newline_begins_a_line(separator: str) -> None:
    assert disable_old_keys(f"# note{separator}Ed25519PublicKey = x\n", "Ed25519") is None


def test_a_block_without_end_reaches_to_the_end_of_the_file() -> None:
    text = "-----BEGIN ED25519 PRIVATE KEY-----\nabc\nName = x"
    assert disable_old_keys(text, "Ed25519") == "#-----BEGIN ED25519 PRIVATE KEY-----\n#abc\n#Name = x"


def test_a_name_that_only_begins_like_the_variable_is_left_alone() -> None:
    assert disable_old_keys("Ed25519PublicKeyFile = y\nEd25519PublicKey\n", "Ed25519") is None


@given(st.text(), st.sampled_from(["Ed25519", "RSA"]))
def test_disabling_only_inserts_number_signs_and_leaves_nothing_to_disable(text: str, kind: str) -> None:
    text += "\n" + format_private_key(PRIVATE).replace("ED25519", kind.upper())
    once = disable_old_keys(text, kind)
    assert once is not None
    assert [line.removeprefix("#") for line in once.split("\n")] == [
        line.removeprefix("#") for line in text.split("\n")
    ]
    assert disable_old_keys(once, kind) is None


# -- hashes and signed documents --


@pytest.mark.parametrize("case", HASHES["invitation"], ids=about)
def test_invitation_vector(case: dict[str, Any]) -> None:
    text, cookie = case["public_text"], bytes.fromhex(case["cookie"])
    assert key_hash(text).hex() == case["key_hash"]
    assert b64.encode(key_hash(text), urlsafe=True) == case["key_hash_text"]
    assert b64.encode(cookie, urlsafe=True) == case["cookie_text"]
    assert case["key_hash_text"] + case["cookie_text"] == case["url_tail"]
    assert invitation_file_name(cookie, text) == case["file_name"]


@pytest.mark.parametrize("case", HASHES["signed_text"], ids=about)
def test_signed_document_vector(case: dict[str, Any]) -> None:
    key = PrivateKey.from_blob(bytes.fromhex(case["private_expanded"] + case["public"]))
    content = bytes.fromhex(case["message"])
    message = document_message(content, case["name"], case["time"])
    signature = key.sign(message)
    assert b64.encode(signature) == case["signature_text"]
    first_line = f"Signature = {case['name']} {case['time']} {case['signature_text']}\n"
    assert first_line.encode("ascii") + content == bytes.fromhex(case["file"])
    assert key.public.verify(signature, message)
    assert not key.public.verify(signature, document_message(content, case["name"], case["time"] + 1))


@pytest.mark.parametrize("case", HASHES["node_id"], ids=lambda case: case["name"])
def test_node_id_vector(case: dict[str, Any]) -> None:
    assert node_id(case["name"]).hex() == case["id"]


def test_a_key_text_from_outside_that_is_not_ascii_is_a_decode_error() -> None:
    for hashed in (lambda: key_hash("ключ"), lambda: invitation_file_name(bytes(18), "\udc80")):
        with pytest.raises(DecodeError):
            hashed()
