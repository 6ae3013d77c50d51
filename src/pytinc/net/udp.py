"""UDP: batches of datagrams in and out, with the kernel's offloads if they are available.

The shell passes datagrams for one address and learns which size was refused. Only this module decides whether
a group of them goes out in one call (UDP_SEGMENT; docs/protocol-data.md, "UDP segmentation") or one by one:
it tries the former, and gives it up for good when the kernel or a device cannot do it. In the other direction
the kernel joins datagrams of one peer (UDP_GRO), and this module splits them.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from pytinc.net.batch import Pace
from pytinc.net.log import LogFunction, reason
from pytinc.net.sockets import Listener
from pytinc.wire.address import SockAddr

if TYPE_CHECKING:
    from pytinc.datapath.runs import DatagramRun

MAX_BATCH: Final = 64
"""Reading stops after this many datagrams per readiness event (as in tinc), so that nothing else starves. The
last call may return a whole run."""
MAX_SEGMENTS: Final = 64
"""Datagrams in one call: the limit of older kernels (UDP_MAX_SEGMENTS)."""
MAX_RUN_BYTES: Final = 65507
"""The largest UDP payload over IPv4, and so the most that one call can carry."""

RECEIVE_SIZE: Final = 65535
"""No datagram or run is longer."""

_UDP_SEGMENT: Final = 103
_UDP_GRO: Final = 104
_RUN_STEP: Final = struct.Struct("i")
_CONTROL_SIZE: Final = socket.CMSG_SPACE(_RUN_STEP.size)
_SEGMENT_SIZE: Final = struct.Struct("H")
_TYPE_OF_SERVICE: Final = (socket.IPPROTO_IP, socket.IP_TOS)
_TRAFFIC_CLASS: Final = (socket.IPPROTO_IPV6, socket.IPV6_TCLASS)
_MARK: Final = struct.Struct("i")
_GIVE_UP: Final = (errno.EIO, errno.EINVAL, errno.ENOPROTOOPT)
"""Errors that mean "never again" if single datagrams pass: a device without checksum offload, a kernel
without the option."""
_LOST: Final = (errno.EAGAIN, errno.EINTR, errno.ENOBUFS)
"""Errors after which a datagram is lost silently, as on any network."""

DatagramsReceived = Callable[[Sequence[bytes], Sequence[SockAddr], int], None]
RunReceived = Callable[["DatagramRun", SockAddr, int], None]
"""A function that handles a run; it must not keep the run's buffer."""


LoneReceived = Callable[[bytes, SockAddr, int], bool]
"""A function that is offered a datagram that arrived alone, and tells whether it has taken it."""


