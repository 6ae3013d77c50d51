"""A blocking client of the control socket, for the command. Never used by the daemon.

See docs/protocol-control.md.

Only this module of `control` opens sockets. It waits at most `REPLY_TIMEOUT` seconds for an answer, but
without a limit for the frames of a stream and for the daemon's end after STOP.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, TypeVar

from pytinc.control.messages import (
    CONTROL,
    MAX_LOG_PAYLOAD,
    MAX_PCAP_PAYLOAD,
    NOT_IMPLEMENTED,
    NOT_PARSED,
    Request,
    format_hello,
    format_request,
    parse_greeting_ack,
    parse_greeting_id,
    parse_result,
)
from pytinc.control.pidfile import MAX_PIDFILE_SIZE, PidFile
from pytinc.errors import ControlError, DecodeError

REPLY_TIMEOUT: Final = 5.0
"""Seconds to wait for a line, as tinc after 1.1pre18 does. Scripts of tinc's
daemon delay all its answers."""
MAX_LINE: Final = 65536
"""The longest reply: a shared address with many clients (`pytinc.control.shared.MAX_ROW`). The rows of tinc
fit into 8 KiB: a row of DUMP_NODES has three names of 2,048 characters. (C: 4,095.)"""
_CHUNK: Final = 65536
_NOBODY: Final = (errno.ECONNREFUSED, errno.ENOENT)
"""How a connection fails when nobody listens at the socket, or it is not there."""
_Parsed = TypeVar("_Parsed")
_TIMED_OUT: Final = "Timed out waiting for the server to reply."


class NoDaemonError(ControlError):
    """No daemon can be reached. ``pid`` is set if the pid file names a running process."""

    def __init__(self, text: str, pid: int | None = None) -> None:
        super().__init__(text)
        self.pid = pid


def read_pidfile(path: str) -> PidFile:
    """Read and parse the pid file. Raises `NoDaemonError` with tinc's message."""
    try:
        with Path(path).open("rb") as file:
            text = file.read(MAX_PIDFILE_SIZE)
    except OSError as error:
        raise NoDaemonError(f"Could not open pid file {path}: {error.strerror}") from error
    try:
        return PidFile.parse(text.decode("ascii", "replace"))
    except DecodeError as error:
        raise NoDaemonError(f"Could not parse pid file {path}") from error


