"""join: an inviter on the loopback device that stops where a test wants, and programs killed anywhere."""

from __future__ import annotations

import contextlib
import os
import pty
import random
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cli.modes import modes
from pytinc.cli import join
from pytinc.config.joined import SCRIPT_START, UNCONFIGURED
from pytinc.crypto.keys import PrivateKey, PublicKey, key_hash, parse_private_key
from pytinc.errors import ProtocolError
from pytinc.protocol.sptps.handshake import Role
from pytinc.protocol.sptps.stream import StreamSession
from pytinc.wire.invitation import CHUNK, LABEL, SEPARATOR, InvitationUrl
from pytinc.wire.records import TYPE_HANDSHAKE

if TYPE_CHECKING:
    from cli.conftest import Run

KEY = PrivateKey.from_seed(b"i" * 32)
OTHER_KEY = PrivateKey.from_seed(b"o" * 32)
COOKIE = bytes(range(18))
DATA = f"Name = beta\nConnectTo = alpha\nMode = switch\n{SEPARATOR}\nName = alpha\nPort = 6655\n"
STEPS = ("greeting", "handshake", "data", "finish", "accept")
"""What the inviter says, in order. Before ``accept`` it has heard the new key."""
CANCELLED = (
    "Invitation cancelled. Please try again and contact the inviter for assistance if this error persists.\n"
)
PROGRESS = "Generating Ed25519 key pair:\nDone.\n"


class Inviter:
    """Plays the inviting daemon: one visitor after the other, until ``stops_at`` and not further."""

    def __init__(self) -> None:
        self.data = DATA.encode()
        self.key = KEY
        self.stops_at = ""
        self.hangs_up = False
        """What it does there: close the connection, or be silent."""
        self.raw = b""
        """Sent in place of the greeting."""
        self.keys: list[PublicKey] = []
        self.reached = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def url(self) -> str:
        return InvitationUrl("127.0.0.1", str(self.port), key_hash(KEY.public.text), COOKIE).text()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, contextlib.suppress(OSError, ProtocolError):
                    connection.settimeout(60)
                    self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        try:
            for step in self._steps(connection):
                if step == self.stops_at:
                    break
        finally:
            self.reached.set()
        while not self.hangs_up and connection.recv(1000):
            pass

    def _steps(self, connection: socket.socket) -> Iterator[str]:
        """Do one step after the other; the name of a step is yielded before it is done."""
        yield "greeting"
        with connection.makefile("rb", buffering=0) as stream:
            line = stream.readline().decode()
        session = StreamSession(Role.RESPONDER, self.key, PublicKey.from_text(line[3:46]), LABEL, os.urandom)
        if self.raw:
            connection.sendall(self.raw)
            return
        greeting = f"0 alpha 17.7\n4 {self.key.public.text}\n".encode() + session.start()
        connection.sendall(greeting[:60])
        yield "handshake"
        connection.sendall(greeting[60:])
        assert self._record(connection, session) == (TYPE_HANDSHAKE, b"")
        assert self._record(connection, session) == (0, COOKIE)
        yield "data"
        for start in range(0, len(self.data), CHUNK):
            connection.sendall(session.send(0, self.data[start : start + CHUNK]))
        yield "finish"
        connection.sendall(session.send(1, b""))
        type_, data = self._record(connection, session)
        assert type_ == 1
        self.keys.append(PublicKey.from_text(data.decode()))
        yield "accept"
        connection.sendall(session.send(2, b""))

    @staticmethod
    def _record(connection: socket.socket, session: StreamSession) -> tuple[int, bytes]:
        while (record := session.next_record()) is None:
            connection.sendall(session.take_output())
            data = connection.recv(4096)
            if not data:
                raise ConnectionError
            session.feed(data)
        connection.sendall(session.take_output())
        return record


@pytest.fixture
def inviter() -> Iterator[Inviter]:
    player = Inviter()
    yield player
    player.close()