class DatagramSocket(Protocol):
    """The part of `socket.socket` that is used here (tests replace it)."""

    def fileno(self) -> int:
        """Return the descriptor."""

    def setsockopt(self, level: int, option: int, value: int, /) -> None:
        """Set an option (UDP_GRO)."""

    def recvmsg_into(
        self, buffers: Sequence[bytearray], ancbufsize: int, /
    ) -> tuple[int, list[tuple[int, int, bytes]], int, SockAddr]:
        """Receive one datagram, or with UDP_GRO several of one size; the control message tells the size."""

    def sendto(self, data: bytes, address: SockAddr, /) -> int:
        """Send one datagram."""

    def sendmsg(
        self,
        buffers: Sequence[bytes | memoryview],
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
        on_run: RunReceived,
        on_lone: LoneReceived,
        log: LogFunction,
        offload: bool = True,
    ) -> None:
        self._loop = loop
        self._sockets = sockets
        self._paces = [Pace() for _ in sockets]
        self._on_datagrams = on_datagrams
        self._on_run = on_run
        self._on_lone = on_lone
        self._log = log
        self._segments = offload
        """The kernel accepts a group of datagrams in one call, as far as is known."""
        self._joins = offload and all(map(_ask_for_runs, sockets))
        """The kernel returns a run of datagrams in one call."""
        self._run, self._min_run = _load_runs() if self._joins else (None, sys.maxsize)
        self._buffer = bytearray(RECEIVE_SIZE)
        self._buffers, self._view = (self._buffer,), memoryview(self._buffer)
        self.mark = 0
        """TOS byte or traffic class of the next datagrams; 0: the system's default."""

    @classmethod
    def of_listeners(
        cls,
        loop: asyncio.AbstractEventLoop,
        listeners: Sequence[Listener],
        *,
        on_datagrams: DatagramsReceived,
        on_run: RunReceived,
        on_lone: LoneReceived,
        log: LogFunction,
        offload: bool = True,
    ) -> UdpSockets:
        """Use the UDP sockets of the listeners."""
        return cls(
            loop,
            [listener.udp for listener in listeners],
            on_datagrams=on_datagrams,
            on_run=on_run,
            on_lone=on_lone,
            log=log,
            offload=offload,
        )

    @property
    def segments(self) -> bool:
        """Whether groups of datagrams still go out in one call."""
        return self._segments

    @property
    def offloads(self) -> tuple[str, ...]:
        """The offloads in use: GSO until the kernel has refused it, GRO."""
        return ("GSO",) * self._segments + ("GRO",) * self._joins

    def start(self) -> None:
        """Start to receive."""
        for index, source in enumerate(self._sockets):
            self._loop.add_reader(source.fileno(), self._readable, index)

    def stop(self) -> None:
        """Stop receiving; the sockets stay open for sending."""
        for source in self._sockets:
            self._loop.remove_reader(source.fileno())

    def _readable(self, index: int) -> None:
        pace = self._paces[index]
        if not pace.lone:
            self._read_batch(index, pace)
            return
        # HOT PATH: the sender waits for the answer.
        try:
            size, control, _, address = self._sockets[index].recvmsg_into(self._buffers, _CONTROL_SIZE)
        except OSError as error:
            self._receiving_failed(error)
            return
        if not control:
            pace.note(1)
            datagram = bytes(self._view[:size])
            if not self._on_lone(datagram, address, index):
                self._on_datagrams((datagram,), (address,), index)
            return
        pace.lone = 0
        datagrams = self._take_run(size, _run_step(control), address, index)
        if datagrams:
            self._on_datagrams(datagrams, [address] * len(datagrams), index)

    def _read_batch(self, index: int, pace: Pace) -> None:
        receive, buffers, view = self._sockets[index].recvmsg_into, self._buffers, self._view
        datagrams: list[bytes] = []
        addresses: list[SockAddr] = []
        left = MAX_BATCH
        try:
            while left > 0:
                size, control, _, address = receive(buffers, _CONTROL_SIZE)
                step = _run_step(control) if control else 0
                if not 0 < step < size:
                    datagrams.append(bytes(view[:size]))
                    addresses.append(address)
                    left -= 1
                    continue
                count = -(-size // step)
                left -= count
                if datagrams and count >= self._min_run:
                    self._on_datagrams(datagrams, addresses, index)
                    datagrams, addresses = [], []
                pieces = self._take_run(size, step, address, index)
                datagrams += pieces
                addresses += [address] * len(pieces)
        except OSError as error:
            self._receiving_failed(error)
        pace.note(MAX_BATCH - left)
        if len(datagrams) == 1 and self._on_lone(datagrams[0], addresses[0], index):
            return
        if datagrams:
            self._on_datagrams(datagrams, addresses, index)

    def _take_run(self, size: int, step: int, address: SockAddr, index: int) -> list[bytes]:
        """Handle the run in the buffer if it is long enough; return the datagrams still to be handled."""
        view, make_run = self._view, self._run
        if make_run is not None and step and -(-size // step) >= self._min_run:
            self._on_run(make_run(view[:size], step), address, index)
            return []
        return [bytes(view[at : min(at + step, size)]) for at in range(0, size, step or RECEIVE_SIZE)]

    def _receiving_failed(self, error: OSError) -> None:
        if not isinstance(error, BlockingIOError | InterruptedError):
            self._log(5, "info", f"Receiving packet failed: {reason(error)}")

    def send(self, index: int, address: SockAddr, datagram: bytes) -> bool:
        """Send one datagram. False: it is too large for the path (EMSGSIZE). Other losses are silent."""
        try:
            self._sockets[index].sendto(datagram, address)
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                return False
            self._report(address, error)
        return True

    def _send_single(self, index: int, address: SockAddr, datagram: bytes) -> bool:
        """Send one datagram as `send` does, with the mark."""
        if not self.mark:
            return self.send(index, address, datagram)
        try:
            self._sockets[index].sendmsg((datagram,), (self._mark_control(address),), 0, address)
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                return False
            self._report(address, error)
        return True

    def _mark_control(self, address: SockAddr) -> tuple[int, int, bytes]:
        kind = _TRAFFIC_CLASS if len(address) == 4 else _TYPE_OF_SERVICE
        return (*kind, _MARK.pack(self.mark))

    def send_batch(self, index: int, address: SockAddr, datagrams: list[bytes] | DatagramRun) -> int | None:
        """Send datagrams in order; return the size of the smallest one that was refused as too big."""
        if not isinstance(datagrams, list):
            return self._send_whole(index, address, datagrams)
        if len(datagrams) == 1:
            return self._send_each(index, address, datagrams)
        refused: int | None = None
        for group in _groups(datagrams) if self._segments else ((datagram,) for datagram in datagrams):
            refused = _smaller(refused, self._send_group(index, address, group, len(group[0])))
        return refused

    def _send_whole(self, index: int, address: SockAddr, run: DatagramRun) -> int | None:
        """Send datagrams that lie in one buffer."""
        refused: int | None = None
        for part in run.parts(_most_segments(run.step)):
            if not self._segments:
                refused = _smaller(refused, self._send_each(index, address, part.datagrams()))
                continue
            error = self._send_segments(index, address, (part.data,), part.step)
            if error is not None:
                refused = _smaller(refused, self._send_after(error, index, address, part.datagrams()))
        return refused

    def _send_group(self, index: int, address: SockAddr, group: Sequence[bytes], size: int) -> int | None:
        """Send datagrams of ``size``, of which the last may be shorter."""
        if len(group) == 1:
            return self._send_each(index, address, group)
        error = self._send_segments(index, address, group, size)
        return None if error is None else self._send_after(error, index, address, group)

    def _send_after(
        self, error: OSError, index: int, address: SockAddr, datagrams: Sequence[bytes]
    ) -> int | None:
        """Send singly the datagrams that were refused in one call, and find out whether GSO works at all.

        Kernels before 2025 report EINVAL for a path with a small MTU, too; there single datagrams are refused
        as well.
        """
        refused = self._send_each(index, address, datagrams)
        if refused is None and error.errno in _GIVE_UP and self._segments:
            self._segments = False
            self._log(1, "info", f"UDP segmentation offload is not available: {reason(error)}")
        return refused

    def _send_each(self, index: int, address: SockAddr, datagrams: Sequence[bytes]) -> int | None:
        refused: int | None = None
        for datagram in datagrams:
            if not self._send_single(index, address, datagram):
                refused = _smaller(refused, len(datagram))
        return refused

    def _send_segments(
        self, index: int, address: SockAddr, buffers: Sequence[bytes | memoryview], size: int
    ) -> OSError | None:
        """Send datagrams of ``size`` (the last may be shorter) in one call; return why they must go singly.

        None: they were sent, or lost as single ones would be.
        """
        control = [(socket.IPPROTO_UDP, _UDP_SEGMENT, _SEGMENT_SIZE.pack(size))]
        if self.mark:
            control.append(self._mark_control(address))
        try:
            self._sockets[index].sendmsg(buffers, control, 0, address)
        except OSError as error:
            if error.errno == errno.EMSGSIZE or error.errno in _GIVE_UP:
                return error
            self._report(address, error)
        return None

    def _report(self, address: SockAddr, error: OSError) -> None:
        if error.errno not in _LOST:
            self._log(
                5, "warning", f"Error sending packet to {address[0]} port {address[1]}: {reason(error)}"
            )


def _ask_for_runs(source: DatagramSocket) -> bool:
    """Ask the kernel to return runs of equal datagrams in one call; False if it cannot."""
    try:
        source.setsockopt(socket.IPPROTO_UDP, _UDP_GRO, 1)
    except OSError:
        return False
    return True


def _run_step(control: Sequence[tuple[int, int, bytes]]) -> int:
    """Return the length of the datagrams in a run (the last may be shorter); 0 if it is a single one."""
    for level, kind, data in control:
        if (level, kind) == (socket.IPPROTO_UDP, _UDP_GRO) and len(data) >= _RUN_STEP.size:
            return int(_RUN_STEP.unpack_from(data)[0])
    return 0


def _load_runs() -> tuple[Callable[[memoryview, int], DatagramRun] | None, int]:
    """Return the function that makes a run, and the least number of datagrams for it; None without numpy."""
    try:
        from pytinc.datapath.runs import MIN_RUN, DatagramRun
    except ImportError:
        return None, sys.maxsize
    return DatagramRun, MIN_RUN


def _smaller(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else min(one, other)


def _most_segments(size: int) -> int:
    """Return how many datagrams of ``size`` one call may carry."""
    return min(MAX_SEGMENTS, max(MAX_RUN_BYTES // max(size, 1), 1))


def _groups(datagrams: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Cut a batch into groups for UDP_SEGMENT: all of the same length, only the last may be shorter."""
    start, count = 0, len(datagrams)
    while start < count:
        size = len(datagrams[start])
        limit = min(count, start + _most_segments(size))
        end = start + 1
        while end < limit and len(datagrams[end]) == size:
            end += 1
        if end < limit and 0 < len(datagrams[end]) < size:
            end += 1
        yield datagrams[start:end]
        start = end
