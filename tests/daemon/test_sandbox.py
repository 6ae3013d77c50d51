"""The rights of a process that has entered the sandbox as the daemon does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytinc.daemon import landlock, sandbox
from pytinc.daemon.landlock import Access
from pytinc.daemon.sandbox import enter, is_possible, rules
from pytinc.errors import DeviceError

LEVELS = ("normal", "high")
needs_landlock = pytest.mark.skipif(not is_possible(), reason="this kernel has no Landlock")

PROGRAM = """
import errno, json, os, socket, subprocess, sys, threading
from pytinc.daemon import sandbox

said = []
sandbox.load_numpy()
exec({before!r})
sandbox.enter({level!r}, {confbase!r}, lambda level, priority, text: said.append(text))
os.chdir({confbase!r})

def attempt(action):
    try:
        exec(action)
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
    return "done"

json.dump({{action: attempt(action) for action in {actions!r}}}, sys.stdout)
"""


def outcomes(
    confbase: Path,
    *actions: str,
    level: str = "normal",
    before: str = "",
    offline: bool = False,
    **environment: str,
) -> dict[str, str]:
    """Try actions in the sandbox; return for each ``done`` or the name of the error.

    ``offline``: in a network namespace without any interface that is up.
    """
    without_network = ["unshare", "--net", *(() if os.geteuid() == 0 else ("--map-root-user",))]
    for name in ("hosts", "cache", "invitations"):
        (confbase / name).mkdir(exist_ok=True)
        (confbase / name / "file").write_text("text")
    (confbase / "tinc.conf").write_text("Name = alpha\n")
    program = PROGRAM.format(confbase=str(confbase), actions=actions, level=level, before=before)
    done = subprocess.run(
        [*(without_network if offline else ()), sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    if offline and done.stderr.startswith("unshare"):
        pytest.skip("no network namespaces here")
    assert done.stderr == ""
    found: dict[str, str] = json.loads(done.stdout)
    return found


@needs_landlock
@pytest.mark.parametrize("level", LEVELS)
def test_operations_of_a_running_daemon_are_allowed(tmp_path: Path, level: str) -> None:
    actions = (
        "open('tinc.conf').read()",
        "os.listdir('hosts')",
        "open('cache/new', 'x').write('x')",
        "os.replace('cache/file', 'cache/other')",
        "os.rename('invitations/file', 'invitations/file.used')",
        "os.unlink('invitations/file.used')",
        "open('/etc/resolv.conf').read()",
        "socket.getaddrinfo('localhost', 655)",
        "socket.create_server(('127.0.0.1', 0)).close()",
        "open(os.devnull, 'w').write('x')",
        "__import__('pytinc.wire.address_cache')",
        "__import__('wave')",
        "__import__('time').tzset()",
    )
    assert outcomes(tmp_path, *actions, level=level) == dict.fromkeys(actions, "done")


@needs_landlock
@pytest.mark.parametrize("level", LEVELS)
def test_the_certificates_of_authorities_can_be_read_wherever_the_system_has_them(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, level: str
) -> None:
    """As on openSUSE: /etc/ssl/certs is a link to /var/lib/ca-certificates/pem."""
    var = tmp_path_factory.mktemp("var")
    (var / "pem").mkdir()
    (var / "pem/one.pem").write_text("x")
    (var / "bundle.pem").write_text("x")
    (var / "private").write_text("x")
    links = tmp_path_factory.mktemp("etc")
    (links / "certs").symlink_to(var / "pem")
    (links / "bundle.pem").symlink_to(var / "bundle.pem")
    for path, expected in (
        ("certs/one.pem", "done"),
        ("bundle.pem", "done"),
        ("certs/../private", "EACCES"),
    ):
        action = f"open({str(links / path)!r})"
        directory, file = str(links / "certs"), str(links / "bundle.pem")
        found = outcomes(tmp_path, action, level=level, SSL_CERT_DIR=directory, SSL_CERT_FILE=file)
        assert found == {action: expected}


@needs_landlock
@pytest.mark.parametrize("level", LEVELS)
def test_operations_that_no_daemon_needs_are_refused(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, level: str
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "file").write_text("secret")
    actions = (
        "open('tinc.conf', 'a')",
        "open('tinc-up', 'w')",
        "open('hosts/x-up', 'w')",
        "open('hosts/file', 'a')",
        "os.unlink('hosts/file')",
        "os.symlink('/bin/sh', 'cache/link')",
        f"open('{elsewhere}/file')",
        f"open('{elsewhere}/new', 'w')",
        f"os.listdir('{elsewhere}')",
        "open('/proc/1/environ')",
        "open('/proc/self/mem', 'r+b')",
        "open('/usr/bin/new', 'w')",
        "open('/etc/new', 'w')",
    )
    assert outcomes(tmp_path, *actions, level=level) == dict.fromkeys(actions, "EACCES")


@needs_landlock
def test_a_file_that_is_moved_does_not_become_a_script(tmp_path: Path) -> None:
    actions = ("os.rename('cache/file', 'hosts/x-up')", "os.link('cache/file', 'tinc-up')")
    assert set(outcomes(tmp_path, *actions).values()) <= {"EACCES", "EXDEV"}


@needs_landlock
def test_programs_run_at_normal_inside_the_sandbox_and_at_high_not_at_all(tmp_path: Path) -> None:
    action = "assert subprocess.run(['/bin/sh', '-c', 'echo >tinc-up'], stderr=-3).returncode != 0"
    assert outcomes(tmp_path, action) == {action: "done"}
    assert not (tmp_path / "tinc-up").exists()
    assert outcomes(tmp_path, action, level="high") == {action: "EACCES"}


@needs_landlock
def test_the_program_that_talks_to_the_router_runs_at_normal(tmp_path: Path) -> None:
    pytest.importorskip("miniupnpc")
    words = "[sys.executable, '-P', '-m', 'pytinc.net.igd', '100', '60']"
    # It searches for routers, so it must not reach the network of this machine; without one it complains.
    run = f"subprocess.run({words}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)"
    action = f"assert json.loads({run}.stdout.split(b'\\n')[0])"
    assert outcomes(tmp_path, action, offline=True) == {action: "done"}


@needs_landlock
def test_no_thread_of_a_library_is_older_than_the_sandbox(tmp_path: Path) -> None:
    pytest.importorskip("numpy")
    actions = (
        "assert 'numpy' in sys.modules",
        "assert len(said) == 1 and said[0].startswith('Entered the sandbox at level normal'), said",
        "assert (os.environ['OMP_NUM_THREADS'], 'MKL_NUM_THREADS' in os.environ) == ('3', False)",
    )
    assert outcomes(tmp_path, *actions, OMP_NUM_THREADS="3") == dict.fromkeys(actions, "done")


@needs_landlock
def test_a_thread_that_is_older_is_reported(tmp_path: Path) -> None:
    before = "threading.Thread(target=threading.Event().wait, daemon=True).start()"
    action = "assert said[0] == 'Sandbox = normal: 1 threads are older than it and not restricted', said"
    assert outcomes(tmp_path, action, before=before) == {action: "done"}


@needs_landlock
def test_a_thread_that_is_about_to_end_is_waited_for(tmp_path: Path) -> None:
    # The kernel may still list a thread that Python has joined already.
    before = "threading.Timer(0.2, int).start()"
    action = "assert len(said) == 1 and said[0].startswith('Entered the sandbox'), said"
    assert outcomes(tmp_path, action, before=before) == {action: "done"}


@needs_landlock
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_keeps_only_the_rights_of_a_network_daemon(tmp_path: Path) -> None:
    expected = {
        "os.chroot('/usr')": "EPERM",
        "os.setuid(1)": "EPERM",
        "socket.sethostname('x')": "EPERM",
        "os.chown('tinc.conf', 1, 1)": "EPERM",
        "os.open('cache/new', os.O_CREAT)": "done",
        "socket.socket().setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 1)": "done",
        "socket.socket(type=socket.SOCK_DGRAM).bind(('127.0.0.1', 79))": "done",  # a port that nothing uses
    }
    assert outcomes(tmp_path, *expected) == expected


def test_in_another_root_directory_the_root_is_the_configuration_directory() -> None:
    found = dict(rules("high", ""))
    assert Access.WRITE_FILE not in found["/"]
    assert Access.WRITE_FILE in found["/cache"]


def test_a_kernel_that_refuses_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(allowed: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(landlock, "restrict", refuse)
    monkeypatch.setattr(sandbox, "keep_capabilities", lambda: None)
    with pytest.raises(DeviceError, match="Could not enter the sandbox: Operation not permitted"):
        enter("normal", "/nosuch", lambda level, priority, message: None)
