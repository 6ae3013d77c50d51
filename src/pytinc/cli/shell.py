"""The shell: commands from standard input until its end, ``exit`` or ``quit``.

See docs/tinc-program.md, "Shell".

It runs when `pytinc` is called without a command. One session, and so one connection to the daemon, serves
all commands. On a terminal it offers line editing with history and completion.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from pytinc.cli.run import INTERRUPTED, guarded, run_command
from pytinc.cli.session import say

if TYPE_CHECKING:
    from pytinc.cli.session import Session

MAX_LINE: Final = 4095
"""Longer lines are split at this length, as tinc's line buffer does."""


def run_shell(session: Session) -> int:
    """Run all commands; return the bitwise OR of their exit statuses."""
    session.in_shell = True
    if session.tty:
        if hint := session.missing_network():
            say(hint)
        from pytinc.cli.completion import install

        install(session)
    status = 0
    while (line := _read_line(session)) is not None:
        if line.startswith("#"):
            continue
        words = split(line)
        if not words:
            continue
        if words[0].lower() in ("exit", "quit"):
            return status
        result = _run(session, words)
        status |= result
        if result == INTERRUPTED and not session.tty:
            break
    if session.tty:
        print(flush=True)
    return status


def split(line: str) -> list[str]:
    """Split a line into words at spaces, tabs and newlines; there are no quotes."""
    return [word for word in line.replace("\t", " ").replace("\n", " ").split(" ") if word]


def _run(session: Session, words: list[str]) -> int:
    return guarded(session.program, lambda: run_command(session, words[0], words[1:]))


def _read_line(session: Session) -> str | None:
    """Return the next line, or part of a long line; None at the end of input."""
    if not session.tty:
        return sys.stdin.readline(MAX_LINE) or None
    try:
        return input(f"{session.paths.ident}> ")
    except EOFError:
        return None
