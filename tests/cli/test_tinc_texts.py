"""The texts of tinc's command that people's scripts look for: each row is a situation and what must be said.

All texts of tinc's command that are known to be looked for are here, but for those about RSA keys, which
pytinc does not have. Those of the daemon are in tests/daemon/test_tinc_texts.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cli.conftest import Run, ScriptedDaemon

SIGNED = (
    "Signature = alpha 1795379367 "
    "zwBpUvfQ2TxArlOlzuuZ3RAF/xyyXwz6M4zFG54g96FEkb82rMlKW3qrJ0VTW3O8S9pXMnCqWqXn1ajnCUj2FA\n"
)
URL = "/" + 48 * "a"
PUBLIC = "Ed25519PublicKey = gLeZdAjSACcESEAsVpLQtAzCV2LsvSaebOuiGKc9bUN\n"


@dataclass(frozen=True)
class Row:
    """A command line after ``-c conf``, what it must say on stderr, and its exit status."""

    words: list[str]
    text: str
    status: int = 1
    stdin: str = ""
    files: dict[str, str | None] = field(default_factory=dict)
    """Files below conf that are written before; with None they are removed."""


ROWS = [
    # The command line.
    Row(["nosuch"], "Unknown command"),
    Row(["nosuch"], "--help' for more information."),
    Row(["--nosuch"], "--help' for more information."),
    Row(["-n", ".x", "help"], "Invalid character in netname"),
    Row(["get"], "Invalid number of arguments"),
    Row(["pid", "x"], "Too many arguments"),
    Row(["invite"], "Not enough arguments"),
    Row(["verify"], "Not enough arguments"),
    Row(["dump"], "Invalid number of arguments"),
    Row([], "Unknown command", stdin="nosuch\n"),
    # Without a daemon.
    Row(["pid"], "Could not open pid file"),
    Row(["stop"], "Could not open pid file"),
    Row(["dump", "nodes"], "Could not open pid file"),
    Row(["dump", "reachable", "edges"], "reachable' only supported for nodes"),
    Row(["dump", "invitations"], "No outstanding invitations", 0),
    # Variables.
    Row(["set", "=", "x"], "No variable given"),
    Row(["set", "Mode"], "No value for variable given"),
    Row(["set", "Subnet", "junk"], "Malformed subnet definition"),
    Row(["add", "Subnet", "10.0.0.1/8"], "Network address and prefix length do not match: 10.0.0.1/8"),
    Row(["set", "a-b.Port", "1"], "Invalid name for node"),
    Row(["get", "Nosuch"], "is not a known configuration variable"),
    Row(["set", "Nosuch", "1"], "is not a known configuration variable"),
    Row(["set", "nohost.Port", "1"], "Could not open configuration file"),
    Row(["get", "ConnectTo"], "No matching configuration variables found."),
    Row(["del", "ConnectTo"], "No configuration variables deleted."),
    Row(
        ["set", "ConnectTo", "d"],
        "Warning: removing ConnectTo = b\nWarning: removing ConnectTo = c\n",
        0,
        files={"tinc.conf": "Name = alpha\nConnectTo = b\nConnectTo = c\n"},
    ),
    # Keys.
    Row(["generate-ed25519-keys"], "Generating Ed25519 key pair:\nDone.\n", 0),
    Row(["generate-ed25519-keys"], "old key(s) found and disabled", 0),
    Row(["init"], "No Name given!", files={"tinc.conf": None}),
    # Networks.
    Row(["network", ".x"], "Invalid character in netname"),
    Row(["network", "a/b"], "Invalid character in netname"),
    Row(["network", "a$b"], "unsafe character in netname", 0),
    # Export and import.
    Row(["export"], "Could not open", files={"tinc.conf": None}),
    Row(["export"], "Could not find Name", files={"tinc.conf": "Mode = hub\n"}),
    Row(["export"], "Could not open configuration", files={"hosts/alpha": None}),
    Row(
        ["export-all"],
        "Could not open host configuration",
        files={"hosts/alpha": None, "hosts/beta": None, "hosts/gamma": None, "hosts": None},
    ),
    Row(["import"], "Invalid Name in input", stdin="Name = a-b\n"),
    Row(["import"], "already exists, skipping", stdin="Name = beta\n"),
    Row(["import"], "No host configuration files imported.", stdin="Name = beta\n"),
    Row(["import"], "Junk at the beginning of the input, ignoring.", 0, stdin="x\nName = new\n"),
    Row(["import"], "Imported 2 host configuration files.", 0, stdin="Name = new\nName = newer\n"),
    Row(["import"], "Filename too long", stdin=f"Name = {'q' * 300}\n"),
    Row(
        ["import"],
        "Error creating configuration",
        stdin="Name = new\n",
        files={"hosts/alpha": None, "hosts/beta": None, "hosts/gamma": None, "hosts": None},
    ),
    # Invitations.
    Row(["invite", "a-b"], "Invalid name for node"),
    Row(["invite", "beta"], "already exists"),
    Row(["invite", "new"], "Could not open", files={"tinc.conf": None}),
    Row(["invite", "new"], "Please start tincd"),
    Row(["join", "a", "b"], "Too many arguments"),
    Row(["join", f"host{URL}"], "already exists"),
    Row(["join"], "Error while reading stdin", files={"tinc.conf": None}),
    Row(["join", "host/short"], "Invalid invitation URL", files={"tinc.conf": None}),
    Row(["join", f"no..name{URL}"], "Error looking up no..name port 655", files={"tinc.conf": None}),
    Row(["join", f"127.0.0.1:1{URL}"], "Could not connect to 127.0.0.1 port 1: ", files={"tinc.conf": None}),
    Row(["join", f"127.0.0.1:1{URL}"], "Could not connect to inviter", files={"tinc.conf": None}),
    # fsck.
    Row(["fsck"], "No tinc configuration found", files={"tinc.conf": None}),
    Row(["fsck"], "without a valid Name", files={"tinc.conf": None}),
    Row(["fsck"], "without a valid Name", files={"tinc.conf": "Name = a-b\n"}),
    Row(["fsck"], "No value for variable `Mode' on line 2", files={"tinc.conf": "Name = alpha\nMode\n"}),
    Row(["fsck"], "Cannot open config file conf/hosts/alpha", files={"hosts/alpha": None}),
    Row(["fsck"], "Error reading Ed25519 private key file", files={"ed25519_key.priv": None}),
    Row(["fsck"], "No Ed25519 private key found", files={"ed25519_key.priv": None}),
    Row(
        ["fsck"],
        "public Ed25519 key was found but no private key",
        files={"ed25519_key.priv": None, "hosts/alpha": PUBLIC},
    ),
    Row(["fsck"], "No (usable) public Ed25519 key found", 0, files={"hosts/alpha": "Port = 1\n"}),
    Row(["fsck"], "Unknown script conf/nosuch-up found", 0, files={"nosuch-up": ""}),
    Row(["fsck"], "cannot read and execute conf/tinc-up", 0, files={"tinc-up": ""}),
    Row(["fsck"], "cannot read and execute conf/hosts/beta-up", 0, files={"hosts/beta-up": ""}),
    Row(
        ["fsck"],
        "obsolete variable GraphDumpFile in conf/tinc.conf line 2",
        0,
        files={"tinc.conf": "Name = alpha\nGraphDumpFile = x\n"},
    ),
    Row(
        ["fsck"],
        "host variable Address found in server config conf/tinc.conf line 2",
        0,
        files={"tinc.conf": "Name = alpha\nAddress = x\n"},
    ),
    Row(
        ["fsck"],
        "server variable Mode found in host config conf/hosts/beta line 1",
        0,
        files={"hosts/beta": "Mode = hub\n"},
    ),
    Row(
        ["fsck"],
        "multiple instances of variable Mode in tinc.conf",
        0,
        files={"tinc.conf": "Name = alpha\nMode = hub\nMode = hub\n"},
    ),
    # sign and verify.
    Row(["sign", "nosuch"], "Could not open nosuch"),
    Row(["sign"], "Could not read private key from", files={"ed25519_key.priv": "x\n"}),
    Row(["verify", "a-b"], "Invalid node name"),
    Row(["verify", "alpha", "nosuch"], "Could not open nosuch"),
    Row(["verify", "alpha"], "Invalid input", stdin="Signature = alpha\n"),
    Row(["verify", "beta"], "Signature is not made by beta", stdin=SIGNED),
    Row(["verify", "alpha"], "Could not open", stdin=SIGNED, files={"hosts/alpha": None}),
    Row(
        ["verify", "alpha"], "Could not read public key from", stdin=SIGNED, files={"hosts/alpha": "Port=1\n"}
    ),
    Row(["verify", "alpha"], "Invalid signature", stdin=SIGNED),
    Row(["edit", "a.b"], "Invalid configuration filename."),
]

WITH_DAEMON = [
    Row(["start"], "already running", 0),
    Row(["dump", "nosuch"], "Unknown dump type"),
    Row(["info", "nosuch"], "Unknown node nosuch."),
    Row(["info", "10.0.0.1"], "Unknown address 10.0.0.1."),
    Row(["info", "10.0.0.0/8"], "Unknown subnet 10.0.0.0/8."),
    Row(["purge"], "Could not purge old information."),
    Row(["reload"], "Could not reload configuration."),
    Row(["connect", "beta"], "Could not connect to beta."),
    Row(["connect", "a-b"], "Invalid name for node"),
    Row(["disconnect", "beta"], "Could not disconnect beta."),
    Row(["disconnect", "a-b"], "Invalid name for node"),
    Row(["debug", "5"], "Old level 2, new level 5.", 0),
]
"""The same with a daemon that refuses what can be refused."""


def names(row: Row) -> str:
    return f"{' '.join(row.words)}: {row.text}".replace("\n", " ")


def check(run: Run, conf: Path, row: Row, *options: str) -> None:
    for name, content in row.files.items():
        path = conf / name
        if content is not None:
            path.write_text(content)
        elif path.is_dir():
            path.rmdir()
        else:
            path.unlink()
    result = run("-c", "conf", *options, *row.words, stdin=row.stdin)
    assert row.text in result.err
    assert result.status == row.status


@pytest.mark.parametrize("row", ROWS, ids=names)
def test_the_command_says_what_scripts_look_for(run: Run, conf: Path, row: Row) -> None:
    check(run, conf, row)


@pytest.mark.parametrize("row", WITH_DAEMON, ids=names)
def test_the_command_says_so_with_a_daemon_too(
    run: Run, conf: Path, daemon: ScriptedDaemon, row: Row
) -> None:
    refused = {"1": "18 1 22\n", "8": "18 8 -1\n", "11": "18 11 -1\n", "12": "18 12 -2\n"}
    daemon.answers = {"3": "18 3\n", "4": "18 4\n", "5": "18 5\n", "9": "18 9 2\n", **refused}
    check(run, conf, row, f"--pidfile={daemon.pidfile}")
