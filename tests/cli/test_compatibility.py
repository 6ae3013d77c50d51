"""docs/compatibility.md names every command, every option of the daemon and every variable, once."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from pytinc.cli.commands import COMMANDS
from pytinc.config.settings import Settings
from pytinc.config.variables import DAEMON_ONLY, VARIABLES
from pytinc.daemon.options import help_text

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/compatibility.md").read_text()
TINC_COMMANDS = [
    "add",
    "config",
    "connect",
    "debug",
    "del",
    "disconnect",
    "dump",
    "edit",
    "exchange",
    "exchange-all",
    "export",
    "export-all",
    "fsck",
    "generate-ed25519-keys",
    "generate-keys",
    "generate-rsa-keys",
    "get",
    "help",
    "import",
    "info",
    "init",
    "invite",
    "join",
    "list",
    "log",
    "network",
    "pcap",
    "pid",
    "purge",
    "reload",
    "restart",
    "retry",
    "set",
    "sign",
    "start",
    "stop",
    "top",
    "verify",
    "version",
]
"""All commands of tinc."""


def table(title: str) -> dict[str, tuple[str, str]]:
    """Return status and reason of each row of the table below a heading."""
    (section,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    found = re.findall(r"^\| ([^|]+) \| (same|differs|absent) \| ?(.*?) ?\|$", section, re.MULTILINE)
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    assert len(found) == len(lines) - 1, "a row has no proper status"
    assert len({name for name, _, _ in found}) == len(found), "a row occurs twice"
    return {name: (status, why) for name, status, why in found}


@pytest.mark.parametrize("title", ["Protocols", "Commands", "Options of the daemon", "Variables"])
def test_everything_that_is_not_the_same_has_a_reason(title: str) -> None:
    assert [name for name, (status, why) in table(title).items() if status != "same" and not why] == []


def test_every_command_is_named() -> None:
    commands = table("Commands")
    assert set(commands) == {*COMMANDS, *TINC_COMMANDS}
    assert {name for name in commands if name not in COMMANDS} == {"generate-rsa-keys"}
    assert commands["generate-rsa-keys"][0] == "absent"


def test_every_option_of_the_daemon_is_named() -> None:
    named = {option for row in table("Options of the daemon") for option in row.split(", ")}
    assert named == set(
        re.findall(r"(?<!\S)--?[A-Za-z][\w-]*", help_text("pytincd").partition("Options:")[2])
    )


def test_every_variable_is_named() -> None:
    names = set(table("Variables"))
    assert {name.lower() for name in names} == {*VARIABLES, *DAEMON_ONLY}
    assert {variable.name for variable in VARIABLES.values()} <= names


def test_what_is_refused_or_ignored_is_not_called_the_same() -> None:
    variables = table("Variables")
    for variable in VARIABLES.values():
        if "not used by pytinc" in variable.effect or "not supported by pytinc" in variable.effect:
            assert variables[variable.name][0] == "absent"


def read_by_the_daemon(field: str) -> bool:
    """Tell whether a setting is read by anything but the configuration's own code."""
    reads = re.compile(rf"\.{field}\b")
    packages = ("daemon", "datapath", "net", "node", "protocol")
    files = (file for package in packages for file in (ROOT / "src/pytinc" / package).rglob("*.py"))
    return any(reads.search(file.read_text()) for file in files)


READ_ELSEWHERE = {
    "ed25519_private_key_file": "config/store.py",
}
ONLY_REFUSED = {"compression": "the name means other things, too", "proxy": "read in order to be refused"}


def test_settings_with_an_effect_are_those_that_the_daemon_reads() -> None:
    variables = {name.lower(): status for name, (status, _) in table("Variables").items()}
    for field in fields(Settings):
        status = variables.get(field.name.replace("_", ""))
        if status == "absent" and field.name not in ONLY_REFUSED:
            assert not read_by_the_daemon(field.name), (
                f"docs/compatibility.md: {field.name} has an effect now"
            )
        elif status == "same" and field.name not in READ_ELSEWHERE:
            assert read_by_the_daemon(field.name), f"docs/compatibility.md: {field.name} has no effect"
