"""The grammar: options before the command, words after it left alone, exit status 0 or 1."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytinc.cli.app import expand_long_options, grammar
from pytinc.cli.commands import COMMANDS

if TYPE_CHECKING:
    from conftest import Run


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
    assert result == (1, "", f"Unknown command `{word}'.\nTry `pytinc --help' for more information.\n")


def test_words_after_the_command_are_not_options(run: Run, conf: Path) -> None:
    assert run("-c", "conf", "set", "Weight", "-5").status == 0
    assert run("-c", "conf", "get", "Weight").out == "-5\n"
    assert "Warning: --help is not a known" in run("-c", "conf", "get", "--help").err
    assert "Warning: -c is not a known" in run("-c", "conf", "get", "-c").err
    assert "Warning: -- is not a known" in run("-c", "conf", "get", "--").err


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["-x"], "pytinc: invalid option -- 'x'"),
        (["-h"], "pytinc: invalid option -- 'h'"),
        (["--nosuch"], "pytinc: unrecognized option '--nosuch'"),
        (["-c"], "pytinc: option requires an argument -- 'c'"),
        (["--pid"], "pytinc: option '--pidfile' requires an argument"),
        (["--batch=1"], "pytinc: option '--batch' doesn't allow an argument"),
    ],
)
def test_wrong_options_are_reported_as_getopt_does(run: Run, options: list[str], complaint: str) -> None:
    result = run(*options)
    assert result == (1, "", f"{complaint}\nTry `pytinc --help' for more information.\n")


def test_help_names_every_command_that_tinc_lists(run: Run) -> None:
    result = run("--help")
    assert result.status == 0
    assert result.out.startswith("Usage: pytinc [options] command\n")
    assert "Valid options are" in result.out
    assert "Valid commands are" in result.out
    hidden = {"config", "list", "connect"}
    for name in set(COMMANDS) - hidden:
        assert f"\n  {name} " in result.out, name
    assert run("help", "whatever").out == result.out
    assert run("--he", "nosuch").out == result.out


def test_version_wins_over_help_and_lists_features(run: Run) -> None:
    result = run("--help", "--version")
    assert result.out.startswith("tinc version ")
    assert "protocol 17.7)\n" in result.out
    (features,) = [line for line in result.out.splitlines() if line.startswith("Features:")]
    assert set(features.split()[1:]) <= {"readline", "curses"}
    assert run("version").out == result.out
    assert run("version", "x") == (1, "", "Too many arguments!\n")


@pytest.mark.parametrize("name", [".x", "a/b", "a\\b"])
def test_a_network_name_that_is_not_a_directory_name_is_refused_first(run: Run, name: str) -> None:
    assert run("-n", name, "--help") == (1, "", "Invalid character in netname!\n")


def test_the_network_name_may_come_from_the_environment(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc/tinc/vpn").mkdir(parents=True)
    (tmp_path / "etc/tinc/vpn/tinc.conf").write_text("Name = here\n")
    monkeypatch.setenv("NETNAME", "vpn")
    assert run("get", "Name").out == "here\n"
    assert run("-n", "", "get", "Name").status == 1


def test_a_directory_wins_over_a_network_name(run: Run, conf: Path) -> None:
    result = run("-n", "vpn", "-c", "conf", "get", "Name")
    assert result.out == "alpha\n"
    assert result.err == "Both netname and configuration directory given, using the latter...\n"


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
