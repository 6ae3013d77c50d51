"""Running the command inside the test's process, and a scripted daemon for it to talk to."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from pytinc.cli.app import main

COOKIE = "AB" * 32
NAME = "alpha"
PUBLIC_KEY = "gLeZdAjSACcESEAsVpLQtAzCV2LsvSaebOuiGKc9bUN"
PRIVATE_KEY = """\
-----BEGIN ED25519 PRIVATE KEY-----
YuEhXNCIvbiRv4j0AXDSd5uvwfq1R227OgRbV5UHKWlkBSangWxxL6h2XKh1TEFk
uQbYc4i+cPJKiMo3JGAS4Au4l1BMKBIwRIRAwWluA1CMLUZvw+Kp5t54Kaow1vR1
-----END ED25519 PRIVATE KEY-----
"""


class Result(NamedTuple):
    """What a run of the command left behind."""

    status: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run the command line given, in the directory ``tmp_path``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pytinc"])
    monkeypatch.delenv("NETNAME", raising=False)
    monkeypatch.setenv("PYTINC_SYSCONFDIR", str(tmp_path / "etc"))
    monkeypatch.setenv("PYTINC_LOCALSTATEDIR", str(tmp_path / "var"))

    def invoke(*words: str, stdin: str | bytes = "") -> Result:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        out, err = io.BytesIO(), io.BytesIO()
        with monkeypatch.context() as patch:
            # Not capsys: output need not be UTF-8.
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
            patch.setattr(sys, "stdout", io.TextIOWrapper(out))
            patch.setattr(sys, "stderr", io.TextIOWrapper(err))
            status = main(words)
            sys.stdout.flush()
            sys.stderr.flush()
            return Result(status, *(s.getvalue().decode("utf-8", "surrogateescape") for s in (out, err)))

    return invoke


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """Make a configuration directory ``conf`` of the node ``alpha``, with two peers."""
    directory = tmp_path / "conf"
    (directory / "hosts").mkdir(parents=True)
    (directory / "cache").mkdir()
    (directory / "tinc.conf").write_text(f"Name = {NAME}\n")
    key = directory / "ed25519_key.priv"
    key.write_text(PRIVATE_KEY)
    key.chmod(0o600)
    (directory / "hosts" / NAME).write_text(f"Ed25519PublicKey = {PUBLIC_KEY}\n")
    (directory / "hosts" / "beta").write_text("Address = beta.example.org 655\nSubnet = 10.0.2.0/24\n")
    (directory / "hosts" / "gamma").write_text("Port = 6550\n")
    return directory


@pytest.fixture
def reachable(conf: Path) -> Path:
    """The directory of a node whose address and port are known."""
    host = conf / "hosts" / "alpha"
    host.write_text(f"Address = alpha.example.org\nPort = 6551\n{host.read_text()}")
    return conf


class ScriptedDaemon:
    """Answers control requests from a table: request number to the lines of its answer."""

    def __init__(self, directory: Path) -> None:
        self.pidfile = str(directory / "pid")
        self.requests: list[str] = []
        self.answers: dict[str, str] = {}
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.pidfile + ".socket")
        self._listener.listen(3)
        self._open: list[socket.socket] = []
        Path(self.pidfile).write_text(f"{os.getpid()} {COOKIE} 127.0.0.1 port 7777\n")
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def close(self) -> None:
        """End like a daemon that is stopped."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.append(connection)
                with contextlib.suppress(OSError), connection:
                    self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection.makefile("r", encoding="utf-8") as lines:
            assert lines.readline() == f"0 ^{COOKIE} 0\n"
            connection.sendall(b"0 alpha 17.7\n4 0 4242\n")
            for line in lines:
                self.requests.append(line.rstrip("\n"))
                answer = self.answers.get(line.split()[1])
                if answer is None:
                    return
                connection.sendall(answer.encode())


@pytest.fixture
def daemon(conf: Path) -> Iterator[ScriptedDaemon]:
    """Run a scripted daemon in the directory ``conf``."""
    scripted = ScriptedDaemon(conf)
    yield scripted
    scripted.close()
