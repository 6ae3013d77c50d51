"""The control socket, server side: handshake, requests, dumps, streams of log lines, frames and events.

See docs/protocol-control.md.

This module reads and writes lines; a `ControlTarget` (the daemon's service) carries out the requests. A
client is trusted once it has shown the cookie, but no client can block the daemon or make it grow: lines,
waiting output and the number of clients have bounds.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Protocol, cast

from pytinc.control.messages import (
    LOCAL_CLIENT,
    MAX_LOG_PAYLOAD,
    MAX_PCAP_PAYLOAD,
    NOT_IMPLEMENTED,
    ConnectionRow,
    Greeting,
    Request,
    format_end,
    format_frame,
    format_result,
    parse_hello,
    parse_request,
)
from pytinc.control.vips import Order, format_outcome, parse_order
from pytinc.errors import DecodeError, DeviceError, PolicyError
from pytinc.net import events
from pytinc.net.log import reason
from pytinc.node.event_ring import EventRing
from pytinc.wire.bits import ConnectionStatus

BACKLOG: Final = 3
"""Clients that the kernel queues for us, as in tinc."""
MAX_CLIENTS: Final = 64
"""Clients at once: people and scripts on one machine. More can only be a runaway script that uses up
descriptors."""
MAX_LINE: Final = 2200
"""Bytes of a request line, newline included: tinc's input buffer."""
MAX_STREAM_BACKLOG: Final = 1024 * 1024
"""Bytes waiting for a client of LOG or PCAP; while more are waiting, its frames are dropped."""
MAX_SOCKET_PATH: Final = 107
"""sun_path less its NUL byte."""

_ALL_LEVELS: Final = 10
_OWN_LEVEL: Final = -1
_DIGITS: Final = 15
"""Digits of a number; events are counted for as long as the daemon runs."""
_DUMPS: Final = (
    Request.DUMP_NODES,
    Request.DUMP_EDGES,
    Request.DUMP_SUBNETS,
    Request.DUMP_CONNECTIONS,
    Request.DUMP_TRAFFIC,
    Request.DUMP_STATISTICS,
    Request.DUMP_SHARED,
    Request.DUMP_VIPS,
)


class ControlTarget(Protocol):
    """Carries out the requests."""

    def greeting(self) -> Greeting:
        """Return the greeting of the daemon."""

    def stop(self) -> None:
        """End the daemon; the control connections close when the process ends."""

    def reload(self) -> int:
        """Read the configuration again; 0 or an errno."""

    def purge(self) -> None:
        """Forget unreachable nodes."""

    def retry(self) -> None:
        """Try waiting outgoing connections immediately."""

    def disconnect(self, name: str) -> bool:
        """Close the connections with a node; return whether there were any."""

    def set_debug(self, level: int) -> int:
        """Set the debug level unless it is negative; return the previous one."""

    def vip_order(self, order: Order) -> None:
        """Carry out an order about virtual IPs. Raises `PolicyError` if it is refused."""

    def dump(self, request: Request, control_rows: list[tuple[float, ConnectionRow]]) -> list[str]:
        """Return the lines of a dump. ``control_rows``: our own connections and when they were opened."""

    @property
    def events(self) -> EventRing:
        """The recent events."""

    def streams_changed(self) -> None:
        """Called when clients start or stop receiving log lines or frames."""