@pytest.fixture(autouse=True)
def usual_circumstances(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("pytinc.cli.port.choose_port", lambda: 655)
    before = os.umask(0o022)
    yield
    os.umask(before)


COMPLETE = {
    "tinc.conf": "-rw-r--r--",
    "tinc-up": "-rwxr-xr-x",
    "ed25519_key.priv": "-rw-------",
    "invitation-data": "-rw-r--r--",
    "hosts": "drwxr-xr-x",
    "hosts/alpha": "-rw-r--r--",
    "hosts/beta": "-rw-r--r--",
    "cache": "drwxr-xr-x",
}


def check_complete(directory: Path, inviter: Inviter) -> None:
    assert modes(directory) == COMPLETE
    assert stat.filemode(directory.stat().st_mode) == "drwxr-xr-x"
    assert (directory / "tinc.conf").read_text() == "Name = beta\nConnectTo = alpha\nMode = switch\n"
    assert (directory / "tinc-up").read_text() == SCRIPT_START + UNCONFIGURED
    assert (directory / "invitation-data").read_text() == DATA
    assert (directory / "hosts/alpha").read_text() == "Port = 6655\n"
    check_key(directory, inviter)


def check_key(directory: Path, inviter: Inviter) -> None:
    """The key that was made is the one that was registered."""
    key = parse_private_key((directory / "ed25519_key.priv").read_text())
    assert key.public == inviter.keys[-1]
    assert f"Ed25519PublicKey = {key.public.text}\n" in (directory / "hosts/beta").read_text()


def left(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


# -- what comes of it --------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["argument", "stdin"])
def test_an_invitation_becomes_a_configuration(run: Run, tmp_path: Path, inviter: Inviter, way: str) -> None:
    words, stdin = ([inviter.url], "") if way == "argument" else ([], f" {inviter.url}\r\n")
    result = run("-c", "new", "join", *words, stdin=stdin)
    assert result == (
        0,
        "",
        (
            f"Connected to 127.0.0.1 port {inviter.port}...\n{PROGRESS}"
            "Invitation successfully accepted.\nConfiguration stored in: new\n"
        ),
    )
    check_complete(tmp_path / "new", inviter)
    assert run("-c", "new", "fsck") == (0, "", "")
    assert left(tmp_path) == ["new"]


def test_the_invitation_names_the_network(run: Run, tmp_path: Path, inviter: Inviter) -> None:
    inviter.data += b"NetName = vpn\n"
    assert run("join", inviter.url).err.endswith(f"stored in: {tmp_path}/etc/tinc/vpn\n")
    assert run("network").out == "vpn\n"
    # The second of this name gets another.
    result = run("join", inviter.url)
    assert result.status == 0
    assert "There is a network vpn here already, so this one is join_" in result.err
    first, second = sorted(run("network").out.split(), reverse=True)
    assert first == "vpn"
    assert second.startswith("join_")
    check_key(tmp_path / "etc/tinc" / second, inviter)


def test_without_a_name_it_is_the_network_without_a_name(run: Run, tmp_path: Path, inviter: Inviter) -> None:
    assert run("join", inviter.url).status == 0
    assert run("network").out == ".\n"
    assert run("join", inviter.url).status == 0
    assert sorted(run("network").out)[-1] != "."
    # Directories that belong to the network without a name are no networks.
    inviter.data += b"NetName = hosts\n"
    assert run("join", inviter.url).status == 0
    assert left(tmp_path / "etc/tinc/hosts") == ["alpha", "beta"]


def test_a_given_network_is_not_renamed_by_the_invitation(run: Run, tmp_path: Path, inviter: Inviter) -> None:
    inviter.data += b"NetName = vpn\n"
    assert run("-n", "mine", "join", inviter.url).status == 0
    assert left(tmp_path / "etc/tinc") == ["mine"]


@pytest.mark.parametrize("name", ["../x", ".", "a/b", "..", ".x", "a b", "$(x)", "x\x07"])
def test_a_net_name_cannot_lead_elsewhere(run: Run, tmp_path: Path, inviter: Inviter, name: str) -> None:
    inviter.data += f"NetName = {name}\n".encode()
    result = run("join", inviter.url)
    assert result.status == 1
    assert result.err.endswith(f"Unsafe NetName found in invitation!\n{CANCELLED}")
    assert left(tmp_path) == []
    assert inviter.keys == []


def test_unsafe_variables_need_force(run: Run, tmp_path: Path, inviter: Inviter) -> None:
    inviter.data = b"Name = beta\nScriptsInterpreter = /bin/sh -c x\nPort = 7000\n"
    result = run("-c", "new", "join", inviter.url)
    assert "Ignoring unsafe variable 'ScriptsInterpreter' in invitation.\n" in result.err
    assert "Ignoring unsafe variable 'Port' in invitation.\n" in result.err
    assert (tmp_path / "new/tinc.conf").read_text() == "Name = beta\n"
    result = run("--force", "-c", "forced", "join", inviter.url)
    assert "Warning: unsafe variable 'ScriptsInterpreter' in invitation.\n" in result.err
    assert (tmp_path / "forced/tinc.conf").read_text().endswith("ScriptsInterpreter = /bin/sh -c x\n")
    assert (tmp_path / "forced/hosts/beta").read_text().startswith("Port = 7000\nEd25519PublicKey")


def test_commands_of_an_invitation_are_disabled_unless_forced(
    run: Run, tmp_path: Path, inviter: Inviter
) -> None:
    inviter.data += b"Name = gamma\n"
    inviter.data = inviter.data.replace(b"Mode", b"Ifconfig = 10.0.0.1/8; reboot\nRoute = 10.0.0.0/8\nMode")
    result = run("-c", "new", "join", inviter.url)
    assert "Ignoring line 3 of the invitation, Ifconfig: " in result.err
    assert "left disabled. To use it, rename new/tinc-up.invitation to tinc-up.\n" in result.err
    assert not (tmp_path / "new/tinc-up").exists()
    offered = tmp_path / "new/tinc-up.invitation"
    assert offered.read_text() == SCRIPT_START + 'ip route add 10.0.0.0/8 dev "$INTERFACE"\n'
    assert stat.filemode(offered.stat().st_mode) == "-rw-r--r--"
    assert run("--force", "-c", "forced", "join", inviter.url).status == 0
    assert modes(tmp_path / "forced") == {**COMPLETE, "hosts/gamma": "-rw-r--r--"}


def test_a_taken_port_is_replaced(
    run: Run, tmp_path: Path, inviter: Inviter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytinc.cli.port.choose_port", lambda: 6146)
    assert "Tinc will instead listen on port 6146." in run("-c", "new", "join", inviter.url).err
    assert (tmp_path / "new/hosts/beta").read_text().endswith("\nPort = 6146\n")


def test_files_that_the_user_has_prepared_are_kept(run: Run, tmp_path: Path, inviter: Inviter) -> None:
    new = tmp_path / "new"
    (new / "hosts").mkdir(parents=True, mode=0o700)
    (new / "hosts/gamma").write_text("mine")
    (new / "hosts/alpha").write_text("old")
    (new / "tinc-up").write_text("mine")
    (new / "ed25519_key.priv").write_text("-----BEGIN ED25519 PRIVATE KEY-----\nold\n")
    result = run("-c", "new", "join", inviter.url)
    assert result.status == 0, result.err
    assert "Warning: old key(s) found and disabled.\n" in result.err
    assert (new / "tinc-up").read_text() == (new / "hosts/gamma").read_text() == "mine"
    assert (new / "hosts/alpha").read_text() == "Port = 6655\n"
    assert (new / "ed25519_key.priv").read_text().startswith("#-----BEGIN ED25519 PRIVATE KEY-----\n#old\n")
    check_key(new, inviter)
    assert left(new) == sorted(name for name in COMPLETE if "/" not in name)


# -- what goes wrong ---------------------------------------------------------------------------------------


SECRET = "A" * 48


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("", "Invalid invitation URL"),
        ("x", "Invalid invitation URL"),
        (f"http://127.0.0.1/{SECRET}", "Invalid invitation URL"),
        (f"127.0.0.1/{SECRET[1:]}", "Invalid invitation URL"),
        (f"127.0.0.1/{SECRET[1:]}%", "Invalid invitation URL"),
        (f"::1/{SECRET}", "Invalid invitation URL"),
        (f"127.0.0.1:0/{SECRET}", "Invalid invitation URL"),
        (f"127.0.0.1:65536/{SECRET}", "Invalid invitation URL"),
        (f"127.0.0.1:{'9' * 5000}/{SECRET}", "Invalid invitation URL"),
        (f"127.0.0.1:nosuchport/{SECRET}", "Error looking up 127.0.0.1 port nosuchport: "),
        (f"a..b/{SECRET}", "Error looking up a..b port 655: "),
        (f"{'x' * 300}/{SECRET}", "Error looking up "),
        (f"a\0b/{SECRET}", "Error looking up "),
    ],
)
def test_a_bad_url_is_reported(run: Run, tmp_path: Path, url: str, complaint: str) -> None:
    result = run("-c", "new", "join", url)
    assert result.status == 1
    assert result.err.startswith(complaint)
    assert SECRET not in result.err
    assert left(tmp_path) == []


def test_a_missing_url_is_reported(run: Run) -> None:
    assert run("join") == (1, "", "Error while reading stdin: end of file\n")
    assert run("join", "a", "b") == (1, "", "Too many arguments!\n")


def test_a_configured_directory_is_left_alone(run: Run, conf: Path, inviter: Inviter) -> None:
    before = modes(conf)
    assert run("-c", "conf", "join", inviter.url) == (
        1,
        "",
        "Configuration file conf/tinc.conf already exists!\n",
    )
    assert modes(conf) == before


def test_a_file_in_the_way_is_reported_before_the_invitation_is_used(
    run: Run, tmp_path: Path, inviter: Inviter
) -> None:
    (tmp_path / "file").touch()
    for place in ("file", "file/new"):
        assert run("-c", place, "join", inviter.url).err.startswith("No permission to write in directory ")
    assert not inviter.reached.is_set()


def test_an_inviter_that_does_not_listen_is_reported(run: Run) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        assert run("-c", "new", "join", f"127.0.0.1:{port}/{SECRET}") == (
            1,
            "",
            f"Could not connect to 127.0.0.1 port {port}: Connection refused\n{join._UNREACHABLE}\n",
        )


def test_a_peer_with_another_key_is_refused(run: Run, tmp_path: Path, inviter: Inviter) -> None:
    inviter.key = OTHER_KEY
    result = run("-c", "new", "join", inviter.url)
    assert (result.status, result.err.splitlines()[1]) == (1, join._WRONG_KEY)
    assert left(tmp_path) == []


def test_every_address_is_tried(
    run: Run, tmp_path: Path, inviter: Inviter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(join, "REPLY_TIMEOUT_S", 2.0)
    with socket.socket() as unused, socket.create_server(("127.0.0.1", 0)) as silent:
        unused.bind(("127.0.0.1", 0))
        ports = unused.getsockname()[1], silent.getsockname()[1], inviter.port
        addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
        result = run("-c", "new", "join", inviter.url)
    assert result.status == 0
    assert result.err.splitlines()[:4] == [
        f"Could not connect to 127.0.0.1 port {ports[0]}: Connection refused",
        f"Connected to 127.0.0.1 port {ports[1]}...",
        "Timed out waiting for the server to reply.",
        f"Connected to 127.0.0.1 port {ports[2]}...",
    ]
    check_complete(tmp_path / "new", inviter)


@pytest.mark.parametrize("raw", [b"SSH-2.0-x\r\n", b"0 alpha 18.1\n4 x\n", b"\xff" * 5000])
def test_a_server_that_is_not_an_inviter_is_reported(run: Run, inviter: Inviter, raw: bytes) -> None:
    inviter.raw = raw
    inviter.hangs_up = True
    result = run("-c", "new", "join", inviter.url)
    assert result.status == 1
    assert f"No inviter at 127.0.0.1 port {inviter.port}: " in result.err
    assert result.err.endswith(join._UNREACHABLE + "\n")


@pytest.mark.parametrize("hangs_up", [False, True], ids=["silent", "closed"])
@pytest.mark.parametrize("step", STEPS[:-1])
def test_an_inviter_that_stops_leaves_nothing_behind(
    run: Run,
    tmp_path: Path,
    inviter: Inviter,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    hangs_up: bool,
) -> None:
    inviter.stops_at, inviter.hangs_up = step, hangs_up
    with monkeypatch.context() as patch:
        patch.setattr(join, "REPLY_TIMEOUT_S", 1.0)
        result = run("-c", "new", "join", inviter.url)
    assert result.status == 1
    assert result.err.endswith(f"{join._UNREACHABLE}\n" if step == "greeting" else CANCELLED)
    # Where an inviter refuses an invitation, the user hears what may be wrong with it.
    assert ("line 1 of its file" in result.err) is (hangs_up and step in ("data", "finish"))
    assert left(tmp_path) == []
    inviter.stops_at = ""
    assert run("-c", "new", "join", inviter.url).status == 0


def test_an_inviter_may_not_take_forever(
    run: Run, tmp_path: Path, inviter: Inviter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(join, "TOTAL_TIMEOUT_S", 0.0)
    result = run("-c", "new", "join", inviter.url)
    assert result.status == 1
    assert join._SILENT in result.err
    assert left(tmp_path) == []


@pytest.mark.parametrize("exists", [False, True], ids=["new", "existing"])
def test_without_an_acknowledgement_the_key_is_kept_and_its_place_is_printed(
    run: Run, tmp_path: Path, inviter: Inviter, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    monkeypatch.setattr(join, "REPLY_TIMEOUT_S", 2.0)
    if exists:
        (tmp_path / "new").mkdir()
    inviter.stops_at = "accept"
    result = run("-c", "new", "join", inviter.url)
    assert result.status == 1
    assert result.err.endswith(CANCELLED)
    (line,) = [line for line in result.err.splitlines() if "It was kept in " in line]
    kept = tmp_path / line.rpartition(" ")[2]
    check_complete(kept, inviter)
    assert not (tmp_path / "new/tinc.conf").exists()


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "No Name found in invitation!"),
        (b"Mode = switch\n", "No Name found in invitation!"),
        (b"Name = ../beta\n", "Invalid Name found in invitation!"),
        (b"Name = beta\nName = ../../x\n", "Invalid Name found in line 2 of the invitation!"),
        (b"Name = beta\nName = beta2\nName = beta\n", "Secondary chunk would overwrite our own host"),
        (b"Name = " + b"b" * 300 + b"\n", "File name too long"),
        (b"Name = beta\n" + b"x" * 2000, "Line 2 of the invitation is longer"),
    ],
)
def test_an_invitation_that_cannot_be_used_leaves_nothing_behind(
    run: Run, tmp_path: Path, inviter: Inviter, data: bytes, complaint: str
) -> None:
    inviter.data = data
    result = run("-c", "new", "join", inviter.url)
    assert result.status == 1
    assert complaint in result.err
    assert result.err.endswith(CANCELLED)
    assert left(tmp_path) == []
    assert inviter.keys == []


def test_a_directory_that_appears_meanwhile_is_not_overwritten(
    run: Run, tmp_path: Path, inviter: Inviter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def somebody_else_is_faster() -> int:
        (tmp_path / "new").mkdir()
        (tmp_path / "new/tinc.conf").write_text("Name = other\n")
        return 655

    monkeypatch.setattr("pytinc.cli.port.choose_port", somebody_else_is_faster)
    result = run("-c", "new", "join", inviter.url)
    assert result.status == 1
    assert "Configuration file new/tinc.conf already exists!" in result.err
    assert left(tmp_path / "new") == ["tinc.conf"]
    (kept,) = tmp_path.glob(".new.*")
    check_complete(kept, inviter)


# -- killed anywhere ---------------------------------------------------------------------------------------


PROGRAM = [sys.executable, "-m", "pytinc"]


def environment(tmp_path: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTINC_SYSCONFDIR": str(tmp_path / "etc"),
        "PYTINC_LOCALSTATEDIR": str(tmp_path / "var"),
        "EDITOR": "true",
    }


@contextlib.contextmanager
def started(tmp_path: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*PROGRAM, *words],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def is_whole(directory: Path) -> bool:
    """Tell whether there is a configuration; if so, check that nothing is missing in it."""
    if not (directory / "tinc.conf").exists():
        return False
    key = parse_private_key((directory / "ed25519_key.priv").read_text())
    assert f"Ed25519PublicKey = {key.public.text}\n" in (directory / "hosts/beta").read_text()
    assert (directory / "cache").is_dir()
    assert (directory / "tinc-up").read_text()
    return True


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("step", STEPS)
def test_a_program_that_is_ended_while_it_waits_leaves_no_half_configuration(
    tmp_path: Path, inviter: Inviter, step: str, number: signal.Signals
) -> None:
    inviter.stops_at = step
    with started(tmp_path, "-c", "new", "join", inviter.url) as process:
        assert inviter.reached.wait(60)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert "Traceback" not in err
    assert not (tmp_path / "new").exists()
    kept = left(tmp_path)
    if step != "accept":
        assert kept == []
        return
    # The inviter may have stored the key: it must not be lost.
    (name,) = kept
    assert name.startswith(".new.")
    check_key(tmp_path / name, inviter)
    assert (name in err) == (number != signal.SIGKILL)


def wait_for_files(directory: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Wait until so many files and directories are there, or the program has come to its end."""
    while process.poll() is None:
        if sum(len(files) + len(below) for _, below, files in os.walk(directory)) >= count:
            return
        time.sleep(0.0003)


@pytest.mark.parametrize("exists", [False, True], ids=["new", "existing"])
@pytest.mark.parametrize("command", ["init", "join"])
def test_a_program_killed_while_it_writes_leaves_a_whole_configuration_or_none(
    tmp_path: Path, inviter: Inviter, command: str, exists: bool
) -> None:
    chance = random.Random(f"{command} {exists}")
    words = ["init", "beta"] if command == "init" else ["join", inviter.url]
    outcomes = []
    for number in range(1, 13):
        place = tmp_path / str(number)
        watched = place / "new" if exists else place
        watched.mkdir(parents=True)
        with started(place, "-c", "new", *words) as process:
            wait_for_files(watched, number, process)
            time.sleep(chance.uniform(0, 0.003))
            process.kill()
            process.communicate(timeout=60)
        outcomes.append(is_whole(place / "new"))
        assert exists or outcomes[-1] == (place / "new").exists()
        if not outcomes[-1]:
            # What is left is in nobody's way.
            done = subprocess.run(
                [*PROGRAM, "-c", "new", *words],
                cwd=place,
                env=environment(place),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            assert is_whole(place / "new")
    print(f"{command}: {sum(outcomes)} of {len(outcomes)} were finished when they were killed")


def test_leftovers_of_a_kill_are_not_a_network(run: Run, tmp_path: Path, inviter: Inviter) -> None:
    inviter.stops_at = "accept"
    with started(tmp_path, "-n", "vpn", "join", inviter.url) as process:
        assert inviter.reached.wait(60)
        process.kill()
        process.communicate(timeout=60)
    assert len(left(tmp_path / "etc/tinc")) == 1
    assert run("network") == (0, "", "")


# -- on a terminal -----------------------------------------------------------------------------------------


def on_terminal(tmp_path: Path, words: list[str], answers: str) -> tuple[int, str]:
    """Run the program on a terminal on which ``answers`` have been typed; return exit status and messages."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answers.encode())
        done = subprocess.run(
            [*PROGRAM, *words],
            cwd=tmp_path,
            env=environment(tmp_path),
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    return done.returncode, done.stderr


def with_commands(inviter: Inviter) -> None:
    inviter.data = inviter.data.replace(b"Mode", b"Route = 10.0.0.0/8\nMode")


@pytest.mark.parametrize(
    ("answers", "enabled"),
    [("y\n", True), ("what\n\nno\n", False), ("E\n", True), ("\x04", False)],
    ids=["yes", "no", "edit", "end"],
)
def test_the_user_decides_about_the_script(
    tmp_path: Path, inviter: Inviter, answers: str, enabled: bool
) -> None:
    with_commands(inviter)
    status, err = on_terminal(tmp_path, ["-c", "new", "join"], f"{inviter.url}\n{answers}")
    assert status == 0
    assert err.startswith("Enter invitation URL: ")
    assert f'review the following tinc-up script:\n\n{SCRIPT_START}ip route add 10.0.0.0/8 dev "$INT' in err
    assert "Do you want to use this script [y]es/[n]o/[e]dit? " in err
    assert (tmp_path / "new/tinc-up").exists() == enabled
    assert (tmp_path / "new/tinc-up.invitation").exists() != enabled
    if enabled:
        assert stat.filemode((tmp_path / "new/tinc-up").stat().st_mode) == "-rwxr-xr-x"


def test_batch_asks_nothing(tmp_path: Path, inviter: Inviter) -> None:
    with_commands(inviter)
    status, err = on_terminal(tmp_path, ["-b", "-c", "new", "join", inviter.url], "y\n")
    assert status == 0
    assert "[y]es" not in err
    assert not (tmp_path / "new/tinc-up").exists()


def test_a_network_whose_name_was_taken_gets_one_from_the_user(tmp_path: Path, inviter: Inviter) -> None:
    networks = tmp_path / "etc/tinc"
    (networks / "vpn").mkdir(parents=True)
    (networks / "vpn/tinc.conf").write_text("Name = x\n")
    inviter.data += b"NetName = vpn\n"
    status, err = on_terminal(tmp_path, ["join", inviter.url], "a/b\nvpn\nother\n")
    assert status == 0
    assert "Invalid character in netname!" in err
    assert "vpn already exists!" in err
    assert err.endswith(f"Configuration stored in: {networks}/other\n")
    assert left(networks) == ["other", "vpn"]
    check_key(networks / "other", inviter)


def test_no_answer_keeps_the_random_name(tmp_path: Path, inviter: Inviter) -> None:
    for _ in range(2):
        status, err = on_terminal(tmp_path, ["join", inviter.url], "\n")
        assert status == 0
    assert "Enter a new netname: " in err
    assert any(name.startswith("join_") for name in left(tmp_path / "etc/tinc"))
