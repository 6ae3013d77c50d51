"""Reading and writing files as text, whatever bytes they hold."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import click

_LINE: Final = re.compile(r"[^\n]*\n|[^\n]+")
_NAME_LINE: Final = re.compile(r"name(?=[ \t=])[ \t]*=?[ \t]*(.*)", re.IGNORECASE)


def read_text(path: str) -> str:
    """Return a file's text. Bytes that are not UTF-8 survive reading and writing. Raises `OSError`."""
    with Path(path).open(encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        return file.read()


def split_lines(text: str) -> list[str]:
    """Split at newlines only, and keep them: Unicode's other line separators are ordinary text."""
    return _LINE.findall(text)


def write_text(path: str, text: str, *, mode: int | None = None) -> None:
    """Replace a file as a whole: its readers see the old text or the new one, never a part."""
    from pytinc.config.store import write_atomic

    write_atomic(path, text.encode("utf-8", "surrogateescape"), mode=mode)


def open_failure(path: str, error: OSError) -> click.ClickException:
    """Return tinc's message for a configuration file that cannot be opened."""
    return click.ClickException(f"Could not open configuration file {path}: {error.strerror}")


def own_name(tinc_conf: str) -> str:
    """Return the node's own name from tinc.conf (tinc: get_my_name()). Errors have tinc's wording."""
    from pytinc.config.building import expand_name

    try:
        text = read_text(tinc_conf)
    except OSError as error:
        raise click.ClickException(f"Could not open {tinc_conf}: {error.strerror}") from error
    for line in split_lines(text):
        match = _NAME_LINE.match(line.rstrip())
        if match and match.group(1):
            return expand_name(match.group(1))
    raise click.ClickException(f"Could not find Name in {tinc_conf}.")
