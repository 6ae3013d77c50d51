"""Runs: many frames, or many datagrams, of one length in one buffer.

A host's TCP stream comes from the device as super-frames, and a pytinc node's data arrive as runs of equal
datagrams. If all frames take the same path, each one is only sealed or opened: every other step is one
operation for the whole run. `FrameRun` stands for frames that share their Ethernet header, `DatagramRun` for
datagrams of one peer. Where each frame needs its own step, `frames` and `datagrams` return them one by one;
the data path does the same either way (tests/datapath/test_runs.py).

Importing this module loads numpy, as `pytinc.datapath.segment` does: only code that makes runs imports it.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from pytinc.crypto.aead import ROOM_BEFORE_PLAIN, ROOM_BEFORE_SEALED, Rows
from pytinc.protocol.sptps.datagram import DatagramSession
from pytinc.wire.datagram import DATAGRAM_OVERHEAD, MTU_MAX, PREFIX_SIZE
from pytinc.wire.ethernet import HEADER_SIZE, IPV4, IPV6
from pytinc.wire.ip import (
    IPV4_HEADER_SIZE,
    IPV6_HEADER_SIZE,
    PLAIN_IPV4,
    PROTOCOL_ICMPV6,
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    TCP_NOT_IN_THE_MIDDLE,
    TCP_SYN,
)
from pytinc.wire.records import SEQNO_SIZE

LEAD: Final = ROOM_BEFORE_PLAIN + 2
"""Bytes before each frame: zeros for the cipher, and the type of the record. IP and TCP headers come to
lie on 32 bits."""
IPV6_PAYLOAD: Final = HEADER_SIZE + IPV6_HEADER_SIZE
MIN_RUN: Final = 8
"""Fewer frames or datagrams are treated one by one, which costs less (benchmarks/micro_offload.py)."""

_HEAD_SIZE: Final = PREFIX_SIZE + SEQNO_SIZE
"""What comes before a datagram's ciphertext."""
_SEQNO_END: Final = 1 << 8 * SEQNO_SIZE
_MAX_STEP: Final = DATAGRAM_OVERHEAD + MTU_MAX

Bytes = np.ndarray[Any, np.dtype[np.uint8]]

_PORTS: Final = 4
_TCP_FLAGS: Final = 13
_FLOW_FIELDS: Final = {
    IPV4: LEAD + np.array([23, 14, 20, 21, *range(26, 38)]),
    IPV6: LEAD + np.array([20, 14, *range(22, 58)]),
}
"""The slice of a row that identifies the flow of a plain frame, by EtherType: protocol first, ports last."""


