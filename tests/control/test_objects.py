"""Rows with a JSON object: what is written is read again, and nonsense is an error of one kind."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.control.messages import Request
from pytinc.control.objects import (
    COUNT,
    COUNT_OR_NONE,
    WORD,
    WORD_OR_NONE,
    check_types,
    format_object,
    parse_object,
)
from pytinc.errors import DecodeError

FIELDS = {"count": COUNT, "rest": COUNT_OR_NONE, "word": WORD, "other": WORD_OR_NONE}
GOOD: dict[str, object] = {"count": 1, "rest": None, "word": "w", "other": "o"}

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = st.none() | st.booleans() | st.integers() | texts
values = scalars | st.lists(scalars, max_size=3) | st.dictionaries(texts, scalars, max_size=3)


@given(request=st.sampled_from(Request), values=st.dictionaries(texts, values, max_size=4))
def test_what_is_written_is_one_line_and_read_again(request: Request, values: dict[str, object]) -> None:
    line = format_object(request, "kind", values)
    assert line.isascii()
    assert line.isprintable()
    assert line.startswith(f"18 {request:d} kind ")
    assert parse_object(line, "things") == ("kind", values)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("", "malformed row of things"),
        ("18 4096 kind", "malformed row of things"),
        ("18 4096 kind ", "things are not JSON"),
        ("18 4096 kind {", "things are not JSON"),
        ("18 4096 kind " + "[" * 100_000, "things are not JSON"),
        ("18 4096 kind []", "things are not an object"),
        ("18 4096 kind 1", "things are not an object"),
        ("18 4096 kind null", "things are not an object"),
    ],
)
def test_other_lines_are_refused(line: str, complaint: str) -> None:
    with pytest.raises(DecodeError, match=f"^{complaint}$"):
        parse_object(line, "things")


@given(line=st.text(max_size=60) | texts.map(lambda text: f"18 4096 kind {text}"))
def test_any_line_is_an_object_or_a_decode_error(line: str) -> None:
    try:
        _, found = parse_object(line, "things")
    except DecodeError:
        return
    assert isinstance(found, dict)


def test_fields_of_the_right_types_are_fine_and_others_do_not_matter() -> None:
    check_types(GOOD, FIELDS, "things")
    check_types({**GOOD, "rest": 2, "other": None, "unknown": []}, FIELDS, "things")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("count", True),
        ("count", 1.0),
        ("count", "1"),
        ("count", None),
        ("rest", False),
        ("word", None),
        ("word", 1),
        ("other", []),
    ],
)
def test_a_field_of_another_type_is_refused(name: str, value: object) -> None:
    with pytest.raises(DecodeError, match=r"^things with a missing or wrong field$"):
        check_types({**GOOD, name: value}, FIELDS, "things")
