"""Line editing in the shell on a terminal: history and TAB completion with readline.

See docs/tinc-program.md, "Shell".
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from pytinc.cli.commands import COMMANDS
from pytinc.control.vips import VERBS
from pytinc.errors import PytincError

if TYPE_CHECKING:
    from pytinc.cli.session import Session

_DUMP_TYPES: Final = ("reachable", "nodes", "edges", "subnets", "connections", "graph")
_NO_MORE: Final = None


def install(session: Session) -> None:
    """Switch on line editing. Without the readline module, the shell only reads lines."""
    try:
        import readline
    except ImportError:
        return
    found: list[str] = []

    def complete(word: str, state: int) -> str | None:
        nonlocal found
        if state == 0:
            found = candidates(session, readline.get_line_buffer()[: readline.get_begidx()], word)
        return found[state] if state < len(found) else _NO_MORE

    readline.set_completer_delims(" \t")
    readline.set_completer(complete)
    readline.parse_and_bind("tab: complete")


def candidates(session: Session, before: str, word: str) -> list[str]:
    """Return the completions of ``word``, given the text ``before`` it on the line."""
    words = before.lower().split()
    if not words:
        return _matching([name for name in COMMANDS if name != "config"], word)
    if words in (["dump"], ["list"]):
        return _matching(_DUMP_TYPES, word)
    if words == ["vip"]:
        return _matching(VERBS, word)
    if len(words) == 1 and words[0] in ("add", "del", "get", "set"):
        return _variables(word)
    if words == ["info"]:
        return [item for item in _known_to_daemon(session) if item.startswith(word)]
    return []


def _matching(names: tuple[str, ...] | list[str], word: str) -> list[str]:
    return [name for name in names if name.lower().startswith(word.lower())]


def _variables(word: str) -> list[str]:
    from pytinc.config.variables import VARIABLES

    host, dot, rest = word.rpartition(".")
    if dot:
        names = [variable.name for variable in VARIABLES.values() if variable.host]
        return [f"{host}.{name}" for name in _matching(names, rest)]
    return _matching([variable.name for variable in VARIABLES.values()], word)


def _known_to_daemon(session: Session) -> list[str]:
    from pytinc.cli.lists import dump_nodes, dump_subnets

    with contextlib.suppress(PytincError):
        client = session.client()
        return [row.name for row in dump_nodes(client)] + [row.subnet for row in dump_subnets(client)]
    return []
