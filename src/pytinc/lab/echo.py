"""ICMP echoes between lab hosts, sent by this process, to check whether traffic flows.

The program ``ping`` is too impatient for that on a busy machine: after the first answer it waits for the
others no longer than its interval or twice the slowest round trip, whatever its option ``-W`` says. Its times
are more exact than ours, so ``lab.traffic`` measures round trips with it.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from typing import Final

from pytinc.lab.namespaces import Host
from pytinc.lab.node import PATIENCE_S, wait_until
from pytinc.lab.probe import checksum

LATE_S: Final = 5.0
"""`wait_steady` repeats a round of pings if an answer takes longer than this."""

_HEADER: Final = struct.Struct("!BBHHH")
_MARK: Final = struct.Struct("!8sQ")
"""The start of the payload: a mark of the `ping` that sent the echo, and the echo's number."""
MIN_SIZE: Final = _MARK.size
_REQUEST: Final = {4: 8, 6: 128}
_REPLY: Final = {4: 0, 6: 129}
_LONGEST: Final = 65535


@dataclass(slots=True)
class EchoReport:
    """The result of a `ping`: when each echo request was sent and first answered, by its number, from 1.

    Times are those of the monotonic clock. ``duplicates`` counts the answers that came more than once.
    """

    sent_at: dict[int, float] = field(default_factory=dict)
    answered_at: dict[int, float] = field(default_factory=dict)
    duplicates: int = 0

    @property
    def sent(self) -> int:
        """How many requests were sent."""
        return len(self.sent_at)

    @property
    def received(self) -> int:
        """How many requests were answered."""
        return len(self.answered_at)

    @property
    def lost(self) -> int:
        """How many requests got no answer."""
        return self.sent - self.received

    @property
    def slowest_s(self) -> float:
        """The longest time in seconds that an answer took; 0 without answers."""
        return max((when - self.sent_at[number] for number, when in self.answered_at.items()), default=0.0)


def ping(
    host: Host,
    address: str,
    count: int = 1,
    *,
    interval: float = 0.2,
    wait: float = PATIENCE_S,
    size: int = 56,
    may_lose: int = 0,
    enough: threading.Event | None = None,
) -> EchoReport:
    """Send ``count`` echo requests, one every ``interval`` seconds, and return what was sent and answered.

    ``size`` is the length of the payload in bytes, at least `MIN_SIZE`. The call returns when all but
    ``may_lose`` requests are answered, or ``wait`` seconds after the last one. Once ``enough`` is set, no
    more are sent. A request that the kernel refuses to send counts as lost. Raises LabError if the host is
    gone.
    """
    version = 6 if ":" in address else 4
    with host.open_socket(lambda: _open(version)) as opened:
        echoes = _Echoes(opened, version, address, size)
        due = time.monotonic()
        while echoes.report.sent < count and not (enough is not None and enough.is_set()):
            if (left := due - time.monotonic()) <= 0:
                echoes.send()
                due = time.monotonic() + interval
            else:
                echoes.receive(left)
        end = time.monotonic() + wait
        while echoes.report.lost > may_lose and (left := end - time.monotonic()) > 0:
            echoes.receive(left)
        return echoes.report


def answers(host: Host, address: str, *, wait: float = 1.0) -> bool:
    """Send one ping, and return whether it is answered within ``wait`` seconds."""
    return ping(host, address, wait=wait).received == 1


def wait_steady(
    host: Host, address: str, count: int = 5, *, interval: float = 0.05, size: int = 56
) -> EchoReport:
    """Wait until ``count`` pings in a row are all answered. Raises LabError after `PATIENCE_S`."""
    reports: list[EchoReport] = []

    def steady() -> bool:
        if ping(host, address, wait=1, size=size).lost:
            return False
        reports.append(ping(host, address, count, interval=interval, wait=LATE_S, size=size))
        return reports[-1].lost == 0

    wait_until(steady, PATIENCE_S, f"{count} pings of {size} bytes to {address} are answered")
    return reports[-1]


def _open(version: int) -> socket.socket:
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    protocol = socket.IPPROTO_ICMPV6 if version == 6 else socket.IPPROTO_ICMP
    return socket.socket(family, socket.SOCK_RAW, protocol)


class _Echoes:
    """The requests of one `ping`, and the answers to them."""

    def __init__(self, opened: socket.socket, version: int, address: str, size: int) -> None:
        opened.setblocking(False)
        self._socket = opened
        self._version = version
        self._address = address
        self._filling = bytes(size - _MARK.size)
        self._owner = os.urandom(8)
        self.report = EchoReport()

    def send(self) -> None:
        number = self.report.sent + 1
        packet = self._request(number)
        self.report.sent_at[number] = time.monotonic()
        # Without a route or room in the buffer, the request counts as lost, like one that is lost on its way.
        with contextlib.suppress(OSError):
            self._socket.sendto(packet, (self._address, 0))

    def _request(self, number: int) -> bytes:
        identifier = int.from_bytes(self._owner[:2], "big")
        rest = _MARK.pack(self._owner, number) + self._filling

        def packet(summed: int) -> bytes:
            return _HEADER.pack(_REQUEST[self._version], 0, summed, identifier, number & 0xFFFF) + rest

        # The kernel computes the checksum of ICMPv6 itself.
        return packet(checksum(packet(0) + bytes(len(rest) % 2)) if self._version == 4 else 0)

    def receive(self, timeout: float) -> None:
        """Take all answers that have come; if there are none, wait up to ``timeout`` seconds for some."""
        if not select.select([self._socket], [], [], timeout)[0]:
            return
        try:
            while True:
                packet = self._socket.recv(_LONGEST)
                self._take(packet, time.monotonic())
        except OSError:
            return  # BlockingIOError, or an ICMP error says that the address is unreachable

    def _take(self, packet: bytes, now: float) -> None:
        # A raw socket hands over an IPv4 packet with its header, and an ICMPv6 message without one.
        start = (packet[0] & 0xF) * 4 if self._version == 4 else 0
        body = start + _HEADER.size
        if len(packet) < body + _MARK.size or packet[start] != _REPLY[self._version]:
            return
        owner, number = _MARK.unpack_from(packet, body)
        if owner != self._owner:
            return
        if number in self.report.answered_at:
            self.report.duplicates += 1
        else:
            self.report.answered_at[number] = now
