"""The daemon as a process, with a dummy device and loopback addresses: no root needed."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pytinc.control.client import ControlClient
from pytinc.control.events import parse_dump, parse_event, parse_ring
from pytinc.control.messages import ConnectionRow, NodeRow, Request
from pytinc.control.shared import parse_rows as parse_shared
from pytinc.control.statistics import parse_rows
from pytinc.control.vips import parse_outcome
from pytinc.control.vips import parse_rows as parse_vips
from pytinc.crypto.aead import poly1305_library
from pytinc.crypto.keys import PrivateKey, format_private_key
from pytinc.daemon import sandbox
from pytinc.lab.node import wait_until

COMMAND = [sys.executable, "-m", "pytinc.daemon"]
PATIENCE = 60.0
READY = re.compile("Watchdog (started|is disabled)\n")
"""The last line of the start: from then on requests and signals are answered."""


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@dataclass
class Daemon:
    """One running daemon and what it says."""

    process: subprocess.Popen[bytes]
    output: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def said(self) -> str:
        return self.output.read_text()

    def wait_said(self, text: str) -> None:
        """Wait until the daemon has said something."""
        until(lambda: text in self.said)

    def wait_until_ready(self) -> None:
        until(lambda: READY.search(self.said) or self.process.poll() is not None)
        assert self.process.poll() is None, self.said

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def finish(self) -> tuple[int, str]:
        """Wait for the end; return status and everything it said."""
        status = self.process.wait(PATIENCE)
        assert "Traceback" not in self.said
        return status, self.said

    def stop(self) -> tuple[int, str]:
        self.signal(signal.SIGTERM)
        return self.finish()


class Network:
    """One configuration directory, and the daemons started for it."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.pidfile = base / "run.pid"
        self.socket = base / "run.socket"
        self.daemons: list[Daemon] = []
        (base / "hosts").mkdir()
        key = base / "ed25519_key.priv"
        key.write_text(format_private_key(PrivateKey.from_seed(bytes(range(32)))))
        key.chmod(0o600)
        self.configure()
        (base / "hosts" / "alpha").write_text("Port = 0\n")

    def configure(self, *lines: str, listen: str = "127.0.0.1") -> None:
        fixed = ("Name = alpha", "Mode = switch", "DeviceType = dummy", f"ListenAddress = {listen}")
        (self.base / "tinc.conf").write_text("\n".join([*fixed, *lines, ""]))

    def script(self, name: str, *lines: str) -> None:
        path = self.base / name
        path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
        path.chmod(0o755)

    def arguments(self, *words: str) -> list[str]:
        return [*COMMAND, "-c", str(self.base), f"--pidfile={self.pidfile}", *words]

    def start(self, *words: str, **environment: str) -> Daemon:
        """Start in the foreground and wait until the daemon is ready."""
        daemon = self.launch(self.arguments("-D", *words), environment)
        daemon.wait_until_ready()
        return daemon

    def launch(
        self, command: list[str], environment: dict[str, str] | None = None, pass_fds: tuple[int, ...] = ()
    ) -> Daemon:
        output = self.base / f"stderr.{len(self.daemons)}"
        with output.open("w") as stderr:
            process = subprocess.Popen(
                command, stderr=stderr, env={**os.environ, **(environment or {})}, pass_fds=pass_fds
            )
        daemon = Daemon(process, output)
        self.daemons.append(daemon)
        return daemon

    def fail(self, *words: str) -> tuple[int, str]:
        """Start a daemon that cannot live; return its exit status and what it said."""
        done = subprocess.run(
            self.arguments("-D", *words), capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr

    def client(self) -> ControlClient:
        return ControlClient.connect(str(self.pidfile), str(self.socket))


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    network = Network(tmp_path)
    yield network
    for daemon in network.daemons:
        if daemon.process.poll() is None:
            daemon.process.kill()
        daemon.process.wait()


# -- start and end --


@pytest.mark.parametrize(
    ("number", "name"),
    [(signal.SIGTERM, "Terminated"), (signal.SIGINT, "Interrupt"), (signal.SIGQUIT, "Quit")],
)
def test_a_signal_ends_the_daemon_in_an_orderly_way(network: Network, number: int, name: str) -> None:
    daemon = network.start()
    assert stat.S_IMODE(network.pidfile.stat().st_mode) == 0o600
    assert stat.S_IMODE(network.socket.stat().st_mode) == 0o700
    daemon.signal(number)
    status, said = daemon.finish()
    assert status == 0
    assert f"NOTICE  Got {name} signal\n" in said
    assert said.endswith("NOTICE  Terminating\n")
    assert not network.pidfile.exists()
    assert not network.socket.exists()


def test_signals_without_meaning_are_ignored(network: Network) -> None:
    daemon = network.start()
    for number in (signal.SIGPIPE, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH):
        daemon.signal(number)
    with network.client() as client:
        assert client.daemon_name == "alpha"
    assert daemon.stop()[0] == 0


def test_the_pid_file_names_the_process_and_its_first_listening_address(network: Network) -> None:
    daemon = network.start("-d1")
    pid, cookie, host, word, port = network.pidfile.read_text().split()
    assert (pid, host, word) == (str(daemon.pid), "127.0.0.1", "port")
    assert re.fullmatch(r"[0-9A-F]{64}", cookie)
    with socket.create_connection((host, int(port))):
        assert cookie not in daemon.stop()[1]


def test_scripts_run_in_order_with_their_environment_and_before_ready(network: Network) -> None:
    out = network.base / "out"
    for name in ("tinc-up", "tinc-down", "subnet-up", "subnet-down"):
        network.script(name, f'echo "{name} $NAME $DEVICE $INTERFACE $DEBUG $SUBNET" >> {out}')
    (network.base / "hosts" / "alpha").write_text("Port = 0\nSubnet = 02:00:00:00:00:01\n")
    daemon = network.start("-d2")
    up = ["tinc-up alpha dummy dummy 2 ", "subnet-up alpha dummy dummy 2 02:00:00:00:00:01"]
    assert out.read_text().splitlines() == up
    assert daemon.stop()[0] == 0
    assert out.read_text().splitlines()[2:] == [
        "subnet-down alpha dummy dummy 2 02:00:00:00:00:01",
        "tinc-down alpha dummy dummy 2 ",
    ]


def test_frames_of_the_device_are_logged_at_level_5_also_if_it_is_set_later(network: Network) -> None:
    host, device = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with host, device:
        number = device.fileno()
        (network.base / "tinc.conf").write_text(
            f"Name = alpha\nListenAddress = 127.0.0.1\nDeviceType = fd\nDevice = {number}\n"
        )
        daemon = network.launch(network.arguments("-D"), pass_fds=(number,))
        daemon.wait_until_ready()
        with network.client() as client:
            client.command(Request.SET_DEBUG, 5)
        host.send(b"\x50" + bytes(19))
        host.send(b"\x45" + bytes(19))
        daemon.wait_said(f"DEBUG   Read packet of 34 bytes from fd/{number}\n")
        assert f"ERROR   Unknown IP version while reading packet from fd/{number}!\n" in daemon.said
        assert daemon.stop()[0] == 0


def test_with_device_standby_tinc_up_and_tinc_down_do_not_run(network: Network) -> None:
    network.configure("DeviceStandby = yes")
    for name in ("tinc-up", "tinc-down"):
        network.script(name, f"touch {network.base}/ran")
    daemon = network.start()
    assert daemon.stop()[0] == 0
    assert not (network.base / "ran").exists()


def test_scripts_have_the_configured_extension_and_interpreter(network: Network) -> None:
    out = network.base / "out"
    for name in ("tinc-up", "tinc-up.sh"):
        network.script(name, f'echo "{name} $0" >> {out}')
    (network.base / "tinc-up.sh").chmod(0o644)  # cannot be run but by an interpreter
    network.configure("ScriptsExtension = .sh", "ScriptsInterpreter = /bin/sh")
    assert network.start().stop()[0] == 0
    assert out.read_text() == f"tinc-up.sh {network.base}/tinc-up.sh\n"


@pytest.mark.parametrize(("words", "level"), [((), "3"), (("-d1",), "1")])
def test_the_log_level_is_that_of_the_variable_unless_an_option_sets_another(
    network: Network, words: tuple[str, ...], level: str
) -> None:
    network.script("tinc-up", f'echo "$DEBUG" > {network.base}/out')
    network.configure("LogLevel = 3")
    daemon = network.start(*words)
    assert (network.base / "out").read_text() == f"{level}\n"
    assert ("Executing script tinc-up" in daemon.said) == (level == "3")
    daemon.stop()


def test_the_priority_is_that_of_the_variable(network: Network) -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    for lines, nice in (((), before), (("ProcessPriority = low",), 10)):
        network.configure(*lines)
        daemon = network.start()
        assert os.getpriority(os.PRIO_PROCESS, daemon.pid) == nice
        daemon.stop()


def test_the_private_key_is_read_from_the_file_that_is_named(network: Network) -> None:
    (network.base / "ed25519_key.priv").rename(network.base / "other.key")
    assert network.fail()[0] == 1
    network.configure("Ed25519PrivateKeyFile = other.key")
    assert network.start().stop()[0] == 0


def test_the_daemon_makes_its_directories(network: Network) -> None:
    daemon = network.start()
    assert (network.base / "cache").is_dir()
    assert stat.S_IMODE((network.base / "invitations").stat().st_mode) == 0o700
    daemon.stop()


def test_a_detached_start_returns_at_once_and_reports_by_the_umbilical_when_it_is_ready(
    network: Network,
) -> None:
    network.script("tinc-up", "sleep 0.3")
    reader, writer = os.pipe()
    log = network.base / "daemon.log"
    done = subprocess.run(
        network.arguments(f"--logfile={log}"),
        pass_fds=[writer],
        env={**os.environ, "TINC_UMBILICAL": f"{writer} 0"},
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    os.close(writer)
    assert done.returncode == 0
    with os.fdopen(reader, "rb") as umbilical:
        said = umbilical.read()
    assert said.endswith(b"NOTICE  Ready\n\0")
    pid = int(network.pidfile.read_text().split()[0])
    assert os.getsid(pid) == pid
    assert Path(f"/proc/{pid}/fd/0").readlink() == Path("/dev/null")
    with network.client() as client:
        assert client.pid == pid
        client.stop()
    until(lambda: not network.pidfile.exists())
    assert re.search(rf"tinc\[{pid}\]: Terminating\n$", log.read_text())


def test_messages_before_the_background_appear_once_with_their_reason(network: Network) -> None:
    (network.base / "tinc.conf").unlink()
    reader, writer = os.pipe()
    done = subprocess.run(
        network.arguments(),
        pass_fds=[writer],
        env={
            **os.environ,
            "TINC_UMBILICAL": f"{writer} 0",
            "PYTINC_LOCALSTATEDIR": str(network.base / "nowhere"),
        },
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")
    with os.fdopen(reader) as umbilical:
        said = umbilical.read()
    assert said.count("Cannot open config file") == 1
    assert said.count(f"Could not use {network.base}/nowhere (No such file or directory)") == 1


def test_socket_activation_uses_the_inherited_socket(network: Network) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        code = (
            "import os, sys\n"
            f"os.dup2({listening.fileno()}, 3)\n"
            "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')\n"
            f"os.execv(sys.executable, {network.arguments()!r})\n"
        )
        daemon = network.launch([sys.executable, "-c", code], pass_fds=(listening.fileno(),))
        daemon.wait_until_ready()
        assert network.pidfile.read_text().split()[2:] == ["127.0.0.1", "port", str(port)]
        assert daemon.stop()[0] == 0


def test_the_key_may_come_from_the_service_manager(
    network: Network, tmp_path_factory: pytest.TempPathFactory
) -> None:
    credentials = tmp_path_factory.mktemp("credentials")
    (network.base / "ed25519_key.priv").rename(credentials / "ed25519_key.priv")
    (credentials / "ed25519_key.priv").chmod(0o440)
    seen = credentials / "seen"
    network.script("tinc-up", f'echo "<$CREDENTIALS_DIRECTORY>" > {seen}')
    status, said = network.start(CREDENTIALS_DIRECTORY=str(credentials)).stop()
    assert status == 0
    assert "insecure" not in said
    assert seen.read_text() == "<>\n", "a script may start another network, with its own key"


def test_the_service_manager_is_kept_informed(network: Network) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(PATIENCE)
        manager.bind(str(network.base / "notify"))
        daemon = network.start(NOTIFY_SOCKET=str(network.base / "notify"), WATCHDOG_USEC="200000")
        assert [manager.recv(99) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
        status, said = daemon.stop()
        assert status == 0
        assert "Watchdog started" in said
        while (state := manager.recv(99)) == b"WATCHDOG=1":
            pass
        assert state == b"STOPPING=1"


# -- what cannot be started --


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["nonsense"], "unrecognized argument 'nonsense'"),
        (["-o", "Mode=what"], "Invalid routing mode!"),
        (["-o", "Proxy=socks5 localhost"], "Host and port argument expected for proxy!"),
        (["-o", "Compression=13"], "Bogus compression level"),
        (["-o", "Sandbox=high", "-o", "Proxy=exec nc"], "Proxy = exec does not work with Sandbox = high"),
        (["-o", "Sandbox=what"], "Bad sandbox value what!"),
        (["-o", "DeviceType=fd"], "Switch mode not supported: DeviceType fd"),
        (["-o", "DeviceType=tun"], "DeviceType tun carries no Ethernet frames, which Mode = switch needs"),
        (["-o", "ProcessPriority=what"], "Invalid priority"),
        (["-o", "MetricsListen=localhost:9655"], "localhost:9655 is not ADDRESS:PORT with a numeric address"),
        (["-o", "MetricsListen=203.0.113.1:0"], "Can't bind to 203.0.113.1 port 0/tcp for MetricsListen"),
        (["-o", "X"], "No value for variable `X'"),
        (["-U", "nosuchuser"], "unknown user"),
    ],
)
def test_settings_that_cannot_work_are_reported_and_end_with_status_one(
    network: Network, words: list[str], text: str
) -> None:
    status, said = network.fail(*words)
    assert status == 1
    assert text in said
    assert not network.pidfile.exists()


def test_without_a_usable_address_there_is_no_daemon(network: Network) -> None:
    network.configure(listen="203.0.113.1")
    status, said = network.fail()
    assert status == 1
    assert "Can't bind to 203.0.113.1 port 0/tcp: Cannot assign requested address" in said
    assert "Unable to create any listening socket!" in said


def test_without_configuration_there_is_no_daemon(network: Network) -> None:
    (network.base / "tinc.conf").unlink()
    status, said = network.fail()
    assert status == 1
    assert f"Cannot open config file {network.base}/tinc.conf: No such file or directory" in said
    done = subprocess.run(
        [*COMMAND, "-D", "-c", str(network.base / "nosuch")], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "Could not change to configuration directory" in done.stderr


def test_without_a_private_key_the_daemon_says_how_to_make_one(network: Network) -> None:
    key = network.base / "ed25519_key.priv"
    key.write_text("no key in here")
    status, said = network.fail()
    assert status == 1
    assert f"Error reading Ed25519 private key file `{key}'" in said
    assert "generate-ed25519-keys" in said
    assert "No private keys available, cannot start tinc!" in said
    assert "Restore the file from a backup" in said
    key.unlink()
    said = network.fail()[1]
    assert "No private keys available, cannot start tinc!" in said
    assert "Create an Ed25519 key pair" in said
    key.mkdir()
    said = network.fail()[1]
    assert "generate-ed25519-keys" not in said
    assert "must be able to read the file" in said


def test_a_private_key_that_others_can_read_is_complained_about(network: Network) -> None:
    (network.base / "ed25519_key.priv").chmod(0o644)
    said = network.start().stop()[1]
    assert "Warning: insecure file permissions for Ed25519 private key file" in said


def test_a_daemon_takes_the_place_of_the_one_that_runs(network: Network) -> None:
    first = network.start()
    second = network.start("--replace")
    assert first.finish()[0] == 0
    assert f"Stopping the daemon with pid {first.pid}, which this one replaces" in second.said
    with network.client() as client:
        assert client.pid == second.pid
    network.configure("MaxTimeout = 0")
    status, said = network.fail("--replace")
    assert status == 1
    assert "MaxTimeout" in said
    assert second.process.poll() is None
    assert second.stop()[0] == 0


def test_a_second_daemon_does_not_disturb_the_first(network: Network) -> None:
    daemon = network.start()
    before = network.pidfile.read_text()
    status, said = network.fail()
    assert status == 1
    assert "still in use" in said
    assert network.pidfile.read_text() == before
    with network.client() as client:
        assert client.pid == daemon.pid


def test_a_stale_socket_and_pid_file_do_not_prevent_the_start(network: Network) -> None:
    daemon = network.start()
    daemon.signal(signal.SIGKILL)
    daemon.finish()
    assert network.socket.exists()
    daemon = network.start()
    with network.client() as client:
        assert client.pid == daemon.pid


# -- life --


def test_requests_of_the_control_socket_are_answered(network: Network) -> None:
    daemon = network.start("-d1")
    with network.client() as client:
        row = NodeRow.parse(client.dump(Request.DUMP_NODES)[0])
        assert (row.name, row.is_self) == ("alpha", True)
        (line,) = client.dump(Request.DUMP_CONNECTIONS)
        assert ConnectionRow.parse(line).name == "<control>"
        assert client.command(Request.SET_DEBUG, 4) == 1
        assert client.command(Request.SET_DEBUG, -1) == 4
        for request in (Request.PURGE, Request.RETRY, Request.RELOAD):
            assert client.command(request) == 0
        assert client.command(Request.DISCONNECT, "nobody") == -2
        client.stop()
    status, said = daemon.finish()
    assert status == 0
    assert "NOTICE  Got 'reload' command\n" in said


def test_the_control_socket_returns_statistics(network: Network) -> None:
    daemon = network.start()
    with network.client() as client:
        until(lambda: parse_rows(client.dump(Request.DUMP_STATISTICS)).daemon["lag_max_us"] is not None)
        told = parse_rows(client.dump(Request.DUMP_STATISTICS))
    assert list(told.nodes) == ["alpha"]
    assert (told.nodes["alpha"]["path"], told.daemon["connections"]) == ("self", 0)
    assert told.daemon["device_offloads"] == []  # it is a dummy
    offloads = ", ".join(told.daemon["udp_offloads"]) or "none"
    assert f"UDP offloads: {offloads}\n" in daemon.said
    assert f"Poly1305: {poly1305_library()}\n" in daemon.said
    daemon.stop()


def test_events_are_followed_on_the_control_socket(network: Network) -> None:
    daemon = network.start()
    with network.client() as follower, network.client() as client:
        rows = follower.follow(Request.EVENTS, 0, 1)
        assert rows is not None
        assert parse_ring(next(rows))["last"] >= 1
        first = parse_event(next(rows))
        assert (first["seq"], first["kind"], first["name"]) == (1, "start", "alpha")
        assert client.command(Request.RELOAD) == 0
        while parse_event(next(rows))["kind"] != "reload":
            pass
        _, events = parse_dump(client.dump_if_known(Request.EVENTS, 1, 0) or [])
        assert events[-1]["kind"] == "reload"
        daemon.stop()
        assert list(rows) == []


def test_the_control_socket_returns_the_guard_and_a_reload_tunes_it(network: Network) -> None:
    daemon = network.start()
    with network.client() as client:
        told = parse_shared(client.dump(Request.DUMP_SHARED))
        assert (told.guard["enabled"], told.guard["interval_ms"], told.addresses) == (True, 100, ())
        network.configure("NeighbourGuard = no", "GuardInterval = 250")
        assert client.command(Request.RELOAD) == 0
        told = parse_shared(client.dump(Request.DUMP_SHARED))
        assert (told.guard["enabled"], told.guard["interval_ms"]) == (False, 250)
    daemon.stop()


def test_the_control_socket_returns_virtual_ips_and_takes_orders(network: Network) -> None:
    network.configure("VirtualIP = 10.1.1.10 priority=150 preempt=30 check=tcp:127.0.0.1:1")
    daemon = network.start()
    with network.client() as client:
        told = parse_vips(client.dump(Request.DUMP_VIPS))
        assert told.policy == {"draining": False, "addresses_total": 1}
        (address,) = told.addresses
        assert (address["address"], address["preempt_ms"]) == ("10.1.1.10", 30000)
        (member,) = address["members"]
        assert (member["node"], member["priority"], member["heard_ms"]) == ("alpha", 150, None)
        (check,) = address["checks"]
        assert check["check"] == "tcp:127.0.0.1:1"
        for order, draining in (("drain", True), ("undrain", False)):
            assert client.answer_if_known(Request.VIP_ORDER, order) == "18 4099 0"
            assert parse_vips(client.dump(Request.DUMP_VIPS)).policy["draining"] is draining
        for words in (["freeze", "10.1.1.11"], ["move", "10.1.1.10", "beta"]):
            answer = client.answer_if_known(Request.VIP_ORDER, *words)
            assert answer is not None
            assert parse_outcome(answer)
            daemon.wait_said(f"Got 'vip {' '.join(words)}' command")
    daemon.stop()


def scrape(port: int) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
        text: bytes = answer.read()
    return text


def test_metrics_are_served_at_their_address_and_nowhere_else(network: Network) -> None:
    daemon = network.start("-d1")
    assert "metrics" not in daemon.said
    daemon.stop()
    network.configure("MetricsListen = 127.0.0.1:0")
    daemon = network.start("-d1")
    (port,) = re.findall(r"Serving metrics on 127\.0\.0\.1 port ([0-9]+)\n", daemon.said)
    assert b'pytinc_info{name="alpha",version="' in scrape(int(port))
    network.configure("MetricsListen = nonsense")
    with network.client() as client:
        assert client.command(Request.RELOAD) == 0  # read at start only
    assert b"pytinc_uptime_seconds " in scrape(int(port))
    status, said = daemon.stop()
    assert status == 0
    assert "nonsense is not ADDRESS:PORT" in said


def test_a_guard_interval_out_of_range_is_named_with_file_and_line(network: Network) -> None:
    network.configure("GuardInterval = 5")
    status, said = network.fail()
    assert status == 1
    assert (
        f"20 to 1000 milliseconds, not 5! (variable GuardInterval in {network.base}/tinc.conf line 5)" in said
    )


@pytest.mark.parametrize(
    ("lines", "complaint", "number"),
    [
        (["VirtualIP = 10.1.1.10 prio=5"], "prio is not a key of a virtual IP, did you mean priority?", 5),
        (["VirtualIP = 10.1.1.10", "VirtualIP = 10.1.1.10/24"], "10.1.1.10 occurs twice, first", 6),
        (["NeighbourGuard = no", "VirtualIP = 10.1.1.10"], "does not work with NeighbourGuard = no", 6),
    ],
)
def test_a_virtual_ip_that_cannot_work_is_named_with_file_and_line(
    network: Network, lines: list[str], complaint: str, number: int
) -> None:
    network.configure(*lines)
    status, said = network.fail()
    assert status == 1
    assert complaint in said
    assert f"(variable VirtualIP in {network.base}/tinc.conf line {number})" in said


def test_a_bad_virtual_ip_at_a_reload_is_named_and_the_daemon_goes_on(network: Network) -> None:
    network.configure("VirtualIP = 10.1.1.10")
    daemon = network.start()
    network.configure("VirtualIP = 10.1.1.10 rise=0")
    with network.client() as client:
        assert client.command(Request.RELOAD) == 0
    status, said = daemon.stop()
    assert status == 0
    assert f"rise is a number from 1 to 100, not 0 (variable VirtualIP in {network.base}/tinc.conf" in said


IN_A_NAMESPACE = ["unshare", "--net", "--map-root-user", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]


def test_managed_addresses_come_after_those_of_tinc_up_and_go_before_tinc_down(network: Network) -> None:
    tap = ["ip", "tuntap", "add", "dev", "vpn", "mode", "tap"]
    if subprocess.run([*IN_A_NAMESPACE, *tap], capture_output=True, check=False).returncode != 0:
        pytest.skip("no network namespaces, or no /dev/net/tun here")
    pytest.importorskip("pyroute2")
    conf = "Name = alpha\nMode = switch\nDeviceType = tap\nInterface = vpn\nListenAddress = 127.0.0.1\n"
    (network.base / "tinc.conf").write_text(f"{conf}VirtualIP = 10.1.1.10 manage=yes\n")
    (network.base / "hosts" / "alpha").write_text("Port = 0\nSubnet = 02:00:00:00:00:01\n")
    network.script("tinc-up", "ip address add 10.1.1.102/24 dev $INTERFACE", "ip link set dev $INTERFACE up")
    for name in ("subnet-up", "tinc-down"):
        network.script(
            name,
            # A MAC address that is learned later is a subnet that comes up, too.
            f"test ! -e {network.base}/at-{name} || exit 0",
            f"ip -o -4 address show dev $INTERFACE > {network.base}/new",
            f"mv {network.base}/new {network.base}/at-{name}",
        )
    daemon = network.launch([*IN_A_NAMESPACE, *network.arguments("-D", "-d1")])
    daemon.wait_until_ready()
    # Scripts run beside the daemon.
    wait_until((network.base / "at-subnet-up").exists, 60, "subnet-up has run")
    (network.base / "tinc.conf").write_text(f"{conf}VirtualIP = 10.1.1.11/24 manage=yes\n")
    with network.client() as client:
        assert client.command(Request.RELOAD) == 0
    daemon.wait_said("Added 10.1.1.11/24 to vpn")
    # Also the second address of a network is there, so the only member serves it.
    daemon.wait_said("10.1.1.11: alpha serves")
    status, said = daemon.stop()
    assert status == 0
    found = [
        re.findall("inet ([0-9./]+)", (network.base / f"at-{name}").read_text())
        for name in ("subnet-up", "tinc-down")
    ]
    assert found == [["10.1.1.102/24", "10.1.1.10/32"], ["10.1.1.102/24"]]
    assert re.findall(r"(Added|Removed) (10[0-9./]+) ", said) == [
        ("Added", "10.1.1.10/32"),
        ("Removed", "10.1.1.10/32"),
        ("Added", "10.1.1.11/24"),
        ("Removed", "10.1.1.11/24"),
    ]


def test_a_bad_address_for_metrics_is_named_with_file_and_line(network: Network) -> None:
    network.configure("MetricsListen = 9655")
    status, said = network.fail()
    assert status == 1
    assert f"(variable MetricsListen in {network.base}/tinc.conf line 5)" in said


def test_metrics_are_bound_after_tinc_up_which_may_set_their_address(network: Network) -> None:
    out = network.base / "out"
    network.configure("MetricsListen = 203.0.113.1:0")
    for name in ("tinc-up", "tinc-down"):
        network.script(name, f"echo {name} >> {out}")
    status, said = network.fail()
    assert status == 1
    assert "Can't bind to 203.0.113.1 port 0/tcp for MetricsListen: Cannot assign requested address" in said
    assert out.read_text().split() == ["tinc-up", "tinc-down"]


def test_metrics_without_the_library_are_refused(network: Network) -> None:
    network.configure("MetricsListen = 127.0.0.1:0")
    hidden = network.base / "hidden"
    hidden.mkdir()
    (hidden / "prometheus_client.py").write_text("raise ImportError\n")
    daemon = network.launch(network.arguments("-D"), {"PYTHONPATH": str(hidden)})
    status, said = daemon.finish()
    assert status == 1
    assert "MetricsListen needs the Python library prometheus-client, which is not installed" in said
    assert not network.pidfile.exists()


def test_a_broken_configuration_fails_a_reload_request_and_changes_nothing(network: Network) -> None:
    daemon = network.start()
    (network.base / "tinc.conf").write_text("Name\n")
    with network.client() as client:
        assert client.command(Request.RELOAD) == 22
        assert client.command(Request.RELOAD) == 22
        network.configure("Proxy = http localhost")
        assert client.command(Request.RELOAD) == 0  # only that line is not taken over
        client.stop()
    status, said = daemon.finish()
    assert status == 0
    assert "Host and port argument expected for proxy!" in said


def test_hangup_reopens_the_log_and_reloads(network: Network) -> None:
    log, moved = network.base / "daemon.log", network.base / "daemon.log.1"
    daemon = network.launch(network.arguments("-D", f"--logfile={log}"))
    until(lambda: log.exists() and "Ready" in log.read_text())
    log.rename(moved)
    daemon.signal(signal.SIGHUP)
    until(lambda: log.exists())
    daemon.signal(signal.SIGALRM)
    until(lambda: "Got Alarm clock signal" in log.read_text())
    assert "Got Hangup signal" in moved.read_text()
    assert daemon.stop()[0] == 0


def test_an_alarm_dials_waiting_connections(network: Network) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    network.configure("ConnectTo = beta", "ConnectTo = gamma")  # two, so that the wait grows at once
    (network.base / "hosts" / "beta").write_text(f"Address = 127.0.0.1 {port}\n")
    daemon = network.start("-d1")
    for wait in (5, 10, 15, 20):  # again with the next one if the machine was too busy to tell
        line = f"re-establish outgoing connection in {wait} seconds"
        daemon.wait_said(line)
        since = time.monotonic()
        with socket.create_server(("127.0.0.1", port)) as listener:
            listener.settimeout(wait - 0.5)
            daemon.signal(signal.SIGALRM)
            try:
                caller, _ = listener.accept()
            except TimeoutError:
                continue
            with caller:
                assert caller.recv(100).startswith(b"0 ")
            assert time.monotonic() - since < wait
            break
    else:
        pytest.fail("the alarm did not make it dial")
    daemon.stop()


def test_a_hangup_with_a_broken_configuration_ends_the_daemon_with_status_one(network: Network) -> None:
    network.script("tinc-down", f"touch {network.base}/ran")
    daemon = network.start()
    (network.base / "tinc.conf").unlink()
    daemon.signal(signal.SIGHUP)
    status, said = daemon.finish()
    assert status == 1
    assert "Unable to reload configuration" in said
    assert not (network.base / "ran").exists()


def test_no_secret_is_logged_at_any_debug_level(network: Network) -> None:
    identity = PrivateKey.from_seed(bytes(range(32)))
    invitation = PrivateKey.from_seed(bytes(range(32, 64)))
    invitations = network.base / "invitations"
    invitations.mkdir()
    (invitations / "ed25519_key.priv").write_text(format_private_key(invitation))
    (invitations / "ed25519_key.priv").chmod(0o600)
    network.configure("Proxy = http 127.0.0.1 1 somebody open-sesame", "ConnectTo = beta")
    (network.base / "hosts" / "beta").write_text("Address = 127.0.0.1 1\n")
    daemon = network.start("-d10")
    pid, cookie, host, _, port = network.pidfile.read_text().split()
    assert int(pid) == daemon.pid
    # Not without the ^: that would be the name of a node, and such are logged.
    greetings = [
        f"0 ^{cookie} 0",
        f"0 ^{cookie} 17.7",
        f"0 ?{cookie} 17.1",
        f"0 x!{cookie}",
        f"{cookie}",
        f"18 {cookie}",
        f"0 ^{cookie[:-1]} 0",
    ]
    for greeting in greetings:
        with socket.create_connection((host, int(port))) as stranger:
            stranger.sendall(greeting.encode() + b"\n")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(network.socket))
            client.sendall(greeting.encode() + b"\n18 99 junk\n")
    with network.client() as control:
        assert control.command(Request.RELOAD) == 0
    until(lambda: daemon.said.count("Error while processing") >= 1)
    network.configure(f"PingTimeout = {cookie}")
    daemon.signal(signal.SIGHUP)
    until(lambda: "Hangup" in daemon.said)
    _, said = daemon.stop()
    secrets = ["open-sesame"]
    for key in (identity, invitation):
        secrets += [line for line in format_private_key(key).splitlines() if not line.startswith("-")]
    assert cookie not in said
    assert cookie[:16] not in said
    for secret in secrets:
        assert secret not in said


def test_log_lines_are_streamed_to_a_client(network: Network) -> None:
    daemon = network.start()
    with network.client() as client:
        frames = client.stream(Request.LOG, 5, 0)
        with network.client() as other:
            rows = [ConnectionRow.parse(line) for line in other.dump(Request.DUMP_CONNECTIONS)]
            assert [row.status for row in rows] == [0xA00, 0x200]
            daemon.signal(signal.SIGALRM)
        assert re.fullmatch(rb"\S+ \S+ NOTICE  Got Alarm clock signal", next(iter(frames)))
    daemon.stop()


def test_a_daemon_in_router_mode_starts_and_says_that_a_reload_keeps_its_mode(network: Network) -> None:
    file = network.base / "tinc.conf"
    switch = file.read_text()
    file.write_text(switch.replace("Mode = switch", "Mode = router"))
    daemon = network.start()
    file.write_text(switch)
    with network.client() as client:
        assert client.command(Request.RELOAD) == 0
    status, said = daemon.stop()
    assert status == 0
    assert "Changing to or from Mode = router needs a restart" in said


BROKEN_NODE = """
import sys
import pytinc.node.node
from pytinc.daemon.app import main

def retry(self, now):
    raise RuntimeError("a bug")

pytinc.node.node.Node.retry = retry
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("level", [0, 5])
def test_an_unexpected_error_is_one_line_and_an_orderly_end_with_status_one(
    network: Network, level: int
) -> None:
    network.script("tinc-down", f"touch {network.base}/ran")
    words = network.arguments("-D", f"-d{level}")[len(COMMAND) :]
    daemon = network.launch([sys.executable, "-c", BROKEN_NODE, *words])
    daemon.wait_until_ready()
    daemon.signal(signal.SIGALRM)
    status, said = daemon.finish()
    assert status == 1
    (line,) = re.findall(r"CRITICAL (.*)\n", said)
    assert line == "Unexpected RuntimeError: a bug (at <string>:7 in retry)"
    assert ("in _on_alarm" in said) == (level == 5)
    assert (network.base / "ran").exists()
    assert not network.pidfile.exists()


# -- the sandbox --


@pytest.mark.parametrize("address", ["fd00::1/64", ""])
def test_an_interface_is_looked_at_before_the_sandbox_hides_it(network: Network, address: str) -> None:
    tap = ["ip", "tuntap", "add", "dev", "vpn", "mode", "tap"]
    if subprocess.run([*IN_A_NAMESPACE, *tap], capture_output=True, check=False).returncode != 0:
        pytest.skip("no network namespaces, or no /dev/net/tun here")
    (network.base / "tinc.conf").write_text(
        "Name = alpha\nMode = switch\nDeviceType = tap\nInterface = vpn\nListenAddress = 127.0.0.1\n"
    )
    network.script(
        "tinc-up",
        "ip link set dev $INTERFACE up",
        f'test -z "{address}" || ip -6 address add {address} dev $INTERFACE nodad',
    )
    daemon = network.launch([*IN_A_NAMESPACE, *network.arguments("-D", "-o", "Sandbox=normal")])
    daemon.wait_until_ready()
    status, said = daemon.stop()
    assert status == 0
    assert ("Interface vpn has no address" in said) == (not address)


needs_landlock = pytest.mark.skipif(not sandbox.is_possible(), reason="this kernel has no Landlock")

PROBE = """
import errno, json, os, sys, threading
from pytinc.daemon.app import main
from pytinc.daemon.service import Service

become_ready = Service._become_ready

def attempt(action):
    try:
        exec(action)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"

def probe(self, *arguments):
    become_ready(self, *arguments)
    found = [attempt(action) for action in {actions!r}]
    # As the node does it: in the thread that writes files.
    self._shell._writer.add("probe", lambda: found.append(attempt({actions!r}[0])), 0, "error")
    self._shell._writer.close()
    sys.stderr.write("found " + " ".join(found) + "\\n")
    sys.stderr.flush()

Service._become_ready = probe
sys.argv[0] = "pytincd"
sys.exit(main({words!r}))
"""


@needs_landlock
@pytest.mark.parametrize("level", ["off", "normal", "high"])
def test_in_the_sandbox_the_daemon_opens_nothing_else(
    network: Network, level: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    secret = tmp_path_factory.mktemp("elsewhere") / "secret"
    secret.write_text("secret")
    network.configure("VirtualIP = 10.1.1.10 check=http://127.0.0.1/")
    actions = (
        f"open({str(secret)!r})",
        f"open({str(network.base / 'tinc-up')!r}, 'w')",
        f"open({str(network.base / 'hosts/alpha')!r})",
        f"open({str(network.base / 'cache/beta')!r}, 'w')",
    )
    words = network.arguments("-D", "-o", f"Sandbox={level}")[len(COMMAND) :]
    program = PROBE.format(actions=actions, words=words)
    daemon = network.launch([sys.executable, "-c", program])
    daemon.wait_said("found ")
    status, said = daemon.stop()
    refused = "done" if level == "off" else "EACCES"
    assert f"found {refused} {refused} done done {refused}\n" in said
    assert "threads are older" not in said
    assert status == 0


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@needs_landlock
def test_in_the_sandbox_scripts_run_outside_of_it(network: Network) -> None:
    out = network.base / "elsewhere"
    network.configure("Sandbox = normal", "ScriptsExtension = .sh")
    (network.base / "hosts" / "alpha").write_text("Port = 0\nSubnet = 02:00:00:00:00:01\n")
    for name in ("tinc-up", "subnet-up", "subnet-down", "tinc-down"):
        network.script(f"{name}.sh", f'echo "{name} $NAME $INTERFACE $DEBUG $SUBNET $HERE" >> {out}')
    daemon = network.start("-d2", HERE="here")
    (helper,) = children(daemon.pid)
    status, said = daemon.stop()
    assert status == 0
    assert out.read_text().splitlines() == [
        "tinc-up alpha dummy 2  here",
        "subnet-up alpha dummy 2 02:00:00:00:00:01 here",
        "subnet-down alpha dummy 2 02:00:00:00:00:01 here",
        "tinc-down alpha dummy 2  here",
    ]
    assert said.count("Executing script") == 4
    assert not Path(f"/proc/{helper}").exists()
    assert not network.pidfile.exists()
    assert not network.socket.exists()


@needs_landlock
def test_at_level_high_only_the_scripts_of_the_start_run(network: Network) -> None:
    out = network.base / "out"
    network.configure("Sandbox = high")
    for name in ("tinc-up", "tinc-down"):
        network.script(name, f"echo {name} >> {out}")
    daemon = network.start("-d2")
    status, said = daemon.stop()
    assert (status, said.count("Executing script"), out.read_text()) == (0, 1, "tinc-up\n")
    assert not network.pidfile.exists()


@needs_landlock
@pytest.mark.parametrize("level", ["normal", "high"])
def test_in_the_sandbox_the_log_is_reopened_and_the_configuration_is_reloaded(
    network: Network, level: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    log = tmp_path_factory.mktemp("log") / "daemon.log"
    network.configure(f"Sandbox = {level}")
    daemon = network.launch(network.arguments("-D", "-d1", f"--logfile={log}"))
    until(lambda: log.exists() and "Watchdog" in log.read_text())
    network.configure(f"Sandbox = {level}", "ConnectTo = beta")
    (network.base / "hosts" / "beta").write_text("Address = localhost 1\n")
    log.rename(log.with_suffix(".1"))
    daemon.signal(signal.SIGHUP)
    until(lambda: log.exists() and "Trying to connect to beta (127.0.0.1 port 1)" in log.read_text())
    status, _ = daemon.stop()
    assert status == 0
    assert log.read_text().endswith(": Terminating\n")


@needs_landlock
def test_a_daemon_that_is_killed_takes_its_helper_with_it(network: Network) -> None:
    daemon = network.start("-o", "Sandbox=normal")
    (helper,) = children(daemon.pid)
    daemon.signal(signal.SIGKILL)
    daemon.finish()
    until(lambda: not Path(f"/proc/{helper}/exe").exists())


def test_a_kernel_without_landlock_is_told_and_the_daemon_goes_on(network: Network) -> None:
    network.script("tinc-down", f"touch {network.base}/ran")
    hidden = network.base / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import pytinc.daemon.landlock\npytinc.daemon.landlock.version = lambda: 0\n"
    )
    daemon = network.start("-o", "Sandbox=normal", PYTHONPATH=str(hidden))
    assert children(daemon.pid) == []
    status, said = daemon.stop()
    assert status == 0
    assert "Sandbox = normal: this kernel has no Landlock, so files are not protected\n" in said
    assert (network.base / "ran").exists()
