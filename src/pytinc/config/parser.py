"""From the text of tinc.conf and host files to entries (docs/tinc-program.md, "Lines").

`pytinc.config.store` reads the files, `parse_text` parses them into entries, and a `Pool` puts the entries of
several files into tinc's order. `pytinc.config.reader` reads typed values from the pool, and
`pytinc.config.building` makes settings of these. Nothing here touches the disk.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from pytinc.errors import ConfigError

MAX_LINE_LENGTH: Final = 2048
"""A longer line is cut, and its remainder counts as a new line (docs/tinc-program.md, "Lines")."""
_ASSIGNMENT: Final = re.compile(r"([^ \t=]*)[ \t]*=?[ \t]*(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Entry:
    """One assignment: the variable as spelled, its value, and where it stands.

    ``path`` is None for a setting from the command line; ``line`` then counts these, from 1.
    """

    variable: str
    value: str
    path: str | None
    line: int

    @property
    def where(self) -> str:
        """The place, in words for messages."""
        if self.path is None:
            return f"command line option {self.line}"
        return f"{self.path} line {self.line}"


def split_assignment(line: str) -> tuple[str, str]:
    """Split ``VARIABLE [=] VALUE``; in a line that begins with a blank the variable is empty."""
    match = _ASSIGNMENT.fullmatch(line.rstrip(" \t"))
    assert match is not None, "the pattern matches every text"
    return match[1], match[2]


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line; long lines are cut as tinc's buffer cuts them."""
    number = 0
    for whole in text.split("\n"):
        # A zero byte ends a line, as in tinc: the system takes no value with one.
        line = whole.partition("\0")[0].removesuffix("\r")
        for start in range(0, max(len(line), 1), MAX_LINE_LENGTH):
            number += 1
            yield number, line[start : start + MAX_LINE_LENGTH]


def parse_text(text: str, path: str) -> tuple[list[Entry], ConfigError | None]:
    """Return the entries of a configuration or host file, and the error at which reading ended, if any.

    Only a variable without a value is an error; the entries before it are still returned. Comments and PEM
    blocks are skipped, unknown variables are kept. A line that begins with blanks has an empty name.
    """
    entries: list[Entry] = []
    in_block = False
    for number, line in _lines(text):
        if in_block:
            in_block = not line.startswith("-----END")
        elif line.startswith("-----BEGIN"):
            in_block = True
        elif line and not line.startswith("#"):
            variable, value = split_assignment(line)
            if not value:
                complaint = (
                    f"No value for variable `{variable}' on line {number} while reading config file {path}"
                )
                return entries, ConfigError(complaint, path, number)
            entries.append(Entry(variable, value, path, number))
    return entries, None


def parse_option(text: str, number: int) -> tuple[str | None, Entry]:
    """Read the argument of ``-o``, number ``number`` (from 1), `[NODE.]VAR=VALUE`.

    See docs/tinc-program.md, "Lines".

    Returns the node whose host configuration it belongs to (None: the server configuration), and the entry.
    Raises `ConfigError` if there is no value.
    """
    variable, value = split_assignment(text)
    if not value:
        raise ConfigError(f"No value for variable `{variable}' in command line option {number}")
    node, dot, bare = variable.partition(".")
    if dot:
        return node, Entry(bare, value, None, number)
    return None, Entry(variable, value, None, number)


class Pool:
    """Entries of several sources in the order in which tinc looks at them (docs/tinc-program.md, "Lines").

    Sorted by variable; then command line options first; then by line number, whatever the file; then by
    file name. A single-valued variable takes the first entry.
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.entries = sorted(entries, key=_order)
        self._by_name: dict[str, list[Entry]] = {}
        for entry in self.entries:
            self._by_name.setdefault(entry.variable.lower(), []).append(entry)

    def first(self, name: str) -> Entry | None:
        """Return the first entry of a variable, which counts if it is single-valued; case is ignored."""
        found = self._by_name.get(name.lower())
        return found[0] if found else None

    def all(self, name: str) -> list[Entry]:
        """Return all entries of a variable, in order."""
        return list(self._by_name.get(name.lower(), ()))


def own_settings_pool(server: Pool, host: Pool) -> Pool:
    """Put the server configuration and the own host file together.

    VirtualIP has one meaning in each, so the lines of the host file are left out
    (`pytinc.config.building.held_addresses` reads them).
    """
    return Pool(
        [*server.entries, *(entry for entry in host.entries if entry.variable.lower() != "virtualip")]
    )


def _order(entry: Entry) -> tuple[str, bool, int, str]:
    return (entry.variable.lower(), entry.path is not None, entry.line, entry.path or "")
