"""UDP: batches of datagrams in and out, with the kernel's segmentation offload where it is to be had.

The shell gives runs of datagrams for one destination and is told which size was refused. Whether a run
goes out in one call (UDP_SEGMENT, dataplane.md 12.2) or one by one is nobody else's business: the choice
is tried, and given up for good when the kernel or a device cannot do it.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

from pytinc.net.log import LogFunction, reason
from pytinc.net.sockets import Listener
from pytinc.wire.address import SockAddr
from pytinc.wire.datagram import MAX_PACKET_SIZE

MAX_BATCH: Final = 64
"""Datagrams read for one readiness event, as tinc does, so that nothing else starves."""
MAX_SEGMENTS: Final = 64
"""Datagrams in one call: what older kernels allow (UDP_MAX_SEGMENTS)."""
MAX_RUN_BYTES: Final = 65507
"""The largest UDP payload over IPv4, and so the most one call may carry."""

_UDP_SEGMENT: Final = 103
_SEGMENT_SIZE: Final = struct.Struct("H")
_GIVE_UP: Final = (errno.EIO, errno.EINVAL, errno.ENOPROTOOPT)
"""Errors that say "never again": a device without checksum offload, a kernel without the option."""
_LOST: Final = (errno.EAGAIN, errno.EINTR, errno.ENOBUFS)
"""Errors after which a datagram is lost without a word, as on any network."""

DatagramsReceived = Callable[[Sequence[bytes], Sequence[SockAddr], int], None]


class DatagramSocket(Protocol):
    """The part of `socket.socket` that is used here (a seam for tests)."""

    def fileno(self) -> int:
        """Return the descriptor."""

    def recvfrom(self, size: int, /) -> tuple[bytes, SockAddr]:
        """Receive one datagram."""

    def sendto(self, data: bytes, address: SockAddr, /) -> int:
        """Send one datagram."""

    def sendmsg(
        self,
        buffers: Sequence[bytes],
        ancdata: Sequence[tuple[int, int, bytes]],
        flags: int,
        address: SockAddr,
        /,
    ) -> int:
        """Send one datagram, or several with UDP_SEGMENT."""


class UdpSockets:
    """All UDP sockets of the node, addressed by the index of their listener."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sockets: Sequence[DatagramSocket],
        *,
        on_datagrams: DatagramsReceived,
        log: LogFunction,
        offload: bool = True,
    ) -> None:
        self._loop = loop
        self._sockets = sockets
        self._on_datagrams = on_datagrams
        self._log = log
        self._segments = offload
        """The kernel takes runs in one call, as far as is known."""

    @classmethod
    def of_listeners(
        cls,
        loop: asyncio.AbstractEventLoop,
        listeners: Sequence[Listener],
        *,
        on_datagrams: DatagramsReceived,
        log: LogFunction,
        offload: bool = True,
    ) -> UdpSockets:
        """Use the UDP sockets of the listeners."""
        sockets = [listener.udp for listener in listeners]
        return cls(loop, sockets, on_datagrams=on_datagrams, log=log, offload=offload)

    @property
    def segments(self) -> bool:
        """Whether runs still go out in one call."""
        return self._segments

    def start(self) -> None:
        """Begin to receive."""
        for index, source in enumerate(self._sockets):
            self._loop.add_reader(source.fileno(), self._readable, index)

    def stop(self) -> None:
        """Receive no more; the sockets stay open for sending."""
        for source in self._sockets:
            self._loop.remove_reader(source.fileno())

    def _readable(self, index: int) -> None:
        receive = self._sockets[index].recvfrom
        datagrams: list[bytes] = []
        addresses: list[SockAddr] = []
        try:
            for _ in range(MAX_BATCH):
                data, address = receive(MAX_PACKET_SIZE)
                datagrams.append(data)
                addresses.append(address)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._log(5, "info", f"Receiving packet failed: {reason(error)}")
        if datagrams:
            self._on_datagrams(datagrams, addresses, index)

    def send(self, index: int, address: SockAddr, datagram: bytes) -> bool:
        """Send one datagram. False: it is larger than the path takes (EMSGSIZE). Other losses are silent."""
        try:
            self._sockets[index].sendto(datagram, address)
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                return False
            self._report(address, error)
        return True

    def send_run(self, index: int, address: SockAddr, datagrams: Sequence[bytes]) -> int | None:
        """Send datagrams in order; return the size of the smallest one that was refused as too big."""
        refused: int | None = None
        for group in _groups(datagrams) if self._segments else ((datagram,) for datagram in datagrams):
            if len(group) > 1 and self._send_segments(index, address, group):
                continue
            for datagram in group:
                if not self.send(index, address, datagram):
                    refused = len(datagram) if refused is None else min(refused, len(datagram))
        return refused

    def _send_segments(self, index: int, address: SockAddr, group: Sequence[bytes]) -> bool:
        """Send datagrams of equal length (the last may be shorter) in one call. False: send them singly."""
        control = [(socket.IPPROTO_UDP, _UDP_SEGMENT, _SEGMENT_SIZE.pack(len(group[0])))]
        try:
            self._sockets[index].sendmsg(group, control, 0, address)
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                return False
            if error.errno in _GIVE_UP:
                self._segments = False
                self._log(1, "info", f"UDP segmentation offload is not available: {reason(error)}")
                return False
            self._report(address, error)
        return True

    def _report(self, address: SockAddr, error: OSError) -> None:
        if error.errno not in _LOST:
            self._log(
                5, "warning", f"Error sending packet to {address[0]} port {address[1]}: {reason(error)}"
            )


def _groups(datagrams: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Cut a run into pieces that UDP_SEGMENT takes: equal lengths, of which only the last may be shorter."""
    start, count = 0, len(datagrams)
    while start < count:
        size = len(datagrams[start])
        limit = min(count, start + min(MAX_SEGMENTS, max(MAX_RUN_BYTES // max(size, 1), 1)))
        end = start + 1
        while end < limit and len(datagrams[end]) == size:
            end += 1
        if end < limit and 0 < len(datagrams[end]) < size:
            end += 1
        yield datagrams[start:end]
        start = end
