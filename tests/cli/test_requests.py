"""Commands that are one request to the daemon."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cli.conftest import Run, ScriptedDaemon


@pytest.fixture
def ask(run: Run, daemon: ScriptedDaemon) -> Run:
    return lambda *words: run("-c", "conf", "--pidfile", daemon.pidfile, *words)


@pytest.mark.parametrize(
    ("words", "request_line", "complaint"),
    [
        (["reload"], "18 1", "Could not reload configuration."),
        (["purge"], "18 8", "Could not purge old information."),
        (["retry"], "18 10", "Could not retry outgoing connections."),
        (["connect", "beta"], "18 11 beta", "Could not connect to beta."),
        (["disconnect", "beta"], "18 12 beta", "Could not disconnect beta."),
    ],
)
def test_success_is_silent_and_failure_is_reported(
    ask: Run, daemon: ScriptedDaemon, words: list[str], request_line: str, complaint: str
) -> None:
    number = request_line.split()[1]
    daemon.answers[number] = f"18 {number} 0\n"
    assert ask(*words) == (0, "", "")
    daemon.answers[number] = f"18 {number} 22\n"
    assert ask(*words) == (1, "", complaint + "\n")
    daemon.answers[number] = "18 -1\n"
    assert ask(*words) == (1, "", complaint + "\n")
    assert daemon.requests == [request_line] * 3


@pytest.mark.parametrize("words", [["connect", "a-b"], ["disconnect", ""]])
def test_the_name_is_checked_before_connecting(run: Run, conf: Path, words: list[str]) -> None:
    assert run("-c", "conf", *words) == (1, "", "Invalid name for node.\n")


def test_pid_is_the_one_of_the_greeting(ask: Run) -> None:
    assert ask("pid") == (0, "4242\n", "")


@pytest.mark.parametrize(("word", "level"), [("5", 5), ("-1", -1)])
def test_debug_reports_the_old_level(ask: Run, daemon: ScriptedDaemon, word: str, level: int) -> None:
    daemon.answers["9"] = "18 9 2\n"
    assert ask("debug", word) == (0, "", f"Old level 2, new level {level}.\n")
    assert daemon.requests == [f"18 9 {level}"]


@pytest.mark.parametrize("word", ["x", "3x", ""])
def test_a_debug_level_that_is_no_number_is_refused(ask: Run, daemon: ScriptedDaemon, word: str) -> None:
    assert ask("debug", word) == (1, "", f"The debug level is a number from 0 to 5, not `{word}'.\n")
    assert daemon.requests == []


def test_without_a_daemon_the_pid_file_is_named(run: Run, conf: Path, tmp_path: Path) -> None:
    reason = f"Could not open pid file {tmp_path}/var/run/tinc.pid: No such file or directory\n"
    for command in ("reload", "pid", "purge", "retry", "stop", "log", "pcap"):
        assert run("-c", "conf", command) == (1, "", reason)


def test_a_daemon_of_an_ordinary_user_is_found_in_the_configuration_directory(
    run: Run, daemon: ScriptedDaemon
) -> None:
    assert run("-c", "conf", "pid") == (0, "4242\n", "")


def test_reload_says_that_it_does_not_run_a_changed_tinc_up(
    run: Run, conf: Path, daemon: ScriptedDaemon
) -> None:
    daemon.answers = {"1": "18 1 0\n"}
    (conf / "tinc-up").touch()
    started = Path(daemon.pidfile).stat().st_mtime
    os.utime(conf / "tinc-up", (started - 10, started - 10))
    assert run("-c", str(conf), f"--pidfile={daemon.pidfile}", "reload").err == ""
    os.utime(conf / "tinc-up", (started + 10, started + 10))
    result = run("-c", str(conf), f"--pidfile={daemon.pidfile}", "reload")
    assert result.status == 0
    assert "does not run it" in result.err