class ControlServer:
    """Listens on the socket and holds the clients."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        target: ControlTarget,
        cookie: str,
        *,
        clock: Callable[[], float],
    ) -> None:
        self.loop = loop
        self.target = target
        self.cookie = cookie
        self.clock = clock
        self.login_timeout = 0.0
        """Seconds within which a client must show the cookie."""
        self._clients: dict[ControlConnection, None] = {}
        self._server: asyncio.AbstractServer | None = None
        self._writing_log = False

    def __repr__(self) -> str:
        """Hide the cookie."""
        return f"<ControlServer with {len(self._clients)} clients>"

    async def start(self, listening: socket.socket, *, login_timeout: float) -> None:
        """Start to serve on a socket from `bind_control_socket`."""
        self.login_timeout = login_timeout
        self._server = await self.loop.create_unix_server(lambda: ControlConnection(self), sock=listening)

    def close(self) -> None:
        """Stop serving and disconnect the clients: for them the daemon has ended."""
        if self._server is not None:
            self._server.close()
        for client in list(self._clients):
            client.abort()

    # -- streams --

    def log_level(self, own_level: int) -> int:
        """Return the highest level that a client wants, -1 for none; ``own_level`` is the daemon's."""
        return max((client.wanted_level(own_level) for client in self._clients), default=-1)

    def write_log(self, level: int, own_level: int, plain: bytes, coloured: bytes) -> None:
        """Send a log line to the clients that want its level. Lines that sending produces are not sent."""
        if self._writing_log:
            return
        self._writing_log = True
        try:
            for client in list(self._clients):
                if level <= client.wanted_level(own_level):
                    line = coloured if client.log_colour else plain
                    client.send_frame(Request.LOG, line[:MAX_LOG_PAYLOAD])
        finally:
            self._writing_log = False

    @property
    def wants_frames(self) -> bool:
        """Whether a client listens to PCAP."""
        return any(client.snap_length is not None for client in self._clients)

    def write_frames(self, frames: list[bytes]) -> None:
        """Send captured frames to the clients of PCAP."""
        for client in list(self._clients):
            if client.snap_length is not None:
                length = client.snap_length or MAX_PCAP_PAYLOAD
                for frame in frames:
                    client.send_frame(Request.PCAP, frame[:length])

    def events_added(self) -> None:
        """Send new events to the clients that follow them."""
        for client in list(self._clients):
            client.send_events()

    # -- clients --

    def connected(self, client: ControlConnection) -> bool:
        """Add a client if there is room, or one that has not logged in yet can make room for it."""
        if len(self._clients) >= MAX_CLIENTS:
            waiting = next((each for each in self._clients if not each.authenticated), None)
            if waiting is None:
                return False
            waiting.abort()
            self.disconnected(waiting)
        self._clients[client] = None
        return True

    def disconnected(self, client: ControlConnection) -> None:
        """Forget a client."""
        if client in self._clients:
            del self._clients[client]
            if client.is_streaming:
                self.target.streams_changed()

    def rows(self) -> list[tuple[float, ConnectionRow]]:
        """Return the control connections for DUMP_CONNECTIONS, with the time each was opened."""
        return [(client.opened, client.row()) for client in self._clients if client.authenticated]


