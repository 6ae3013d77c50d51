"""Targets: files of an operator, and what a new node gets from its inviter."""

from __future__ import annotations

from contextlib import suppress

from fuzz.registry import accepted, target, text_of
from pytinc.config import edit
from pytinc.config.joined import MAX_HOSTS, MAX_MESSAGES, read_invitation
from pytinc.config.parser import (
    Pool,
    build_host_settings,
    build_settings,
    held_addresses,
    parse_option,
    parse_text,
    rejected_virtual_ips,
)
from pytinc.config.settings import Settings
from pytinc.config.variables import VARIABLES
from pytinc.control.pidfile import PidFile
from pytinc.errors import ConfigError

KEPT = Settings(name="alpha")


def lines() -> list[bytes]:
    """Return a line of every variable."""
    return [f"{name} = {value}\n".encode() for name in VARIABLES for value in ("yes", "1", "10.0.0.1 655")]


@target("config/test_parser.py", "config/test_values.py", "config/test_virtual_ips.py", lines)
def configurations(data: bytes) -> None:
    """``tinc.conf`` and host files, at the start and in a reload."""
    entries, _ = parse_text(text_of(data), "tinc.conf")
    pool = Pool(entries)
    with suppress(ConfigError):
        build_settings(pool)
    build_settings(pool, "alpha", KEPT)
    build_host_settings("beta", pool, None)
    held_addresses(pool)
    rejected_virtual_ips(pool, "alpha")
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
