"""Rows with a JSON object: written values are read back, and nonsense is an error of one kind."""

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
    checked,
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


def test_checked_values_have_their_fields_and_no_others() -> None:
    assert checked({**GOOD, "unknown": []}, FIELDS, "things") == GOOD
    assert checked({"count": 1, "word": "w"}, FIELDS, "things") == {**GOOD, "rest": None, "other": None}


@pytest.mark.parametrize("word", ["", "two words", "w\n", "\x1b[31m", "\u00fc", "\x7f"])
def test_a_word_is_one_of_ascii(word: str) -> None:
    with pytest.raises(DecodeError, match=r"^things with a wrong value$"):
        checked({**GOOD, "word": word}, FIELDS, "things")


@pytest.mark.parametrize("text", ["", "two words", "\u00fc", "100 % [bold]"])
def test_a_text_prints_on_one_line(text: str) -> None:
    assert checked({**GOOD, "word": text}, FIELDS, "things", {"word"})["word"] == text


@pytest.mark.parametrize("text", ["two\nlines", "a\ttab", "\x1b[31m", "\u202e", "\ud800", "\x00"])
def test_a_text_that_would_do_something_to_a_terminal_is_refused(text: str) -> None:
    with pytest.raises(DecodeError, match=r"^things with a wrong value$"):
        checked({**GOOD, "word": text}, FIELDS, "things", {"word"})


@pytest.mark.parametrize("count", [-1, 2**63])
def test_a_number_is_in_the_range_of_a_counter(count: int) -> None:
    assert checked({**GOOD, "count": 2**63 - 1, "rest": 0}, FIELDS, "things")["rest"] == 0
    with pytest.raises(DecodeError, match=r"^things with a wrong value$"):
        checked({**GOOD, "count": count}, FIELDS, "things")


@pytest.mark.parametrize("part", [None, [], "x", 1])
def test_a_part_that_is_no_object_is_refused(part: object) -> None:
    with pytest.raises(DecodeError, match=r"^a part of things is not an object$"):
        checked(part, FIELDS, "things")
