"""Puts virtual addresses on the daemon's interface if their line says ``manage=yes``, and takes them away.

The daemon calls `set` when ``tinc-up`` has run, after a reload, and with nothing at the end. An address that
the host had before is left alone then and later. IPv6 addresses get no duplicate address detection, which
would find the other members, and are no source of the host's own packets (preferred_lft 0): a question with
that source would lead those who hear it to this host. IPv4 knows no such thing, but takes the first address
of a network: ``tinc-up`` has set the host's own.

The library pyroute2, loaded only here and only when needed, talks to the kernel. Its objects want a loop of
their own, so a thread works with them. The configuration (`pytinc.config.virtual_ips`) makes sure that it is
installed.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

from pytinc.net.log import LogFunction
from pytinc.net.loop import OwnTasks
from pytinc.net.own_addresses import is_own
from pytinc.wire.virtual_ip import VirtualIP

_IFA_F_NODAD: Final = 0x02
_FOR_EVER: Final = 0xFFFF_FFFF


class Change(NamedTuple):
    """An address to add or to remove."""

    verb: str
    """``add`` or ``del``, as of pyroute2."""
    address: bytes
    prefix: int

    @property
    def text(self) -> str:
        """The address in words."""
        family = socket.AF_INET if len(self.address) == 4 else socket.AF_INET6
        return socket.inet_ntop(family, self.address)


class Done(NamedTuple):
    """What became of a change."""

    change: Change
    error: int
    """An errno, or 0."""


class ManagedAddresses:
    """The addresses that this daemon has put on its interface."""

    def __init__(self, loop: asyncio.AbstractEventLoop, interface: str, log: LogFunction) -> None:
        self._loop = loop
        self._interface = interface
        self._log = log
        self._tasks = OwnTasks(loop)
        self._task: asyncio.Task[None] | None = None
        self._wanted: dict[bytes, int] = {}
        """Prefix lengths of the addresses that should be there."""
        self._ours: dict[bytes, int] = {}
        """Those that we have added."""
        self._left_alone: set[bytes] = set()
        """Those that were there before us."""

    def set(self, virtual_ips: Sequence[VirtualIP]) -> None:
        """Have the managed ones of these addresses on the interface, and no others of ours, soon."""
        self._wanted = {vip.address: vip.prefix for vip in virtual_ips if vip.manage}
        if self._task is None and (self._wanted or self._ours):
            self._task = self._tasks.spawn("managed addresses", self._work())

    async def settled(self) -> None:
        """Wait until it is done."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _work(self) -> None:
        try:
            tried: dict[bytes, int] | None = None
            while tried is not self._wanted:
                tried = self._wanted
                self._left_alone.intersection_update(tried)
                changes = [
                    *(
                        Change("del", *entry)
                        for entry in self._ours.items()
                        if tried.get(entry[0]) != entry[1]
                    ),
                    *(Change("add", *entry) for entry in tried.items() if self._is_missing(*entry)),
                ]
                if changes:
                    # The thread ends with the work: one older than the sandbox would not be restricted.
                    with ThreadPoolExecutor(1) as thread:
                        work = self._loop.run_in_executor(thread, _carry_out, self._interface, changes)
                        for done in await work:
                            self._note(done)
        finally:
            self._task = None

    def _is_missing(self, address: bytes, prefix: int) -> bool:
        return self._ours.get(address) != prefix and address not in self._left_alone

    def _note(self, done: Done) -> None:
        change, error = done
        where = f"{change.text}/{change.prefix}"
        if change.verb == "del":
            self._ours.pop(change.address, None)
            # EADDRNOTAVAIL: somebody has removed it already.
            if error == 0:
                self._log(1, "info", f"Removed {where} from {self._interface}")
            elif error != errno.EADDRNOTAVAIL:
                self._log(0, "error", f"Cannot remove {where} from {self._interface}: {os.strerror(error)}")
        elif error == 0:
            self._ours[change.address] = change.prefix
            self._log(1, "info", f"Added {where} to {self._interface}")
        elif error == errno.EEXIST:
            self._left_alone.add(change.address)
            self._log(1, "info", f"{change.text} is on this host already and is left alone")
        else:
            self._log(0, "error", f"Cannot add {where} to {self._interface}: {os.strerror(error)}")


def _carry_out(interface: str, changes: Sequence[Change]) -> list[Done]:
    """Make the changes, in order. Runs in a thread."""
    from pyroute2 import IPRoute, NetlinkError

    def make(route: IPRoute, change: Change) -> int:
        if change.verb == "add" and is_own(change.address):
            return errno.EEXIST
        try:
            index = socket.if_nametoindex(interface)
        except OSError:
            return errno.ENODEV
        try:
            route.addr(
                change.verb, index=index, address=change.text, prefixlen=change.prefix, **_options(change)
            )
        except NetlinkError as error:
            return int(error.code)
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    try:
        with IPRoute() as route:
            return [Done(change, make(route, change)) for change in changes]
    except OSError as error:
        return [Done(change, error.errno or errno.EIO) for change in changes]


def _options(change: Change) -> dict[str, Any]:
    if change.verb == "del" or len(change.address) == 4:
        return {}
    return {"flags": _IFA_F_NODAD, "preferred_lft": 0, "valid_lft": _FOR_EVER}
