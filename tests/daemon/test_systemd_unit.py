"""The unit file ``systemd/pytinc@.service``: what it starts does what it promises the service manager."""

from __future__ import annotations

import configparser
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "systemd/pytinc@.service"
PROGRAMS = Path(sys.executable).parent
NET = "mynet"
PATIENCE = 60.0


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(
        interpolation=None, comment_prefixes=("#",), delimiters=("=",), strict=False
    )
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(UNIT.read_text())
    return parser


def command(name: str) -> list[str]:
    """The words of an Exec line, as systemd runs them for the network with no extra words."""
    words = unit()["Service"][name].replace("%i", NET).replace("$EXTRA", "").split()
    return [str(PROGRAMS / words[0]), *words[1:]]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A network that needs no root, where the unit's commands look for it."""
    for folder in ("etc/tinc", "var/run", "var/log"):
        (tmp_path / folder).mkdir(parents=True)
    environment = {
        **os.environ,
        "PYTINC_SYSCONFDIR": str(tmp_path / "etc"),
        "PYTINC_LOCALSTATEDIR": str(tmp_path / "var"),
    }
    subprocess.run(
        [str(PROGRAMS / "pytinc"), "-b", "-n", NET, "init", "alpha"], env=environment, check=True, timeout=60
    )
    with (tmp_path / f"etc/tinc/{NET}/tinc.conf").open("a") as stream:
        stream.write("Mode = switch\nDeviceType = dummy\nBindToAddress = 127.0.0.1 0\n")
    return environment


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The service manager's end of the notification socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(PATIENCE)
        manager.bind(str(tmp_path / "notify"))
        yield manager


def test_the_daemon_reports_its_start_its_life_and_its_end(
    environment: dict[str, str], manager: socket.socket, tmp_path: Path
) -> None:
    service = unit()["Service"]
    assert service["Type"] == "notify"
    seconds = int(service["WatchdogSec"])
    environment |= {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": str(seconds * 1_000_000)}
    with (tmp_path / "said").open("w") as said:
        daemon = subprocess.Popen(command("ExecStart"), env=environment, stderr=said)
    try:
        assert [manager.recv(99), manager.recv(99)] == [b"READY=1", b"WATCHDOG=1"]
        reload = subprocess.run(command("ExecReload"), env=environment, check=False, timeout=60)
        assert reload.returncode == 0
    finally:
        daemon.send_signal(signal.SIGTERM)
        status = daemon.wait(PATIENCE)
    assert manager.recv(99) == b"STOPPING=1"
    assert status == 0
    assert "Got 'reload' command" in (tmp_path / "said").read_text()


def test_watchdog_messages_come_twice_as_often_as_needed(
    environment: dict[str, str], manager: socket.socket
) -> None:
    environment |= {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "400000"}
    daemon = subprocess.Popen(command("ExecStart"), env=environment, stderr=subprocess.DEVNULL)
    try:
        assert manager.recv(99) == b"READY=1"
        manager.settimeout(PATIENCE)
        assert [manager.recv(99) for _ in range(4)] == [b"WATCHDOG=1"] * 4
    finally:
        daemon.terminate()
        daemon.wait(PATIENCE)


def test_the_unit_keeps_the_capabilities_for_interface_and_port_and_no_others() -> None:
    service = unit()["Service"]
    assert service["CapabilityBoundingSet"].split() == ["CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE"]
    assert service["NoNewPrivileges"] == "yes"
    assert service["DeviceAllow"] == "/dev/net/tun rw"


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    # systemd wants to find the programs, which are not where an installation puts them.
    text = UNIT.read_text()
    for name in ("pytincd", "pytinc"):
        text = text.replace(f"={name} ", f"={PROGRAMS / name} ")
    (tmp_path / UNIT.name).write_text(text)
    done = subprocess.run(
        [program, "verify", "--man=no", str(tmp_path / f"pytinc@{NET}.service")],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    if done.returncode != 0 and "Failed to initialize manager" in done.stderr:
        pytest.skip(f"systemd-analyze does not work here: {done.stderr.strip()}")
    complaints = [line for line in done.stderr.splitlines() if UNIT.stem.rstrip("@") in line]
    assert (done.returncode, complaints) == (0, [])
