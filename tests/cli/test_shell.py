"""The shell: commands from standard input."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytinc.cli.shell import split

if TYPE_CHECKING:
    from cli.conftest import Run


def test_a_script_is_run_line_by_line(run: Run, conf: Path) -> None:
    result = run("-c", "conf", stdin="set Port 7000\nget  alpha.Port\n\nget\tName")
    assert result.status == 0
    assert result.out == "7000\nalpha\n"


def test_an_empty_script_succeeds(run: Run, conf: Path) -> None:
    assert run("-c", "conf") == (0, "", "")
    assert run("--force", "-b") == (0, "", "")


@pytest.mark.parametrize("word", ["exit", "quit", "EXIT now"])
def test_exit_and_quit_end_it(run: Run, conf: Path, word: str) -> None:
    assert run("-c", "conf", stdin=f"get Name\n{word}\nget Name\n") == (0, "alpha\n", "")


def test_only_a_hash_in_the_first_column_makes_a_comment(run: Run, conf: Path) -> None:
    assert run("-c", "conf", stdin="#get Name\n # x\n") == (1, "", "Unknown command `#'.\n")


def test_one_failure_fails_the_whole_script_but_the_shell_goes_on(run: Run, conf: Path) -> None:
    result = run("-c", "conf", stdin="nosuch x\nget Name\nget\n")
    assert result.status == 1
    assert result.out == "alpha\n"
    assert result.err == "Unknown command `nosuch'.\nInvalid number of arguments.\n"


def test_a_long_line_is_split(run: Run, conf: Path) -> None:
    result = run("-c", "conf", stdin="x" * 5000 + "\n")
    assert [len(line) for line in result.err.splitlines()] == [4095 + 19, 905 + 19]


def test_words_are_not_quoted() -> None:
    assert split(" set\tName  'a b'\n") == ["set", "Name", "'a", "b'"]


def test_the_shell_switches_to_another_network(run: Run, conf: Path, tmp_path: Path) -> None:
    other = tmp_path / "etc/tinc/vpn"
    other.mkdir(parents=True)
    (other / "tinc.conf").write_text("Name = there\n")
    (tmp_path / "etc/tinc/tinc.conf").write_text("Name = plain\n")
    script = "get Name\nnetwork vpn\nget Name\nnetwork .\nget Name\nnetwork a/b\nget Name\n"
    result = run("-c", "conf", stdin=script)
    assert result == (1, "alpha\nthere\nplain\nplain\n", "Invalid character in netname!\n")
