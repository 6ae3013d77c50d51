"""tinc's base64: vectors/base64.json, and the definition written out as a twin.

See docs/protocol-sptps.md, "Base64".
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.errors import DecodeError
from pytinc.wire import b64

VECTORS = json.loads((Path(__file__).parents[1] / "data/vectors/base64.json").read_text())
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def by_definition(data: bytes) -> str:
    number, length = int.from_bytes(data, "little"), -(-8 * len(data) // 6)
    return "".join(ALPHABET[number >> 6 * i & 63] for i in range(length))


@pytest.mark.parametrize("case", VECTORS["encode"], ids=lambda case: case["about"])
def test_encoding_vector(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["data"])
    assert b64.encode(data) == case["text"]
    assert b64.encode(data, urlsafe=True) == case["urlsafe"]


@pytest.mark.parametrize("case", VECTORS["decode"], ids=lambda case: case["about"])
def test_decoding_vector(case: dict[str, Any]) -> None:
    text = bytes.fromhex(case["text_hex"])
    result = bytes.fromhex(case["result"])
    assert len(result) == case["result_length"]
    try:
        assert b64.decode(text) == result
    except DecodeError:
        assert result == b"", "a failure and no bytes are the same to tinc"


@pytest.mark.parametrize("text", ["ab=", "ab cd", "abcd\n", "ab.d", "abcdé", b"ab\xffd", "=", "\u2028"])
def test_a_character_outside_both_alphabets_is_an_error(text: str | bytes) -> None:
    with pytest.raises(DecodeError):
        b64.decode(text)


@pytest.mark.parametrize("text", ["hJ2Y\0", "hJ2Y\0=!", b"hJ2Y\0\xff", "hJ2Y\0é"])
def test_text_after_a_zero_byte_is_ignored(text: str | bytes) -> None:
    assert b64.decode(text) == b"abc"


@given(st.binary(max_size=200))
def test_encoding_equals_the_definition(data: bytes) -> None:
    assert b64.encode(data) == by_definition(data)
    assert b64.encode(data, urlsafe=True) == by_definition(data).replace("+", "-").replace("/", "_")


@given(st.binary(max_size=200), st.booleans())
def test_what_is_encoded_can_be_decoded(data: bytes, urlsafe: bool) -> None:
    text = b64.encode(data, urlsafe=urlsafe)
    assert b64.decode(text) == b64.decode(text.encode("ascii")) == data


@given(st.text(alphabet=ALPHABET + "-_", max_size=100))
def test_any_text_of_both_alphabets_decodes_and_its_left_over_bits_are_ignored(text: str) -> None:
    data = b64.decode(text)
    assert len(data) == 6 * len(text) // 8
    number = sum(ALPHABET.index(c) << 6 * i for i, c in enumerate(text.replace("-", "+").replace("_", "/")))
    assert int.from_bytes(data, "little") == number % (1 << 8 * len(data))


@given(st.one_of(st.binary(), st.text()))
def test_any_input_raises_nothing_but_decode_error(text: str | bytes) -> None:
    with contextlib.suppress(DecodeError):
        b64.decode(text)