class ControlConnection(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, server: ControlServer) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._paused = False
        self._login_timer: asyncio.TimerHandle | None = None
        self._descriptor = -1
        self.opened = server.clock()
        self.authenticated = False
        self.log_wanted: int | None = None
        """None: no log lines; -1: those that the daemon writes itself; otherwise lines up to this level."""
        self.log_colour = False
        self.snap_length: int | None = None
        """None: no frames; 0: whole frames."""
        self._follower: events.Follower | None = None
        """None: no events."""
        self._dumped: Iterator[list[str]] | None = None
        """The rest of a dump of events. Later requests wait until its end."""
        self._next_portion: asyncio.Handle | None = None

    @property
    def is_streaming(self) -> bool:
        """Whether log lines or frames are sent to this client."""
        return self.log_wanted is not None or self.snap_length is not None

    def wanted_level(self, own_level: int) -> int:
        """Return the highest level of log lines this client wants; -1 for none."""
        if self.log_wanted is None:
            return -1
        return own_level if self.log_wanted == _OWN_LEVEL else self.log_wanted

    def row(self) -> ConnectionRow:
        """Return the client's row in DUMP_CONNECTIONS."""
        status = ConnectionStatus.CONTROL
        if self.snap_length is not None:
            status |= ConnectionStatus.PCAP
        if self.log_wanted is not None:
            status |= ConnectionStatus.LOG
        if self.log_colour:
            status |= ConnectionStatus.LOG_COLOR
        return ConnectionRow("<control>", LOCAL_CLIENT, 0, self._descriptor, status)

    # -- asyncio.Protocol --

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first line for a limited time."""
        # uvloop's transports do not derive from asyncio.Transport, but have the same methods.
        transport = cast(asyncio.Transport, transport)
        self._transport = transport
        self._descriptor = transport.get_extra_info("socket").fileno()
        if not self._server.connected(self):
            transport.abort()
            return
        self._login_timer = self._server.loop.call_later(self._server.login_timeout, self.abort)

    def data_received(self, data: bytes) -> None:
        """Handle the complete lines."""
        self._buffer += data
        self._handle_lines()

    def eof_received(self) -> bool:
        """Close once the answers are sent: clients may send and close. A paused client's end is not seen."""
        return False

    def pause_writing(self) -> None:
        """Stop reading requests while the client does not read answers."""
        self._paused = True
        self._read_if_idle()

    def resume_writing(self) -> None:
        """Resume after `pause_writing`."""
        self._paused = False
        self.send_events()
        self._handle_lines()
        self._read_if_idle()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        self._stop_login_timer()
        self._transport = None
        self._server.disconnected(self)

    # -- lines --

    @property
    def _is_busy(self) -> bool:
        """Whether answers must leave before another request is read."""
        return self._paused or self._dumped is not None

    def _read_if_idle(self) -> None:
        if self._transport is None:
            return
        if self._is_busy:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _handle_lines(self) -> None:
        while self._transport is not None and not self._is_busy:
            line, newline, rest = self._buffer.partition(b"\n")
            if len(line) >= MAX_LINE:
                self.abort()
                return
            if not newline:
                return
            self._buffer = rest
            try:
                self._handle_line(line.decode("ascii", "replace").rstrip("\r"))
            except DecodeError:
                self.abort()

    def _handle_line(self, line: str) -> None:
        if self.authenticated:
            self._handle_request(*parse_request(line))
        elif hmac.compare_digest(parse_hello(line), self._server.cookie):
            self._stop_login_timer()
            self.authenticated = True
            self._send(self._server.target.greeting().format())
        else:
            raise DecodeError("wrong cookie")

    def _handle_request(self, kind: int, arguments: list[str]) -> None:
        target = self._server.target
        match kind:
            case Request.STOP:
                target.stop()
            case Request.RELOAD:
                self._send(format_result(kind, target.reload()))
            case Request.PURGE:
                target.purge()
                self._send(format_result(kind, 0))
            case Request.RETRY:
                target.retry()
                self._send(format_result(kind, 0))
            case Request.SET_DEBUG:
                self._send(format_result(kind, target.set_debug(_number(arguments, 0))))
            case Request.DISCONNECT:
                self._disconnect(arguments)
            case Request.VIP_ORDER:
                self._send(format_outcome(self._vip_order(arguments)))
            case Request.EVENTS:
                self._send_or_follow_events(arguments)
            case Request.LOG | Request.PCAP:
                self._start_stream(kind, arguments)
            case _ if kind in _DUMPS:
                self._dump(Request(kind))
            case _:
                self._send(NOT_IMPLEMENTED)

    def _disconnect(self, arguments: list[str]) -> None:
        if not arguments:
            result = -1
        else:
            result = 0 if self._server.target.disconnect(arguments[0]) else -2
        self._send(format_result(Request.DISCONNECT, result))

    def _vip_order(self, words: list[str]) -> str | None:
        """Carry out an order; return why it is refused, or None."""
        try:
            self._server.target.vip_order(parse_order(words))
        except (DecodeError, PolicyError) as error:
            return str(error)
        return None

    def _dump(self, request: Request) -> None:
        lines = self._server.target.dump(request, self._server.rows())
        self._send("\n".join([*lines, format_end(request)]))

    def _start_stream(self, kind: int, arguments: list[str]) -> None:
        if kind == Request.PCAP:
            self.snap_length = max(_number(arguments, 0, 0), 0)
        else:
            self.log_wanted = min(max(_number(arguments, 0, 0), _OWN_LEVEL), _ALL_LEVELS)
            self.log_colour = _number(arguments, 1, 0) != 0
        self._server.target.streams_changed()

    def _send_or_follow_events(self, arguments: list[str]) -> None:
        """Send the events after number SINCE; with FOLLOW, all later ones as well."""
        since, follow = max(_number(arguments, 0, 0), 0), _number(arguments, 1, 0) != 0
        ring = self._server.target.events
        self._send(events.ring_row(ring))
        if follow:
            self._follower = events.Follower(ring, since)
        else:
            self._dumped = events.portions(ring, since)
            self._read_if_idle()
        self.send_events()

    # -- output --

    def send_events(self) -> None:
        """Send events if the client follows or dumps them, a portion in each turn of the loop."""
        if self._next_portion is None and (self._follower or self._dumped):
            self._next_portion = self._server.loop.call_soon(self._send_portion)

    def _send_portion(self) -> None:
        self._next_portion = None
        if self._transport is None or self._paused:
            return  # `resume_writing` goes on
        if self._dumped is not None:
            rows = next(self._dumped, [])
        else:
            rows = [] if self._follower is None else self._follower.portion()
        if rows:
            self._send("\n".join(rows))
        elif self._dumped is None:
            return
        else:
            self._dumped = None
            self._send(format_end(Request.EVENTS))
            self._handle_lines()
            self._read_if_idle()
        self.send_events()

    def _send(self, text: str) -> None:
        if self._transport is not None:
            self._transport.write(text.encode("ascii", "replace") + b"\n")

    def send_frame(self, kind: Request, payload: bytes) -> None:
        """Send one frame of a stream unless too much is waiting already."""
        transport = self._transport
        if transport is not None and transport.get_write_buffer_size() <= MAX_STREAM_BACKLOG:
            transport.write(format_frame(kind, payload))

    def abort(self) -> None:
        """Close at once."""
        self._stop_login_timer()
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()

    def _stop_login_timer(self) -> None:
        if self._login_timer is not None:
            self._login_timer.cancel()
            self._login_timer = None


