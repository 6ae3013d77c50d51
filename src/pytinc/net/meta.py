"""TCP streams of meta connections, in and out: bytes, buffers and descriptors. The node interprets the bytes.

The shell calls it to dial, send and close, and gets reports of connections, data and ends. Nothing in this
module calls the node: every report comes from the loop or directly from a readiness event, never from inside
`send`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from pytinc.config.settings import Settings
from pytinc.errors import ProtocolError, UsageError
from pytinc.net.log import LogFunction, reason
from pytinc.net.proxy_command import ProxyCommand, ProxyProcess, StartProxy
from pytinc.net.resolver import Resolver
from pytinc.net.sockets import Listener, bind_to_path, set_tcp_options
from pytinc.protocol.proxy import ProxyHandshake
from pytinc.wire.address import UNSPEC, Address, from_sockaddr

MAX_ACCEPTS: Final = 16
"""Connections accepted per readiness event."""
READ_SIZE: Final = 16384
"""Bytes read per readiness event of a stream: a few hundred requests."""
MAX_QUEUED: Final = 16 * 1024 * 1024
"""Bytes waiting for a peer that does not read. The announcements of thousands of nodes fit; if more are
waiting, the peer is dead and the ping timeout has not noticed yet."""
TARPIT_SIZE: Final = 10
"""Sockets of offending peers that are kept open and silent; the newest ten, as in tinc."""
MAX_PROXY_ADDRESSES: Final = 8
"""Addresses of the proxy's name that are tried for one connection, at most."""
ACCEPT_PAUSE: Final = 1.0
"""Seconds for which nothing is accepted when the process has no descriptors left."""


class MetaEvents(Protocol):
    """The reports of the streams to the shell."""

    def meta_accepted(self, remote: Address, local: Address, add: Callable[[int], None]) -> None:
        """A connection came in. ``add`` is called with its number before anything is done with it."""

    def meta_connected(self, connection: int, local: Address) -> None:
        """A dialled connection is up."""

    def meta_data(self, connection: int, data: bytes) -> None:
        """Bytes arrived."""

    def meta_closed(self, connection: int, reason: str) -> None:
        """A connection ended, or a dial failed; its socket is already closed."""


@dataclass(slots=True)
class _Stream:
    """One TCP connection."""

    socket: socket.socket
    opened: float
    connecting: bool = False
    failed: bool = False
    """A write failed or too much is waiting; the report will follow."""
    handshake: ProxyHandshake | None = None
    """The exchange with a proxy before the connection is established."""
    others: tuple[Address, ...] = ()
    """Further addresses of the proxy, if it cannot be reached."""
    process: ProxyProcess | None = None
    """The command that carries the connection (``Proxy = exec``)."""


