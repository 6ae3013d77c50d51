"""``python -m pytinc.lab COMMAND``: the command runs where namespaces can be made, or at least runs."""

from __future__ import annotations

import subprocess
import sys


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytinc.lab", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_takes_the_place_of_the_program() -> None:
    done = run("sh", "-c", 'echo "$0" "$@"; exit 3', "zero", "a b", "-c")
    assert (done.returncode, done.stdout) == (3, "zero a b -c\n")


def test_the_command_may_do_what_root_may() -> None:
    done = run("id", "-u")
    if "pytinc.lab: " in done.stderr:
        assert "not root" in done.stderr, "where neither way is open the reason is told"
    else:
        assert done.stdout == "0\n"


def test_without_a_command_it_prints_its_usage() -> None:
    done = run()
    assert done.returncode == 1
    assert done.stderr.startswith("usage: ")