class FrameRun:
    """Frames with the same Ethernet header and of one length; the last may be shorter."""

    __slots__ = ("_rows", "last", "size")

    is_data = False
    """It is known that there is no SYN among them."""

    def __init__(self, rows: Bytes, size: int, last: int) -> None:
        self._rows = rows
        self.size = size
        self.last = last
        """Length of the last frame."""

    @property
    def rows(self) -> Bytes:
        """A row for each frame: `LEAD` bytes, of which all but the last two are zero, the frame, and zeros up
        to the next 32 bits. All in one piece of memory."""
        return self._rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def total(self) -> int:
        """Sum of the frames' lengths."""
        return self.size * (len(self) - 1) + self.last

    @property
    def header(self) -> bytes:
        """The Ethernet header."""
        return self.rows[0, LEAD : LEAD + HEADER_SIZE].tobytes()

    def frames(self) -> list[bytes]:
        """Return the frames one by one."""
        rows = self.rows
        # All rows become bytes in one call, which takes a third of the time of slicing.
        frames: list[bytes] = np.ndarray((len(rows),), f"V{self.size}", rows, LEAD, (rows.shape[1],)).tolist()
        if self.last < self.size:
            frames[-1] = frames[-1][: self.last]
        return frames

    @property
    def top(self) -> bytes:
        """The Ethernet header and the two bytes after it, which tell the class of an IP packet."""
        return self.rows[0, LEAD : LEAD + min(self.size, HEADER_SIZE + 2)].tobytes()

    @property
    def head(self) -> bytes:
        """The first 54 bytes of the first frame, or all of a shorter one: Ethernet and IP header."""
        return self.beginning(IPV6_PAYLOAD)

    def beginning(self, size: int) -> bytes:
        """Return the first ``size`` bytes of the first frame, or all of a shorter one."""
        return self.rows[0, LEAD : LEAD + min(self.size, size)].tobytes()

    def set_destination(self, mac: bytes) -> None:
        """Send all frames to another MAC."""
        self.rows[:, LEAD : LEAD + len(mac)] = np.frombuffer(mac, np.uint8)

    def is_one_flow(self) -> bool:
        """Tell whether the first frame stands for all: plain TCP or UDP between the same ports.

        For TCP, all frames are in the middle of a connection.
        """
        if self.is_data:
            return True
        fields = _FLOW_FIELDS.get(self.header[12:])
        if fields is None or LEAD + self.last <= fields[-1]:
            return False
        told = self.rows[:, fields].tobytes()
        if told != told[: len(fields)] * len(self):
            return False
        if told[0] != PROTOCOL_TCP:
            return True
        flags = int(fields[-_PORTS]) + _TCP_FLAGS
        return LEAD + self.last > flags and not (self.rows[:, flags] & TCP_NOT_IN_THE_MIDDLE).any()

    def all_have_the_first(self, field: slice) -> bool:
        """Tell whether all frames have the same bytes there as the first one."""
        if self.is_data:
            return True
        column = self.rows[:, LEAD + field.start : LEAD + field.stop]
        return bool((column == column[0]).all())

    def may_be_icmpv6(self) -> bool:
        """Tell whether any frame may be ICMPv6, neighbour discovery among it."""
        if self.is_data or self.size < IPV6_PAYLOAD or self.header[12:] != IPV6:
            return False
        return bool((self.rows[:, LEAD + HEADER_SIZE + 6] == PROTOCOL_ICMPV6).any())

    def may_have_syn(self) -> bool:
        """Tell whether any frame may be a TCP SYN, or hide one. Plain UDP and other TCP are told for sure."""
        rows, at, ethertype = self.rows, LEAD + HEADER_SIZE, self.header[12:]
        network = {IPV4: IPV4_HEADER_SIZE, IPV6: IPV6_HEADER_SIZE}.get(ethertype)
        if network is None or self.last <= (flags := HEADER_SIZE + network + 13):
            return True
        plain: Any = rows[:, at] == PLAIN_IPV4 if ethertype == IPV4 else True
        protocols = rows[:, at + (9 if ethertype == IPV4 else 6)]
        is_udp = protocols == PROTOCOL_UDP
        is_tcp = (protocols == PROTOCOL_TCP) & (rows[:, LEAD + flags] & TCP_SYN == 0)
        return not bool(((is_udp | is_tcp) & plain).all())

    def last_frame(self) -> bytes:
        """Return the last frame."""
        return self.rows[-1, LEAD : LEAD + self.last].tobytes()

    def without_last(self) -> FrameRun:
        """Return a run of all frames but the last."""
        return FrameRun(self.rows[:-1], self.size, self.size)

    def in_pieces(self, session: DatagramSession, source: bytes, limit: int) -> DatagramRun | None:
        """Seal all frames as one record in pieces; None: only a super-frame can be (`SuperFrame`)."""
        return None

    def seal(self, session: DatagramSession, prefix: bytes, type_: int) -> DatagramRun | None:
        """Seal the frames, as `DatagramSession.seal_batch` does; None if that cannot be done in one go."""
        if len(self) < MIN_RUN:
            return None
        rows = self.rows
        count, stride = rows.shape
        step = DATAGRAM_OVERHEAD + self.size
        ahead = ROOM_BEFORE_SEALED - _HEAD_SIZE
        sealed = np.empty(ahead + count * step, np.uint8)
        rows[:, LEAD - 1] = type_
        layout = Rows(
            records=count,
            size=1 + self.size,
            last=1 + self.last,
            plain=LEAD - 1,
            plain_step=stride,
            sealed=ROOM_BEFORE_SEALED,
            sealed_step=step,
        )
        first = session.seal_rows(rows.reshape(-1).data, sealed.data, layout)
        if first is None:
            return None
        heads = sealed[ahead:].reshape(count, step)
        heads[:, :PREFIX_SIZE] = np.frombuffer(prefix, np.uint8)
        counted = np.frombuffer(numbers(first, count), np.uint8)
        heads[:, PREFIX_SIZE:_HEAD_SIZE] = counted.reshape(count, SEQNO_SIZE)
        return DatagramRun(sealed.data[ahead : len(sealed) - (self.size - self.last)], step)