def _number(arguments: list[str], index: int, default: int | None = None) -> int:
    """Return a numeric argument. Raises `DecodeError` if it is not a number, or missing without a default."""
    if index >= len(arguments):
        if default is None:
            raise DecodeError("argument missing")
        return default
    word = arguments[index]
    digits = word.removeprefix("-")
    if not digits.isascii() or not digits.isdecimal() or len(digits) > _DIGITS:
        raise DecodeError("argument is not a number")
    return int(word)


# -- The socket's file --


def is_socket_in_use(path: str) -> bool:
    """Return whether a daemon answers at the socket ``path``. `DeviceError` if the path is too long."""
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise DeviceError(f"UNIX socket path {path} is too long!")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except BlockingIOError:  # its backlog is full, so a daemon listens
            return True
        except OSError:
            return False
    return True


def bind_control_socket(path: str) -> socket.socket:
    """Create the socket at ``path`` for its owner only (0700) and listen; a stale one is replaced.

    Raises `DeviceError`, also if another daemon uses it.
    """
    if is_socket_in_use(path):
        raise DeviceError(f"UNIX socket {path} is still in use!")
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.setblocking(False)
    before = os.umask(0o077)
    try:
        with contextlib.suppress(FileNotFoundError):
            Path(path).unlink()
        made.bind(path)
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        raise DeviceError(f"Could not bind UNIX socket to {path}: {reason(error)}") from error
    finally:
        os.umask(before)
    return made
