"""Requests that the helper performs and refuses, as an attacker in the daemon could send them."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytinc.daemon.helper_process import MAX_PROCESSES, HelperProcess, script_command

PATIENCE = 60.0
KEY = "A" * 43


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


class Taken:
    """A helper, in a thread of this process, and the daemon's end of its socket."""

    def __init__(self, confbase: Path) -> None:
        self.confbase = confbase
        for name in ("hosts", "cache", "invitations"):
            (confbase / name).mkdir()
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel.settimeout(PATIENCE)
        self.theirs = theirs
        self.thread = threading.Thread(target=HelperProcess(theirs).run)
        self.thread.start()

    def ask(self, do: str, **facts: object) -> dict[str, Any]:
        self.channel.send(json.dumps({"do": do, "number": 7, **facts}).encode())
        answer: dict[str, Any] = json.loads(self.channel.recv(4096))
        assert answer.pop("number") == 7
        return answer

    def set_up(self, **facts: object) -> None:
        usual: dict[str, object] = {
            "level": "normal", "user": None, "chroot": False, "priority": None, "interpreter": None,
            "extension": "",
            "confbase": str(self.confbase), "environment": {"NAME": "alpha"}, "proxy": "",
            "log": str(self.confbase / "log"), "run_files": [],
        }  # fmt: skip
        assert self.ask("set up", **{**usual, **facts}) == {}

    def run(self, kind: str, *streams: int, **facts: object) -> socket.socket:
        """Ask for a process; return the socket that it is reported on."""
        ours, theirs = socket.socketpair()
        ours.settimeout(PATIENCE)
        request = {"do": "run", "kind": kind, "environment": {}, **facts}
        with theirs:
            socket.send_fds(self.channel, [json.dumps(request).encode()], [theirs.fileno(), *streams])
        return ours

    def report(self, kind: str, **facts: object) -> dict[str, Any]:
        with self.run(kind, **facts) as channel:
            report: dict[str, Any] = json.loads(channel.recv(4096))
        return report

    def script(self, name: str, *lines: str) -> Path:
        path = self.confbase / name
        path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
        path.chmod(0o755)
        return path

    def leave(self) -> None:
        """Be gone, as a daemon that has ended."""
        self.channel.close()
        self.thread.join(PATIENCE)
        self.theirs.close()
        assert not self.thread.is_alive()


@pytest.fixture
def taken(tmp_path: Path) -> Iterator[Taken]:
    (tmp_path / "mynet").mkdir()
    taken = Taken(tmp_path / "mynet")
    yield taken
    taken.leave()


