"""init and generate-keys: a new configuration directory and new keys (docs/tinc-program.md, "init and keys").

A directory is complete or not there: `init` builds a new one beside its final place and renames it. In a
directory that exists already, tinc.conf is written last, and each file as a whole.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pytinc.cli.files import read_text, write_text
from pytinc.cli.session import say
from pytinc.cli.staging import ended_by_signals, make_directory, staged
from pytinc.crypto.keys import SEED_SIZE, PrivateKey, disable_old_keys, format_private_key
from pytinc.errors import ConfigError
from pytinc.wire.names import is_valid_name

if TYPE_CHECKING:
    from pytinc.cli.session import Session

PRIVATE_MODE: Final = 0o600
TINC_UP: Final = """\
#!/bin/sh

echo 'Unconfigured tinc-up script, please edit '$0'!'

#ip addr add <your vpn IP address>/<prefix length of whole VPN> dev $INTERFACE
#ip link set $INTERFACE up
"""


# -- init --------------------------------------------------------------------------------------------------


def init(session: Session, words: list[str]) -> int:
    """Create a configuration directory with keys for a new node."""
    if os.access(session.tinc_conf, os.F_OK):
        raise click.ClickException(f"Configuration file {session.tinc_conf} already exists!")
    if len(words) > 1:
        raise click.ClickException("Too many arguments!")
    name = words[0] if words else _ask_name(session)
    if not is_valid_name(name):
        raise click.ClickException("Invalid Name! Only a-z, A-Z, 0-9 and _ are allowed characters.")
    confbase = Path(session.confbase)
    try:
        if session.given_confbase is None:
            make_directory(Path(session.paths.confdir))
        if confbase.exists():
            make_directory(confbase)
            with ended_by_signals():
                _fill(confbase, name)
        else:
            _build(confbase, name)
    except OSError as error:
        raise click.ClickException(
            f"Could not create directory {error.filename or confbase}: {error.strerror}"
        ) from error
    return 0


def _ask_name(session: Session) -> str:
    answer = session.ask("Enter the Name you want your tinc node to have: ") if session.tty else None
    if not answer:
        raise click.ClickException("No Name given!")
    return answer


def _build(confbase: Path, name: str) -> None:
    """Make the directory beside its place, then rename it: nobody ever sees half of it."""
    with staged(confbase) as staging:
        _fill(staging.path, name)
        staging.publish()


def _fill(directory: Path, name: str) -> None:
    """Write everything a new node needs; tinc.conf, which makes it a configuration, comes last."""
    from pytinc.cli.join import port_line

    for below in ("hosts", "cache"):
        make_directory(directory / below)
    key = generate_key()
    host_file = directory / "hosts" / name
    write_private_key(directory / "ed25519_key.priv", key)
    append_public_key(host_file, key)
    if line := port_line():
        write_text(str(host_file), read_text(str(host_file)) + line)
    _write_placeholder(directory / "tinc-up")
    write_text(str(directory / "tinc.conf"), f"Name = {name}\n")


def _write_placeholder(path: Path) -> None:
    if not path.exists():
        write_text(str(path), TINC_UP, mode=0o777)


# -- generate-keys -----------------------------------------------------------------------------------------


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
    """Make a key pair for a node, and say so."""
    say("Generating Ed25519 key pair:")
    key = PrivateKey.from_seed(os.urandom(SEED_SIZE))
    say("Done.")
    return key


def write_private_key(path: Path, key: PrivateKey) -> None:
    """Append the private key to its file, which nobody but its owner may read."""
    if path.exists():
        path.chmod(PRIVATE_MODE)
    _append(path, format_private_key(key), mode=PRIVATE_MODE)


def append_public_key(path: Path, key: PrivateKey) -> None:
    """Append the public key as a host file holds it."""
    _append(path, f"Ed25519PublicKey = {key.public.text}\n")


def _append(path: Path, addition: str, *, mode: int | None = None) -> None:
    """Add a key to a file; keys that are in it already are commented out.

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
