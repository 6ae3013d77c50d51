"""The shell: commands from standard input."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytinc.cli import completion
from pytinc.cli.session import Session
from pytinc.cli.shell import split

if TYPE_CHECKING:
    from cli.conftest import Run, ScriptedDaemon


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


def test_commands_share_one_connection(run: Run, conf: Path, daemon: ScriptedDaemon) -> None:
    daemon.answers |= {"9": "18 9 0\n", "10": "18 10 0\n"}
    result = run("-c", "conf", "--pidfile", daemon.pidfile, stdin="debug 3\nretry\npid\n")
    assert result == (0, "4242\n", "Old level 0, new level 3.\n")
    assert daemon.requests == ["18 9 3", "18 10"]


def test_a_lost_connection_is_made_again(run: Run, conf: Path, daemon: ScriptedDaemon) -> None:
    # The scripted daemon closes the connection when asked for something it does not know.
    daemon.answers |= {"10": "18 10 0\n"}
    result = run("-c", "conf", "--pidfile", daemon.pidfile, stdin="purge\nretry\n")
    assert result.status == 1
    assert result.err.splitlines()[-1] == "Previous connection to tincd lost, reconnecting."
    assert daemon.requests == ["18 8", "18 10"]


def test_set_waits_until_the_daemon_has_reloaded(run: Run, conf: Path, daemon: ScriptedDaemon) -> None:
    daemon.answers |= {"1": "18 1 0\n", "10": "18 10 0\n"}
    result = run("-c", "conf", "--pidfile", daemon.pidfile, stdin="set Mode switch\nretry\n")
    assert result == (0, "", "")
    assert daemon.requests == ["18 1", "18 10"]


def test_the_shell_switches_to_another_network(run: Run, conf: Path, tmp_path: Path) -> None:
    other = tmp_path / "etc/tinc/vpn"
    other.mkdir(parents=True)
    (other / "tinc.conf").write_text("Name = there\n")
    (tmp_path / "etc/tinc/tinc.conf").write_text("Name = plain\n")
    script = "get Name\nnetwork vpn\nget Name\nnetwork .\nget Name\nnetwork a/b\nget Name\n"
    result = run("-c", "conf", stdin=script)
    assert result == (1, "alpha\nthere\nplain\nplain\n", "Invalid character in netname!\n")


@pytest.mark.parametrize(
    ("before", "word", "found"),
    [
        ("", "GENERATE-", ["generate-keys", "generate-ed25519-keys"]),
        ("", "conf", []),
        ("dump ", "e", ["edges"]),
        ("set ", "connect", ["ConnectTo"]),
        ("get ", "beta.por", ["beta.Port"]),
        ("get ", "beta.connect", []),
        ("get Name ", "x", []),
        ("export ", "", []),
    ],
)
def test_words_are_completed(run: Run, before: str, word: str, found: list[str]) -> None:
    run()
    assert completion.candidates(Session("pytinc"), before, word) == found


def test_nodes_and_subnets_are_completed_from_the_daemon(
    run: Run, conf: Path, daemon: ScriptedDaemon
) -> None:
    run()
    daemon.answers |= {
        "3": "18 3 beta 0 MYSELF port 1 0 0 0 0 0 0 - - 0 0 0 0 0 -1 0 0 0 0\n18 3\n",
        "5": "18 5 10.0.0.0/8 beta\n18 5 ff00::/8 beta\n18 5\n",
    }
    session = Session("pytinc", confbase="conf", pidfile=daemon.pidfile)
    assert completion.candidates(session, "info ", "") == ["beta", "10.0.0.0/8", "ff00::/8"]
    assert completion.candidates(session, "info ", "b") == ["beta"]
    session.disconnect()
