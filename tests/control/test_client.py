"""The blocking client against a scripted daemon on a real UNIX socket."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from pytinc.control import client as client_module
from pytinc.control.client import ControlClient, NoDaemonError, process_exists, read_pidfile
from pytinc.control.messages import Request
from pytinc.errors import ControlError

COOKIE = "AB" * 32
GREETING = b"0 alpha 17.7\n4 0 4242\n"


class Place(NamedTuple):
    pidfile: str
    socket: str

    def connect(self) -> ControlClient:
        return ControlClient.connect(self.pidfile, self.socket)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    found = Place(str(tmp_path / "pid"), str(tmp_path / "pid.socket"))
    Path(found.pidfile).write_text(f"{os.getpid()} {COOKIE} 127.0.0.1 port 655\n")
    return found


Serve = Callable[[Callable[[socket.socket], None]], Place]


@pytest.fixture
def serve(place: Place) -> Iterator[Serve]:
    """Run a function in a thread as the daemon's side of one connection."""
    threads: list[threading.Thread] = []
    listener = socket.socket(socket.AF_UNIX)

    def begin(behave: Callable[[socket.socket], None]) -> Place:
        listener.bind(place.socket)
        listener.listen(1)

        def run() -> None:
            connection, _ = listener.accept()
            with connection:
                behave(connection)

        threads.append(threading.Thread(target=run))
        threads[0].start()
        return place

    yield begin
    for thread in threads:
        thread.join(10)
    listener.close()


def expect(connection: socket.socket, line: str) -> None:
    received = b""
    while not received.endswith(b"\n"):
        received += connection.recv(1)
    assert received.decode() == line + "\n"


def greet(connection: socket.socket) -> None:
    expect(connection, f"0 ^{COOKIE} 0")
    connection.sendall(GREETING)


def test_the_greeting_has_name_and_pid(serve: Serve) -> None:
    with serve(greet).connect() as client:
        assert (client.daemon_name, client.pid) == ("alpha", 4242)


def test_a_command_returns_the_result_of_its_answer(serve: Serve) -> None:
    def daemon(connection: socket.socket) -> None:
        greet(connection)
        expect(connection, "18 9 3")
        connection.sendall(b"18 9 0\n")
        expect(connection, "18 12 nosuch")
        connection.sendall(b"18 12 -2\n")
        expect(connection, "18 11 beta")
        connection.sendall(b"18 -1\n")

    with serve(daemon).connect() as client:
        assert client.command(Request.SET_DEBUG, 3) == 0
        assert client.command(Request.DISCONNECT, "nosuch") == -2
        assert client.command(Request.CONNECT, "beta") == -1


def test_the_line_of_an_answer_is_returned_unless_the_daemon_does_not_know_the_request(serve: Serve) -> None:
    def daemon(connection: socket.socket) -> None:
        greet(connection)
        expect(connection, "18 4099 move 10.1.1.10 beta")
        connection.sendall(b"18 4099 -2 beta is no member\n")
        expect(connection, "18 4099 drain")
        connection.sendall(b"18 -1\n")
        expect(connection, "18 4099 undrain")

    with serve(daemon).connect() as client:
        answer = client.answer_if_known(Request.VIP_ORDER, "move", "10.1.1.10", "beta")
        assert answer == "18 4099 -2 beta is no member"
        assert client.answer_if_known(Request.VIP_ORDER, "drain") is None
        assert client.answer_if_known(Request.VIP_ORDER, "undrain") is None  # the daemon hangs up


def test_a_dump_ends_with_its_end_marker_however_it_is_cut(serve: Serve) -> None:
    def daemon(connection: socket.socket) -> None:
        greet(connection)
        expect(connection, "18 5")
        for byte in b"18 5 10.0.0.0/8 a\n18 5 1.2.3.4 b\n18 5\n":
            connection.sendall(bytes([byte]))

    with serve(daemon).connect() as client:
        assert client.dump(Request.DUMP_SUBNETS) == ["18 5 10.0.0.0/8 a", "18 5 1.2.3.4 b"]


def test_a_row_of_another_kind_is_an_error(serve: Serve) -> None:
    def daemon(connection: socket.socket) -> None:
        greet(connection)
        expect(connection, "18 5")
        connection.sendall(b"18 4 a b\n")

    with serve(daemon).connect() as client, pytest.raises(ControlError, match="parse dump"):
        client.dump(Request.DUMP_SUBNETS)


def test_a_lost_connection_during_a_dump_is_an_error(serve: Serve) -> None:
    def daemon(connection: socket.socket) -> None:
        greet(connection)
        expect(connection, "18 5")
        connection.sendall(b"18 5 1.2.3.4 b\n")

    with serve(daemon).connect() as client, pytest.raises(ControlError, match="Lost"):
        client.dump(Request.DUMP_SUBNETS)


def test_a_line_without_end_is_an_error(serve: Serve) -> None:
    def daemon(connection: socket.socket) -> None:
        greet(connection)
        expect(connection, "18 5")
        connection.sendall(b"18" * 40000)

    with serve(daemon).connect() as client, pytest.raises(ControlError, match="too long"):
        client.dump(Request.DUMP_SUBNETS)


def test_stop_waits_for_the_end_and_ignores_what_comes_before(serve: Serve) -> None:
    def daemon(connection: socket.socket) -> None:
        greet(connection)
        expect(connection, "18 0")
        connection.sendall(b"18 0 0\nanything\n")

    with serve(daemon).connect() as client:
        client.stop()


