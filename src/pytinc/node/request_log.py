"""The log of every request, in tinc's words, while a client or the debug level asks for it."""

from __future__ import annotations

from functools import partial
from typing import Final

from pytinc.node.core import Core
from pytinc.node.records import Connection
from pytinc.wire.names import is_valid_name
from pytinc.wire.requests import Number, parse_number

REQUEST_LEVEL: Final = 4
"""Debug level at which every request is logged with its contents, as in tinc.

See docs/tinc-program.md, "Log".
"""


class RequestLog:
    """Logs the requests that connections send and get. It costs nothing while the lines are not wanted."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._is_wanted = False

    def switch(self, wanted: bool) -> None:
        """Start or stop logging every request."""
        self._is_wanted = wanted
        for connection in self._core.connections.values():
            self.watch(connection)

    def watch(self, connection: Connection) -> None:
        """Have a connection report its requests, if they are wanted."""
        connection.meta.trace = partial(self._log, connection) if self._is_wanted else None

    def _log(self, connection: Connection, direction: str, line: str) -> None:
        number = parse_number(line)
        to = "to" if direction == "Sending" else "from"
        text = f"{direction} {number.name} {to} {connection.describe()}: {_without_secrets(number, line)}"
        self._core.log(REQUEST_LEVEL, "debug", text)


def _without_secrets(number: Number, line: str) -> str:
    """Return a request as it may be logged, its secret word (if it may have one) replaced by three dots.

    ANS_KEY between legacy nodes, for which we only relay, holds a session key; and a control client at the
    wrong socket sends its cookie.
    """
    words = line.split()
    if number is Number.ANS_KEY:
        return " ".join([*words[:3], "...", *words[4:]])
    if number is Number.ID and not is_valid_name(words[1]):
        return " ".join([words[0], words[1][0] + "...", *words[2:]])
    return line
