"""PEM-like blocks: docs/protocol-sptps.md, "Key files"; the table is vectors/keyfiles.json."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.errors import DecodeError
from pytinc.wire import b64
from pytinc.wire.pem import read_block

LINE_1 = "QcBQEus3SD0vTZl85/VXe/Qj2ypyXXtnwhbcI6XW6J2iVeG3Di2geOiR5X1OJhmx"
LINE_2 = "+XYbaZXaxXsTWaPX9TKs5AA0a1hHiGVOtVle7TNWLyTbZu96X+S7QMaJipuJczt+"
SECRET = bytes.fromhex(
    "10174084cbded240bf5356f2f95f5dde0f8db69ccad7d59e70b871887e597a628b9567dc8368839e2346f9553b4968c6"
    "fe856d5a7669f1c54e96f65cfda4b03900d05a1d1ea251396d557afbd4588b3c6d99dbeb972fed10a32562ea26dcdcfa"
)
PUBLIC = SECRET[64:]
PUBLIC_TEXT = "AAtWd4hoRlTbVp3+Uj1i80Wmbv+lv0OEjWiYqbC3crP"
BEGIN = "-----BEGIN ED25519 PRIVATE KEY-----\n"
END = "-----END ED25519 PRIVATE KEY-----\n"
PUBLIC_BLOCK = f"-----BEGIN ED25519 PUBLIC KEY-----\n{PUBLIC_TEXT}\n-----END ED25519 PUBLIC KEY-----\n"
WHOLE = f"{BEGIN}{LINE_1}\n{LINE_2}\n{END}"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(WHOLE, id="as written"),
        pytest.param("# some comment\nName = foo\n\n" + WHOLE, id="text before the key"),
        pytest.param(WHOLE + "trailing text\n", id="text after the key"),
        pytest.param(WHOLE.replace("\n", "\r\n"), id="CRLF line ends"),
        pytest.param(f"{BEGIN}{LINE_1}{LINE_2}\n{END}", id="one line of 128 characters"),
        pytest.param(f"{BEGIN}{LINE_1[:32]}\n{LINE_1[32:]}\n{LINE_2}\n{END}", id="lines of 32, 32 and 64"),
        pytest.param(f"{BEGIN}{LINE_1}\n{LINE_2}\n\n{END}", id="empty line after the data"),
        pytest.param(f"{BEGIN}{LINE_1}\n{LINE_2}\n{LINE_1}\n{END}", id="third line after the data"),
        pytest.param(f"{BEGIN}{LINE_1}\n{LINE_2}", id="no END line, no final newline"),
        pytest.param(f"-----BEGIN ED25519 PRIVATE KEY and\n{LINE_1}\n{LINE_2}\n-----END \n", id="markers"),
        pytest.param(f"#{BEGIN}#{LINE_2}\n#{LINE_1}\n#{END}{WHOLE}", id="disabled key before the live one"),
        pytest.param(PUBLIC_BLOCK + WHOLE, id="public block first"),
        pytest.param(
            "-----BEGIN RSA PRIVATE KEY-----\nABCD\n-----END RSA PRIVATE KEY-----\n" + WHOLE, id="RSA"
        ),
    ],
)
def test_a_block_that_tinc_accepts_is_read(text: str) -> None:
    assert read_block(text, "ED25519 PRIVATE KEY", 96) == SECRET


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param(f"{BEGIN}{LINE_1}\n\n{LINE_2}\n{END}", "Too little", id="empty line between the data"),
        pytest.param(f"{BEGIN}{LINE_1}\n{END}", "Too little", id="too little data"),
        pytest.param(f"{BEGIN}{LINE_1} \n{LINE_2}\n{END}", "Too little", id="space at the end of a line"),
        pytest.param(f"{BEGIN}{LINE_1}\n{LINE_2}AA\n{END}", "Too much", id="too much data"),
        pytest.param(f" {WHOLE}", "no ED25519 PRIVATE KEY", id="space before BEGIN"),
        pytest.param(PUBLIC_BLOCK, "no ED25519 PRIVATE KEY", id="another block only"),
        pytest.param("", "no ED25519 PRIVATE KEY", id="empty file"),
    ],
)
def test_a_block_that_tinc_refuses_is_refused_without_quoting_it(text: str, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason) as caught:
        read_block(text, "ED25519 PRIVATE KEY", 96)
    assert LINE_1 not in str(caught.value)


def test_a_public_block_is_found_among_others() -> None:
    assert read_block(WHOLE + PUBLIC_BLOCK, "ED25519 PUBLIC KEY", 32) == PUBLIC


def test_only_the_first_block_of_the_kind_counts() -> None:
    with pytest.raises(DecodeError):
        read_block(f"{BEGIN}{END}{WHOLE}", "ED25519 PRIVATE KEY", 96)


@given(st.binary(min_size=96, max_size=96), st.sampled_from([3, 12, 48, 96]))
def test_a_key_split_into_whole_groups_is_joined_again(secret: bytes, width: int) -> None:
    lines = "".join(b64.encode(secret[i : i + width]) + "\n" for i in range(0, 96, width))
    assert read_block(BEGIN + lines + END, "ED25519 PRIVATE KEY", 96) == secret


@given(st.text(), st.text(alphabet="Aa0+/-_=\r\n ", max_size=200))
def test_any_text_raises_nothing_but_decode_error(text: str, body: str) -> None:
    for damaged in (text, BEGIN + text, BEGIN + body):
        with contextlib.suppress(DecodeError):
            assert len(read_block(damaged, "ED25519 PRIVATE KEY", 96)) == 96
