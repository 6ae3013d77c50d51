"""The table of fuzz targets, and where their seeds come from.

A target is a function of bytes. It returns for input that the code accepts or refuses as it should, and
raises for everything else: an exception that the code does not declare, a value that does not survive being
written and read again, a bound that does not hold, a difference from the plain twin.

The seeds are the literals of the tests: what the tests of a module feed to it is a good start for all that
could be fed to it. Nothing has to be kept in git, and new tests make new seeds.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from pytinc.errors import DecodeError

TESTS: Final = Path(__file__).parent.parent
MAX_SEED: Final = 4096
_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2})+|(?:[0-9a-fA-F]{2} ?){4,}", re.ASCII)

Run: TypeAlias = Callable[[bytes], object]
Seeds: TypeAlias = Callable[[], Iterable[bytes]]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Target:
    """One function that takes whatever comes."""

    name: str
    about: str
    run: Run
    sources: tuple[str | Seeds, ...]
    """Test modules and vectors (below ``tests/``) whose literals are seeds, and functions that make seeds."""
    smoke: int = 1000
    """Inputs in the smoke run, seeds included."""

    def seeds(self) -> list[bytes]:
        """Return the seeds, each once, short ones first: the same in every run."""
        found: set[bytes] = {b""}
        for source in self.sources:
            found.update(literals(TESTS / source) if isinstance(source, str) else source())
        return sorted((seed for seed in found if len(seed) <= MAX_SEED), key=lambda seed: (len(seed), seed))


TARGETS: Final[dict[str, Target]] = {}


def target(*sources: str | Seeds, smoke: int = 1000) -> Callable[[Run], Run]:
    """Enter a function into the table, under its own name and docstring."""

    def enter(run: Run) -> Run:
        assert run.__doc__ is not None
        name = run.__name__
        TARGETS[name] = Target(name, run.__doc__.partition("\n")[0], run, sources, smoke)
        return run

    return enter


def accepted(parse: Callable[..., T], *arguments: object) -> T | None:
    """Return what a parser makes of its arguments; None if it refuses them with a `DecodeError`."""
    try:
        return parse(*arguments)
    except DecodeError:
        return None


def text_of(data: bytes) -> str:
    """Return the bytes as files are read: whatever is not UTF-8 becomes a surrogate."""
    return data.decode("utf-8", "surrogateescape")


def literals(path: Path) -> Iterator[bytes]:
    """Yield the strings and bytes in a Python file; in any other file, its strings between quotes.

    What looks like hexadecimal digits is also yielded as the bytes it stands for.
    """
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        values = [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
    else:
        values = re.findall(r'"([^"]*)"', text)
    for value in values:
        if isinstance(value, bytes):
            yield value
        elif isinstance(value, str):
            yield value.encode("utf-8", "surrogateescape")
            if _HEX.fullmatch(value):
                yield bytes.fromhex(value)
