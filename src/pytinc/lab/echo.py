"""ICMP echoes between lab hosts, sent by this process: whether traffic flows, with any patience.

The program ``ping`` cannot tell on a busy machine: once there was an answer, it waits for the others no
longer than its interval or twice the slowest round trip, whatever its option ``-W`` says. Its times are
better than ours, so ``lab.traffic`` still measures with it.
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
"""A round is repeated when an answer takes longer than this, see ``wait_steady``."""

_HEADER: Final = struct.Struct("!BBHHH")
_MARK: Final = struct.Struct("!8sQ")
"""Starts the payload: whose echo it is, and its number."""
MIN_SIZE: Final = _MARK.size
_REQUEST: Final = {4: 8, 6: 128}
_REPLY: Final = {4: 0, 6: 129}
_LONGEST: Final = 65535


@dataclass(slots=True)
class EchoReport:
    """What became of echo requests, by their numbers, from 1: when each was sent and first answered.

    Times are those of the monotonic clock. ``duplicates`` is the number of answers that came again.
    """

    sent_at: dict[int, float] = field(default_factory=dict)
    answered_at: dict[int, float] = field(default_factory=dict)
    duplicates: int = 0

    @property
    def sent(self) -> int:
        """How many went out."""
        return len(self.sent_at)

    @property
    def received(self) -> int:
        """How many were answered."""
        return len(self.answered_at)

    @property
    def lost(self) -> int:
        """How many got no answer."""
        return self.sent - self.received

    @property
    def slowest_s(self) -> float:
        """The longest time that an answer took; 0 without answers."""
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
    """Send ``count`` echo requests, one each ``interval`` seconds, and return what became of them.

    ``size`` is the length of the payload in bytes, `MIN_SIZE` at least. The end is when all but ``may_lose``
    are answered, or ``wait`` seconds after the last one was sent. No more are sent once ``enough`` is set. A
    request that the kernel refuses to send counts as lost. Raises LabError when the host is gone.
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
    """Whether one ping is answered."""
    return ping(host, address, wait=wait).received == 1


def wait_steady(
    host: Host, address: str, count: int = 5, *, interval: float = 0.05, size: int = 56
) -> EchoReport:
    """Wait until ``count`` pings in a row are all answered; LabError after `PATIENCE_S`."""
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
        # Without a way there, or without room, it is lost as if it had vanished on the way.
        with contextlib.suppress(OSError):
            self._socket.sendto(packet, (self._address, 0))

    def _request(self, number: int) -> bytes:
        identifier = int.from_bytes(self._owner[:2], "big")
        rest = _MARK.pack(self._owner, number) + self._filling

        def packet(summed: int) -> bytes:
            return _HEADER.pack(_REQUEST[self._version], 0, summed, identifier, number & 0xFFFF) + rest

        # The kernel sums up ICMPv6 itself.
        return packet(checksum(packet(0) + bytes(len(rest) % 2)) if self._version == 4 else 0)

    def receive(self, timeout: float) -> None:
        """Take the answers that are there, or wait until there is something."""
        if not select.select([self._socket], [], [], timeout)[0]:
            return
        try:
            while True:
                packet = self._socket.recv(_LONGEST)
                self._take(packet, time.monotonic())
        except OSError:
            return  # BlockingIOError, or the network's word that an address is out of reach

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
