"""generate-keys: a new Ed25519 key pair, which init and join make for a new node as well.

See docs/tinc-program.md, "init and keys".
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pytinc.cli.files import read_text, write_text
from pytinc.cli.session import say
from pytinc.crypto.keys import SEED_SIZE, PrivateKey, disable_old_keys, format_private_key
from pytinc.errors import ConfigError

if TYPE_CHECKING:
    from pytinc.cli.session import Session

PRIVATE_MODE: Final = 0o600


def generate_keys(session: Session, words: list[str]) -> int:
    """Make a new Ed25519 key pair; old keys are disabled, not deleted."""
    try:
        public_default = session.host_file(session.own_name())
    except (click.ClickException, ConfigError):
        public_default = f"{session.confbase}/ed25519_key.pub"
    key = generate_key()
    private_path = _ask_file(session, "private Ed25519 key", f"{session.confbase}/ed25519_key.priv")
    write_private_key(Path(private_path), key)
    public_path = _ask_file(session, "public Ed25519 key", public_default)
    append_public_key(Path(public_path), key)
    return 0


def _ask_file(session: Session, what: str, default: str) -> str:
    if not session.tty:
        return default
    answer = session.ask(f"Please enter a file to save {what} to [{default}]: ")
    return os.path.abspath(answer) if answer else default  # noqa: PTH100  tinc's paths are text


def generate_key() -> PrivateKey:
    """Make a key pair for a node, and report it."""
    say("Generating Ed25519 key pair:")
    key = PrivateKey.from_seed(os.urandom(SEED_SIZE))
    say("Done.")
    return key


def write_private_key(path: Path, key: PrivateKey) -> None:
    """Append the private key to its file, which only its owner may read."""
    if path.exists():
        path.chmod(PRIVATE_MODE)
    _append(path, format_private_key(key), mode=PRIVATE_MODE)


def append_public_key(path: Path, key: PrivateKey) -> None:
    """Append the public key in the form of a host file."""
    _append(path, f"Ed25519PublicKey = {key.public.text}\n")


def _append(path: Path, addition: str, *, mode: int | None = None) -> None:
    """Add a key to a file, and comment out the keys that are in it already.

    Departure from tinc: a missing newline at the end of the old text is added.
    """
    try:
        text = read_text(str(path))
    except FileNotFoundError:
        text = ""
    except OSError as error:
        raise click.ClickException(f"Error opening file `{path}': {error.strerror}") from error
    disabled = disable_old_keys(text, "Ed25519")
    if disabled is not None:
        say("Warning: old key(s) found and disabled.")
        text = disabled
    if text and not text.endswith("\n"):
        text += "\n"
    try:
        write_text(str(path), text + addition, mode=mode)
    except ConfigError as error:
        raise click.ClickException(f"Error opening file `{path}': {error}") from error
