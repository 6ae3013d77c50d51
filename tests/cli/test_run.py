"""Running one command: whatever goes wrong becomes a message and an exit status, never a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from pytinc.cli.run import INTERRUPTED, guarded, run_command
from pytinc.cli.session import Session
from pytinc.errors import ConfigError

if TYPE_CHECKING:
    from cli.conftest import Run


def failing(error: BaseException) -> int:
    def fail() -> int:
        raise error

    return guarded("pytinc", fail)


def test_the_status_of_the_action_is_returned() -> None:
    assert guarded("pytinc", lambda: 7) == 7


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (click.ClickException("It failed."), "It failed.\n"),
        (ConfigError("bad"), "bad\n"),
        (OSError(28, "No space left on device", "file"), "file: No space left on device\n"),
        (OSError("out of luck"), "out of luck\n"),
        (click.UsageError("Too much."), "Too much.\nTry `pytinc --help' for more information.\n"),
    ],
)
def test_a_failure_is_a_message_and_status_one(
    error: Exception, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failing(error) == 1
    assert capsys.readouterr() == ("", message)


def test_a_bug_is_not_hidden() -> None:
    with pytest.raises(KeyError):
        failing(KeyError("bug"))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_an_interrupt_has_a_status_of_its_own(error: BaseException) -> None:
    assert failing(error) == INTERRUPTED


def test_an_unknown_command_is_an_error_of_usage_except_in_the_shell(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(click.UsageError, match="Unknown command `nothing'"):
        run_command(Session("pytinc"), "nothing", [])
    assert run_command(Session("pytinc", in_shell=True), "nothing", []) == 1
    assert capsys.readouterr().err == "Unknown command `nothing'.\n"


def test_a_closed_pipe_ends_the_command_quietly(conf: Path) -> None:
    with (conf / "tinc.conf").open("a") as file:
        file.writelines(f"ConnectTo = node_{number}\n" for number in range(40000))
    words = f"{sys.executable} -m pytinc -c {conf} get ConnectTo | head -n 1"
    done = subprocess.run(words, shell=True, capture_output=True, text=True, check=True)
    assert done.stdout == "node_0\n"
    assert done.stderr == ""


def test_an_unreadable_configuration_gives_no_traceback(run: Run, conf: Path) -> None:
    (conf / "tinc.conf").unlink()
    (conf / "tinc.conf").mkdir()
    result = run("-c", "conf", "get", "Name")
    assert result == (1, "", "Could not open configuration file conf/tinc.conf: Is a directory\n")


def test_an_interrupt_gives_no_traceback(run: Run, conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pytinc.cli.variables.get", interrupted)
    assert run("-c", "conf", "get", "Name") == (130, "", "\n")
