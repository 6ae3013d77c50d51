"""What all commands share: the chosen network, its paths, and the connection to the daemon."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytinc.cli.session import Session, warn_unsafe_netname

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


def test_a_directory_that_we_may_not_look_into_is_not_taken_for_missing(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exists(self: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "exists", exists)
    result = run("-n", "vpn", "pid")
    assert result.err.startswith("Could not open pid file ")
    assert result.err.count("\n") == 1


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
