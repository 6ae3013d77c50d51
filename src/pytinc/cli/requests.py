"""Commands that are one request to the daemon: reload, pid, purge, debug, retry, connect, disconnect.

See docs/tinc-program.md, "start and stop".
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pytinc.cli.session import say
from pytinc.control.messages import Request
from pytinc.wire.names import is_valid_name

if TYPE_CHECKING:
    from pytinc.cli.session import Session


def reload(session: Session, words: list[str]) -> int:
    """Tell the daemon to read its configuration again."""
    _request(session, Request.RELOAD, "Could not reload configuration.")
    script = _changed_script(session)
    if script is not None:
        say(
            f"{script} was changed after the start. A reload does not run it, but "
            f"`{session.suggestion} restart' does."
        )
    return 0


def _changed_script(session: Session) -> str | None:
    """Return the path of tinc-up if it is newer than the running daemon."""
    path = session.script("tinc-up")
    try:
        return path if Path(path).stat().st_mtime > Path(session.paths.pidfile).stat().st_mtime else None
    except OSError:
        return None


def purge(session: Session, words: list[str]) -> int:
    """Tell the daemon to forget unreachable nodes."""
    return _request(session, Request.PURGE, "Could not purge old information.")


def retry(session: Session, words: list[str]) -> int:
    """Tell the daemon to try all outgoing connections now."""
    return _request(session, Request.RETRY, "Could not retry outgoing connections.")


def pid(session: Session, words: list[str]) -> int:
    """Print the pid of the running daemon."""
    print(session.client().pid)
    return 0


def debug(session: Session, words: list[str]) -> int:
    """Set the daemon's debug level, and report the old one. tinc takes a word that is no number for 0."""
    try:
        level = int(words[0])
    except ValueError:
        raise click.ClickException(f"The debug level is a number from 0 to 5, not `{words[0]}'.") from None
    old = session.client().command(Request.SET_DEBUG, level)
    say(f"Old level {old}, new level {level}.")
    return 0


def connect(session: Session, words: list[str]) -> int:
    """Ask for a connection to a node. No daemon implements this, so it always fails, as in tinc."""
    return _node_request(session, words[0], Request.CONNECT, f"Could not connect to {words[0]}.")


def disconnect(session: Session, words: list[str]) -> int:
    """Close the meta connection with a node."""
    return _node_request(session, words[0], Request.DISCONNECT, f"Could not disconnect {words[0]}.")


def _node_request(session: Session, name: str, request: Request, failure: str) -> int:
    if not is_valid_name(name):
        raise click.ClickException("Invalid name for node.")
    return _request(session, request, failure, name)


def _request(session: Session, request: Request, failure: str, *arguments: str) -> int:
    if session.client().command(request, *arguments) != 0:
        raise click.ClickException(failure)
    return 0
