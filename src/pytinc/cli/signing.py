"""sign and verify: files signed with a node's key (docs/tinc-program.md, "sign and verify")."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from pytinc.cli.files import read_text
from pytinc.config.parser import Pool, parse_text
from pytinc.config.store import private_key_credential
from pytinc.crypto.keys import (
    SIGNATURE_SIZE,
    PublicKey,
    document_message,
    parse_private_key,
    parse_public_key,
)
from pytinc.errors import DecodeError
from pytinc.wire import b64
from pytinc.wire.names import is_valid_name

if TYPE_CHECKING:
    from pytinc.cli.session import Session

MAX_FIRST_LINE: Final = 2048
_SIGNATURE_LENGTH: Final = 86
_FIRST_LINE: Final = re.compile(rb"Signature\s*=\s*(\S+)\s+([+-]?[0-9]{1,19})\s+(\S+)")


class Document(NamedTuple):
    """The parts of a signed file."""

    signer: str
    time: int
    signature: bytes
    content: bytes


def sign(session: Session, words: list[str]) -> int:
    """Print a file with our signature over it in a line in front."""
    name = session.own_name()
    path = private_key_credential() or f"{session.confbase}/ed25519_key.priv"
    try:
        key = parse_private_key(_read_config(path))
    except DecodeError as error:
        raise click.ClickException(f"Could not read private key from {path}") from error
    content = _read_input(words)
    now = int(time.time())
    signature = b64.encode(key.sign(document_message(content, name, now)))
    _write_output(f"Signature = {name} {now} {signature}\n".encode("ascii") + content)
    return 0


def verify(session: Session, words: list[str]) -> int:
    """Print the content of a signed file if a node's signature over it is valid; otherwise nothing."""
    wanted = words[0]
    if wanted == ".":
        wanted = session.own_name()
    elif wanted != "*" and not is_valid_name(wanted):
        raise click.ClickException("Invalid node name")
    document = parse_document(_read_input(words[1:]))
    if wanted not in ("*", document.signer):
        raise click.ClickException(f"Signature is not made by {wanted}")
    key = _public_key(session.host_file(document.signer))
    message = document_message(document.content, document.signer, document.time)
    if not key.verify(document.signature, message):
        raise click.ClickException("Invalid signature")
    _write_output(document.content)
    return 0


def parse_document(data: bytes) -> Document:
    """Split a signed file. The time is part of what was signed, but is not checked."""
    line, newline, content = data.partition(b"\n")
    match = _FIRST_LINE.match(line)
    if not newline or len(line) > MAX_FIRST_LINE or match is None:
        raise click.ClickException("Invalid input")
    signer, when = match[1].decode("ascii", "replace"), int(match[2])
    if when == 0 or len(match[3]) != _SIGNATURE_LENGTH or not is_valid_name(signer):
        raise click.ClickException("Invalid input")
    try:
        signature = b64.decode(match[3])
    except DecodeError as error:
        raise click.ClickException("Invalid input") from error
    if len(signature) != SIGNATURE_SIZE:
        raise click.ClickException("Invalid input")
    return Document(signer, when, signature, content)


def _public_key(path: str) -> PublicKey:
    text = _read_config(path)
    entry = Pool(parse_text(text, path)[0]).first("Ed25519PublicKey")
    try:
        return parse_public_key(text) if entry is None else PublicKey.from_text(entry.value)
    except DecodeError as error:
        raise click.ClickException(f"Could not read public key from {path}") from error


def _read_config(path: str) -> str:
    try:
        return read_text(path)
    except OSError as error:
        raise click.ClickException(f"Could not open {path}: {error.strerror}") from error


def _read_input(words: list[str]) -> bytes:
    """Return the content of the named file, or of stdin, read as text as the shell reads it."""
    if not words:
        return sys.stdin.read().encode("utf-8", "surrogateescape")
    try:
        return Path(words[0]).read_bytes()
    except OSError as error:
        raise click.ClickException(f"Could not open {words[0]}: {error.strerror}") from error


def _write_output(data: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