def process_exists(pid: int) -> bool:
    """Return whether there is a process with this pid, ours or another user's."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


class ControlClient:
    """An authenticated connection to a running daemon."""

    def __init__(self, connection: socket.socket, cookie: str) -> None:
        """Greet the daemon over a connected stream socket. Use `connect` instead."""
        self._socket = connection
        self._buffer = bytearray()
        self.daemon_name, self.pid = self._greet(cookie)

    @classmethod
    def connect(cls, pidfile: str, socket_path: str) -> ControlClient:
        """Connect and authenticate. Raises `NoDaemonError`, and removes stale files of a dead daemon.

        See docs/protocol-control.md, "Client". A daemon that accepts the connection lives even if nobody has
        its pid here: it may run in another PID namespace, with its files mounted into this one.
        """
        known = read_pidfile(pidfile)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(REPLY_TIMEOUT)
        try:
            connection.connect(socket_path)
        except OSError as error:
            connection.close()
            if error.errno in _NOBODY and not process_exists(known.pid):
                for path in (pidfile, socket_path):
                    with contextlib.suppress(OSError):
                        Path(path).unlink()
                raise NoDaemonError(f"Could not find tincd running at pid {known.pid}") from error
            # For a path that is too long the error has no errno, and so no strerror.
            reason = error.strerror or str(error)
            raise NoDaemonError(
                f"Cannot connect to UNIX socket {socket_path}: {reason}", known.pid
            ) from error
        try:
            return cls(connection, known.cookie)
        except ControlError as error:
            connection.close()
            raise NoDaemonError(str(error), known.pid) from error

    def __enter__(self) -> ControlClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        self._socket.close()

    def interrupt(self) -> None:
        """End the connection, also for another thread that waits for it to say something."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    @property
    def is_stale(self) -> bool:
        """Return whether unread data or the end of the stream is pending: the connection is useless then."""
        if self._buffer:
            return True
        self._socket.settimeout(0)
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            with contextlib.suppress(OSError):
                self._socket.settimeout(REPLY_TIMEOUT)
        return True

    def command(self, request: Request, *arguments: str | int) -> int:
        """Send a request and return the result of its answer: 0 for success, -1 for not implemented."""
        self._send(request, *arguments)
        try:
            return parse_result(self._line(), request)
        except DecodeError as error:
            raise ControlError("Unexpected answer from tincd.") from error

    def dump(self, request: Request) -> list[str]:
        """Return the lines of a dump, without its end marker. The caller parses them."""
        self._send(request)
        return self._rows(request, self._line())

    def _rows(self, request: Request, line: str) -> list[str]:
        end = [str(CONTROL), str(int(request))]
        rows: list[str] = []
        while True:
            words = line.split()
            if words[:2] != end:
                raise ControlError(NOT_PARSED)
            if len(words) == 2:
                return rows
            rows.append(line)
            line = self._line()

    def dump_if_known(self, request: Request, *arguments: str | int) -> list[str] | None:
        """Return the lines of a dump as `dump` does; None if the daemon does not know the request."""
        self._send(request, *arguments)
        line = self._read_line()
        if line is None or line == NOT_IMPLEMENTED:
            return None
        return self._rows(request, line)

    def parsed_dump_if_known(
        self, request: Request, parse: Callable[[list[str]], _Parsed], *arguments: str | int
    ) -> _Parsed | None:
        """Return what ``parse`` makes of a dump; None if the daemon does not know the request."""
        lines = self.dump_if_known(request, *arguments)
        if lines is None:
            return None
        try:
            return parse(lines)
        except DecodeError as error:
            raise ControlError(NOT_PARSED) from error

    def answer_if_known(self, request: Request, *arguments: str | int) -> str | None:
        """Send a request and return the line of its answer; None if the daemon does not know the request."""
        self._send(request, *arguments)
        line = self._read_line()
        return None if line == NOT_IMPLEMENTED else line

    def follow(self, request: Request, *arguments: str | int) -> Iterator[str] | None:
        """Start a stream of rows; None if the daemon does not know the request.

        The first row is there already; the others are waited for without a limit, until the daemon ends.
        """
        self._send(request, *arguments)
        line = self._read_line()
        if line is None or line == NOT_IMPLEMENTED:
            return None
        return self._following(request, line)

    def _following(self, request: Request, line: str | None) -> Iterator[str]:
        start = f"{CONTROL} {request:d} "
        self._socket.settimeout(None)
        while line is not None:
            if not line.startswith(start):
                raise ControlError(NOT_PARSED)
            yield line
            line = self._read_line()

    def stop(self) -> None:
        """Ask the daemon to stop and wait for its end, however long that takes. End of stream is success."""
        self._send(Request.STOP)
        self._socket.settimeout(None)
        with contextlib.suppress(ConnectionError):
            while self._socket.recv(_CHUNK):
                pass

    def stream(self, request: Request, *arguments: str | int) -> Iterator[bytes]:
        """Start a LOG or PCAP stream; yield payloads until the daemon closes it.

        Frames above the limit of `control.messages` raise `ControlError`.
        """
        self._send(request, *arguments)
        return self._frames(request)

    def _frames(self, request: Request) -> Iterator[bytes]:
        limit = MAX_LOG_PAYLOAD if request is Request.LOG else MAX_PCAP_PAYLOAD
        self._socket.settimeout(None)
        while (line := self._read_line()) is not None:
            if line == NOT_IMPLEMENTED:
                raise ControlError("The running tincd does not support this.")
            try:
                size = parse_result(line, request)
            except DecodeError as error:
                raise ControlError("Unexpected answer from tincd.") from error
            if not 0 <= size <= limit:
                raise ControlError("Message from tincd is too long.")
            payload = self._read_exactly(size)
            if payload is None:
                return
            yield payload

    def _greet(self, cookie: str) -> tuple[str, int]:
        try:
            self._write(format_hello(cookie))
            name, _ = parse_greeting_id(self._line())
        except (ControlError, DecodeError) as error:
            # A daemon does not answer a client with the wrong cookie.
            raise ControlError(
                f"Cannot read greeting from control socket: {error}\n"
                "If the daemon is running, the cookie in the pid file is not the one that it wrote."
            ) from error
        try:
            return name, parse_greeting_ack(self._line())
        except (ControlError, DecodeError) as error:
            raise ControlError("Could not fully establish control socket connection") from error

    def _send(self, request: Request, *arguments: str | int) -> None:
        self._write(format_request(request, *arguments))

    def _write(self, line: str) -> None:
        self._socket.settimeout(REPLY_TIMEOUT)
        try:
            self._socket.sendall(line.encode() + b"\n")
        except OSError as error:
            raise ControlError(f"Could not send a request to tincd: {error.strerror or error}") from error

    def _line(self) -> str:
        line = self._read_line()
        if line is None:
            raise ControlError("Lost the connection to tincd.")
        return line

    def _read_line(self) -> str | None:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > MAX_LINE:
                raise ControlError("Line from tincd is too long.")
            if not self._fill():
                return None
        line = self._buffer[:end].decode("utf-8", "replace")
        del self._buffer[: end + 1]
        return line

    def _read_exactly(self, size: int) -> bytes | None:
        while len(self._buffer) < size:
            if not self._fill():
                return None
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _fill(self) -> bool:
        try:
            data = self._socket.recv(_CHUNK)
        except TimeoutError as error:
            raise ControlError(_TIMED_OUT) from error
        except OSError:
            return False
        self._buffer += data
        return bool(data)
