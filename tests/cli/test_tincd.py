"""pytinc drives a real tincd: two C daemons on loopback, asked by both programs."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"
TINC = shutil.which("tinc", path=PATH)
TINCD = shutil.which("tincd", path=PATH)
pytestmark = [
    pytest.mark.tincd,
    pytest.mark.skipif(TINC is None or TINCD is None, reason="the real tinc and tincd are not installed"),
]
ASKED = [
    "dump nodes",
    "dump reachable nodes",
    "dump edges",
    "dump subnets",
    "dump connections",
    "dump graph",
    "dump digraph",
    "info alpha",
    "info beta",
    "info gamma",
    "info nosuch",
    "info 10.0.2.5",
    "info 10.0.2.0/24",
    "info 10.9.0.1",
    "pid",
]


class Pair:
    """Two directories of C nodes; ``alpha`` is the one that is driven, ``beta`` connects to it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.binaries = directory / "bin"

    def make(self) -> None:
        """Write the configurations of both: some twenty commands."""
        directory = self.directory
        self.binaries.mkdir()
        # The daemon beside the command is the C one.
        (self.binaries / "pytincd").symlink_to(str(TINCD))
        (self.binaries / "pytinc").write_text(
            f"#!{sys.executable}\nimport sys\nfrom pytinc.cli.app import main\nsys.exit(main())\n"
        )
        (self.binaries / "pytinc").chmod(0o755)
        for name, subnet in (("alpha", "10.0.1.0/24"), ("beta", "10.0.2.0/24")):
            self.pytinc(name, "init", name)
            for line in ("DeviceType dummy", "BindToAddress 127.0.0.1 0", "AutoConnect no", "PingTimeout 2"):
                self.pytinc(name, "add", *line.split())
            self.pytinc(name, "set", "Port", "0")
            self.pytinc(name, "add", "Subnet", subnet)
        for name, other in (("alpha", "beta"), ("beta", "alpha")):
            exported = self.pytinc(other, "export").stdout
            self.pytinc(name, "import", stdin=exported)
            (directory / name / "tinc-up").unlink()
        self.pytinc("alpha", "import", stdin="Name = gamma\n")

    def pytinc(self, node: str, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return self._run([str(self.binaries / "pytinc")], node, words, stdin)

    def tinc(self, node: str, *words: str) -> subprocess.CompletedProcess[str]:
        assert TINC is not None
        return self._run([TINC], node, words, "")

    def _run(
        self, program: list[str], node: str, words: tuple[str, ...], stdin: str
    ) -> subprocess.CompletedProcess[str]:
        base = self.directory / node
        return subprocess.run(
            [*program, "-c", str(base), f"--pidfile={base}/pid", *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def pid(self, node: str) -> int:
        return int((self.directory / node / "pid").read_text().split()[0])


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What all tests begin with; each gets a copy."""
    directory = tmp_path_factory.mktemp("made")
    Pair(directory).make()
    return directory


@pytest.fixture
def pair(tmp_path: Path, made: Path) -> Iterator[Pair]:
    shutil.copytree(made, tmp_path, symlinks=True, dirs_exist_ok=True)
    nodes = Pair(tmp_path)
    try:
        started = nodes.pytinc("alpha", "start", "--logfile", str(tmp_path / "alpha.log"))
        assert started.returncode == 0, started.stderr
        port = (tmp_path / "alpha/pid").read_text().split()[4]
        nodes.pytinc("beta", "set", "alpha.Address", f"127.0.0.1 {port}")
        nodes.pytinc("beta", "set", "ConnectTo", "alpha")
        started = nodes.pytinc("beta", "start", "--logfile", str(tmp_path / "beta.log"))
        assert started.returncode == 0, started.stderr
        until(lambda: "beta" in nodes.pytinc("alpha", "dump", "reachable", "nodes").stdout)
        yield nodes
    finally:
        for name in ("alpha", "beta"):
            if (tmp_path / name / "pid").exists():
                pid = nodes.pid(name)
                os.kill(pid, signal.SIGKILL)


def without_counters(text: str) -> str:
    """Leave out what changes from one question to the next."""
    text = re.sub(r" (rx|tx) \d+ \d+", "", text)
    text = re.sub(r"(RX|TX): .*", "", text)
    return re.sub(r"rtt [\d.]+|RTT: .*", "", text)


def test_both_programs_see_the_same(pair: Pair) -> None:
    for question in ASKED:
        answers: list[tuple[int, str, str]] = []
        for program in (pair.tinc, pair.pytinc) * 3:
            done = program("alpha", *question.split())
            answers.append((done.returncode, without_counters(done.stdout), done.stderr))
            if len(answers) >= 2 and answers[-1] == answers[-2]:
                break
        else:
            pytest.fail(f"{question}: {answers}")


def beta_connections(pair: Pair) -> set[str]:
    lines = pair.pytinc("alpha", "dump", "connections").stdout.splitlines()
    return {line.partition(" options ")[0] for line in lines if line.startswith("beta at ")}


def test_a_daemon_is_driven_through_its_life(pair: Pair) -> None:
    again = pair.pytinc("alpha", "start")
    assert (again.returncode, again.stderr) == (
        0,
        f"A tincd is already running with pid {pair.pid('alpha')}.\n",
    )
    assert pair.pytinc("alpha", "pid").stdout == f"{pair.pid('alpha')}\n"
    assert (
        pair.pytinc("alpha", "get", "Port").stdout.strip()
        == ((pair.directory / "alpha/pid").read_text().split()[4])
    )
    assert pair.pytinc("alpha", "debug", "4").stderr == "Old level 0, new level 4.\n"
    assert pair.pytinc("alpha", "debug", "-1").stderr == "Old level 4, new level -1.\n"
    for word in ("reload", "retry", "purge"):
        done = pair.pytinc("alpha", word)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    # Purging forgets a node that is not reachable.
    assert "gamma" not in pair.pytinc("alpha", "dump", "nodes").stdout
    assert pair.pytinc("alpha", "connect", "beta").stderr == "Could not connect to beta.\n"
    assert pair.pytinc("alpha", "disconnect", "nosuch").stderr == "Could not disconnect nosuch.\n"
    before = beta_connections(pair)
    assert before
    assert pair.pytinc("alpha", "disconnect", "beta").returncode == 0
    # beta dials again at once, from another port.
    assert not before & beta_connections(pair)
    pid = pair.pid("alpha")
    stopped = pair.pytinc("alpha", "stop")
    assert (stopped.returncode, stopped.stdout, stopped.stderr) == (0, "", "")
    assert not (pair.directory / "alpha/pid").exists()
    until(lambda: not Path(f"/proc/{pid}").exists())
    assert pair.pytinc("alpha", "pid").returncode == 1


def test_a_change_of_the_configuration_is_seen_at_once(pair: Pair) -> None:
    done = pair.pytinc("alpha", stdin="add Subnet 10.7.0.0/16\ndump subnets\ndel Subnet 10.7.0.0/16\n")
    assert done.returncode == 0
    assert "10.7.0.0/16 owner alpha\n" in done.stdout
    assert "10.7.0.0/16" not in pair.pytinc("alpha", "dump", "subnets").stdout


def test_the_log_of_a_daemon_is_followed(pair: Pair) -> None:
    base = pair.directory / "alpha"
    words = [sys.executable, "-m", "pytinc", "-c", str(base), f"--pidfile={base}/pid", "log", "5"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        until(lambda: pair.pytinc("alpha", "dump", "connections").stdout.count("<control>") == 2)
        pair.pytinc("alpha", "reload")
        assert any("Got 'reload' command" in line for line in iter(process.stdout.readline, ""))
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(60) == 0


def test_a_restart_replaces_the_daemon_by_a_new_one_of_our_own(pair: Pair) -> None:
    before = pair.pid("alpha")
    beside = pair.binaries / "pytincd"
    beside.unlink()
    beside.write_text(
        f"#!{sys.executable}\nimport sys\nfrom pytinc.daemon.app import main\nsys.exit(main())\n"
    )
    beside.chmod(0o755)
    log = pair.directory / "alpha.log"
    done = pair.pytinc("alpha", "restart", "--logfile", str(log))
    assert done.returncode == 0, done.stderr
    assert pair.pid("alpha") != before
    assert f"Stopping the daemon with pid {before}, which this one replaces" in log.read_text()


def test_the_daemon_complains_about_its_own_wrong_options(pair: Pair) -> None:
    pair.pytinc("alpha", "stop")
    done = pair.pytinc("alpha", "start", "--nosuch")
    assert done.returncode == 1
    assert "unrecognized option '--nosuch'" in done.stderr
    assert f"Error starting {pair.binaries}/pytincd\n" in done.stderr


def test_json_info_works_without_what_a_c_daemon_does_not_report(pair: Pair) -> None:
    for node in ("alpha", "beta"):
        done = pair.pytinc("alpha", "info", "--json", node)
        assert (done.returncode, done.stderr) == (0, "")
        told = json.loads(done.stdout)
        assert (told["name"], told["stats"], told["daemon"]) == (node, None, None)
    # In the shell the connection is used again: the refusal leaves it in order.
    done = pair.pytinc("alpha", stdin="info --json beta\npid\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{pair.pid('alpha')}\n" in done.stdout


def test_a_c_daemon_is_said_to_know_no_virtual_ips(pair: Pair) -> None:
    for words in (["vip"], ["vip", "--json"], ["vip", "drain"], ["vip", "freeze", "10.1.1.10"]):
        done = pair.pytinc("alpha", *words)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            "This daemon does not know virtual IPs by policy: it is not pytinc's, or an older one.\n"
        )


def test_a_c_daemon_is_said_to_have_no_events(pair: Pair) -> None:
    for words in (["events"], ["events", "--json"], ["events", "--follow"]):
        done = pair.pytinc("alpha", *words)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "This daemon does not report events: it is not pytinc's, or an older one.\n"
