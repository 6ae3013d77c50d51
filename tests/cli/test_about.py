"""help and version."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import pytest

from pytinc.cli.about import version_text
from pytinc.cli.commands import COMMANDS

if TYPE_CHECKING:
    from cli.conftest import Run


def test_help_names_every_command_that_tinc_lists(run: Run) -> None:
    result = run("--help")
    assert result.status == 0
    assert result.out.startswith("Usage: pytinc [options] command\n")
    assert "Valid options are" in result.out
    assert "Valid commands are" in result.out
    hidden = {"config", "list", "connect"}
    for name in set(COMMANDS) - hidden:
        assert f"\n  {name} " in result.out, name
    assert run("-h") == result
    assert run("help", "whatever").out == result.out
    assert run("--he", "nosuch").out == result.out


def test_version_wins_over_help_and_lists_features(run: Run) -> None:
    result = run("--help", "--version")
    assert result.out.startswith("tinc version ")
    assert "protocol 17.7)\n" in result.out
    (features,) = [line for line in result.out.splitlines() if line.startswith("Features:")]
    assert set(features.split()[1:]) - {"readline", "curses"} == {
        "comp_lzo", "comp_zlib", "comp_lz4", "sandbox",
    }  # fmt: skip
    assert run("version").out == result.out
    assert run("version", "x") == (1, "", "Too many arguments!\n")


@pytest.mark.parametrize(("library", "word"), [("readline", "readline"), ("lz4", "comp_lz4")])
def test_a_python_without_a_library_does_not_list_its_feature(
    monkeypatch: pytest.MonkeyPatch, library: str, word: str
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == library else found(name))
    (features,) = [line for line in version_text().splitlines() if line.startswith("Features:")]
    assert word not in features


@pytest.mark.parametrize("word", sorted(set(COMMANDS) - {"start", "restart"}))
def test_each_command_has_its_help(run: Run, word: str) -> None:
    result = run(word, "--help")
    assert (result.status, result.err) == (0, "")
    first, empty, *rest = result.out.splitlines()
    assert first.startswith("Usage: pytinc [options] ")
    assert empty == ""
    assert rest
    assert run("help", word) == result


def test_the_help_of_a_command_is_its_part_of_the_whole(run: Run) -> None:
    whole = run("help").out
    rows = run("dump", "--help").out.splitlines()[2:]
    assert len(rows) == 8
    assert all(row in whole for row in rows)
    assert run("list", "--help").out.splitlines()[2:] == rows
