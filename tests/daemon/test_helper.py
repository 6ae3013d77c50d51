"""The daemon's end of the helper, with a real helper process on both loops."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import asyncio, json, os, signal, socket, sys
from pytinc.daemon.helper import Helper, SandboxTree
from pytinc.errors import ConfigError, DeviceError
from pytinc.net.loop import run

base, out = {base!r}, []
held = os.open(base + "/tinc.conf", os.O_RDONLY)
os.set_inheritable(held, True)
helper = Helper.start()
facts = dict(
    level="normal", user=None, chroot=False, priority=None, interpreter=None, confbase=base, extension="",
    environment={{"NAME": "alpha"}}, proxy="cat", log=base + "/log", run_files=[],
)

async def main(tasks):
{main}

try:
    run(main, use_uvloop={uvloop!r})
finally:
    helper.close()
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    pass
else:
    out.append("the helper is left")
json.dump(out, sys.stdout)
"""


IGNORE_CHILDREN = "signal.signal(signal.SIGCHLD, signal.SIG_IGN)"


@pytest.fixture(params=["asyncio", "uvloop"])
def uvloop(request: pytest.FixtureRequest) -> bool:
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    return bool(request.param == "uvloop")


def said(base: Path, uvloop: bool, *lines: str) -> list[object]:
    """Run lines of a coroutine in a process that has a helper; return what they put into ``out``."""
    (base / "hosts").mkdir()
    (base / "tinc.conf").write_text("Name = alpha\n")
    main = "\n".join(f"    {line}" for line in lines)
    program = PROGRAM.format(base=str(base), main=main, uvloop=uvloop)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr == ""
    found: list[object] = json.loads(done.stdout)
    return found


def script(path: Path, *lines: str) -> None:
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)


def test_scripts_checks_and_proxies_run(tmp_path: Path, uvloop: bool) -> None:
    script(tmp_path / "host-up", "exit $WEIGHT")
    script(tmp_path / "hangs", "exec sleep 600")
    assert said(
        tmp_path,
        uvloop,
        "helper.set_up(**facts)",
        "out.append(await helper.run_script('host-up', {'WEIGHT': '7'}))",
        "check = helper.start_check('host-up', {'WEIGHT': '2'})",
        "out.append([check.status, await check.exited(), await check.exited(), check.status])",
        "await check.end()",
        "check = helper.start_check('hangs', {})",
        "try:",
        "    await asyncio.wait_for(check.exited(), 0.01)",
        "except TimeoutError:",
        "    await check.end()",
        "    await check.end()",
        "    out.append(check.status)",
        "ours, theirs = socket.socketpair()",
        "with theirs:",
        "    proxy = helper.start_proxy('not this', {}, theirs)",
        "ours.sendall(b'echo')",
        "out.append(ours.recv(9).decode())",
        "proxy.end()",
        "out.append([ours.recv(9).decode(), proxy.has_ended])",
        "proxy.wait()",
    ) == [7, [None, 2, 2, 2], -9, "echo", ["", True]]


def test_a_script_writes_its_errors_where_the_daemon_wants_them(tmp_path: Path, uvloop: bool) -> None:
    script(tmp_path / "host-up", "echo its words >&2")
    assert said(
        tmp_path,
        uvloop,
        "helper.set_up(**facts)",
        "words = os.memfd_create('words')",
        "out.append(await helper.run_script('host-up', {}, words))",
        "out.append(os.pread(words, 100, 0).decode())",
    ) == [0, "its words\n"]


def test_errors_are_raised_where_the_daemon_expects_them(tmp_path: Path, uvloop: bool) -> None:
    assert said(
        tmp_path,
        uvloop,
        "def attempt(do, *arguments, **facts):",
        "    try:",
        "        do(*arguments, **facts)",
        "    except (OSError, ConfigError, DeviceError) as error:",
        "        out.append([type(error).__name__, str(error)])",
        "attempt(helper.set_up, **{**facts, 'user': 'nosuchuser'})",
        "helper.set_up(**{**facts, 'log': '/nosuch/log'})",
        "attempt(helper.open_log, '/nosuch/log')",
        "tree = SandboxTree(base, (), helper)",
        "attempt(tree.append_public_key, 'beta', 'no key')",
        "attempt(tree.add_host, 'not a name', 'A' * 43)",
        "try:",
        "    await helper.run_script('../planted', {})",
        "except OSError as error:",
        "    out.append(str(error))",
    ) == [
        ["DeviceError", "unknown user `nosuchuser'"],
        ["OSError", "[Errno 2] No such file or directory: '/nosuch/log'"],
        ["ConfigError", "this is no public key"],
        ["ConfigError", "Invalid name for node 'not a name'"],
        "'../planted' is no name of a script",
    ]


