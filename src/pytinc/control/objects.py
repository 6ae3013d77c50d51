"""Rows of the control socket that only pytinc's daemon has: ``18 REQUEST KIND OBJECT``, the object as JSON.

`pytinc.control.statistics` and `pytinc.control.shared` define the kinds and fields.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
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


def check_types(values: Values, fields: Fields, what: str) -> None:
    """Raise `DecodeError` unless each field has a value of one of its types."""
    # `type` and not `isinstance`: a boolean is not a number here.
    if any(type(values[name]) not in kinds for name, kinds in fields.items()):
        raise DecodeError(f"{what} with a missing or wrong field")
