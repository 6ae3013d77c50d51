"""Both programs work as usual when they are started with closed standard streams."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

CLOSED = ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"]


def start(closed: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Let a shell start a program with some standard streams closed."""
    return subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *command],
        input="",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("closed", CLOSED)
def test_commands_work(tmp_path: Path, closed: str) -> None:
    (tmp_path / "hosts").mkdir()
    (tmp_path / "tinc.conf").write_text("Name = alpha\n")
    (tmp_path / "hosts" / "alpha").touch()
    command = [sys.executable, "-m", "pytinc", "-c", str(tmp_path)]

    done = start(closed, *command, "set", "Subnet", "10.0.0.0/24")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "hosts" / "alpha").read_text() == "Subnet = 10.0.0.0/24\n"

    done = start(closed, *command, "get", "Subnet")
    out = "" if ">&-" in closed.split() else "10.0.0.0/24\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, out, "")


@pytest.mark.parametrize("closed", CLOSED)
def test_the_daemon_and_its_scripts_have_all_three_descriptors(tmp_path: Path, closed: str) -> None:
    command = [sys.executable, "-m", "pytinc", "-c", str(tmp_path), "--batch"]
    subprocess.run([*command, "init", "alpha"], capture_output=True, timeout=60, check=True)
    with (tmp_path / "tinc.conf").open("a") as file:
        file.write("DeviceType = dummy\nListenAddress = 127.0.0.1 0\n")
    # The script writes into no file of the daemon: the log has what it says only in lines of the daemon. The
    # daemon is told to end as soon as it is ready.
    (tmp_path / "tinc-up").write_text(
        "#!/bin/sh\n"
        "for n in 0 1 2; do\n"
        '  echo "$(readlink /proc/$$/fd/$n) $(readlink /proc/$PPID/fd/$n)" >> streams\n'
        "done\n"
        "echo said by the script; echo said by the script >&2\n"
        f"{' '.join(command)} --pidfile={tmp_path}/pid stop </dev/null >/dev/null 2>&1 &\n"
    )
    (tmp_path / "tinc-up").chmod(0o755)
    done = start(
        closed, sys.executable, "-m", "pytinc.daemon", "-D",
        "-c", str(tmp_path), f"--pidfile={tmp_path}/pid", f"--logfile={tmp_path}/log",
    )  # fmt: skip
    log = (tmp_path / "log").read_text()
    assert done.returncode == 0, log
    assert "Ready\n" in log
    assert not re.search("^said by", log, re.MULTILINE)
    assert log.count("said by the script") == ("2>&-" in closed.split())
    # Of the script and of the daemon.
    streams = dict(zip(("<&-", ">&-", "2>&-"), (tmp_path / "streams").read_text().splitlines(), strict=True))
    for word in closed.split():
        # Nobody reads the daemon's standard error, so the daemon reads the script's.
        allowed = {"/dev/null", "/memfd:script"} if word == "2>&-" else {"/dev/null"}
        assert set(streams[word].replace(" (deleted)", "").split()) <= allowed