def test_files_are_written_by_the_helper(tmp_path: Path, uvloop: bool) -> None:
    found = said(
        tmp_path,
        uvloop,
        "helper.set_up(**facts)",
        "tree = SandboxTree(base, (), helper)",
        "out.append([tree.add_host('beta', 'A' * 43), tree.add_host('beta', 'A' * 43), tree.host_names()])",
        "tree.append_public_key('beta', 'B' * 43)",
        "log = helper.open_log('ignored')",
        "out.append([os.write(log, b'line'), os.get_inheritable(log)])",
        "helper.remove_run_files()",
    )
    assert found == [[True, False, ["beta"]], [4, False]]
    assert (tmp_path / "log").read_text() == "line"


def test_a_script_does_not_wait_for_a_file_that_a_thread_has_written(tmp_path: Path, uvloop: bool) -> None:
    script(tmp_path / "host-up", "exit 7")
    os.mkfifo(tmp_path / "log")
    found = said(
        tmp_path,
        uvloop,
        "helper.set_up(**facts)",
        # Opening a pipe waits until somebody reads it: the helper is busy until then.
        "thread = asyncio.get_running_loop().run_in_executor(None, helper.open_log, 'log')",
        "while not helper._lock.locked():",
        "    await asyncio.sleep(0.01)",
        "running = asyncio.ensure_future(helper.run_script('host-up', {}))",
        "await asyncio.sleep(0)",
        "reader = os.open(base + '/log', os.O_RDONLY | os.O_NONBLOCK)",
        "out.append([await running, await thread > 2])",
    )
    assert found == [[7, True]]


def test_scripts_have_a_status_also_if_the_starter_has_ignored_the_end_of_children(
    tmp_path: Path, uvloop: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path / "host-up", "exit 7")
    monkeypatch.setattr(
        sys.modules[__name__], "PROGRAM", PROGRAM.replace("helper =", f"{IGNORE_CHILDREN}\nhelper =")
    )
    assert said(
        tmp_path, uvloop, "helper.set_up(**facts)", "out.append(await helper.run_script('host-up', {}))"
    ) == [7]


def test_a_late_answer_is_not_taken_for_another_one(tmp_path: Path, uvloop: bool) -> None:
    os.mkfifo(tmp_path / "log")
    found = said(
        tmp_path,
        uvloop,
        "helper.set_up(**facts)",
        "helper._channel.settimeout(0.05)",
        "try:",
        "    helper.open_log('log')",
        "except OSError as error:",
        "    out.append(str(error))",
        "helper._channel.settimeout(60)",
        "reader = os.open(base + '/log', os.O_RDONLY | os.O_NONBLOCK)",
        "out.append(helper.add_host('beta', 'A' * 43))",
    )
    assert found == ["the helper process does not answer", True]


def test_the_helper_holds_nothing_of_the_daemon_and_ignores_its_signals(tmp_path: Path, uvloop: bool) -> None:
    found = said(
        tmp_path,
        uvloop,
        "helper.set_up(**facts)",
        "for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):",
        "    os.kill(helper._pid, number)",
        "helper.remove_run_files()",
        "held = [os.readlink(f'/proc/{helper._pid}/fd/{n}') for n in os.listdir(f'/proc/{helper._pid}/fd')]",
        "out.append([name for name in held if name.startswith(base)])",
    )
    assert found == [[]]


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("os.kill(helper._pid, signal.SIGKILL)", "killed by signal 9 (Killed)"),
        ("helper._channel.send(b'nonsense')", "Unexpected JSONDecodeError: "),
    ],
)
def test_a_helper_that_ends_says_why(tmp_path: Path, uvloop: bool, end: str, reason: str) -> None:
    (found,) = said(
        tmp_path,
        uvloop,
        "ended = asyncio.get_running_loop().create_future()",
        "helper.set_up(**facts)",
        "helper.watch(asyncio.get_running_loop(), ended.set_result)",
        end,
        "out.append(await ended)",
    )
    assert str(found).startswith(reason)


def test_a_helper_that_is_gone_is_an_error_and_no_exception(tmp_path: Path, uvloop: bool) -> None:
    script(tmp_path / "hangs", "exec sleep 1")
    found = said(
        tmp_path,
        uvloop,
        "helper.set_up(**facts)",
        "check = helper.start_check('hangs', {})",
        "os.kill(helper._pid, signal.SIGKILL)",
        "try:",
        "    await check.exited()",
        "except OSError as error:",
        "    out.append(str(error))",
        "await check.end()",
        "try:",
        "    helper.add_host('beta', 'A' * 43)",
        "except ConfigError as error:",
        "    out.append(str(error))",
        "helper.remove_run_files()",
        "try:",
        "    await helper.run_script('hangs', {})",
        "except OSError:",
        "    out.append('no script')",
    )
    assert found == ["the helper process is gone", "the helper process does not answer", "no script"]
