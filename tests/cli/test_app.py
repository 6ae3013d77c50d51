"""The grammar: options before the command, words after it left alone, exit status 0 or 1."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytinc.cli.app import expand_long_options, grammar

if TYPE_CHECKING:
    from cli.conftest import Run


@pytest.mark.parametrize(
    "options",
    [
        ["-c", "conf"],
        ["-cconf"],
        ["-bcconf"],
        ["-bc", "conf"],
        ["--config", "conf"],
        ["--config=conf"],
        ["--conf", "conf"],
        ["--co=conf"],
        ["--b", "--for", "--c=conf"],
        ["-c", "elsewhere", "-c", "conf"],
        ["-c", "conf", "--"],
        ["-c", "conf", "-b", "--batch", "-n", ""],
        ["-c", "conf", "-n", "."],
    ],
)
def test_global_options_may_be_glued_clustered_shortened_and_repeated(
    run: Run, conf: Path, options: list[str]
) -> None:
    assert run(*options, "get", "Name") == (0, "alpha\n", "")


@pytest.mark.parametrize("word", ["get", "GET", "Get"])
def test_command_names_ignore_case(run: Run, conf: Path, word: str) -> None:
    assert run("-c", "conf", word, "name").out == "alpha\n"


@pytest.mark.parametrize("word", ["ge", "gets", "generate-rsa-keys", "", "-"])
def test_commands_cannot_be_abbreviated(run: Run, conf: Path, word: str) -> None:
    result = run("-c", "conf", word)
    assert result.status == 1
    assert result.err.startswith(f"Unknown command `{word}'.")
    assert result.err.endswith("\nTry `pytinc --help' for more information.\n")


@pytest.mark.parametrize(("word", "meant"), [("dmup", "dump"), ("Invit", "invite"), ("nosuch", "")])
def test_a_misspelt_command_gets_a_suggestion(run: Run, word: str, meant: str) -> None:
    suggestion = f" Did you mean `{meant}'?" if meant else ""
    for result in (run(word), run("-c", "conf", stdin=f"{word}\n")):
        assert result.err.splitlines()[0] == f"Unknown command `{word}'.{suggestion}"


def test_words_after_the_command_are_not_options(run: Run, conf: Path) -> None:
    assert run("-c", "conf", "set", "Weight", "-5").status == 0
    assert run("-c", "conf", "get", "Weight").out == "-5\n"
    assert "Warning: -c is not a known" in run("-c", "conf", "get", "-c").err
    assert "Warning: -- is not a known" in run("-c", "conf", "get", "--").err


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["-x"], "pytinc: invalid option -- 'x'"),
        (["--nosuch"], "pytinc: unrecognized option '--nosuch'"),
        (["-c"], "pytinc: option requires an argument -- 'c'"),
        (["--pid"], "pytinc: option '--pidfile' requires an argument"),
        (["--batch=1"], "pytinc: option '--batch' doesn't allow an argument"),
    ],
)
def test_wrong_options_are_reported_as_getopt_does(run: Run, options: list[str], complaint: str) -> None:
    result = run(*options)
    assert result == (1, "", f"{complaint}\nTry `pytinc --help' for more information.\n")


@pytest.mark.parametrize("name", [".x", "a/b", "a\\b"])
def test_a_network_name_that_is_not_a_directory_name_is_refused_first(run: Run, name: str) -> None:
    assert run("-n", name, "--help") == (1, "", "Invalid character in netname!\n")


def test_prefixes_are_expanded_up_to_the_first_word() -> None:
    words = ["--co", "--he", "--for", "get", "--he"]
    assert expand_long_options(grammar.params, words) == ["--config", "--he", "--force", "get", "--he"]


def test_a_get_loads_nothing_heavy(conf: Path) -> None:
    heavy = {
        "asyncio",
        "numpy",
        "uvloop",
        "cryptography",
        "nacl",
        "rich",
        "construct",
        "socket",
        "subprocess",
    }
    code = (
        "import sys; from pytinc.cli.app import main; status = main(); "
        f"print(sorted({heavy!r} & set(sys.modules)), status)"
    )
    words = [sys.executable, "-c", code, "-c", str(conf), "get", "Name"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == "alpha\n[] 0\n"


def test_the_module_can_be_run(conf: Path) -> None:
    words = [sys.executable, "-m", "pytinc", "-c", str(conf), "get", "Name"]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "alpha\n"
