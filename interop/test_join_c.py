"""`pytinc join` with an invitation of tinc, at the real tincd; then the new node connects to it.

The inviter has a dummy device and listens on 127.0.0.1, so no namespace is needed.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytinc.crypto.keys import parse_private_key
from pytinc.lab.namespaces import LabError
from pytinc.lab.node import Kind

TIMEOUT_S = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Node:
    """A configuration directory and the programs of one kind."""

    def __init__(self, kind: Kind, confbase: Path) -> None:
        self.command = kind.programs()[0]
        self.confbase = confbase
        self.environment = {
            "PATH": f"{os.environ['PATH']}:/usr/sbin",
            "PYTINC_SYSCONFDIR": str(confbase.parent / "etc"),
        }

    def run(self, *words: str, stdin: str = "") -> str:
        done = self.try_(*words, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def try_(self, *words: str, stdin: str = "", confbase: bool = True) -> subprocess.CompletedProcess[str]:
        where = ["-c", str(self.confbase), f"--pidfile={self.confbase}/pid"] if confbase else []
        return subprocess.run(
            [self.command, *where, *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            env=self.environment,
        )

    def configure(self, port: int) -> None:
        self.run("set", "DeviceType", "dummy")
        self.run("set", "Mode", "switch")
        self.run("set", "AutoConnect", "no")
        self.run("set", "Port", str(port))

    def start(self) -> None:
        self.run("start", f"--logfile={self.confbase}/log")
        deadline = time.monotonic() + TIMEOUT_S
        while self.try_("pid").returncode != 0 and time.monotonic() < deadline:
            time.sleep(0.1)

    def stop(self) -> None:
        self.try_("stop")


@pytest.fixture
def inviter(tmp_path: Path) -> Iterator[Node]:
    try:
        node = Node(Kind.C, tmp_path / "alpha")
    except LabError as error:
        pytest.skip(str(error))
    node.run("init", "alpha")
    node.configure(free_port())
    node.run("add", "Address", "127.0.0.1")
    node.start()
    yield node
    node.stop()


@pytest.fixture
def joiner(tmp_path: Path) -> Iterator[Node]:
    node = Node(Kind.PY, tmp_path / "beta")
    yield node
    node.stop()


def invite(inviter: Node, name: str, more: str = "") -> str:
    """Make an invitation and return its URL; ``more`` is what an administrator adds to the node's part."""
    before = set((inviter.confbase / "invitations").glob("*")) if more else set()
    url = inviter.run("invite", name).strip()
    if more:
        files = set((inviter.confbase / "invitations").glob("*")) - before
        (path,) = [file for file in files if file.name != "ed25519_key.priv"]
        first, rest = path.read_text().split("\n", 1)
        path.write_text(f"{first}\n{more}{rest}")
    return url


def is_connected(inviter: Node, name: str) -> bool:
    return any(line.startswith(f"{name} ") for line in inviter.run("dump", "connections").splitlines())


def test_tincd_accepts_the_invitation_and_then_the_connection(inviter: Node, joiner: Node) -> None:
    done = joiner.try_("join", invite(inviter, "beta"))
    assert done.returncode == 0, done.stderr
    assert "Invitation successfully accepted.\n" in done.stderr
    key = parse_private_key((joiner.confbase / "ed25519_key.priv").read_text())
    line = f"Ed25519PublicKey = {key.public.text}\n"
    assert (inviter.confbase / "hosts/beta").read_text() == line
    assert (joiner.confbase / "hosts/beta").read_text().startswith(line)
    assert (joiner.confbase / "hosts/alpha").read_text() == (inviter.confbase / "hosts/alpha").read_text()
    assert (joiner.confbase / "tinc.conf").read_text() == "Name = beta\nConnectTo = alpha\nMode = switch\n"
    assert joiner.run("fsck") == ""
    joiner.configure(free_port())
    joiner.start()
    deadline = time.monotonic() + TIMEOUT_S
    while not is_connected(inviter, "beta"):
        assert time.monotonic() < deadline, (joiner.confbase / "log").read_text()
        time.sleep(0.2)


def test_an_invitation_works_only_once(inviter: Node, joiner: Node) -> None:
    url = invite(inviter, "beta")
    joiner.run("join", url)
    shutil.move(joiner.confbase, joiner.confbase.with_name("first"))
    again = joiner.try_("join", url)
    assert again.returncode == 1
    assert "Invitation cancelled." in again.stderr
    assert not joiner.confbase.exists()
    assert not list(joiner.confbase.parent.glob(".beta*"))


def test_a_long_invitation_with_commands_names_its_network(inviter: Node, joiner: Node) -> None:
    more = (
        "NetName = vpn\nIfconfig = 10.1.2.3/24\nRoute = 10.2.0.0/16 10.1.2.1\nDeviceType = dummy\n"
        + "".join(f"ConnectTo = node{number}\n" for number in range(200))
    )
    done = joiner.try_("--force", "join", stdin=invite(inviter, "beta", more) + "\n", confbase=False)
    assert done.returncode == 0, done.stderr
    assert "Warning: unsafe variable 'DeviceType'" in done.stderr
    directory = joiner.confbase.parent / "etc/tinc/vpn"
    text = (directory / "tinc.conf").read_text()
    assert text.count("ConnectTo = ") == 201
    assert "DeviceType = dummy\n" in text
    assert (directory / "tinc-up").read_text() == (
        '#!/bin/sh\nip link set dev "$INTERFACE" up\nip addr replace 10.1.2.3/24 dev "$INTERFACE"\n'
        'ip route add 10.2.0.0/16 via 10.1.2.1 dev "$INTERFACE" onlink\n'
    )


def test_a_wrong_url_is_reported_and_does_not_use_up_the_invitation(inviter: Node, joiner: Node) -> None:
    url = invite(inviter, "beta")
    address, _, secret = url.partition("/")
    forged = ("A" if secret[0] != "A" else "B") + secret[1:]
    done = joiner.try_("join", f"{address}/{forged}")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        1,
        "Peer has an invalid key. Please make sure you're using the correct URL.",
    )
    forged = secret[:-2] + ("AA" if secret[-2:] != "AA" else "BA")
    done = joiner.try_("join", f"{address}/{forged}")
    assert done.returncode == 1
    assert "Invitation cancelled." in done.stderr
    assert not joiner.confbase.exists()
    # The invitation still works after these attempts.
    joiner.run("join", url)