def test_frames_follow_each_other_without_newlines(serve: Serve) -> None:
    def daemon(connection: socket.socket) -> None:
        greet(connection)
        expect(connection, "18 15 -1 0")
        connection.sendall(b"18 15 3\na\nb18 15 0\n18 15 1\nc18 15 9\nunfinish")

    with serve(daemon).connect() as client:
        assert list(client.stream(Request.LOG, -1, 0)) == [b"a\nb", b"", b"c"]


@pytest.mark.parametrize("header", [b"18 15 1025\n", b"18 15 -1\n", b"18 14 3\n", b"x\n", b"18 -1\n"])
def test_an_impossible_frame_is_an_error(serve: Serve, header: bytes) -> None:
    def daemon(connection: socket.socket) -> None:
        greet(connection)
        expect(connection, "18 15 -1 0")
        connection.sendall(header)

    with serve(daemon).connect() as client, pytest.raises(ControlError):
        list(client.stream(Request.LOG, -1, 0))


def test_a_silent_daemon_times_out(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "REPLY_TIMEOUT", 0.05)
    over = threading.Event()

    def daemon(connection: socket.socket) -> None:
        over.wait(60)

    place = serve(daemon)
    try:
        with pytest.raises(ControlError, match=r"greeting.*Timed out waiting for the server to reply\."):
            place.connect()
    finally:
        over.set()


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"", "Cannot read greeting from control socket"),
        (b"0 alpha\n", "Cannot read greeting from control socket"),
        (b"0 alpha 17.7\n", "Could not fully establish control socket connection"),
        (b"0 alpha 17.7\n4 1 5\n", "Could not fully establish control socket connection"),
    ],
)
def test_each_bad_greeting_has_its_own_error(serve: Serve, answer: bytes, complaint: str) -> None:
    def daemon(connection: socket.socket) -> None:
        expect(connection, f"0 ^{COOKIE} 0")
        connection.sendall(answer)

    with pytest.raises(NoDaemonError, match=complaint) as caught:
        serve(daemon).connect()
    assert caught.value.pid == os.getpid()


def test_a_missing_pid_file_is_named(place: Place) -> None:
    Path(place.pidfile).unlink()
    with pytest.raises(
        NoDaemonError, match=f"Could not open pid file {place.pidfile}: No such file"
    ) as caught:
        place.connect()
    assert caught.value.pid is None


def test_an_unreadable_pid_file_is_named(place: Place) -> None:
    Path(place.pidfile).write_bytes(b"\xff" * 9000)
    with pytest.raises(NoDaemonError, match="Could not parse pid file"):
        read_pidfile(place.pidfile)


def test_the_files_of_a_dead_daemon_are_removed(place: Place) -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    Path(place.pidfile).write_text(f"{child.pid} {COOKIE} 127.0.0.1 port 655\n")
    Path(place.socket).touch()
    with pytest.raises(NoDaemonError, match=f"Could not find tincd running at pid {child.pid}"):
        place.connect()
    assert not Path(place.pidfile).exists()
    assert not Path(place.socket).exists()


def test_a_daemon_of_another_pid_namespace_is_reached_and_keeps_its_files(serve: Serve) -> None:
    def daemon(connection: socket.socket) -> None:
        expect(connection, f"0 ^{COOKIE} 0")
        connection.sendall(b"0 alpha 17.7\n4 0 5\n")

    child = subprocess.Popen(["true"])
    child.wait()
    place = serve(daemon)
    Path(place.pidfile).write_text(f"{child.pid} {COOKIE} 127.0.0.1 port 655\n")
    with place.connect() as client:
        assert client.daemon_name == "alpha"
    assert Path(place.pidfile).exists()
    assert Path(place.socket).exists()


def test_the_files_of_a_daemon_that_we_may_not_reach_are_kept(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(self: socket.socket, path: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", forbidden)
    child = subprocess.Popen(["true"])
    child.wait()
    Path(place.pidfile).write_text(f"{child.pid} {COOKIE} 127.0.0.1 port 655\n")
    with pytest.raises(NoDaemonError, match="Permission denied"):
        place.connect()
    assert Path(place.pidfile).exists()


@pytest.mark.parametrize("pid", [0, -1, 2**40])
def test_no_process_has_an_impossible_pid(pid: int) -> None:
    assert not process_exists(pid)


def test_a_missing_socket_is_named_and_the_pid_returned(place: Place) -> None:
    with pytest.raises(
        NoDaemonError, match=f"Cannot connect to UNIX socket {place.socket}: No such file"
    ) as caught:
        place.connect()
    assert caught.value.pid == os.getpid()


def test_a_socket_path_that_is_too_long_is_an_error(place: Place, tmp_path: Path) -> None:
    with pytest.raises(NoDaemonError, match="Cannot connect to UNIX socket"):
        ControlClient.connect(place.pidfile, str(tmp_path / ("x" * 200)))


def test_pending_data_makes_a_connection_stale(serve: Serve) -> None:
    go, over = threading.Event(), threading.Event()

    def daemon(connection: socket.socket) -> None:
        greet(connection)
        go.wait(60)
        connection.sendall(b"18 1 0\n")
        over.set()

    with serve(daemon).connect() as client:
        assert not client.is_stale
        go.set()
        over.wait(60)
        assert client.is_stale


def test_the_end_of_the_stream_makes_a_connection_stale(serve: Serve) -> None:
    over = threading.Event()

    def daemon(connection: socket.socket) -> None:
        greet(connection)
        connection.close()
        over.set()

    with serve(daemon).connect() as client:
        over.wait(60)
        assert client.is_stale
