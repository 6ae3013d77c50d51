"""Changing single variables in the text of tinc.conf or a host file: `get`, `set`, `add`, `del`.

See docs/tinc-program.md, "get, set, add and del".

These are pure functions of the text; the command reads and writes the file. Comments, PEM blocks and the
lines of other variables are copied as they are. The command first decides whether a variable may be changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from pytinc.config.parser import parse_text
from pytinc.config.variables import Variable, lookup
from pytinc.errors import ConfigError

_LINE: Final = re.compile(r"[^\n]*\n|[^\n]+")
_ASSIGNMENT: Final = re.compile(r"([^ \t=]*)[ \t]*=?[ \t]*(.*)", re.DOTALL)
_BLANKS: Final = " \t\r\n\v\f"


@dataclass(frozen=True, slots=True)
class EditResult:
    """The new text of the file, and warnings for the user: complete lines for stderr."""

    text: str
    warnings: tuple[str, ...]
    changed: bool
    """False if the file need not be written; for `delete_values`, if nothing matched."""


def get_values(text: str, variable: Variable | str) -> list[str]:
    """Return the value of every line of ``variable``, in file order."""
    return [value for _, value in _scan(text, _spelling(variable)) if value is not None]


def set_value(text: str, variable: Variable | str, value: str) -> EditResult:
    """Make ``value`` the only one: replace the first line of the variable and drop the others.

    White space around the value is removed, as the parser does. For a multi-valued variable a warning names
    each other value that is lost. Raises `ConfigError` for a value that a line cannot hold.
    """
    known = _known(variable)
    return _set(text, variable, value.strip(_BLANKS), warn=known is not None and known.multiple)


def replace_values(
    text: str, variable: Variable | str, value: str, is_old: Callable[[str], bool]
) -> EditResult:
    """Let ``value`` take the place of those values for which ``is_old`` is true, and leave the others alone.

    If there is none, a line is appended. Raises `ConfigError` for a value that a line cannot hold.
    """
    return _set(text, variable, value.strip(_BLANKS), warn=False, is_old=is_old)


def add_value(text: str, variable: Variable | str, value: str) -> EditResult:
    """Add a value: append a line, unless the value is there already (case is ignored).

    A single-valued variable is set instead, with a warning if it had another value. Unknown variables are
    treated as multi-valued. Raises `ConfigError` for a value that a line cannot hold.
    """
    known = _known(variable)
    value = value.strip(_BLANKS)
    if known is not None and not known.multiple:
        return _set(text, variable, value, warn=True)
    if any(_same(old, value) for old in get_values(text, variable)):
        return EditResult(text, (), changed=False)
    return EditResult(_terminated(text) + _line(_spelling(variable), value), (), changed=True)


def delete_values(text: str, variable: Variable | str, value: str | None = None) -> EditResult:
    """Remove every line of the variable, or only those with this value (case is ignored)."""
    kept: list[str] = []
    removed = False
    for line, old in _scan(text, _spelling(variable)):
        if old is not None and (value is None or _same(old, value)):
            removed = True
        else:
            kept.append(line)
    if not removed:
        return EditResult(text, (), changed=False)
    return EditResult(_terminated("".join(kept)), (), changed=True)


def _set(
    text: str,
    variable: Variable | str,
    value: str,
    *,
    warn: bool,
    is_old: Callable[[str], bool] = lambda value: True,
) -> EditResult:
    name = _spelling(variable)
    replacement = _line(name, value)
    lines: list[str] = []
    warnings: list[str] = []
    written = False
    for line, old in _scan(text, name):
        if old is None or not is_old(old):
            lines.append(line)
            continue
        if warn and not _same(old, value):
            warnings.append(f"Warning: removing {name} = {old}")
        if not written:
            lines.append(replacement)
            written = True
    if not written:
        lines = [_terminated(text), replacement]
    result = _terminated("".join(lines))
    return EditResult(result, tuple(warnings), changed=result != text)


def _scan(text: str, name: str) -> Iterator[tuple[str, str | None]]:
    """Yield each line with its newline, and its value if it assigns to ``name``, else None."""
    in_block = False
    for line in _LINE.findall(text):
        if in_block:
            in_block = not line.startswith("-----END")
            yield line, None
            continue
        in_block = line.startswith("-----BEGIN")
        match = _ASSIGNMENT.fullmatch(line.rstrip(_BLANKS))
        assert match is not None, "the pattern matches every text"
        yield line, match[2] if match[1].lower() == name.lower() else None


def _known(variable: Variable | str) -> Variable | None:
    return variable if isinstance(variable, Variable) else lookup(variable)


def _spelling(variable: Variable | str) -> str:
    """Return the official spelling; an unknown name is returned unchanged."""
    known = _known(variable)
    if known is not None:
        return known.name
    assert isinstance(variable, str), "a Variable is known"
    return variable


def _same(one: str, other: str) -> bool:
    return one.lower() == other.lower()


def _terminated(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"


def _line(name: str, value: str) -> str:
    """Return the line that assigns ``value``. Raises `ConfigError` if it would read back differently."""
    line = f"{name} = {value}"
    entries, _ = parse_text(line, "")
    if [(entry.variable, entry.value) for entry in entries] != [(name, value)] or "\0" in line:
        raise ConfigError(f"The value of {name} cannot be written in one line of a configuration file")
    return line + "\n"