def test_scripts_run_with_their_variables_and_their_status_is_reported(
    taken: Taken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FROM_OUTSIDE", "outside")
    taken.set_up()
    out = taken.confbase / "out"
    taken.script("host-up", f'echo "$NAME $NODE $FROM_OUTSIDE" > {out}; exit 3')
    assert taken.report("script", file="host-up", environment={"NODE": "beta"}) == {"status": 3}
    assert out.read_text() == "alpha beta outside\n"
    taken.script("hosts/beta-up", "kill -9 $$")
    assert taken.report("script", file="hosts/beta-up") in ({"status": -9}, {"status": 137})


@pytest.mark.parametrize(
    "name", ["LD_PRELOAD", "PATH", "BASH_ENV", "ENV", "IFS", "PYTHONPATH", "NAME", "INTERFACE", "HOME"]
)
def test_other_variables_do_not_reach_a_script(
    taken: Taken, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENV", "")
    taken.set_up(environment={"NAME": "alpha", "INTERFACE": "vpn"})
    taken.script("host-up", f"env >{taken.confbase}/env")
    assert taken.report("script", file="host-up", environment={name: "planted"}) == {"status": 0}
    assert "planted" not in (taken.confbase / "env").read_text()


@pytest.mark.parametrize(
    "file",
    [
        "cache/planted",
        "invitations/planted",
        "hosts/../cache/planted",
        "../planted",
        "/bin/true",
        "./host-up",
        "",
        'x";touch planted;"',
        "$(touch planted)",
        "`touch planted`",
    ],
)
def test_only_scripts_of_the_operator_run(taken: Taken, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cache/planted", "invitations/planted", "../planted", "host-up"):
        taken.script(name, f"touch {taken.confbase}/planted")
    monkeypatch.chdir(taken.confbase)
    taken.set_up()
    assert "is no name of a script" in taken.report("script", file=file)["error"]
    assert "is no name of a script" in taken.report("check", file=file)["error"]
    assert not (taken.confbase / "planted").exists()


@pytest.mark.parametrize("extension", [" of mine", "~", ".sh", ".\u00e4", "\udce4"])
def test_scripts_run_with_any_extension_that_was_configured_at_the_start(
    taken: Taken, extension: str
) -> None:
    out = taken.confbase / "out"
    for name in ("host-up", "hosts/beta-up"):
        taken.script(name + extension, f"echo {name} >> {out}")
    taken.script("cache/planted" + extension, f"echo planted >> {out}")
    taken.set_up(extension=extension)
    for name in ("host-up", "hosts/beta-up"):
        assert taken.report("script", file=name + extension) == {"status": 0}
    for file in ("cache/planted" + extension, "x y" + extension, "../x" + extension, "host-up of yours"):
        assert "is no name of a script" in taken.report("script", file=file)["error"]
    assert out.read_text() == "host-up\nhosts/beta-up\n"


@pytest.mark.parametrize("interpreter", [None, "/bin/sh"])
def test_a_log_file_in_the_configuration_directory_does_not_become_a_script(
    taken: Taken, interpreter: str | None
) -> None:
    (taken.confbase / "link").symlink_to(taken.confbase / "log")
    taken.set_up(interpreter=interpreter)
    taken.channel.send(b'{"do": "open_log"}')
    _, (descriptor,), _, _ = socket.recv_fds(taken.channel, 4096, 1)
    os.write(descriptor, f"#!/bin/sh\ntouch {taken.confbase}/planted\n".encode())
    os.fchmod(descriptor, 0o755)
    os.close(descriptor)
    assert "is no name of a script" in taken.report("script", file="log")["error"]
    assert "is no name of a script" in taken.report("script", file="link")["error"]
    (taken.confbase / "log").rename(taken.confbase / "log.1")
    assert "is no name of a script" in taken.report("check", file="log.1")["error"]
    assert not (taken.confbase / "planted").exists()


def test_at_level_high_nothing_runs(taken: Taken) -> None:
    taken.set_up(level="high", proxy="true")
    taken.script("host-up")
    assert taken.report("script", file="host-up") == {"error": "no further process may run"}
    assert taken.report("proxy") == {"error": "no further process may run"}


def test_nothing_runs_before_the_set_up(taken: Taken) -> None:
    taken.script("host-up")
    assert "error" in taken.report("script", file="host-up")


def test_only_the_first_set_up_counts(taken: Taken) -> None:
    taken.set_up(level="high")
    taken.channel.send(json.dumps({"do": "set up", "level": "normal", "interpreter": "sh"}).encode())
    assert taken.report("script", file="host-up") == {"error": "no further process may run"}


def test_the_proxy_command_is_that_of_the_start(taken: Taken) -> None:
    taken.set_up(proxy='read line; echo "$line $NODE"; sleep 600')
    ours, theirs = socket.socketpair()
    ours.settimeout(PATIENCE)
    with ours, theirs:
        channel = taken.run("proxy", theirs.fileno(), command="touch planted", environment={"NODE": "beta"})
        ours.send(b"hello\n")
        assert ours.recv(99) == b"hello beta\n"
        theirs.close()
        channel.close()  # the daemon lets go of it: the command ends
        assert ours.recv(99) == b""


def test_without_a_proxy_command_none_runs(taken: Taken) -> None:
    taken.set_up()
    assert "error" in taken.report("proxy", file="")


@pytest.mark.parametrize("trap", ["", "trap '' TERM; "])
def test_a_proxy_ends_with_all_that_it_has_started(taken: Taken, trap: str) -> None:
    taken.set_up(proxy=f"{trap}sleep 600 & echo $! $$; wait; sleep 600")
    ours, theirs = socket.socketpair()
    ours.settimeout(PATIENCE)
    with ours, theirs:
        channel = taken.run("proxy", theirs.fileno())
        pids = [int(word) for word in ours.recv(99).split()]
    channel.close()
    until(lambda: not any(is_alive(pid) for pid in pids))


def test_a_proxy_that_ends_by_itself_is_forgotten(taken: Taken) -> None:
    taken.set_up(proxy="exit 0")
    ours, theirs = socket.socketpair()
    ours.settimeout(PATIENCE)
    with ours:
        with theirs:
            channel = taken.run("proxy", theirs.fileno())
        assert ours.recv(99) == b""
    with channel:
        channel.shutdown(socket.SHUT_WR)
        assert json.loads(channel.recv(99)) == {"status": 0}


def test_the_script_of_a_check_is_killed_when_it_is_not_wanted_any_more(taken: Taken) -> None:
    taken.set_up()
    pid_file = taken.confbase / "pid"
    taken.script("hangs", f"trap '' TERM; sleep 600 & echo $! >{pid_file}; wait; sleep 600")
    with taken.run("check", file="hangs") as channel:
        until(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"))
        channel.shutdown(socket.SHUT_WR)
        assert json.loads(channel.recv(99)) == {"status": -signal.SIGKILL}
    until(lambda: not is_alive(int(pid_file.read_text())))


# What is left of the script belongs to the helper, which is a process of its own elsewhere.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_at_the_end_checks_and_proxies_end_and_scripts_go_on(taken: Taken) -> None:
    taken.set_up(proxy="echo $$; sleep 600")
    for name in ("host-up", "check"):
        taken.script(name, f"echo $$ >{taken.confbase}/{name}.pid", "exec sleep 600")
    ours, theirs = socket.socketpair()
    ours.settimeout(PATIENCE)
    files = [taken.confbase / "host-up.pid", taken.confbase / "check.pid"]
    with ours, theirs, taken.run("script", file="host-up"), taken.run("check", file="check"):
        carried = taken.run("proxy", theirs.fileno())
        proxy = int(ours.recv(99))
        until(lambda: all(file.exists() and file.read_text().endswith("\n") for file in files))
        script, check = (int(file.read_text()) for file in files)
        taken.leave()
        carried.close()
    until(lambda: not is_alive(check) and not is_alive(proxy))
    assert is_alive(script)
    os.kill(script, signal.SIGKILL)
    gc.collect()


def test_there_is_a_limit_of_processes(taken: Taken, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytinc.daemon.helper_process.MAX_PROCESSES", 2)
    assert MAX_PROCESSES > 2
    taken.set_up()
    taken.script("hangs", "exec sleep 600")
    running = [taken.run("check", file="hangs") for _ in range(2)]
    assert taken.report("check", file="hangs") == {"error": "no further process may run"}
    running[0].shutdown(socket.SHUT_WR)
    assert json.loads(running[0].recv(99)) == {"status": -9}
    taken.script("quick")
    assert taken.report("check", file="quick") == {"status": 0}
    for channel in running:
        channel.close()


def test_host_files_get_keys_and_nothing_else(taken: Taken) -> None:
    taken.set_up()
    hosts = taken.confbase / "hosts"
    assert taken.ask("add_host", name="beta", key=KEY) == {"made": True}
    assert (hosts / "beta").read_text() == f"Ed25519PublicKey = {KEY}\n"
    assert taken.ask("add_host", name="beta", key="B" * 43) == {"made": False}
    (hosts / "gamma").write_text("Port = 655\n")
    assert taken.ask("append_public_key", name="gamma", key=KEY) == {}
    assert (hosts / "gamma").read_text().endswith(f"\nEd25519PublicKey = {KEY}\n")


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("x-up", KEY),
        ("../tinc-up", KEY),
        ("", KEY),
        ("beta", ""),
        ("beta", f"{'A' * 42}\n"),
        ("beta", f"{KEY}\nSubnet = 0.0.0.0/0"),
    ],
)
@pytest.mark.parametrize("do", ["add_host", "append_public_key"])
def test_other_names_and_texts_are_refused(taken: Taken, do: str, name: str, key: str) -> None:
    taken.set_up()
    (taken.confbase / "hosts/beta").write_text("Port = 655\n")
    assert "error" in taken.ask(do, name=name, key=key)
    assert [path.name for path in (taken.confbase / "hosts").iterdir()] == ["beta"]
    assert (taken.confbase / "hosts/beta").read_text() == "Port = 655\n"


def test_the_log_file_is_opened_again_and_run_files_are_removed(taken: Taken) -> None:
    pid_file = taken.confbase / "pid"
    pid_file.write_text("1")
    other = taken.confbase / "other"
    other.write_text("1")
    found = pid_file.stat()
    taken.set_up(run_files=[[str(pid_file), found.st_dev, found.st_ino], [str(other), 1, 1]])
    taken.channel.send(b'{"do": "open_log", "path": "/etc/new"}')
    answer, (descriptor,), _, _ = socket.recv_fds(taken.channel, 4096, 1)
    assert json.loads(answer) == {"number": None}
    os.write(descriptor, b"line\n")
    os.close(descriptor)
    assert (taken.confbase / "log").read_text() == "line\n"
    assert taken.ask("remove_run_files") == {}
    assert not pid_file.exists()
    assert other.exists()  # another process has made this one


def test_an_interpreter_stands_in_front_of_the_path() -> None:
    assert script_command("/c/tinc-up", None) == '"/c/tinc-up"'
    assert script_command("/c/tinc-up", "/bin/sh -e") == '/bin/sh -e "/c/tinc-up"'
