"""Real restrictions, each in a process of its own, because nothing takes them back."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest

from pytinc.daemon import landlock
from pytinc.daemon.landlock import Access

pytestmark = pytest.mark.skipif(landlock.version() == 0, reason="this kernel has no Landlock")

PROGRAM = """
import errno, json, os, sys, threading
from pytinc.daemon.landlock import Access, restrict

os.chdir({base!r})
held = open("secret")
restrict([({base!r} + "/read", Access.READ_FILE | Access.READ_DIR),
          ({base!r} + "/write", Access.READ_FILE | Access.WRITE_FILE | Access.MAKE_REG | Access.REMOVE_FILE),
          ({base!r} + "/read/nosuch", Access.READ_FILE)])

def attempt(action):
    try:
        exec(action)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"

def in_thread(action):
    found = []
    thread = threading.Thread(target=lambda: found.append(attempt(action)))
    thread.start()
    thread.join()
    return found[0]

def in_process(action):
    child = os.fork()
    if child == 0:
        os._exit(attempt(action) == "EACCES")
    return "EACCES" if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) else "done"

json.dump({{action: {where}(action) for action in {actions!r}}}, sys.stdout)
"""


def outcomes(base: Path, *actions: str, where: str = "attempt") -> dict[str, str]:
    """Try actions in a restricted process; return for each ``done`` or the name of the error."""
    for name in ("read", "write"):
        (base / name).mkdir(exist_ok=True)
        (base / name / "file").write_text("text")
    (base / "secret").write_text("text")
    program = PROGRAM.format(base=str(base), actions=actions, where=where)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_allowed_operations_work(tmp_path: Path) -> None:
    actions = (
        "open('read/file').read()",
        "os.listdir('read')",
        "open('write/file', 'r+').write('x')",
        "open('write/new', 'w').write('x')",
        "os.rename('write/file', 'write/other')",
        "os.unlink('write/other')",
        "held.read()",
        "os.stat('secret')",
    )
    assert outcomes(tmp_path, *actions) == dict.fromkeys(actions, "done")


def test_all_else_is_refused(tmp_path: Path) -> None:
    actions = [
        "open('secret')",
        "open('read/file', 'r+')",
        "open('read/new', 'x')",
        "os.unlink('read/file')",
        "os.listdir('write')",
        "os.symlink('x', 'write/link')",
        "os.mkdir('write/directory')",
        "os.execv('/bin/true', ['true'])",
        "open('/etc/passwd')",
    ]
    if landlock.version() >= 3:
        actions.append("os.truncate('read/file', 0)")
    assert outcomes(tmp_path, *actions) == dict.fromkeys(actions, "EACCES")


def test_nothing_moves_to_where_more_is_allowed(tmp_path: Path) -> None:
    actions = ("os.rename('write/file', 'read/other')", "os.link('secret', 'write/link')")
    assert set(outcomes(tmp_path, *actions).values()) <= {"EACCES", "EXDEV"}


@pytest.mark.parametrize("where", ["in_thread", "in_process"])
def test_threads_and_processes_that_begin_later_are_restricted_as_well(tmp_path: Path, where: str) -> None:
    assert outcomes(tmp_path, "open('secret')", "open('read/file')", where=where) == {
        "open('secret')": "EACCES",
        "open('read/file')": "done",
    }


@pytest.mark.skipif(landlock.version() < 6, reason="this kernel cannot restrict signals")
def test_no_signal_reaches_a_process_outside(tmp_path: Path) -> None:
    actions = {"os.kill(os.getppid(), 0)": "EPERM", "os.kill(os.getpid(), 0)": "done"}
    assert outcomes(tmp_path, *actions) == actions


def test_an_older_kernel_is_asked_only_for_known_rights() -> None:
    assert Access.REFER not in landlock.known(1)
    assert Access.TRUNCATE not in landlock.known(2)
    assert Access.IOCTL_DEV not in landlock.known(4)
    assert landlock.known(5) == landlock.known(99) == Access((1 << 16) - 1)


def test_a_kernel_without_it_has_version_0(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(number: int, *arguments: object) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(landlock, "_call", refuse)
    assert landlock.version() == 0
