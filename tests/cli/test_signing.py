"""sign and verify: signed files."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.cli.signing import parse_document

if TYPE_CHECKING:
    from cli.conftest import Run

# Made by tinc (docs/tinc-program.md, "sign and verify").
KEY = "gLeZdAjSACcESEAsVpLQtAzCV2LsvSaebOuiGKc9bUN"
FIRST = (
    "Signature = foo 1795379367 "
    "zwBpUvfQ2TxArlOlzuuZ3RAF/xyyXwz6M4zFG54g96FEkb82rMlKW3qrJ0VTW3O8S9pXMnCqWqXn1ajnCUj2FA"
)
CONTENT = "hello\nworld\n"


@pytest.fixture
def signed(conf: Path) -> str:
    (conf / "hosts/foo").write_text(f"Ed25519PublicKey = {KEY}\n")
    return f"{FIRST}\n{CONTENT}"


@pytest.mark.parametrize("name", ["foo", "*"])
def test_a_signature_of_tinc_is_valid(run: Run, signed: str, name: str) -> None:
    assert run("-c", "conf", "verify", name, stdin=signed) == (0, CONTENT, "")


def test_a_key_may_be_in_a_pem_block(run: Run, conf: Path, signed: str) -> None:
    block = f"Port = 1\n-----BEGIN ED25519 PUBLIC KEY-----\n{KEY}\n-----END ED25519 PUBLIC KEY-----\n"
    (conf / "hosts/foo").write_text(block)
    assert run("-c", "conf", "verify", "foo", stdin=signed).out == CONTENT


def test_words_after_the_signature_are_ignored(run: Run, signed: str) -> None:
    assert run("-c", "conf", "verify", "foo", stdin=signed.replace(FIRST, FIRST + " more")).out == CONTENT


def test_what_we_sign_verifies(run: Run, conf: Path, tmp_path: Path) -> None:
    data = b"odd \xff bytes\r\n\x00 no newline"
    (tmp_path / "file").write_bytes(data)
    result = run("-c", "conf", "sign", "file")
    assert result.status == 0
    (tmp_path / "signed").write_bytes(result.out.encode("utf-8", "surrogateescape"))
    assert run("-c", "conf", "verify", ".", "signed").out.encode("utf-8", "surrogateescape") == data
    assert run("-c", "conf", "sign", stdin=data).out.split("\n", 1)[1] == result.out.split("\n", 1)[1]


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (("hello", "hallo"), "Invalid signature"),
        (("1795379367", "1795379368"), "Invalid signature"),
        (("1795379367", "0"), "Invalid input"),
        ((" foo ", " bar "), "Signature is not made by foo"),
        ((" foo ", " f-o "), "Invalid input"),
        (("zwBp", "zwB"), "Invalid input"),
        (("zwBp", "zwB!"), "Invalid input"),
        (("Signature", "signature"), "Invalid input"),
        (("\n", " "), "Invalid input"),
    ],
)
def test_damage_is_found(run: Run, signed: str, damage: tuple[str, str], complaint: str) -> None:
    result = run("-c", "conf", "verify", "foo", stdin=signed.replace(*damage))
    assert result == (1, "", complaint + "\n")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["verify", "a-b"], "Invalid node name"),
        (["verify", "foo", "nofile"], "Could not open nofile: No such file or directory"),
        (["verify", "beta"], "Invalid input"),
        (["sign", "nofile"], "Could not open nofile: No such file or directory"),
    ],
)
def test_failures_are_reported(run: Run, conf: Path, words: list[str], complaint: str) -> None:
    assert run("-c", "conf", *words) == (1, "", complaint + "\n")


def test_a_node_without_a_key_cannot_have_signed(run: Run, conf: Path, signed: str) -> None:
    (conf / "hosts/foo").write_text("Port = 1\n")
    result = run("-c", "conf", "verify", "*", stdin=signed)
    assert result == (1, "", "Could not read public key from conf/hosts/foo\n")
    (conf / "hosts/foo").unlink()
    assert run("-c", "conf", "verify", "*", stdin=signed).err.startswith("Could not open conf/hosts/foo: ")


def test_the_key_may_come_from_the_service_manager(
    run: Run, conf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (conf / "ed25519_key.priv").rename(tmp_path / "ed25519_key.priv")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    signed = run("-c", "conf", "sign", stdin=b"text").out
    assert run("-c", "conf", "verify", ".", stdin=signed.encode()).out == "text"


def test_a_bad_private_key_is_reported(run: Run, conf: Path) -> None:
    (conf / "ed25519_key.priv").write_text("junk")
    result = run("-c", "conf", "sign", stdin="x")
    assert result == (1, "", "Could not read private key from conf/ed25519_key.priv\n")


almost = st.binary(max_size=90).map(lambda tail: b"Signature = a 1 " + tail)


@given(st.one_of(st.binary(max_size=300), almost))
def test_input_from_anywhere_is_refused_in_one_way(data: bytes) -> None:
    with contextlib.suppress(click.ClickException):
        parse_document(data)