class MetaStreams:
    """All TCP connections of the node, by the node's numbers."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        events: MetaEvents,
        settings: Settings,
        *,
        resolver: Resolver,
        netname: str | None,
        log: LogFunction,
        clock: Callable[[], float],
    ) -> None:
        self.settings = settings
        """Replaced by the shell on reload."""
        self._resolver = resolver
        self._netname = netname
        self._loop = loop
        self._events = events
        self._log = log
        self._clock = clock
        self._listening: list[socket.socket] = []
        self._listeners: Sequence[Listener] = ()
        self._streams: dict[int, _Stream] = {}
        self._looking_up: set[int] = set()
        """Connections that wait for the address of the proxy."""
        self.start_proxy: StartProxy = ProxyCommand
        """Replaced in the sandbox."""
        self._ending: list[ProxyProcess] = []
        """Proxy commands that end."""
        self._output: dict[int, bytearray] = {}
        self._tarpit: deque[socket.socket] = deque()
        self._accept_timer: asyncio.TimerHandle | None = None

    # -- listening --

    def listen(self, listeners: Sequence[Listener]) -> None:
        """Begin to accept connections."""
        self._listeners = listeners
        self._listening = [listener.tcp for listener in listeners]
        self._resume_accepting()

    def _resume_accepting(self) -> None:
        self._accept_timer = None
        for source in self._listening:
            self._loop.add_reader(source.fileno(), self._acceptable, source)

    def _stop_accepting(self) -> None:
        for source in self._listening:
            self._loop.remove_reader(source.fileno())

    def _acceptable(self, source: socket.socket) -> None:
        for _ in range(MAX_ACCEPTS):
            try:
                stream, remote = source.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._log(0, "error", f"Accepting a new connection failed: {reason(error)}")
                self._stop_accepting()
                self._accept_timer = self._loop.call_later(ACCEPT_PAUSE, self._resume_accepting)
                return
            self._accepted(stream, from_sockaddr(remote))

    def _accepted(self, stream: socket.socket, remote: Address) -> None:
        try:
            stream.setblocking(False)
            set_tcp_options(stream)
            local = from_sockaddr(stream.getsockname())
        except OSError:  # the peer has closed it already
            stream.close()
            return

        def add(number: int) -> None:
            self._add(number, _Stream(stream, self._clock()))
            self._loop.add_reader(stream.fileno(), self._readable, number)

        self._events.meta_accepted(remote, local, add)

    # -- dialling --

    def dial(self, number: int, peer: str, address: Address) -> None:
        """Connect to ``peer`` at ``address``, through a proxy if one is configured.

        The result is reported to `MetaEvents` later.
        """
        proxy = self.settings.proxy
        try:
            if proxy.kind == "none":
                self._connect(number, (address,), None)
            elif proxy.kind == "exec":
                self._run_proxy(number, peer, address)
            else:
                handshake = ProxyHandshake(proxy.kind, address, proxy.user, proxy.password)
                self._find_proxy(number, handshake)
        except (OSError, ProtocolError) as error:
            why = reason(error) if isinstance(error, OSError) else str(error)
            self._loop.call_soon(self._events.meta_closed, number, why)

    def _connect(self, number: int, addresses: tuple[Address, ...], handshake: ProxyHandshake | None) -> None:
        """Connect to the first usable address; keep the others in case it does not answer."""
        for position, address in enumerate(addresses, 1):
            others = addresses[position:]
            try:
                stream = self._connecting_socket(address)
            except OSError:
                if others:
                    continue
                raise
            self._add(number, _Stream(stream, self._clock(), True, handshake=handshake, others=others))
            self._loop.add_writer(stream.fileno(), self._writable, number)
            return

    def _find_proxy(self, number: int, handshake: ProxyHandshake) -> None:
        """Connect to the proxy once its address is known."""
        self._looking_up.add(number)

        def found(addresses: tuple[Address, ...]) -> None:
            if number not in self._looking_up:
                return  # closed meanwhile
            self._looking_up.discard(number)
            try:
                if not addresses:
                    raise OSError(f"cannot look up the proxy {self.settings.proxy.host}")
                self._connect(number, addresses[:MAX_PROXY_ADDRESSES], handshake)
            except OSError as error:
                self._events.meta_closed(number, reason(error))

        proxy = self.settings.proxy
        self._resolver.resolve(proxy.host, proxy.port, socket.AF_UNSPEC, found)

    def _run_proxy(self, number: int, peer: str, address: Address) -> None:
        """Run the command; its standard input and output are the connection."""
        environment = {
            "NAME": self.settings.name,
            "NODE": peer,
            "REMOTEADDRESS": address.host,
            "REMOTEPORT": address.port,
        }
        if self._netname is not None:
            environment["NETNAME"] = self._netname
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            try:
                process = self.start_proxy(self.settings.proxy.command, environment, theirs)
            except BaseException:
                ours.close()
                raise
        self._add(number, _Stream(ours, self._clock(), connecting=True, process=process))
        self._loop.call_soon(self._stands, number)

    def _connecting_socket(self, address: Address) -> socket.socket:
        if address.family == 0:
            raise OSError(f"{address} is not a numeric address")
        family = socket.AF_INET6 if address.family == 6 else socket.AF_INET
        stream = socket.socket(family, socket.SOCK_STREAM)
        try:
            stream.setblocking(False)
            set_tcp_options(stream)
            if family == socket.AF_INET6:
                stream.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if not bind_to_path(stream, self.settings, self._log):
                raise OSError("the interface of BindToInterface cannot be used")
            self._bind_source(stream, address.family)
            with contextlib.suppress(BlockingIOError):
                stream.connect(address.sockaddr())
        except BaseException:
            stream.close()
            raise
        return stream

    def _bind_source(self, stream: socket.socket, family: int) -> None:
        """Bind to BindToAddress if exactly one such address has the right family.

        See docs/protocol-data.md, "UDP sockets".
        """
        sources = [each.address for each in self._listeners if each.is_source and each.family == family]
        if len(sources) == 1:
            stream.bind(sources[0].with_port("0").sockaddr())

    # -- sending and closing --

    def send(self, number: int, data: bytes) -> None:
        """Write bytes, now or when the peer reads again; nothing is written after the end was reported."""
        stream = self._streams.get(number)
        if stream is None or stream.failed:
            return
        if stream.connecting:
            raise UsageError(f"connection {number} is not up yet")
        output = self._output.get(number)
        if output is not None:
            output += data
            if len(output) > MAX_QUEUED:
                self._fail_later(number, stream, "the peer does not read")
            return
        try:
            sent = stream.socket.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self._fail_later(number, stream, reason(error))
            return
        if sent < len(data):
            self._output[number] = bytearray(data[sent:])
            self._loop.add_writer(stream.socket.fileno(), self._writable, number)

    def queued(self, number: int) -> int:
        """Return the number of bytes that wait to be written."""
        return len(self._output.get(number, b""))

    def close(self, number: int, *, tarpit: bool) -> None:
        """Close a connection and drop waiting output. With ``tarpit`` the socket stays open and silent."""
        self._looking_up.discard(number)
        stream = self._remove(number)
        if stream is None:
            return
        if not tarpit or stream.connecting or stream.failed:
            stream.socket.close()
            return
        self._tarpit.append(stream.socket)
        if len(self._tarpit) > TARPIT_SIZE:
            self._tarpit.popleft().close()

    def close_all(self) -> None:
        """Close everything except the listening sockets (they belong to the daemon)."""
        if self._accept_timer is not None:
            self._accept_timer.cancel()
            self._accept_timer = None
        self._stop_accepting()
        for number in list(self._streams):
            self.close(number, tarpit=False)
        while self._tarpit:
            self._tarpit.popleft().close()
        # Wait, because nothing kills a stubborn command after we end. All of them end at the same time.
        for process in self._ending:
            process.wait()
        self._ending.clear()

    def describe(self, number: int) -> tuple[int, float]:
        """Return descriptor and opening time of a connection, for dumps; -1 for a closed one."""
        stream = self._streams.get(number)
        return (-1, 0.0) if stream is None else (stream.socket.fileno(), stream.opened)

    # -- readiness --

    def _readable(self, number: int) -> None:
        stream = self._streams.get(number)
        if stream is None or stream.failed:
            return
        try:
            data = stream.socket.recv(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end(number, reason(error))
            return
        if not data:
            self._end(number, "the peer closed it" if stream.handshake is None else "the proxy closed it")
        elif stream.handshake is not None:
            self._on_proxy_answer(number, stream, stream.handshake, data)
        else:
            self._events.meta_data(number, data)

    def _on_proxy_answer(self, number: int, stream: _Stream, handshake: ProxyHandshake, data: bytes) -> None:
        try:
            answer, rest = handshake.feed(data)
            stream.socket.sendall(answer)
        except (OSError, ProtocolError) as error:
            self._end(number, reason(error) if isinstance(error, OSError) else str(error))
            return
        if rest is None:
            return
        stream.handshake = None
        self._stands(number)
        if rest and number in self._streams:
            self._events.meta_data(number, rest)

    def _stands(self, number: int) -> None:
        """Start the exchange with the peer itself."""
        stream = self._streams.get(number)
        if stream is None:
            return
        stream.connecting = False
        self._loop.add_reader(stream.socket.fileno(), self._readable, number)
        local = UNSPEC if stream.process is not None else from_sockaddr(stream.socket.getsockname())
        self._events.meta_connected(number, local)

    def _writable(self, number: int) -> None:
        stream = self._streams.get(number)
        if stream is None or stream.failed:
            return
        if stream.connecting:
            self._finish_dial(number, stream)
        else:
            self._drain(number, stream)

    def _dial_failed(self, number: int, stream: _Stream, why: str) -> None:
        """Try the next address of the proxy, if any: localhost is often ::1 first, where few listen."""
        if not stream.others:
            self._end(number, why)
            return
        self._remove(number)
        stream.socket.close()
        try:
            self._connect(number, stream.others, stream.handshake)
        except OSError as error:
            self._events.meta_closed(number, reason(error))

    def _finish_dial(self, number: int, stream: _Stream) -> None:
        problem = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if problem:
            self._dial_failed(number, stream, os.strerror(problem))
            return
        self._loop.remove_writer(stream.socket.fileno())
        if stream.handshake is None:
            self._stands(number)
            return
        try:
            stream.socket.sendall(stream.handshake.start())
        except OSError as error:
            self._end(number, reason(error))
            return
        self._loop.add_reader(stream.socket.fileno(), self._readable, number)

    def _drain(self, number: int, stream: _Stream) -> None:
        output = self._output[number]
        try:
            sent = stream.socket.send(output)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end(number, reason(error))
            return
        del output[:sent]
        if not output:
            del self._output[number]
            self._loop.remove_writer(stream.socket.fileno())

    # -- bookkeeping --

    def _add(self, number: int, stream: _Stream) -> None:
        self._streams[number] = stream

    def _remove(self, number: int) -> _Stream | None:
        """Forget a stream; its socket stays open."""
        stream = self._streams.pop(number, None)
        self._output.pop(number, None)
        if stream is not None:
            self._loop.remove_reader(stream.socket.fileno())
            self._loop.remove_writer(stream.socket.fileno())
            if stream.process is not None:
                stream.process.end()
                self._ending = [each for each in self._ending if not each.has_ended] + [stream.process]
        return stream

    def _end(self, number: int, why: str) -> None:
        """Close the socket and tell the shell."""
        stream = self._remove(number)
        if stream is not None:
            stream.socket.close()
            self._events.meta_closed(number, why)

    def _fail_later(self, number: int, stream: _Stream, why: str) -> None:
        """Report a failure from the loop: during the shell's actions the node must not be called."""
        stream.failed = True
        self._loop.call_soon(self._end, number, why)
