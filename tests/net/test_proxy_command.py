"""The exec proxy's process on its own; tests/net/test_proxy.py has connections through it."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from pytinc.net.proxy_command import ProxyCommand

PATIENCE = 60.0


def run_until_line(command: str) -> tuple[ProxyCommand, str]:
    """Start a command; return it and the first line it writes."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = ProxyCommand(command, {"NODE": "beta"}, theirs)
    ours.settimeout(PATIENCE)
    with ours, ours.makefile() as lines:
        return process, lines.readline()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_a_command_has_the_socket_and_its_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_OUTSIDE", "outside")
    process, line = run_until_line('echo "$NODE $FROM_OUTSIDE"; exec sleep 600')
    assert line == "beta outside\n"
    process.end()
    process.wait()


@pytest.mark.parametrize("trap", ["", "trap '' TERM; "])
def test_the_end_takes_the_whole_process_group(trap: str) -> None:
    process, line = run_until_line(f"{trap}sleep 600 & echo $! $$; wait; sleep 600")
    pids = [int(word) for word in line.split()]
    assert [is_alive(pid) for pid in pids] == [True, True]
    assert os.getpgid(pids[0]) == pids[1]
    process.end()
    process.wait()
    assert process.has_ended
    until = time.monotonic() + PATIENCE
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < until
        time.sleep(0.01)
