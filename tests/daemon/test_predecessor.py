"""`stop_predecessor`: the daemon that runs is stopped, and has ended when the function returns."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytinc.config.paths import Paths, daemon_paths
from pytinc.daemon import predecessor
from pytinc.daemon.logging_setup import DaemonLog
from pytinc.daemon.predecessor import stop_predecessor
from pytinc.errors import DeviceError

COOKIE = "AB" * 32
DAEMON = """\
import os, socket, sys, time
path, cookie, seconds = sys.argv[1:4]
listener = socket.socket(socket.AF_UNIX)
listener.bind(path + ".socket")
listener.listen()
with open(path, "w") as file:
    file.write(f"{os.getpid()} {cookie} 127.0.0.1 port 655\\n")
print("ready", flush=True)
connection, _ = listener.accept()
lines = connection.makefile("r")
lines.readline()
connection.sendall(f"0 alpha 17.7\\n4 0 {os.getpid()}\\n".encode())
print(lines.readline(), end="", flush=True)
lines.close()
listener.close()
connection.close()
time.sleep(float(seconds))
"""
"""Ends some time after it has closed its control socket, as tinc's daemon does."""


@pytest.fixture
def log() -> DaemonLog:
    return DaemonLog("test", 0)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return daemon_paths(None, str(tmp_path), str(tmp_path / "pid"), None)


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def start(tmp_path: Path, seconds: float, name: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", DAEMON, str(tmp_path / "pid"), COOKIE, str(seconds), name],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_the_daemon_is_stopped_and_has_ended(
    tmp_path: Path, paths: Paths, log: DaemonLog, started: list[subprocess.Popen[str]]
) -> None:
    started.append(start(tmp_path, 0.3, "tincd"))
    stop_predecessor(paths, log)
    # It is a child of this process: nothing is left of its command line, but its status waits to be fetched.
    assert not Path(f"/proc/{started[0].pid}/cmdline").read_bytes()
    assert started[0].communicate(timeout=60)[0] == "18 0\n"


def test_without_a_daemon_nothing_happens(paths: Paths, log: DaemonLog) -> None:
    stop_predecessor(paths, log)
    Path(paths.pidfile).write_text(f"999999999 {COOKIE} 127.0.0.1 port 655\n")
    stop_predecessor(paths, log)
    assert not Path(paths.pidfile).exists()


def test_a_process_that_does_not_listen_is_an_error(paths: Paths, log: DaemonLog) -> None:
    Path(paths.pidfile).write_text(f"{os.getppid()} {COOKIE} 127.0.0.1 port 655\n")
    with pytest.raises(DeviceError, match="Cannot connect to UNIX socket"):
        stop_predecessor(paths, log)


def test_a_daemon_that_does_not_end_is_an_error(
    tmp_path: Path,
    paths: Paths,
    log: DaemonLog,
    started: list[subprocess.Popen[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(predecessor, "PATIENCE_S", 0.05)
    started.append(start(tmp_path, 600, "tincd"))
    with pytest.raises(DeviceError, match=f"The daemon with pid {started[0].pid} does not end"):
        stop_predecessor(paths, log)


def test_the_pid_of_another_process_is_not_waited_for(
    tmp_path: Path, paths: Paths, log: DaemonLog, started: list[subprocess.Popen[str]]
) -> None:
    # As seen from another PID namespace: this number may belong to anybody here.
    started.append(start(tmp_path, 600, "anybody"))
    stop_predecessor(paths, log)
    assert started[0].poll() is None


def test_the_number_of_this_process_is_that_of_a_daemon_in_another_container(
    tmp_path: Path,
    paths: Paths,
    log: DaemonLog,
    started: list[subprocess.Popen[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started.append(start(tmp_path, 600, "tincd"))
    monkeypatch.setattr("pytinc.daemon.predecessor.os.getpid", lambda: started[0].pid)
    stop_predecessor(paths, log)
    assert started[0].poll() is None
    # Nor is it one that a container, which was killed, has left in its pid file.
    Path(paths.pidfile).write_text(f"{os.getpid()} {COOKIE} 127.0.0.1 port 655\n")
    stop_predecessor(paths, log)
