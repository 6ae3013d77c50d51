"""``Hostnames = yes``: host names instead of numeric addresses in log lines and dumps.

The shell asks here for every address that it shows. Nothing ever waits for the name service: an address is
shown as a number until a thread beside the loop has found its name (tinc blocks meanwhile). The owner of an
address chooses its name, so a name is shown only if it looks like one.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from pytinc.wire.address import Address

MAX_LOOKUPS: Final = 2
"""Threads that work at once."""
MAX_WAITING: Final = 256
"""Addresses that wait for a thread; further ones stay numbers until they are shown again."""
MAX_KNOWN: Final = 4096
"""Addresses remembered, including those without a name; the oldest entry is removed first."""
FRESH: Final = 3600.0
"""Seconds before a name is looked up again."""
RETRY: Final = 600.0
"""Seconds before an address without a name is looked up again."""

_ADDRESS: Final = re.compile(r"([0-9a-fA-F:.]{2,45}) port (\d{1,5})\b")
"""tinc's form of an address in a log line."""
_NAME: Final = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?", re.ASCII)


class HostNames:
    """Knows the names of addresses, and looks up those that it does not know."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float]) -> None:
        self._loop = loop
        self._clock = clock
        self._running = 0
        self._waiting: deque[str] = deque()
        self._pending: set[str] = set()
        self._known: dict[str, tuple[str, float]] = {}
        """The text to show for each numeric host, and until when it is valid."""

    def of(self, address: Address) -> Address:
        """Return the address with a name for its host, if one is known."""
        if address.family == 0:
            return address
        return Address(self._show(address.host), address.port)

    def in_text(self, text: str) -> str:
        """Return a log line with the known names in its addresses."""
        return _ADDRESS.sub(lambda found: str(self.of(Address(found[1], found[2]))), text)

    def _show(self, host: str) -> str:
        shown, fresh_until = self._known.get(host, (host, 0.0))
        if self._clock() >= fresh_until and host not in self._pending and len(self._waiting) < MAX_WAITING:
            self._pending.add(host)
            self._waiting.append(host)
            self._start_next()
        return shown

    def _start_next(self) -> None:
        while self._waiting and self._running < MAX_LOOKUPS:
            self._running += 1
            host = self._waiting.popleft()
            # A daemon thread, so that nothing waits for it when the daemon ends.
            threading.Thread(target=self._look_up, args=(host,), name="hostnames", daemon=True).start()

    def _look_up(self, host: str) -> None:
        """Run in a thread of its own; use nothing but the argument."""
        name = look_up(host)
        with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
            self._loop.call_soon_threadsafe(self._finish, host, name)

    def _finish(self, host: str, name: str | None) -> None:
        self._running -= 1
        self._pending.discard(host)
        self._known.pop(host, None)
        self._known[host] = (name or host, self._clock() + (FRESH if name else RETRY))
        if len(self._known) > MAX_KNOWN:
            del self._known[next(iter(self._known))]
        self._start_next()


def look_up(host: str) -> str | None:
    """Ask the system's resolver for the name of a numeric host; None if there is none to show. Blocks."""
    try:
        name, _ = socket.getnameinfo((host, 0), socket.NI_NAMEREQD)
    except (OSError, UnicodeError):
        return None
    if not _NAME.fullmatch(name) or Address(name.rstrip("."), "0").family:
        return None
    return name
