"""Notices when the host gives up an address: an operator or a script took it from its interface.

The guard of shared addresses then leads the clients of that address elsewhere (`pytinc.vip`).
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Final

from pytinc.net.log import LogFunction
from pytinc.wire.netlink import RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR, removed_addresses

_DATAGRAM: Final = 32_768
"""The kernel sends no longer one."""
_FAMILIES: Final = {4: socket.AF_INET, 16: socket.AF_INET6}


class OwnAddresses:
    """Listens to the kernel (rtnetlink(7)) in the network namespace of the process."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, on_removed: Callable[[bytes], None], log: LogFunction
    ) -> None:
        self._loop = loop
        self._on_removed = on_removed
        self._log = log
        self._socket: socket.socket | None = None

    def start(self) -> None:
        """Begin to listen. Where that is not allowed, nothing is noticed."""
        try:
            route = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        except OSError as error:
            self._log(2, "debug", f"Cannot watch the addresses of this host: {error.strerror}")
            return
        route.setblocking(False)
        try:
            route.bind((0, RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR))
        except OSError as error:
            self._log(2, "debug", f"Cannot watch the addresses of this host: {error.strerror}")
            route.close()
            return
        self._socket = route
        self._loop.add_reader(route, self._read)

    def stop(self) -> None:
        """Listen no more."""
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _read(self) -> None:
        while self._socket is not None:
            try:
                data, (port, _) = self._socket.recvfrom(_DATAGRAM)
            except BlockingIOError:
                return
            except OSError:
                continue  # ENOBUFS: there was too much to tell, and some of it is lost
            if port != 0:
                continue  # another process may write to us, too
            for address in removed_addresses(data):
                if not is_own(address):
                    self._on_removed(address)


def is_own(address: bytes) -> bool:
    """Tell whether the host has an address (4 or 16 bytes), on whatever interface."""
    family = _FAMILIES[len(address)]
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((socket.inet_ntop(family, address), 0))
        except OSError as error:
            return error.errno != errno.EADDRNOTAVAIL
    return True
