"""edit: open a configuration file in the user's editor, then tell the daemon.

See docs/tinc-program.md, "edit".
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

import click

from pytinc.wire.names import is_valid_name

if TYPE_CHECKING:
    from pytinc.cli.session import Session

_IN_CONFBASE: Final = frozenset(
    {
        "tinc.conf",
        "tinc-up",
        "tinc-down",
        "subnet-up",
        "subnet-down",
        "host-up",
        "host-down",
        "vip-changed",
        "vip-up",
        "vip-down",
    }
)


def edit(session: Session, words: list[str]) -> int:
    """Run the editor on a file; if it succeeds, the daemon reloads.

    Departure from tinc: the command fails if the editor fails.
    """
    path = f"{session.confbase}/{relative_path(words[0])}"
    if subprocess.run(editor_command(path), shell=True, check=False).returncode != 0:  # noqa: S602
        return 1
    session.reload_quietly()
    return 0


def relative_path(name: str) -> str:
    """Return the path of the file or script ``name``, relative to the configuration directory."""
    if name in _IN_CONFBASE:
        return name
    name = name.removeprefix("hosts/")
    node, dash, event = name.partition("-")
    if not is_valid_name(node) or (dash and event not in ("up", "down")):
        raise click.ClickException("Invalid configuration filename.")
    return f"hosts/{name}"


def editor_command(path: str) -> str:
    """Return the shell command that edits ``path``: VISUAL, else EDITOR, else vi.

    The variable may hold a path with spaces, or a program with options.
    """
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    program = shlex.quote(editor) if shutil.which(editor) else editor
    return f"{program} {shlex.quote(path)}"
