"""Messages to the service manager, as sd_notify(3) sends them: ready, stopping, still alive.

See docs/tinc-program.md, "Service manager".

Errors are ignored: without a service manager nobody listens.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping
from typing import Final

_MICROSECONDS: Final = 1_000_000


class Notifier:
    """Sends to NOTIFY_SOCKET, if there is one."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket: socket.socket | None = None
        if address:
            # Open and connect now: after a chroot the path does not exist.
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
            try:
                self._socket.connect(self._address)
            except OSError:
                self.close()

    def send(self, state: str) -> None:
        """Send one message, such as ``READY=1``."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.send(state.encode("ascii"))

    def close(self) -> None:
        """Close the socket; later messages are dropped."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def watchdog_interval(environment: Mapping[str, str], pid: int) -> float | None:
    """Return the seconds within which the service manager expects a message; None if it expects none."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    if not microseconds.isascii() or not microseconds.isdecimal() or int(microseconds) == 0:
        return None
    if environment.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    return int(microseconds) / _MICROSECONDS
