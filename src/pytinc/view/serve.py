"""Serving the page: the listening socket, the URL, and uvicorn, until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from pytinc.control.client import ControlClient
from pytinc.errors import DeviceError
from pytinc.view.access import Access
from pytinc.view.app import application
from pytinc.view.asking import Asker
from pytinc.view.follow import follow
from pytinc.view.hub import Hub

DEFAULT_ADDRESS: Final = "127.0.0.1"
DEFAULT_PORT: Final = 6550
BACKLOG: Final = 16
MAX_CONNECTIONS: Final = 64
"""Connections at once; a browser uses up to six. Other users of this machine can connect as well."""
REQUEST_S: Final = 5.0
"""A connection without a request under way is closed after this many seconds, or up to twice as many."""
TOKEN_BYTES: Final = 24


def parse_listen(text: str) -> tuple[str, int]:
    """Return address and port of ``ADDRESS[:PORT]`` or ``PORT``; ``[ADDRESS]:PORT`` for IPv6.

    Raises `DeviceError`.
    """
    address, port = DEFAULT_ADDRESS, str(DEFAULT_PORT)
    if text.isascii() and text.isdigit():
        port = text
    elif text.startswith("["):
        address, _, rest = text[1:].partition("]")
        if rest:
            port = rest.removeprefix(":") if rest.startswith(":") else ""
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    else:
        address = text
    if address == "localhost":
        address = DEFAULT_ADDRESS
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise DeviceError(f"--listen needs a numeric address, or localhost, not `{address}'") from None
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise DeviceError(f"--listen needs a port from 0 to 65535, not `{port}'")
    return address, int(port)


def listen(address: str, port: int, *, or_any: bool = False) -> socket.socket:
    """Return a listening socket. ``or_any``: at any free port if this one is in use. Raises `DeviceError`."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind((address, port))
        except OSError:
            if not or_any:
                raise
            made.bind((address, 0))
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        raise DeviceError(f"Cannot listen at {address} port {port}: {error.strerror or error}") from error
    return made


def is_local(listening: socket.socket) -> bool:
    """Return whether only this machine reaches a socket."""
    return ipaddress.ip_address(listening.getsockname()[0]).is_loopback


def inherited(descriptor: int) -> socket.socket:
    """Return the listening socket that the program was started with. Raises `DeviceError`."""
    try:
        os.set_inheritable(descriptor, False)
        return socket.socket(fileno=descriptor)
    except OSError as error:
        raise DeviceError(f"--socket {descriptor}: {error.strerror}") from error


def serve(
    connect: Callable[[], ControlClient],
    listening: socket.socket,
    *,
    netname: str,
    names: Sequence[str],
    say: Callable[[str], None],
) -> None:
    """Serve the page at a listening socket until a signal comes. ``say`` gets the URL, which has a token."""
    address, port = listening.getsockname()[:2]
    token, session, folder = (secrets.token_urlsafe(TOKEN_BYTES) for _ in range(3))
    access = Access(address, port, token, session, folder, names)
    hub = Hub(Asker(connect, time.monotonic), time.monotonic, netname)

    async def run() -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(hub.run()), group.create_task(follow(hub, connect))]
            say(access.url)
            yield
            for task in tasks:
                task.cancel()

    logging.getLogger("uvicorn.error").addHandler(logging.NullHandler())
    config = uvicorn.Config(
        application(access, hub, run),
        http=_Connection,
        ws="none",
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS + 1,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config, hub)
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises the signal again when it has ended
        server.run(sockets=[listening])


class _Connection(H11Protocol):
    """Does not wait for a request for long, and makes room for others while it waits."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """If there are too many, close the one that has waited longest, which may be this one."""
        super().connection_made(transport)
        self._waits_since = self.loop.time()
        self._seen: object = None
        self._check = self.loop.call_later(REQUEST_S, self._close_if_still_waiting)
        if len(self.connections) > MAX_CONNECTIONS:
            all_of_ours = (each for each in self.connections if isinstance(each, _Connection))
            longest = min(
                (each for each in all_of_ours if each._is_waiting), key=lambda each: each._waits_since
            )
            self.connections.discard(longest)
            longest.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._check.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._waits_since = self.loop.time()
        super().on_response_complete()

    @property
    def _is_waiting(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _close_if_still_waiting(self) -> None:
        """Close it if it waits as at the last look, and no whole request has come since."""
        if self._is_waiting and self.cycle is self._seen:
            self.transport.abort()
            return
        at_work = self  # anything that is no cycle
        self._seen = self.cycle if self._is_waiting else at_work
        self._check = self.loop.call_later(REQUEST_S, self._close_if_still_waiting)


class _Server(uvicorn.Server):
    """Ends the streams before it waits for the connections to end."""

    def __init__(self, config: uvicorn.Config, hub: Hub) -> None:
        super().__init__(config)
        self._hub = hub

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, then all else."""
        await self._hub.close()
        await super().shutdown(sockets)
