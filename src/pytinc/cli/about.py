"""``help`` and ``version``: texts about this program.

See docs/tinc-program.md, "help and version".
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Final

from pytinc.cli.commands import COMMANDS, find
from pytinc.wire.version import version_of

if TYPE_CHECKING:
    from pytinc.cli.session import Session

_COLUMN: Final = 27
_FEATURES: Final = (
    ("readline", "readline"),
    ("curses", "curses"),
    ("comp_lzo", "lzallright"),
    ("comp_zlib", "zlib"),
    ("comp_lz4", "lz4"),
)
"""Words of the line ``Features:`` and the library that each needs. In tinc only tincd has the last three."""

OPTIONS_HELP: Final = """\
Valid options are:
  -b, --batch             Don't ask for anything (non-interactive mode).
  -c, --config=DIR        Read configuration options from DIR.
  -n, --net=NETNAME       Connect to net NETNAME.
      --pidfile=FILENAME  Read control cookie from FILENAME.
      --force             Force some commands to work despite warnings.
  -h, --help              Display this help and exit.
      --version           Output version information and exit.
"""


def help_text(program: str) -> str:
    """Return the text of ``--help``."""
    rows = [row for command in COMMANDS.values() for row in command.help]
    commands = "".join(f"  {left:<{_COLUMN - 1}} {right}\n" for left, right in rows)
    return (
        f"Usage: {program} [options] command\n\n{OPTIONS_HELP}\nValid commands are:\n{commands}\n"
        "Without a command, commands are read from standard input.\n"
    )


def command_help(program: str, word: str) -> str:
    """Return the part of the help that is about one command, which is in the table."""
    command = COMMANDS[word.lower()]
    # The help omits `list`, another name of `dump`, and `config` and `connect`.
    same = [row for other in COMMANDS.values() if other.function == command.function for row in other.help]
    rows = command.help or tuple(same) or ((word.lower(), "See the man page."),)
    width = max(_COLUMN - 1, *(len(left) for left, _ in rows))
    return f"Usage: {program} [options] {rows[0][0]}\n\n" + "".join(
        f"  {left:<{width}} {right}\n" for left, right in rows
    )


def version_text() -> str:
    """Return the text of ``--version``; other programs read the line ``Features:``."""
    features = [word for word, library in _FEATURES if importlib.util.find_spec(library)]
    return version_of("pytinc", [*features, "sandbox"])


def help_(session: Session, words: list[str]) -> int:
    """``help``: the same as ``--help``, or what it says about one command."""
    text = command_help(session.program, words[0]) if words and find(words[0]) else help_text(session.program)
    print(text, end="")
    return 0


def version(session: Session, words: list[str]) -> int:
    """``version``: the same as ``--version``."""
    print(version_text(), end="")
    return 0
