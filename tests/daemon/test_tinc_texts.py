"""The texts of tincd that people's scripts look for: each row is a situation and what must be logged.

Those about connections are in tests/node/test_tinc_texts.py. Not here are texts about RSA keys,
which pytinc does not have, and these: "Script NAME was killed by signal N" (test_scripts.py),
"Watchdog started" and "Got 'reload' command" (test_service.py), and "Can't find interface", which needs root
(tests/net/test_devices.py).
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pytinc.crypto.keys import PrivateKey, format_private_key

PATIENCE = 60.0
DUMMY = "DeviceType = dummy\n"


@dataclass(frozen=True)
class Row:
    """What is added to a configuration that works, and what a daemon must say then."""

    text: str
    conf: str = ""
    """More lines of tinc.conf."""
    host: str = "Port = 0\n"
    """The own host file."""
    options: tuple[str, ...] = ()
    device: str = DUMMY
    files: dict[str, str | None] = field(default_factory=dict)
    """More files; None: the file is removed."""


FAILURES = [
    # The command line.
    Row("unrecognized argument 'x'", options=("x",)),
    Row("--help' for more information.", options=("--nosuch",)),
    Row("Invalid character in netname", options=("-n", "a/b")),
    Row("No value for variable `Mode' in command line option 1", options=("-o", "Mode")),
    # The configuration.
    Row("No value for variable `Mode' on line 4 while reading config file ", "Mode\n"),
    Row("Failed to read ", files={"conf.d/x.conf": "directory"}),
    Row("Cannot open config file ", files={"tinc.conf": None}),
    Row("Name for tinc daemon required!", files={"tinc.conf": "Mode = hub\n"}),
    Row("Invalid routing mode!", "Mode = x\n"),
    Row("Bad sandbox value x!", "Sandbox = x\n"),
    Row("No private keys available, cannot start tinc!", files={"ed25519_key.priv": None}),
    Row("Bogus compression level", "Compression = 13\n"),
    Row("Malformed subnet definition", host="Subnet = x\n"),
    Row("Network address and prefix length do not match", host="Subnet = 10.0.0.1/8\n"),
    Row("Unknown proxy type x!", "Proxy = x\n"),
    Row("Host and port argument expected for proxy!", "Proxy = http host\n"),
    Row("Argument expected for proxy type exec!", "Proxy = exec\n"),
    # Devices.
    Row("Unknown device type x", device="DeviceType = x\n"),
    Row("Device variable required for multicast socket", device="DeviceType = multicast\n"),
    Row("Port number required", device="DeviceType = multicast\nDevice = 239.1.1.1\n"),
    Row("Can't bind to", device="DeviceType = multicast\nDevice = 192.0.2.1 5000\n"),
    Row("Switch mode not supported", "Mode = switch\n", device="DeviceType = fd\nDevice = 0\n"),
    Row("Could not read device", device="DeviceType = fd\n"),
    Row("Could not open", device="DeviceType = fd\nDevice = -1\n"),
    Row("Could not open", device="DeviceType = fd\nDevice = 99\n"),
    Row("Unix socket path too long", device=f"DeviceType = fd\nDevice = /{'x' * 108}\n"),
    Row("Could not connect to Unix socket", device="DeviceType = fd\nDevice = /nonexistent\n"),
    # Sockets.
    Row("Can't bind to 192.0.2.1 port 655/tcp: ", "ListenAddress = 192.0.2.1 655\n"),
    Row("Unable to create any listening socket", "ListenAddress = 192.0.2.1 655\n"),
    Row(
        "Too many listening sockets",
        "".join(f"ListenAddress = 127.0.0.{n} 0\n" for n in range(1, 11)),
    ),
    Row("is too long", options=(f"--pidfile=/tmp/{'x' * 100}",)),
    # The last line of a start that fails.
    Row("Terminating", "ListenAddress = 192.0.2.1 655\n"),
]

LIVES = [
    Row("starting, debug level 1", options=("-d1",)),
    Row("dummy (dummy) is a dummy device"),
    Row("Ready"),
    Row("Watchdog is disabled"),
    Row("Terminating"),
    Row("Got Terminated signal"),
    Row("Listening on 127.0.0.1 port ", "ListenAddress = 127.0.0.1\n", options=("-d1",)),
    Row("Executing script tinc-up", options=("-d2",), files={"tinc-up": "exit 0"}),
    Row("Script tinc-up exited with non-zero status 3", files={"tinc-up": "exit 3"}),
    Row('"yes" or "no" expected for configuration variable AutoConnect in ', "AutoConnect = x\n"),
    Row("Integer expected", "PingTimeout = x\n"),
    Row("insecure file permissions", files={"ed25519_key.priv": "open to all"}),
    Row("Cannot open config file ", "Port = 0\n", files={"hosts/alpha": None}),
]
"""What a daemon says that lives, until it is told to end."""


def names(row: Row) -> str:
    return f"{row.text}: {row.conf or row.device} {' '.join(row.options)}".replace("\n", " ")[:80]


@pytest.fixture
def command(tmp_path: Path) -> Callable[[Row], list[str]]:
    def prepare(row: Row) -> list[str]:
        (tmp_path / "hosts").mkdir()
        (tmp_path / "conf.d").mkdir()
        (tmp_path / "tinc.conf").write_text(f"Name = alpha\nAddressFamily = ipv4\n{row.device}{row.conf}")
        (tmp_path / "hosts/alpha").write_text(row.host)
        key = tmp_path / "ed25519_key.priv"
        key.write_text(format_private_key(PrivateKey.from_seed(bytes(32))))
        key.chmod(0o600)
        for name, content in row.files.items():
            path = tmp_path / name
            match content:
                case None:
                    path.unlink()
                case "directory":
                    path.mkdir()
                case "open to all":
                    path.chmod(0o644)
                case "exit 0" | "exit 3":
                    path.write_text(f"#!/bin/sh\n{content}\n")
                    path.chmod(0o755)
                case _:
                    path.write_text(content)
        fixed = [sys.executable, "-m", "pytinc.daemon", "-D", "-c", str(tmp_path)]
        return [*fixed, f"--pidfile={tmp_path}/pid", *row.options]

    return prepare


@pytest.mark.parametrize("row", FAILURES, ids=names)
def test_a_start_that_fails_says_what_scripts_look_for(command: Callable[[Row], list[str]], row: Row) -> None:
    done = subprocess.run(command(row), capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert row.text in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize("row", LIVES, ids=names)
def test_a_daemon_says_in_its_life_what_scripts_look_for(
    command: Callable[[Row], list[str]], tmp_path: Path, row: Row
) -> None:
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command(row), stderr=log)
    deadline = time.monotonic() + PATIENCE
    while "Watchdog" not in (tmp_path / "log").read_text():
        assert process.poll() is None, (tmp_path / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    assert row.text in (tmp_path / "log").read_text()
