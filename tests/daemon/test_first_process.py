"""A process that believes to be process 1, and to which the system gives the orphans below it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pytinc.daemon.first_process import leave_first_process

CODE = """
import ctypes, os, signal, subprocess, sys, time
from pytinc.daemon.first_process import leave_first_process

PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
first, os.getpid = os.getpid(), lambda: 1
leave_first_process()
assert os.getppid() == first
"""
ORPHANS = """
for _ in range(5):
    shell = subprocess.run(["sh", "-c", "true & echo $!"], stdout=subprocess.PIPE, check=True)
    deadline = time.monotonic() + 60
    while os.path.exists(f"/proc/{int(shell.stdout)}"):
        assert time.monotonic() < deadline, "it is a zombie"
        time.sleep(0.01)
sys.exit(7)
"""
SIGNALS = """
signal.signal(signal.SIG{0}, lambda number, frame: sys.exit(5))
os.kill(first, signal.SIG{0})
time.sleep(60)
"""


def run(code: str) -> int:
    return subprocess.run([sys.executable, "-c", CODE + code], timeout=100, check=False).returncode


def test_ends_of_orphans_are_taken_and_the_status_is_that_of_the_child() -> None:
    assert run(ORPHANS) == 7


@pytest.mark.parametrize("name", ["TERM", "INT", "QUIT", "HUP", "ALRM"])
def test_signals_are_passed_on(name: str) -> None:
    assert run(SIGNALS.format(name)) == 5


def test_a_killed_child_ends_process_1_with_the_status_that_shells_use() -> None:
    assert run("import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); os.abort()") == 128 + 6


def test_any_other_process_goes_on_as_it_is() -> None:
    before = os.getpid()
    leave_first_process()
    assert os.getpid() == before
