"""network: list the networks configured on this machine, or switch the shell to another one.

See docs/tinc-program.md, "network".
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pytinc.cli.session import warn_unsafe_netname
from pytinc.wire.names import is_valid_netname

if TYPE_CHECKING:
    from pytinc.cli.session import Session


def network(session: Session, words: list[str]) -> int:
    """List networks; or check a name and, in the shell, switch to that network."""
    if not words:
        return _list(session)
    if session.json:
        raise click.ClickException("`network --json' lists networks and takes no name.")
    name = words[0]
    if name == ".":
        session.switch_network(None)
        return 0
    if not is_valid_netname(name):
        raise click.ClickException("Invalid character in netname!")
    warn_unsafe_netname(name)
    session.switch_network(name)
    return 0


def _list(session: Session) -> int:
    confdir = session.paths.confdir
    try:
        entries = os.listdir(confdir)  # noqa: PTH208  the order of the directory, as tinc
    except OSError as error:
        raise click.ClickException(f"Could not read directory {confdir}: {error.strerror}") from error
    names = ["." if entry == "tinc.conf" else entry for entry in entries if _is_network(confdir, entry)]
    if session.json:
        from pytinc.cli.machine import print_json

        print_json(
            [{"name": None if name == "." else name, "confbase": _confbase(confdir, name)} for name in names]
        )
        return 0
    for name in names:
        print(name)
    return 0


def _is_network(confdir: str, entry: str) -> bool:
    if entry == "tinc.conf":
        return True
    return not entry.startswith(".") and os.access(Path(confdir) / entry / "tinc.conf", os.R_OK)


def _confbase(confdir: str, name: str) -> str:
    return confdir if name == "." else f"{confdir}/{name}"
