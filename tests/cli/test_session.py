"""What all commands share: the network chosen, the connection to the daemon, and how failures are told."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from pytinc.cli.run import guarded
from pytinc.cli.session import Session, warn_unsafe_netname
from pytinc.errors import ControlError

if TYPE_CHECKING:
    from cli.conftest import Run, ScriptedDaemon


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


def test_a_closed_pipe_ends_the_command_quietly(conf: Path) -> None:
    with (conf / "tinc.conf").open("a") as file:
        file.writelines(f"ConnectTo = node_{number}\n" for number in range(40000))
    words = f"{sys.executable} -m pytinc -c {conf} get ConnectTo | head -n 1"
    done = subprocess.run(words, shell=True, capture_output=True, text=True, check=True)
    assert done.stdout == "node_0\n"
    assert done.stderr == ""


def test_an_unreadable_configuration_is_no_traceback(run: Run, conf: Path) -> None:
    (conf / "tinc.conf").unlink()
    (conf / "tinc.conf").mkdir()
    result = run("-c", "conf", "get", "Name")
    assert result == (1, "", "Could not open configuration file conf/tinc.conf: Is a directory\n")


def test_an_interrupt_is_no_traceback(run: Run, conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pytinc.cli.variables.get", interrupted)
    assert run("-c", "conf", "get", "Name") == (130, "", "\n")


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


def test_the_daemons_options_follow_the_shell(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    session = Session("pytinc", batch=True, force=True, confbase="conf", pidfile="x")
    assert session.daemon_options == ["-c", "conf", "--pidfile=x"]
    session.switch_network("vpn")
    assert session.daemon_options == ["-n", "vpn"]
    assert os.environ.get("NETNAME") is None


@pytest.mark.parametrize(
    ("error", "complaint"),
    [
        (click.ClickException("No such thing"), "No such thing"),
        (ControlError("the daemon is gone"), "the daemon is gone"),
        (FileNotFoundError(2, "No such file or directory", "x/y"), "x/y: No such file or directory"),
        (OSError("something odd"), "something odd"),
        (click.UsageError("Odd usage"), "Odd usage\nTry `tinc --help' for more information."),
    ],
)
def test_a_failure_is_one_message_and_status_1(
    error: Exception, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> int:
        raise error

    assert guarded("tinc", fail) == 1
    assert capsys.readouterr() == ("", complaint + "\n")


def test_a_bug_is_not_hidden() -> None:
    def fail() -> int:
        raise KeyError("bug")

    with pytest.raises(KeyError):
        guarded("tinc", fail)


@pytest.mark.parametrize("status", [0, 1, 3])
def test_the_status_of_a_command_is_that_of_the_program(status: int) -> None:
    assert guarded("tinc", lambda: status) == status


@pytest.mark.parametrize(
    ("netname", "confbase", "suggestion"),
    [
        (None, None, "tinc"),
        ("vpn", None, "tinc -n vpn"),
        (None, "/etc/x", "tinc -c /etc/x"),
        ("vpn", "/etc/x", "tinc -c /etc/x"),
    ],
)
def test_a_suggested_command_line_reaches_the_same_configuration(
    netname: str | None, confbase: str | None, suggestion: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NETNAME", raising=False)
    assert Session("tinc", netname=netname, confbase=confbase).suggestion == suggestion


def test_files_are_those_of_the_configuration_directory_as_it_was_given() -> None:
    session = Session("tinc", confbase="some/where")
    assert session.tinc_conf == "some/where/tinc.conf"
    assert session.host_file("beta") == "some/where/hosts/beta"


def test_a_question_goes_to_stderr_and_its_answer_may_be_empty_or_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes \n\nlast"))
    session = Session("tinc")
    assert [session.ask("Really? ") for _ in range(4)] == ["yes ", "", "last", None]
    assert capsys.readouterr() == ("", "Really? " * 4)


class Terminal(io.StringIO):
    """An output that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("batch", "plain", "stream", "pretty"),
    [
        (False, "", Terminal, True),
        (False, "0", Terminal, True),
        (True, "", Terminal, False),
        (False, "1", Terminal, False),
        (False, "", io.StringIO, False),
    ],
)
def test_lists_are_laid_out_for_people_only(
    batch: bool, plain: str, stream: type[io.StringIO], pretty: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("PYTINC_PLAIN", plain)
    monkeypatch.setattr(sys, "stdout", stream())
    assert Session("tinc", batch=batch).pretty is pretty


def test_without_a_daemon_a_quiet_reload_does_nothing(run: Run, conf: Path) -> None:
    assert run("-c", "conf", "--pidfile", "none", "set", "Mode", "hub") == (0, "", "")


def test_output_ends_for_the_reader_while_the_program_goes_on(conf: Path) -> None:
    code = (
        "import sys; from pytinc.cli.session import Session; "
        "print('all'); Session('tinc').end_output(); print('seen by nobody'); "
        "sys.stderr.write(sys.stdin.readline())"
    )
    program = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = threading.Timer(60, program.kill)
    deadline.start()
    with program:
        assert program.stdout is not None
        assert program.stdin is not None
        assert program.stderr is not None
        # It waits for a line of ours now, and its output has ended all the same.
        assert program.stdout.read() == "all\n"
        program.stdin.write("still there\n")
        program.stdin.close()
        assert program.stderr.read() == "still there\n"
    deadline.cancel()
    assert program.returncode == 0


@pytest.mark.parametrize(("name", "warned"), [("vpn-1_x", False), ("a b", True), ("x$y", True)])
def test_a_network_name_that_shells_stumble_over_is_a_warning(
    name: str, warned: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    warn_unsafe_netname(name)
    assert bool(capsys.readouterr().err) is warned
