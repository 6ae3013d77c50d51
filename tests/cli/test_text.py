"""Small readings of text: C's numbers, and terminals with colours."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.cli.text import atoi, wants_colour


@given(
    blanks=st.text(st.sampled_from(" \t\n\v\f\r"), max_size=3),
    number=st.integers(-(10**9), 10**9),
    rest=st.sampled_from(["", " ", "x", ".5", "-", "e3"]),
)
def test_the_number_at_the_beginning_is_read_and_the_rest_ignored(
    blanks: str, number: int, rest: str
) -> None:
    assert atoi(f"{blanks}{number}{rest}") == number


@pytest.mark.parametrize(("text", "number"), [("+7", 7), ("007", 7), ("-0", 0), ("5 6", 5)])
def test_signs_and_zeros_in_front_are_allowed(text: str, number: int) -> None:
    assert atoi(text) == number


@pytest.mark.parametrize("text", ["", "x", "+", "--1", "- 1", "0x10", ".5", "\u0663", "\xa01"])
def test_a_text_that_begins_with_no_number_is_0(text: str) -> None:
    assert atoi(text) == 0


@pytest.mark.parametrize("text", ["9" * 5000, "-" + "9" * 5000])
def test_a_very_long_number_is_accepted(text: str) -> None:
    assert isinstance(atoi(text), int)


class Stream(io.StringIO):
    """An output that may be a terminal."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.mark.parametrize(
    ("terminal", "term", "colour"),
    [
        (True, "xterm-256color", True),
        (True, "dumb", False),
        (True, "", False),
        (True, None, False),
        (False, "xterm-256color", False),
    ],
)
def test_colours_are_for_terminals_that_can_show_them(
    terminal: bool, term: str | None, colour: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if term is None:
        monkeypatch.delenv("TERM", raising=False)
    else:
        monkeypatch.setenv("TERM", term)
    assert wants_colour(Stream(terminal)) is colour
