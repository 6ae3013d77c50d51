"""init: a new configuration directory (docs/tinc-program.md, "init and keys").

A directory is either complete or absent: `init` builds a new one beside its final place and renames it. In a
directory that exists already, tinc.conf is written last, and each file as a whole.
"""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import click

from pytinc.cli.files import read_text, write_text
from pytinc.cli.keys import append_public_key, generate_key, write_private_key
from pytinc.cli.options import is_host, take_options
from pytinc.cli.port import port_line
from pytinc.cli.session import say
from pytinc.cli.staging import ended_by_signals, make_directory, staged
from pytinc.wire.names import is_valid_name

if TYPE_CHECKING:
    from pytinc.cli.session import Session

    Interface: TypeAlias = ipaddress.IPv4Interface | ipaddress.IPv6Interface

TINC_UP: Final = """\
#!/bin/sh

echo 'Unconfigured tinc-up script, please edit '$0'!'

#ip addr add <your vpn IP address>/<prefix length of whole VPN> dev $INTERFACE
#ip link set dev $INTERFACE up
"""
TINC_UP_WITH_ADDRESS: Final = """\
#!/bin/sh

ip addr replace {} dev "$INTERFACE"
ip link set dev "$INTERFACE" up
"""


def init(session: Session, words: list[str]) -> int:
    """Create a configuration directory with keys for a new node."""
    if os.access(session.tinc_conf, os.F_OK):
        raise click.ClickException(f"Configuration file {session.tinc_conf} already exists!")
    words, given = take_options(words, ("--address", "--public"))
    address = _interface(given["--address"])
    public = given["--public"]
    if public is not None and not is_host(public):
        raise click.ClickException(f"Invalid address or host name: {public}")
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
                _fill(confbase, name, address, public)
        else:
            _build(confbase, name, address, public)
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


def _interface(text: str | None) -> Interface | None:
    if text is None:
        return None
    try:
        address = ipaddress.ip_interface(text)
    except ValueError as error:
        raise click.ClickException(f"{text} is no IP address.") from error
    if "/" not in text:
        raise click.ClickException(
            f"{text} has no prefix length: write it as in 10.1.1.1/24, where 24 is that of the whole VPN."
        )
    return address


def _build(confbase: Path, name: str, address: Interface | None, public: str | None) -> None:
    """Make the directory beside its final place, then rename it: no program sees half of it."""
    with staged(confbase) as staging:
        _fill(staging.path, name, address, public)
        staging.publish()


def _fill(directory: Path, name: str, address: Interface | None, public: str | None) -> None:
    """Write everything a new node needs; tinc.conf, which makes it a configuration, comes last."""
    for below in ("hosts", "cache"):
        make_directory(directory / below)
    key = generate_key()
    host_file = directory / "hosts" / name
    write_private_key(directory / "ed25519_key.priv", key)
    append_public_key(host_file, key)
    lines = port_line()
    if public is not None:
        lines += f"Address = {public}\n"
    if address is not None:
        lines += f"Subnet = {address.ip}\n"
        _write_script(directory / "tinc-up", address)
    if lines:
        write_text(str(host_file), read_text(str(host_file)) + lines)
    _write_placeholder(directory / "tinc-up")
    write_text(str(directory / "tinc.conf"), f"Name = {name}\n")


def _write_script(path: Path, address: Interface) -> None:
    """Write a tinc-up that sets the address, unless there is one, which may do more than that."""
    if path.exists():
        say(f"Warning: {path} exists and is kept. It must give the interface its address, {address}.")
    else:
        write_text(str(path), TINC_UP_WITH_ADDRESS.format(address), mode=0o777)


def _write_placeholder(path: Path) -> None:
    if not path.exists():
        write_text(str(path), TINC_UP, mode=0o777)
