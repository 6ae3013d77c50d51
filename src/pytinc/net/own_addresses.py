"""Notices when the host loses an address or gets it back: its interfaces have been reconfigured.

The guard of shared addresses then leads the clients of a lost address to another node (`pytinc.vip`). An
interface that gets a link or an address is a reason to dial awaited nodes early.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Collection, Iterable
from typing import Final

from pytinc.net.log import LogFunction
from pytinc.net.tap import read_hwaddr
from pytinc.wire.netlink import (
    RTMGRP_IPV4_IFADDR,
    RTMGRP_IPV6_IFADDR,
    RTMGRP_LINK,
    changed_addresses,
    deleted_links,
    has_new_address,
    is_local_route,
    links,
    route_question,
)

_DATAGRAM: Final = 32_768
"""The kernel's messages are never longer."""
_FAMILIES: Final = {4: socket.AF_INET, 16: socket.AF_INET6}
_LOOK_AGAIN_S: Final = (0.02, 0.2, 1.0)
"""Pauses before checks after a message: the kernel sends it before it sets or removes the local route."""
_ANSWER_S: Final = 1.0
"""The kernel answers at once, within the call."""
_MAX_LINKS: Final = 1024
_DISCARD: Final = 9
"""An arbitrary port: nothing is sent to it."""


class OwnAddresses:
    """Listens to the kernel (rtnetlink(7)) in the network namespace of the process."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        watched: Callable[[], Collection[bytes]],
        on_change: Callable[[bytes, frozenset[bytes] | None], None],
        on_up: Callable[[], None] = lambda: None,
        log: LogFunction,
    ) -> None:
        """``watched`` returns the addresses to watch.

        ``on_change`` is called with an address that the host got or lost; for a lost one also with the MACs
        of its interfaces. ``on_up`` is called when an interface has got a link or an address.
        """
        self._loop = loop
        self._watched = watched
        self._on_change = on_change
        self._on_up = on_up
        self._log = log
        self._without_link: set[int] = set()
        """Indexes of interfaces that lost their link."""
        self._socket: socket.socket | None = None
        self._doubtful: dict[bytes, bool] = {}
        """Addresses that are checked again, and whether the host has them, as last reported."""
        self._next_look: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start to listen. Where this is not allowed, no change is noticed."""
        try:
            self._socket = _listen()
        except OSError as error:
            self._log(2, "debug", f"Cannot watch the addresses of this host: {os.strerror(error.errno or 0)}")
            return
        self._loop.add_reader(self._socket, self._read)

    def stop(self) -> None:
        """Stop listening."""
        self._doubtful.clear()
        if self._next_look is not None:
            self._next_look.cancel()
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _read(self) -> None:
        if self._socket is None:
            return
        try:
            data, (port, _) = self._socket.recvfrom(_DATAGRAM)
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                return
            addresses = set(self._watched())  # there were too many messages, and some are lost
        else:
            if port != 0:
                return  # other processes can write to this socket, too
            addresses = set(changed_addresses(data)).intersection(self._watched())
            if self._link_came(data) or has_new_address(data):
                self._on_up()
        self._doubtful.update(self._look_at(addresses))
        if addresses:
            self._look_later(0)

    def _link_came(self, data: bytes) -> bool:
        """Note which interfaces have a link; tell whether one that had lost it has it again."""
        came = False
        self._without_link.difference_update(deleted_links(data))
        for index, has_link in links(data):
            if not has_link:
                if len(self._without_link) < _MAX_LINKS:
                    self._without_link.add(index)
            elif index in self._without_link:
                self._without_link.discard(index)
                came = True
        return came

    def report_missing(self, addresses: Iterable[bytes]) -> None:
        """Call ``on_change`` for those of these addresses that the host does not have."""
        for address in addresses:
            if not is_own(address):
                self._report_lost(address)

    def _look_at(self, addresses: Collection[bytes]) -> dict[bytes, bool]:
        """Report whether the host has these addresses, and return it."""
        found = {address: is_own(address) for address in addresses}
        for address, own in found.items():
            if own:
                self._on_change(address, None)
            else:
                self._report_lost(address)
        return found

    def _look_later(self, times: int) -> None:
        if self._next_look is not None:
            self._next_look.cancel()
        self._next_look = self._loop.call_later(_LOOK_AGAIN_S[times], self._look_again, times)

    def _look_again(self, times: int) -> None:
        """Report the doubtful addresses that have changed since they were last checked."""
        changed = [address for address, own in self._doubtful.items() if is_own(address) is not own]
        self._doubtful.update(self._look_at(changed))
        if times + 1 < len(_LOOK_AGAIN_S):
            self._look_later(times + 1)
        else:
            self._next_look = None
            self._doubtful.clear()

    def _report_lost(self, address: bytes) -> None:
        if (macs := self._macs()) is not None:
            self._on_change(address, macs)

    def _macs(self) -> frozenset[bytes] | None:
        try:
            return frozenset(read_hwaddr(name) for _, name in socket.if_nameindex())
        except OSError as error:
            self._log(2, "debug", f"Cannot list the interfaces of this host: {os.strerror(error.errno or 0)}")
            return None


def _listen() -> socket.socket:
    route = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    try:
        route.setblocking(False)
        route.bind((0, RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR))
    except OSError:
        route.close()
        raise
    return route


def is_own(address: bytes) -> bool:
    """Return whether the host has an address (4 or 16 bytes), on any interface; True if in doubt."""
    try:
        return _is_source(address) or (len(address) == 4 and _is_local(address))
    except OSError as error:
        # No route: the host does not have it. Other errors (no more descriptors) prove nothing.
        return error.errno not in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL)


def _is_source(address: bytes) -> bool:
    """Return whether the kernel chooses an address as the source of packets to itself.

    (`bind` is no test: it also works for other addresses where ip_nonlocal_bind is set.)
    """
    family = _FAMILIES[len(address)]
    text = socket.inet_ntop(family, address)
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((text, _DISCARD))
        return bool(probe.getsockname()[0] == text)


def _is_local(address: bytes) -> bool:
    """Return whether packets to an IPv4 address stay on this host.

    Of several addresses in one network the kernel chooses the first one as the source, also to the others.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as route:
        route.settimeout(_ANSWER_S)
        route.sendto(route_question(address), (0, 0))
        return is_local_route(route.recv(_DATAGRAM))