class DatagramRun:
    """Datagrams of one length, one after the other; the last may be shorter."""

    __slots__ = ("data", "step")

    def __init__(self, data: memoryview, step: int) -> None:
        self.data = data
        self.step = step
        """Length of each but the last; less than that of ``data``."""

    def __len__(self) -> int:
        return -(-len(self.data) // self.step)

    def datagrams(self) -> list[bytes]:
        """Return the datagrams one by one."""
        data, step = self.data, self.step
        return [bytes(data[at : at + step]) for at in range(0, len(data), step)]

    def parts(self, limit: int) -> list[DatagramRun]:
        """Return runs of about the same length, with at most ``limit`` datagrams each."""
        count = len(self)
        if count <= limit:
            return [self]
        size = -(-count // -(-count // limit)) * self.step
        return [DatagramRun(self.data[at : at + size], self.step) for at in range(0, len(self.data), size)]

    def copy(self) -> DatagramRun:
        """Return a run with a buffer of its own."""
        return DatagramRun(memoryview(bytes(self.data)), self.step)

    def prefix(self) -> bytes | None:
        """Return the ids that all datagrams begin with; None if they differ, or not all can have any."""
        data, step = self.data, self.step
        last = len(data) - (len(self) - 1) * step
        if not DATAGRAM_OVERHEAD + HEADER_SIZE <= last <= step <= _MAX_STEP:
            return None
        prefix = bytes(data[:PREFIX_SIZE])
        # Comparing bytes takes a third of the time of comparing arrays.
        return prefix if self.column(0, PREFIX_SIZE) == prefix * len(self) else None

    def split(self, low: int, high: int) -> tuple[list[bytes], list[bytes]]:
        """Return the datagrams whose numbers are at least ``low`` and less than ``high``, and the others.

        If there are no others, both lists are empty, and the run itself can be used.
        """
        data, step = self.data, self.step
        found = np.frombuffer(self.column(PREFIX_SIZE, _HEAD_SIZE), ">u4")
        inside = (found >= low) & (found < high)
        if inside.all():
            return [], []
        starts = np.arange(0, len(data), step)
        chosen, others = starts[inside].tolist(), starts[~inside].tolist()
        return [bytes(data[at : at + step]) for at in chosen], [bytes(data[at : at + step]) for at in others]

    def open(self, session: DatagramSession, type_: int) -> FrameRun | None:
        """Open datagrams that begin with the same ids, as `DatagramSession.open_batch` does.

        None, and nothing is changed, if they are not all authentic, numbered in order, new, of this type, and
        frames with one header.
        """
        data, step = self.data, self.step
        count = len(self)
        first = int.from_bytes(data[PREFIX_SIZE:_HEAD_SIZE], "big")
        if first + count > _SEQNO_END or self.column(PREFIX_SIZE, _HEAD_SIZE) != numbers(first, count):
            return None
        size = step - DATAGRAM_OVERHEAD
        last = len(data) - (count - 1) * step - DATAGRAM_OVERHEAD
        if last < HEADER_SIZE:
            return None
        rows = np.empty((count, LEAD + size + -(LEAD + size) % 4), np.uint8)
        rows[:, : LEAD - 1] = 0
        rows[:, LEAD + size :] = 0
        rows[-1, LEAD + last :] = 0
        layout = Rows(
            records=count,
            size=1 + size,
            last=1 + last,
            plain=LEAD - 1,
            plain_step=rows.shape[1],
            sealed=_HEAD_SIZE,
            sealed_step=step,
        )
        if not session.open_rows(first, data, rows.reshape(-1).data, layout):
            return None
        heads = rows[:, LEAD - 1 : LEAD + HEADER_SIZE].tobytes()
        top = heads[: 1 + HEADER_SIZE]
        if top[0] != type_ or heads != top * count:
            return None
        session.accept_rows(first, count)
        return FrameRun(rows, size, last)

    def column(self, start: int, end: int) -> bytes:
        """Return these bytes of every datagram, one after the other."""
        step = self.step
        column: Bytes = np.ndarray((len(self), end - start), np.uint8, self.data, start, (step, 1))
        return column.tobytes()


def numbers(first: int, count: int) -> bytes:
    """Return sequence numbers as they stand in records."""
    return np.arange(first, first + count, dtype=">u4").tobytes()
