"""init: a new configuration directory (docs/tinc-program.md, "init and keys").

A directory is either complete or absent: `init` builds a new one beside its final place and renames it. In a
directory that exists already, tinc.conf is written last, and each file as a whole.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pytinc.cli.files import read_text, write_text
from pytinc.cli.keys import append_public_key, generate_key, write_private_key
from pytinc.cli.port import port_line
from pytinc.cli.staging import ended_by_signals, make_directory, staged
from pytinc.wire.names import is_valid_name

if TYPE_CHECKING:
    from pytinc.cli.session import Session

TINC_UP: Final = """\
#!/bin/sh

echo 'Unconfigured tinc-up script, please edit '$0'!'

#ip addr add <your vpn IP address>/<prefix length of whole VPN> dev $INTERFACE
#ip link set $INTERFACE up
"""


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
    """Make the directory beside its final place, then rename it: no program sees half of it."""
    with staged(confbase) as staging:
        _fill(staging.path, name)
        staging.publish()


def _fill(directory: Path, name: str) -> None:
    """Write everything a new node needs; tinc.conf, which makes it a configuration, comes last."""
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
