"""The table of commands: names, numbers of words, and the modules behind it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.cli.commands import COMMANDS, Command, Json, find

if TYPE_CHECKING:
    from cli.conftest import Run


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["stop", "now"], "Too many arguments!"),
        (["log", "1", "2"], "Too many arguments!"),
        (["generate-keys", "2048"], "Too many arguments!"),
        (["debug"], "Invalid number of arguments."),
        (["info", "a", "b"], "Invalid number of arguments."),
        (["get"], "Invalid number of arguments."),
        (["verify"], "Not enough arguments!"),
        (["verify", "a", "b", "c"], "Too many arguments!"),
    ],
)
def test_wrong_numbers_of_words_are_reported_as_tinc_does(
    run: Run, conf: Path, words: list[str], complaint: str
) -> None:
    assert run("-c", "conf", *words) == (1, "", complaint + "\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_can_be_loaded(name: str) -> None:
    assert callable(COMMANDS[name].load())


@pytest.mark.parametrize("word", ["get", "GET", "Export-All"])
def test_a_command_is_found_in_any_case(word: str) -> None:
    assert find(word) is COMMANDS[word.lower()]


@pytest.mark.parametrize("word", ["", "ge", "get ", "generate-rsa-keys"])
def test_other_words_are_not_commands(word: str) -> None:
    assert find(word) is None


@given(words=st.lists(st.sampled_from(["--json", "a", "--", "b"])))
def test_json_is_an_option_where_the_command_says_so_and_a_word_elsewhere(words: list[str]) -> None:
    nowhere, first, anywhere = (Command("x.y", json=where) for where in Json)
    assert nowhere.take_json(words) == (False, words)
    is_first = words[:1] == ["--json"]
    assert first.take_json(words) == (is_first, words[1:] if is_first else words)
    asked, others = anywhere.take_json(words)
    assert asked == ("--json" in words)
    assert others == [word for word in words if word != "--json"]


@given(least=st.integers(0, 3), more=st.integers(0, 3), count=st.integers(0, 8))
def test_a_complaint_comes_exactly_with_a_wrong_number_of_words(least: int, more: int, count: int) -> None:
    command = Command("x.y", least, least + more)
    assert (command.wrong_count(["word"] * count) is None) == (least <= count <= least + more)
