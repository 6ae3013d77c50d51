"""The files that join makes, and what it asks about them once they are in place.

See docs/protocol-invitations.md, "Files of a new node".

`pytinc.cli.join` talks to the inviter and calls these functions.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytinc.cli.edit import editor_command
from pytinc.cli.files import read_text, write_text
from pytinc.cli.keys import PRIVATE_MODE, append_public_key, generate_key, write_private_key
from pytinc.cli.port import port_line
from pytinc.cli.session import say
from pytinc.cli.staging import DIRECTORY_MODE, Staging, make_directory
from pytinc.config.store import write_atomic
from pytinc.wire.names import is_safe_netname

if TYPE_CHECKING:
    from pytinc.cli.session import Session
    from pytinc.config.joined import JoinedNode
    from pytinc.crypto.keys import PublicKey

_KEY_FILE: Final = "ed25519_key.priv"
_SCRIPT: Final = "tinc-up"
_OFFERED: Final = "tinc-up.invitation"
"""The script of the invitation, which does not run before the user agrees."""
_SCRIPT_MODE: Final = DIRECTORY_MODE


def fill(staging: Staging, node: JoinedNode, data: bytes) -> PublicKey:
    """Write all files of the new node, including a new key; return the public key."""
    directory = staging.path
    for below in ("hosts", "cache"):
        make_directory(directory / below)
    # There may be many of these, and they need not be on disk before the key is registered.
    write_atomic(str(directory / "invitation-data"), data, durable=False)
    for name, text in node.hosts.items():
        write_atomic(str(directory / "hosts" / name), text, durable=False)
    _write_script(staging, node)
    own_host = directory / "hosts" / node.name
    key_file = directory / _KEY_FILE
    if (staging.final / _KEY_FILE).exists():
        # The old key stays in the file, commented out, as with every new key.
        write_text(str(key_file), read_text(str(staging.final / _KEY_FILE)), mode=PRIVATE_MODE)
    key = generate_key()
    write_private_key(key_file, key)
    write_text(str(own_host), node.own_host)
    append_public_key(own_host, key)
    if not _sets_port(node.own_host) and (line := port_line()):
        write_text(str(own_host), read_text(str(own_host)) + line)
    write_text(str(directory / "tinc.conf"), node.tinc_conf)
    return key.public


def _sets_port(own_host: str) -> bool:
    return any(line.lower().startswith("port = ") for line in own_host.splitlines())


def _write_script(staging: Staging, node: JoinedNode) -> None:
    if node.has_commands:
        write_text(str(staging.path / _OFFERED), node.script)
    elif not (staging.final / _SCRIPT).exists():
        write_text(str(staging.path / _SCRIPT), node.script, mode=_SCRIPT_MODE)


def settle_script(session: Session) -> None:
    """Let the user decide about the commands of the invitation; without a terminal, --force decides."""
    offered = Path(session.confbase) / _OFFERED
    if session.tty:
        agreed = _ask_about(session, offered)
    else:
        agreed = session.force
    if agreed:
        offered.chmod(_SCRIPT_MODE)
        offered.replace(offered.with_name(_SCRIPT))
        say(f"The script of the invitation will be run as {offered.with_name(_SCRIPT)}.")
    else:
        say(f"The script of the invitation was left disabled. To use it, rename {offered} to {_SCRIPT}.")


def _ask_about(session: Session, offered: Path) -> bool:
    say(f"Please review the following {_SCRIPT} script:\n\n{read_text(str(offered))}")
    while (answer := session.ask("Do you want to use this script [y]es/[n]o/[e]dit? ")) is not None:
        choice = answer.strip()[:1].lower()
        if choice == "e":
            done = subprocess.run(editor_command(str(offered)), shell=True, check=False)  # noqa: S602
            return done.returncode == 0
        if choice in ("y", "n"):
            return choice == "y"
    return False


def rename_network(session: Session) -> None:
    """Ask for a network name, as the invitation's name is taken; no answer keeps the present one."""
    if not session.tty:
        return
    while answer := (session.ask("Enter a new netname: ") or "").strip():
        if not is_safe_netname(answer):
            say("Invalid character in netname!")
            continue
        target = Path(session.paths.confdir) / answer
        if target.exists():
            say(f"{target} already exists!")
            continue
        Path(session.confbase).rename(target)
        session.netname = answer
        say(f"Configuration stored in: {target}")
        return
