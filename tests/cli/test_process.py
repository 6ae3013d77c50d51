"""start, stop and restart with small scripts in the daemon's place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from pytinc.cli.process import daemon_command

if TYPE_CHECKING:
    from cli.conftest import Run, ScriptedDaemon

PROGRAM = """\
#!/bin/sh
# In the place of pytincd: write down how it was called, then do what the configuration says.
echo "$@" > called
echo "$TINC_UMBILICAL" > umbilical
set -- $TINC_UMBILICAL
. ./behaviour
"""


class Done(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def start(conf: Path, tmp_path: Path) -> object:
    """Run pytinc with a script as pytincd beside it."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    (binaries / "pytincd").write_text(PROGRAM)
    (binaries / "pytincd").chmod(0o755)
    (binaries / "pytinc").write_text(
        f"#!{sys.executable}\nimport sys\nfrom pytinc.cli.app import main\nsys.exit(main())\n"
    )
    (binaries / "pytinc").chmod(0o755)

    def invoke(behaviour: str, *words: str) -> Done:

        (tmp_path / "behaviour").write_text(behaviour)
        done = subprocess.run(
            [str(binaries / "pytinc"), "-c", "conf", "--pidfile=conf/pid", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return invoke


READY = r'eval "printf \"Ready\\n\\0\" >&$1"'


def test_what_the_daemon_says_is_shown_until_it_is_ready(start: Run, tmp_path: Path) -> None:
    assert start(READY, "start", "-d3", "--logfile=x") == (0, "", "Ready\n")
    assert (tmp_path / "called").read_text() == "-c conf --pidfile=conf/pid -d3 --logfile=x\n"
    descriptor, colour = (tmp_path / "umbilical").read_text().split()
    assert int(descriptor) > 2
    assert colour == "0"


def test_batch_and_force_are_not_passed_to_the_daemon(start: Run, tmp_path: Path) -> None:
    assert start(READY, "-b", "--force", "-n", "vpn", "start").status == 0
    assert (tmp_path / "called").read_text() == "-c conf -n vpn --pidfile=conf/pid\n"


@pytest.mark.parametrize(
    "behaviour",
    [
        'eval "echo no key >&$1"; exit 1',
        'eval "echo no key >&$1"',
        READY.replace(r"\\0", "") + "; exit 0",
        READY + "; exit 1",
    ],
)
def test_a_daemon_that_is_not_ready_or_fails_is_a_failure(start: Run, tmp_path: Path, behaviour: str) -> None:
    result = start(behaviour, "start")
    assert result.status == 1
    assert result.err.endswith(f"Error starting {tmp_path}/bin/pytincd\n")


def test_start_waits_for_a_daemon_in_the_foreground(start: Run, tmp_path: Path) -> None:
    assert start(READY + "; exec 3>&- 4>&-; sleep 0.3; echo > done", "start", "-D").status == 0
    assert (tmp_path / "done").exists()


def test_a_running_daemon_is_not_started_again(run: Run, daemon: ScriptedDaemon) -> None:
    assert run("-c", "conf", "start") == (0, "", "A tincd is already running with pid 4242.\n")
    options = ("-c", "conf", "-n", "vpn", "--pidfile", daemon.pidfile)
    assert run(*options, "start").err.endswith("A tincd is already running for net `vpn' with pid 4242.\n")


def test_stop_waits_for_the_end_of_the_stream(run: Run, daemon: ScriptedDaemon) -> None:
    assert run("-c", "conf", "stop") == (0, "", "")
    assert daemon.requests == ["18 0"]


def test_a_daemon_that_does_not_listen_gets_a_signal(run: Run, conf: Path) -> None:
    process = subprocess.Popen(["sleep", "100"])
    (conf / "pid").write_text(f"{process.pid} {'AB' * 32} 127.0.0.1 port 7777\n")
    result = run("-c", "conf", "stop")
    assert result.status == 0
    assert result.err.startswith("Cannot connect to UNIX socket conf/pid.socket: ")
    assert result.err.endswith(f"Sent TERM signal to process with PID {process.pid}.\n")
    assert process.wait(60) == -signal.SIGTERM


def test_stop_without_a_daemon_fails(run: Run, conf: Path) -> None:
    assert run("-c", "conf", "stop").status == 1


@pytest.mark.parametrize("spoil", ["value", "key", "syntax", "port"])
def test_a_daemon_that_would_not_start_again_is_not_restarted(
    run: Run, conf: Path, daemon: ScriptedDaemon, spoil: str
) -> None:
    if spoil == "key":
        (conf / "ed25519_key.priv").unlink()
    else:
        line = {"value": "MaxTimeout = 0\n", "syntax": "Port\n", "port": "Port = abc\n"}[spoil]
        (conf / "tinc.conf").write_text((conf / "tinc.conf").read_text() + line)
    result = run("-c", "conf", "--pidfile", daemon.pidfile, "restart")
    assert result.status == 1
    assert result.err.endswith("\nThe daemon is not restarted, and runs on.\n")
    assert daemon.requests == []


def test_a_network_that_does_not_exist_is_not_started(run: Run, tmp_path: Path) -> None:
    assert run("-n", "vpn", "start").err == f"There is no network vpn ({tmp_path}/etc/tinc has no network).\n"
    for name in ("home", "office"):
        (tmp_path / "etc/tinc" / name).mkdir(parents=True)
        (tmp_path / "etc/tinc" / name / "tinc.conf").touch()
    result = run("-n", "vpn", "start")
    assert result == (1, "", "There is no network vpn (networks here: home, office).\n")
    result = run("start")
    assert result == (1, "", "No network is named: use -n NETNAME. Networks here: home, office.\n")
    assert run("start", "-d5") == result


@pytest.mark.parametrize(
    "words",
    [
        ("--no-detach",),
        ("-Dd5",),
        ("--chroot",),
        ("-dn",),
        ("-o", "-n"),
        ("-U", "-c"),
        ("--pidfile", "-n"),
        ("--", "-n"),
    ],
)
def test_other_options_of_the_daemon_name_no_network(run: Run, words: tuple[str, ...]) -> None:
    assert "`pytinc -n NETNAME init NAME'" in run("start", *words).err


def test_without_any_network_the_next_step_is_named(run: Run) -> None:
    result = run("start")
    assert result.status == 1
    assert "`pytinc -n NETNAME init NAME'" in result.err


def test_options_of_the_daemon_may_name_another_network(start: Run, tmp_path: Path) -> None:
    (tmp_path / "conf").rename(tmp_path / "moved")
    (tmp_path / "etc/tinc/vpn").mkdir(parents=True)
    (tmp_path / "etc/tinc/vpn/tinc.conf").touch()
    binary = str(tmp_path / "bin/pytinc")
    environment = {**os.environ, "PYTINC_SYSCONFDIR": str(tmp_path / "etc")}
    for words in (
        ("start", "-n", "vpn"),
        ("restart", "-n", "vpn"),
        ("start", "-Dnvpn"),
        ("start", "-o", "Mode=switch", "--ne", "vpn"),
        ("start", "--config=moved"),
    ):
        (tmp_path / "called").unlink(missing_ok=True)
        (tmp_path / "behaviour").write_text(READY)
        subprocess.run(
            [binary, "--pidfile=nosuch", *words],
            cwd=tmp_path,
            env=environment,
            timeout=60,
            check=True,
        )
        assert (tmp_path / "called").read_text() == " ".join(("--pidfile=nosuch", *words[1:])) + "\n"


def test_restart_leaves_the_stop_to_the_new_daemon(
    start: Run, tmp_path: Path, daemon: ScriptedDaemon
) -> None:
    assert start(READY, "restart").status == 0
    assert (tmp_path / "called").read_text() == "-c conf --pidfile=conf/pid --replace\n"
    assert daemon.requests == []


def test_restart_with_another_pid_file_for_the_new_daemon_stops_the_old_one_first(
    start: Run, tmp_path: Path, daemon: ScriptedDaemon
) -> None:
    (tmp_path / "conf/tinc.conf").write_text("Name = alpha\n")
    start(READY, "restart", "--pidfile=other")
    assert daemon.requests[:1] == ["18 0"]


def test_restart_starts_a_daemon_if_there_is_none_to_stop(start: Run, tmp_path: Path) -> None:
    result = start(READY, "restart", "-d2")
    assert result.status == 0
    assert result.err.startswith("Could not open pid file conf/pid: ")
    assert result.err.endswith("Ready\n")
    assert (tmp_path / "called").read_text() == "-c conf --pidfile=conf/pid -d2\n"


def test_the_daemon_is_looked_for_beside_the_command_and_in_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pytincd").touch(0o755)
    module = [sys.executable, "-m", "pytinc.daemon"]
    assert daemon_command(f"{tmp_path}/pytinc") == [f"{tmp_path}/pytincd"]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert daemon_command("pytinc") == [f"{tmp_path}/pytincd"]
    assert daemon_command("/nowhere/pytinc") == module
    monkeypatch.setenv("PATH", "/nowhere")
    assert daemon_command("pytinc") == module
