"""Each command works with each daemon, request by request: `tinc` with pytincd and `pytinc` with tincd.

    leaf <──> hub, whose daemon both programs ask

Both must print the same about the same daemon, and the daemon must do what they ask for.
"""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytinc.lab.echo import answers
from pytinc.lab.namespaces import Completed
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until

CASTS = ("CP", "PC", "PP")
ROLES = ("hub", "leaf")
COMMANDS = pytest.mark.parametrize("command", [Kind.C, Kind.PY], ids=["tinc", "pytinc"])
PCAP_MAGIC = bytes.fromhex("d4c3b2a1")


@pytest.fixture(scope="module")
def network(new_network: Callable[..., Network], cast: tuple[Kind, ...]) -> Network:
    network = new_network(("MaxTimeout", "1"))
    for role, kind in zip(ROLES, cast, strict=True):
        network.add(role, kind, connect_to=() if role == "hub" else ("hub",))
    network.exchange_keys()
    network.start()
    network.wait_converged()
    wait_until(lambda: answers(network["hub"].host, network["leaf"].address), PATIENCE_S, "they answer")
    return network


def ask(command: Kind, node: Node, *words: str, check: bool = True) -> Completed:
    program, _ = command.programs()
    return node.host.run(program, *node.globals, *words, check=check)


def spawn(command: Kind, node: Node, *words: str, terminal: int | None = None) -> subprocess.Popen[bytes]:
    """Start a command that runs until it is stopped."""
    program, _ = command.programs()
    return subprocess.Popen(
        node.host.command(program, *node.globals, *words),
        stdin=subprocess.DEVNULL if terminal is None else terminal,
        stdout=subprocess.PIPE if terminal is None else terminal,
        stderr=subprocess.DEVNULL if terminal is None else terminal,
        env={**os.environ, "TERM": "xterm", "LINES": "24", "COLUMNS": "100"},
    )


def read_until(descriptor: int, wanted: bytes, timeout: float = PATIENCE_S) -> bytes:
    """Read until ``wanted`` appears, the other end closes or the time is up; return all that was read."""
    data, end = b"", time.monotonic() + timeout
    while wanted not in data and (left := end - time.monotonic()) > 0:
        if select.select([descriptor], [], [], left)[0]:
            try:
                piece = os.read(descriptor, 65536)
            except OSError:  # the other end of a terminal is gone
                break
            if not piece:
                break
            data += piece
    return data


@pytest.fixture
def streams() -> Iterator[list[subprocess.Popen[bytes]]]:
    running: list[subprocess.Popen[bytes]] = []
    yield running
    for process in running:
        if process.poll() is None:
            process.terminate()
        process.wait(PATIENCE_S)
        if process.stdout is not None:
            process.stdout.close()


@pytest.mark.parametrize(
    "words",
    [
        ("dump", "edges"),
        ("dump", "subnets"),
        ("dump", "graph"),
        ("dump", "digraph"),
        ("dump", "invitations"),
        ("info", "leaf"),
        ("info", "02:00:00:00:00:02"),
        ("pid",),
    ],
    ids=" ".join,
)
def test_both_commands_print_the_same_about_a_daemon(network: Network, words: tuple[str, ...]) -> None:
    hub = network["hub"]

    def same() -> bool:
        one, two = (ask(kind, hub, *words, check=False) for kind in (Kind.C, Kind.PY))

        # Counters and times change between the two commands.
        def steady(text: str) -> list[str]:
            moving = ("RX:", "TX:", "RTT:")
            return [line for line in text.splitlines() if not line.startswith(moving)]

        return (one.returncode, steady(one.stdout)) == (two.returncode, steady(two.stdout))

    wait_until(same, PATIENCE_S, f"both commands print the same for {' '.join(words)}")


@COMMANDS
def test_dumps_list_the_peer(network: Network, command: Kind) -> None:
    hub = network["hub"]
    assert "leaf id" in ask(command, hub, "dump", "nodes").stdout
    assert "leaf id" in ask(command, hub, "dump", "reachable", "nodes").stdout
    assert "leaf at" in ask(command, hub, "dump", "connections").stdout


@COMMANDS
def test_debug_level_is_read_and_set(network: Network, command: Kind) -> None:
    hub = network["hub"]
    assert "Old level 3, new level 5" in ask(command, hub, "debug", "5").stderr
    assert "Old level 5, new level 3" in ask(command, hub, "debug", "3").stderr


@COMMANDS
def test_reload_announces_a_new_subnet_and_withdraws_a_deleted_one(network: Network, command: Kind) -> None:
    hub, leaf = network["hub"], network["leaf"]
    subnet = "02:00:00:00:77:01"
    own = hub.confbase / "hosts/hub"
    before = own.read_text()
    try:
        hub.add_lines("hosts/hub", [("Subnet", subnet)])
        ask(command, hub, "reload")
        wait_until(lambda: subnet in leaf.tinc("dump", "subnets").stdout, PATIENCE_S, "the subnet is known")
    finally:
        own.write_text(before)
    ask(command, hub, "reload")
    wait_until(lambda: subnet not in leaf.tinc("dump", "subnets").stdout, PATIENCE_S, "the subnet is gone")


