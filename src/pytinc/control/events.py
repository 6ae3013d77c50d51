"""Events of pytinc's daemon as lines of the control socket (docs/json.md, "events"). tinc has none.

The request is `pytinc.control.messages.Request.EVENTS`: rows ``18 4100 KIND OBJECT`` where OBJECT is JSON
without blanks, first one of KIND ``ring``, then one of KIND ``event`` for each event. A dump ends as every
dump does; a stream goes on with each new event until its connection ends. A C daemon answers that it does not
know the request.

An event is a dictionary: its fields beside ``seq``, ``time`` and ``kind``, which all have. New kinds and
fields may come with each version, so only the types of values are checked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Final

from pytinc.control.messages import Request
from pytinc.control.objects import Values, format_object, parse_object
from pytinc.errors import DecodeError

EVENT: Final = "event"
RING: Final = "ring"
MAX_ROW: Final = 60_000
"""Characters of a row. Our client reads lines of up to 64 KiB."""
MAX_FIELDS: Final = 64
"""Fields of an event; ours have no more than a dozen."""

_WHAT: Final = "events"
_WORD: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}", re.ASCII)
_MAX_NUMBER: Final = 2**63


def format_ring(started: float, first: int, last: int) -> str:
    """Return the first row: since when this daemon counts, and the numbers of the oldest and latest event."""
    values = {"started": started, "first": first, "last": last}
    return format_object(Request.EVENTS, RING, values)


def format_event(seq: int, time: float, kind: str, fields: Mapping[str, object]) -> str:
    """Return the row of an event. If it would be too long for a client, its lists lose their ends."""
    values: dict[str, object] = {"seq": seq, "time": round(time, 6), "kind": kind, **fields}
    row = format_object(Request.EVENTS, EVENT, values)
    while len(row) > MAX_ROW and any(isinstance(value, list) and value for value in values.values()):
        values = {
            name: value[: len(value) // 2] if isinstance(value, list) else value
            for name, value in values.items()
        }
        row = format_object(Request.EVENTS, EVENT, values)
    return row


def parse_ring(line: str) -> Values:
    """Return the values of the first row: ``started``, ``first`` and ``last``. Raises `DecodeError`."""
    kind, values = parse_object(line, _WHAT)
    if kind != RING:
        raise DecodeError("events without a row about their ring")
    started, first, last = (values.get(name) for name in ("started", "first", "last"))
    if not (_is_number(started) and _is_count(first) and _is_count(last)):
        raise DecodeError("events with a wrong row about their ring")
    return {"started": started, "first": first, "last": last}


def parse_event(line: str) -> Values:
    """Return an event. Raises `DecodeError`."""
    kind, values = parse_object(line, _WHAT)
    if kind != EVENT:
        raise DecodeError("a row of another kind among events")
    word = values.get("kind")
    if not (
        _is_count(values.get("seq"))
        and _is_number(values.get("time"))
        and isinstance(word, str)
        and _WORD.fullmatch(word)
        and len(values) <= MAX_FIELDS
        and all(_WORD.fullmatch(name) for name in values)
    ):
        raise DecodeError("an event with a missing or wrong field")
    return {name: _sound(value) for name, value in values.items()}


def parse_dump(lines: Iterable[str]) -> tuple[Values, list[Values]]:
    """Return what the first row says, and the events. Raises `DecodeError`."""
    rows = iter(lines)
    first = next(rows, None)
    if first is None:
        raise DecodeError("events without a row about their ring")
    return parse_ring(first), [parse_event(row) for row in rows]


def _sound(value: object) -> object:
    """Return a value as it may be shown: text is one line. Raises `DecodeError`."""
    if isinstance(value, str):
        return "".join(each if each.isprintable() else "?" for each in value)
    if isinstance(value, list):
        if not all(isinstance(each, str) for each in value):
            raise DecodeError("an event with a wrong list")
        return [_sound(each) for each in value]
    if value is None or isinstance(value, bool) or _is_number(value):
        return value
    raise DecodeError("an event with a wrong value")


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < _MAX_NUMBER


def _is_number(value: object) -> bool:
    if type(value) is int:
        return -_MAX_NUMBER < value < _MAX_NUMBER
    return type(value) is float and math.isfinite(value)
