"""Looks up host names without blocking the loop.

It uses plain daemon threads instead of the loop's executor, because a look-up can hang for half a minute and
the end of the daemon must not wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from pytinc.wire.address import Address, SockAddr, from_sockaddr

MAX_LOOKUPS: Final = 8
"""Threads that work at once; further look-ups wait. The node asks at most once for each outgoing entry."""
MAX_WAITING: Final = 1024
"""Look-ups that wait; with more unresolved names than this in the configuration, further look-ups fail at
once."""

Answer = Callable[[tuple[Address, ...]], None]


class Resolver:
    """Turns a host and a port (or service name) into addresses; no address means that it failed."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._running = 0
        self._waiting: deque[tuple[str, str, int, Answer]] = deque()

    def resolve(self, host: str, port: str, family: int, answer: Answer) -> None:
        """Look up ``host`` in address family ``family`` (`socket.AF_UNSPEC`: any); call back on the loop."""
        if len(self._waiting) >= MAX_WAITING:
            self._loop.call_soon(answer, ())
            return
        self._waiting.append((host, port, family, answer))
        self._start_next()

    def _start_next(self) -> None:
        while self._waiting and self._running < MAX_LOOKUPS:
            self._running += 1
            job = self._waiting.popleft()
            threading.Thread(target=self._look_up, args=job, name="resolver", daemon=True).start()

    def _look_up(self, host: str, port: str, family: int, answer: Answer) -> None:
        """Run in a thread of its own; use nothing but the arguments."""
        addresses = look_up(host, port, family)
        with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
            self._loop.call_soon_threadsafe(self._finish, addresses, answer)

    def _finish(self, addresses: tuple[Address, ...], answer: Answer) -> None:
        self._running -= 1
        self._start_next()
        answer(addresses)


def look_up(host: str, port: str, family: int) -> tuple[Address, ...]:
    """Ask the system's resolver for stream addresses, in its order, without duplicates. Blocks."""
    try:
        found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except (OSError, UnicodeError):
        return ()
    return tuple(dict.fromkeys(from_sockaddr(cast("SockAddr", sockaddr)) for *_, sockaddr in found))
