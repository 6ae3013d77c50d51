"""The kinds of events and their fields as docs/json.md lists them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs/json.md").read_text()
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "string[]": (list, tuple),
}


def documented() -> dict[str, dict[str, str]]:
    """Return the fields of each kind with their types."""
    (section,) = re.findall(r"^## events\n(.*?)(?=^## )", DOCUMENT, re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^\| `([a-z-]+)` \|([^|]*)\|", section, re.MULTILINE)
    return {kind: dict(re.findall(r"`(\w+)` ([a-z]+(?:\[\])?\??)", fields)) for kind, fields in rows}


KINDS = documented()


def check_event(kind: str, fields: Mapping[str, object]) -> None:
    """Complain unless an event has exactly the documented fields, with their types."""
    types = KINDS[kind]
    assert set(fields) == set(types), kind
    for name, value in fields.items():
        if value is None:
            assert types[name].endswith("?"), (kind, name)
        else:
            assert type(value) in TYPES[types[name].rstrip("?")], (kind, name, value)


def value_of(word: str) -> object:
    """Return a value of a documented type."""
    return {"string": "x", "integer": 7, "number": 1.5, "boolean": True, "string[]": ["x"]}[word.rstrip("?")]
