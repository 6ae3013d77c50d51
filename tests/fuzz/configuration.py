"""Targets: files of an operator; invitations, host files and signed files of others."""

from __future__ import annotations

from contextlib import redirect_stderr, suppress
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from fuzz.registry import accepted, target, text_of
from pytinc.cli.exchange import Import
from pytinc.cli.signing import parse_document
from pytinc.config import edit
from pytinc.config.building import build_host_settings, build_settings, checked_settings, held_addresses
from pytinc.config.joined import MAX_HOSTS, MAX_MESSAGES, read_invitation
from pytinc.config.parser import Pool, parse_option, parse_text
from pytinc.config.settings import Settings
from pytinc.config.variables import VARIABLES
from pytinc.control.pidfile import PidFile
from pytinc.crypto.keys import document_message
from pytinc.errors import ConfigError
from pytinc.wire.names import is_valid_name

KEPT = Settings(name="alpha")


def lines() -> list[bytes]:
    """Return a line of every variable."""
    return [f"{name} = {value}\n".encode() for name in VARIABLES for value in ("yes", "1", "10.0.0.1 655")]


@target(
    "config/test_parser.py",
    "config/test_building.py",
    "config/test_values.py",
    "config/test_virtual_ips.py",
    lines,
)
def configurations(data: bytes) -> None:
    """``tinc.conf`` and host files, at the start and in a reload."""
    entries, _ = parse_text(text_of(data), "tinc.conf")
    pool = Pool(entries)
    with suppress(ConfigError):
        build_settings(pool)
    build_settings(pool, "alpha", KEPT)
    build_host_settings("beta", pool, None)
    held_addresses(pool)
    checked_settings(pool, "alpha")
    with suppress(ConfigError):
        parse_option(text_of(data), 1)


@target("config/test_edit.py", "cli/test_edit.py", lines)
def edits(data: bytes) -> None:
    """A change of a configuration file: the first two lines are variable and value, the rest is the file."""
    variable, _, rest = text_of(data).partition("\n")
    value, _, text = rest.partition("\n")
    edit.get_values(text, variable)
    assert edit.get_values(edit.delete_values(text, variable).text, variable) == []
    for change in (edit.set_value, edit.add_value):
        with suppress(ConfigError):
            change(text, variable, value)


@target("config/test_joined.py", "cli/test_join.py", "cli/test_join_files.py")
def invitations(data: bytes) -> None:
    """The content of an invitation."""
    for force in (False, True):
        with suppress(ConfigError):
            node = read_invitation(text_of(data), force=force, want_netname=not force)
            assert len(node.hosts) <= MAX_HOSTS
            assert len(node.messages) <= MAX_MESSAGES + 1


@target("control/test_pidfile.py", "control/test_client.py")
def pid_files(data: bytes) -> None:
    """The pid file of the daemon."""
    known = accepted(PidFile.parse, data.decode("ascii", "replace"))
    if known is not None:
        assert PidFile.parse(known.format()) == known


@target("cli/test_exchange.py", lambda: [b"Name = beta\nPort = 1\n#---\nName = ../../x\n"], smoke=300)
def imports(data: bytes) -> None:
    """The host files of others: whatever they are called, they land in their directory."""
    with TemporaryDirectory() as outside, redirect_stderr(StringIO()), suppress(click.ClickException):
        hosts = Path(outside) / "hosts"
        hosts.mkdir()
        taken = Import(str(hosts), force=len(data) % 2 == 0)
        for line in text_of(data).splitlines(keepends=True):
            taken.take(line)
        taken.finish()
        assert list(Path(outside).iterdir()) == [hosts]
        assert all(is_valid_name(path.name) for path in hosts.iterdir())


@target("cli/test_signing.py", "data/vectors/hashes.json")
def signed_files(data: bytes) -> None:
    """A file with a signature."""
    with suppress(click.ClickException):
        document = parse_document(data)
        assert data.endswith(document.content)
        document_message(document.content, document.signer, document.time)
