"""export, import and exchange: host files passed between nodes by hand.

See docs/tinc-program.md, "export and import".
"""

from __future__ import annotations

import errno
import os
import re
import sys
from typing import TYPE_CHECKING, Final

import click

from pytinc.cli.files import open_failure, read_text, split_lines, write_text
from pytinc.cli.session import say
from pytinc.errors import ConfigError
from pytinc.wire.names import is_valid_name

if TYPE_CHECKING:
    from pytinc.cli.session import Session

SEPARATOR: Final = "#---------------------------------------------------------------#\n"
MAX_PATH: Final = 4096
"""PATH_MAX of the systems tinc runs on."""
MAX_LINE: Final = 4095
"""Longer input lines are cut at this length, as tinc's line buffer does."""
_NAME_LINE: Final = re.compile(r"Name\s*=\s*(\S+)", re.ASCII)
_VARIABLE: Final = re.compile(r"[^\t =]*")


def export(session: Session, words: list[str]) -> int:
    """Print the node's own host file, with its name in front."""
    _print_export(session)
    session.end_output()
    return 0


def export_all(session: Session, words: list[str]) -> int:
    """Print all host files."""
    status = _print_all(session)
    session.end_output()
    return status


def exchange(session: Session, words: list[str]) -> int:
    """Export, then import: two commands connected by a pipe or a terminal each get the other's file."""
    return export(session, []) or import_(session, [])


def exchange_all(session: Session, words: list[str]) -> int:
    """Export all host files, then import."""
    return export_all(session, []) or import_(session, [])


def _print_export(session: Session) -> None:
    name = session.own_name()
    print(_exported(session, name), end="")


def _exported(session: Session, name: str) -> str:
    path = session.host_file(name)
    try:
        text = read_text(path)
    except OSError as error:
        raise open_failure(path, error) from error
    return f"Name = {name}\n{without_name(text)}"


def without_name(text: str) -> str:
    """Return a host file's text without lines that set the variable Name."""
    return "".join(line for line in split_lines(text) if _variable(line) != "name")


def _variable(line: str) -> str:
    match = _VARIABLE.match(line)
    return match.group().lower() if match else ""


def _print_all(session: Session) -> int:
    directory = f"{session.confbase}/hosts"
    try:
        names = os.listdir(directory)  # noqa: PTH208  the order of the directory, as tinc
    except OSError as error:
        raise click.ClickException(
            f"Could not open host configuration directory {directory}: {error.strerror}"
        ) from error
    status = 0
    exported = ""
    for name in filter(is_valid_name, names):
        if exported:
            # A host file may lack its last newline; an import would keep an empty line.
            print("" if exported.endswith("\n") else "\n", SEPARATOR, sep="", end="")
        try:
            exported = _exported(session, name)
        except click.ClickException as error:
            say(error.message)
            status = 1
        else:
            print(exported, end="")
    return status


# -- import ------------------------------------------------------------------------------------------------


class Import:
    """Takes the lines of an export and writes the host files they hold."""

    def __init__(self, hosts: str, *, force: bool) -> None:
        self.count = 0
        self._hosts = hosts
        self._force = force
        self._path: str | None = None
        self._lines: list[str] = []
        self._seen_name = False
        self._seen_junk = False

    def take(self, line: str) -> None:
        """Take one line of input, with its newline."""
        match = _NAME_LINE.match(line)
        if match:
            self.finish()
            self._begin(match.group(1))
        elif not self._seen_name:
            if not self._seen_junk:
                say("Junk at the beginning of the input, ignoring.")
            self._seen_junk = True
        elif self._path is not None and line != SEPARATOR:
            self._lines.append(line)

    def _begin(self, name: str) -> None:
        self._seen_name = True
        if not is_valid_name(name):
            raise click.ClickException("Invalid Name in input!")
        path = f"{self._hosts}/{name}"
        if len(os.fsencode(path)) >= MAX_PATH:
            raise click.ClickException(f"Filename too long: {path}")
        if not self._force and os.access(path, os.F_OK):
            say(f"Host configuration file {path} already exists, skipping.")
            return
        self._path = path

    def finish(self) -> None:
        """Write the host file that was begun, if any."""
        if self._path is None:
            return
        try:
            write_text(self._path, "".join(self._lines))
        except ConfigError as error:
            if not _is_too_long(error.__cause__):
                raise click.ClickException(
                    f"Error creating configuration file {self._path}: {error}"
                ) from error
            say(f"Filename too long: {self._path}, skipping.")
        else:
            self.count += 1
        self._path = None
        self._lines = []


def _is_too_long(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG


def import_(session: Session, words: list[str]) -> int:
    """Read host files from stdin into the hosts directory."""
    imported = Import(f"{session.confbase}/hosts", force=session.force)
    while line := sys.stdin.readline(MAX_LINE):
        imported.take(line)
    imported.finish()
    if imported.count == 0:
        say("No host configuration files imported.")
        return 1
    say(f"Imported {imported.count} host configuration files.")
    return 0