@COMMANDS
def test_disconnect_and_retry(network: Network, command: Kind) -> None:
    hub, leaf = network["hub"], network["leaf"]
    ask(command, hub, "disconnect", "leaf")
    assert ask(command, hub, "disconnect", "nobody", check=False).returncode == 1
    ask(command, leaf, "retry")
    network.wait_converged()


@COMMANDS
def test_purge_is_accepted_and_keeps_reachable_nodes(network: Network, command: Kind) -> None:
    ask(command, network["hub"], "purge")
    assert network["hub"].sees(network)


@COMMANDS
def test_the_command_log_follows_the_log(
    network: Network, command: Kind, streams: list[subprocess.Popen[bytes]]
) -> None:
    def followed() -> bool:
        if not streams or streams[-1].poll() is not None:
            # On a busy machine the daemon may not answer in time, and the command gives up.
            streams.append(spawn(command, network["hub"], "log", "5"))
        assert streams[-1].stdout is not None
        descriptor = streams[-1].stdout.fileno()
        # The command does not say when it begins to follow the log, so repeat this.
        ask(command, network["hub"], "reload")
        return b"Got 'reload' command" in read_until(descriptor, b"Got 'reload' command", 1)

    wait_until(followed, PATIENCE_S, "the log is followed")


@COMMANDS
def test_the_command_pcap_captures_frames(
    network: Network, command: Kind, streams: list[subprocess.Popen[bytes]]
) -> None:
    hub, leaf = network["hub"], network["leaf"]
    capture = spawn(command, hub, "pcap")
    streams.append(capture)
    assert capture.stdout is not None
    descriptor = capture.stdout.fileno()
    payload = bytes.fromhex("0200000000020200000000010800")
    data = b""

    def captured() -> bool:
        # The command does not say when it begins to capture, so repeat this.
        nonlocal data
        answers(hub.host, leaf.address)
        data += read_until(descriptor, payload, 1)
        return payload in data

    wait_until(captured, PATIENCE_S, "a frame is captured")
    assert data.startswith(PCAP_MAGIC)


@COMMANDS
def test_top_shows_the_nodes_until_q(
    network: Network, command: Kind, streams: list[subprocess.Popen[bytes]]
) -> None:
    ours, theirs = pty.openpty()
    try:
        top = spawn(command, network["hub"], "top", terminal=theirs)
        streams.append(top)
        os.close(theirs)
        assert b"leaf" in read_until(ours, b"leaf")
        os.write(ours, b"q")
        read_until(ours, b"never")  # read to the end: it could not end while its output is not read
        assert top.wait(PATIENCE_S) == 0
    finally:
        os.close(ours)


@COMMANDS
def test_each_command_stops_each_daemon_and_then_finds_no_pid_file(network: Network, command: Kind) -> None:
    hub = network["hub"]
    ask(command, hub, "stop")
    wait_until(lambda: not hub.running(), PATIENCE_S, "the daemon has ended")
    for asker in (Kind.C, Kind.PY):
        done = ask(asker, hub, "dump", "nodes", check=False)
        assert done.returncode == 1
        assert "pid file" in done.stderr
    hub.start()
    network.wait_converged()


def test_a_stale_pid_file_is_reported_and_does_not_prevent_a_start(network: Network) -> None:
    hub = network["hub"]
    pid = hub.pid()
    hub.kill()
    done = ask(Kind.PY, hub, "dump", "nodes", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"Could not find tincd running at pid {pid}" in done.stderr
    hub.start()
    network.wait_converged()


def test_a_wrong_cookie_is_reported(network: Network) -> None:
    hub = network["hub"]
    before = hub.pidfile.read_text()
    words = before.split()
    try:
        hub.pidfile.write_text(before.replace(words[1], "0" * 64))
        done = ask(Kind.PY, hub, "dump", "nodes", check=False)
    finally:
        hub.pidfile.write_text(before)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    assert "cookie" in done.stderr or "authenticat" in done.stderr.lower()


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
def test_a_missing_permission_for_the_socket_is_reported(network: Network, tmp_path: Path) -> None:
    hub = network["hub"]
    program, _ = Kind.PY.programs()
    copy = tmp_path / "pid"
    copy.write_text(hub.pidfile.read_text())
    copy.chmod(0o644)
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(path.stat().st_mode | 0o055)
    (tmp_path / "pid.socket").symlink_to(f"{hub.pidfile}.socket")
    done = hub.host.run(
        "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", program, "-c", str(hub.confbase),
        f"--pidfile={copy}", "dump", "nodes", check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert "ermission denied" in done.stderr
    assert "Traceback" not in done.stderr


def test_sigalrm_and_sighup_are_handled_as_by_tincd(network: Network) -> None:
    """SIGALRM retries connections and SIGHUP reloads; scripts send them to either daemon."""
    hub = network["hub"]
    pid = hub.pid()
    assert pid is not None
    for number in (signal.SIGALRM, signal.SIGHUP):
        os.kill(pid, number)
    wait_until(lambda: "angup" in hub.log() and "larm" in hub.log(), PATIENCE_S, "both signals are logged")
    assert hub.running()
