"""Options of pytinc's own for commands that tinc has without any (`init` and `invite`)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import click

_HOST: Final = re.compile(r"[0-9A-Za-z.:_-]+")


def take_options(words: Sequence[str], names: Sequence[str]) -> tuple[list[str], dict[str, str | None]]:
    """Return the other words, and the value of each option: the next word, or what follows an equals sign."""
    given: dict[str, str | None] = dict.fromkeys(names)
    rest: list[str] = []
    left = iter(words)
    for word in left:
        name, equals, value = word.partition("=")
        if name not in given:
            rest.append(word)
        elif equals:
            given[name] = value
        else:
            given[name] = next(left, None)
            if given[name] is None:
                raise click.ClickException(f"{name} needs a value.")
    return rest, given


def is_host(text: str) -> bool:
    """Tell whether a text may be an address or a host name."""
    return _HOST.fullmatch(text) is not None
