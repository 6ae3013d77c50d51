"""Rows of the control socket that only pytinc's daemon has: ``18 REQUEST KIND OBJECT``, the object as JSON.

`pytinc.control.statistics`, `pytinc.control.shared` and `pytinc.control.vips` define the kinds and fields.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any, Final, TypeAlias

from pytinc.control.messages import CONTROL, Request
from pytinc.errors import DecodeError

Values: TypeAlias = dict[str, Any]
Fields: TypeAlias = Mapping[str, tuple[type, ...]]
"""The fields of an object, and the types of their values."""

COUNT: Final = (int,)
COUNT_OR_NONE: Final = (int, type(None))
WORD: Final = (str,)
WORD_OR_NONE: Final = (str, type(None))
FLAG: Final = (bool,)
ROWS: Final = (list,)

_WORD_TEXT: Final = re.compile(r"[!-~]+")
_MAX_COUNT: Final = 2**63


def format_object(request: Request, kind: str, values: Mapping[str, object]) -> str:
    """Return a row; ``values`` are plain numbers, text, flags, None, and lists and dictionaries of them."""
    text = json.dumps(values, separators=(",", ":"))
    return f"{CONTROL} {request:d} {kind} {text}"


def parse_object(line: str, what: str) -> tuple[str, Values]:
    """Return the kind and the values of a row about ``what``. Raises `DecodeError`."""
    words = line.split(" ", 3)
    if len(words) != 4:
        raise DecodeError(f"malformed row of {what}")
    try:
        values = json.loads(words[3])
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"{what} are not JSON") from error
    if not isinstance(values, dict):
        raise DecodeError(f"{what} are not an object")
    return words[2], values


def parse_dump(
    lines: Iterable[str], what: str, parsers: Mapping[str, Callable[[Values], Values]]
) -> dict[str, list[Values]]:
    """Return what the parser of each kind makes of the rows of that kind, in order.

    Rows of other kinds are ignored. Raises `DecodeError`.
    """
    found: dict[str, list[Values]] = {kind: [] for kind in parsers}
    for line in lines:
        kind, values = parse_object(line, what)
        if kind in parsers:
            found[kind].append(parsers[kind](values))
    return found


def check_types(values: Values, fields: Fields, what: str) -> None:
    """Raise `DecodeError` unless each field has a value of one of its types."""
    # `type` and not `isinstance`: a boolean is not a number here.
    if any(type(values[name]) not in kinds for name, kinds in fields.items()):
        raise DecodeError(f"{what} with a missing or wrong field")


def checked(values: object, fields: Fields, what: str, texts: Container[str] = ()) -> Values:
    """Return the values of ``fields`` without any others, if they are right and can be shown.

    A text is one word of ASCII; that of a field in ``texts`` is anything that prints on one line. A number is
    in the range of a counter. Raises `DecodeError`.
    """
    if not isinstance(values, dict):
        raise DecodeError(f"a part of {what} is not an object")
    found = {name: values.get(name) for name in fields}
    check_types(found, fields, what)
    if not all(_is_sound(value, is_text=name in texts) for name, value in found.items()):
        raise DecodeError(f"{what} with a wrong value")
    return found


def _is_sound(value: object, *, is_text: bool) -> bool:
    if isinstance(value, str):
        return value.isprintable() if is_text else _WORD_TEXT.fullmatch(value) is not None
    return not isinstance(value, int) or 0 <= value < _MAX_COUNT
