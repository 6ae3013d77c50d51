"""network: list the networks configured on this machine, or switch the shell to another one (cli.md 11)."""

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
    """List networks, or check a name and, in the shell, use it from now on."""
    if not words:
        return _list(session.paths.confdir)
    name = words[0]
    if name == ".":
        session.switch_network(None)
        return 0
    if not is_valid_netname(name):
        raise click.ClickException("Invalid character in netname!")
    warn_unsafe_netname(name)
    session.switch_network(name)
    return 0


def _list(confdir: str) -> int:
    try:
        names = os.listdir(confdir)  # noqa: PTH208  the order of the directory, as tinc
    except OSError as error:
        raise click.ClickException(f"Could not read directory {confdir}: {error.strerror}") from error
    for name in names:
        if name == "tinc.conf":
            print(".")
        elif not name.startswith(".") and os.access(Path(confdir) / name / "tinc.conf", os.R_OK):
            print(name)
    return 0
