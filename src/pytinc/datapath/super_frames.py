"""Super-frames that travel uncut between pytinc nodes (docs/protocol.md, `pytinc.wire.super_frame`).

Most of the cost of a fast TCP stream is to cut a super-frame of the host, seal each frame, open it and join
the frames again. A peer that announces support gets the super-frame itself: one record, spread over as many
datagrams as needed. A `SuperFrame` stands for one; all other code sees a run of frames, which is cut only
when its frames are needed. `Assembly` joins the pieces: when a piece does not continue the former ones, these
are forgotten and counted.

Importing this module loads numpy, as `pytinc.datapath.segment` does.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from pytinc.datapath.runs import IPV6_PAYLOAD, Bytes, DatagramRun, FrameRun, numbers
from pytinc.datapath.segment import Layout, cut, parse, segment_run
from pytinc.errors import DecodeError
from pytinc.protocol.sptps.datagram import DatagramSession
from pytinc.wire import ethernet, ip
from pytinc.wire.datagram import DATAGRAM_OVERHEAD, MTU_MAX, PREFIX_SIZE
from pytinc.wire.ip import TCP_ACK, TCP_CHECKSUM
from pytinc.wire.records import SEQNO_SIZE, TAG_SIZE
from pytinc.wire.super_frame import (
    HEAD,
    MAX_PIECES,
    MAX_SUPER_FRAME,
    ONE_CALL_BYTES,
    ONE_CALL_PIECES,
    PIECE_HEAD_SIZE,
    SUPER_FRAME_ID,
)
from pytinc.wire.virtio import GSO_ECN, GSO_TCPV4, GSO_TCPV6, HEADER, NEEDS_CSUM

MIN_MSS: Final = 256
"""Bytes of data in each frame. With fewer a peer could make us send many times what it sends."""
_TCP_KINDS: Final = (GSO_TCPV4, GSO_TCPV6)
_LONGEST_HEADERS: Final = 256
"""Bytes; more than the headers of a plain super-frame can have."""
_MAX_TAGS: Final = 2
_NEITHER_DATA: Final = 0x26
"""SYN, RST and URG: a segment with one of them is more than data."""
_NUMBER_END: Final = PREFIX_SIZE + SEQNO_SIZE
_NUMBERS: Final = 1 << 8 * SEQNO_SIZE
"""How many sequence numbers there are."""


class SuperFrame(FrameRun):
    """A super-frame of plain TCP, and at the same time the run of frames that it stands for."""

    __slots__ = ("_count", "_cut", "_layout", "_mss", "plain")

    is_data = True

    def __init__(self, plain: bytearray) -> None:
        """Parse the plaintext of a record: `HEAD` and frame. Raises `DecodeError` if it is invalid."""
        if not HEAD.size + ethernet.HEADER_SIZE <= len(plain) <= MAX_SUPER_FRAME:
            raise DecodeError("a super-frame of a strange length")
        self.plain = plain
        kind, mss, transport = HEAD.unpack_from(plain)
        if kind & ~GSO_ECN not in _TCP_KINDS:
            raise DecodeError("a super-frame that is not TCP")
        top = bytes(plain[HEAD.size : HEAD.size + _LONGEST_HEADERS])
        layout = parse(top, kind & ~GSO_ECN, transport, TCP_CHECKSUM)
        data = len(plain) - HEAD.size - layout.payload
        if not _is_plain(top, layout, len(plain) - HEAD.size) or not MIN_MSS <= mss < data:
            raise DecodeError("a super-frame with something special in it")
        self._layout: Layout = layout
        self._mss: int = mss
        self._count: int = -(-data // self._mss)
        self.size = layout.payload + mss
        self.last = layout.payload + data - (self._count - 1) * mss
        if self._count > MAX_PIECES or self.size > MTU_MAX:
            raise DecodeError("a super-frame for too many frames, or too long ones")
        self._cut: Bytes | None = None

    @property
    def frame(self) -> memoryview:
        """The super-frame, without virtio-net header."""
        return memoryview(self.plain)[HEAD.size :]

    @property
    def rows(self) -> Bytes:
        """The frames as `FrameRun.rows` has them, cut when they are asked for."""
        if self._cut is None:
            self._cut = cut(np.frombuffer(self.frame, np.uint8), self._layout, self._mss).rows
        return self._cut

    def __len__(self) -> int:
        return self._count

    @property
    def header(self) -> bytes:
        """The Ethernet header."""
        return bytes(self.plain[HEAD.size : HEAD.size + ethernet.HEADER_SIZE])

    @property
    def top(self) -> bytes:
        """The Ethernet header and the two bytes after it."""
        return bytes(self.plain[HEAD.size : HEAD.size + ethernet.HEADER_SIZE + 2])

    @property
    def head(self) -> bytes:
        """The first 54 bytes of the frame, or all of a shorter one."""
        return self.beginning(IPV6_PAYLOAD)

    def beginning(self, size: int) -> bytes:
        """Return the first ``size`` bytes of the frame, or all of a shorter one."""
        return bytes(self.plain[HEAD.size : HEAD.size + size])

    def set_destination(self, mac: bytes) -> None:
        """Send all frames to another MAC."""
        self.plain[HEAD.size : HEAD.size + len(mac)] = mac
        if self._cut is not None:
            super().set_destination(mac)

    def for_device(self) -> tuple[bytes, memoryview]:
        """Return virtio-net header and frame for a device that takes super-frames."""
        kind, mss, transport = HEAD.unpack_from(self.plain)
        return HEADER.pack(NEEDS_CSUM, kind, self._layout.payload, mss, transport, TCP_CHECKSUM), self.frame

    def in_pieces(self, session: DatagramSession, source: bytes, limit: int) -> DatagramRun | None:
        """Seal the super-frame, and return the datagrams that carry it.

        ``source`` is the own id, and ``limit`` the longest ordinary payload of a record that passes. None if
        that is too short, or the session cannot do it.
        """
        total = len(self.plain) + TAG_SIZE
        longest = limit + DATAGRAM_OVERHEAD - PIECE_HEAD_SIZE
        count = -(-total // max(longest, 1))
        if count > ONE_CALL_PIECES or count * PIECE_HEAD_SIZE + total > ONE_CALL_BYTES:
            return None
        # All of about one length: the last is as good as the others for what the path carries.
        part = -(-total // count)
        sealed = np.empty(count * part, np.uint8)
        first = session.seal_super_frame(self.plain, count, sealed.data[:total])
        if first is None:
            return None
        step = PIECE_HEAD_SIZE + part
        pieces = np.empty((count, step), np.uint8)
        pieces[:, :PREFIX_SIZE] = np.frombuffer(SUPER_FRAME_ID + source, np.uint8)
        pieces[:, PREFIX_SIZE:PIECE_HEAD_SIZE] = _places(first, 0, count, count)
        pieces[:, PIECE_HEAD_SIZE:] = sealed.reshape(count, part)
        return DatagramRun(pieces.reshape(-1).data[: count * PIECE_HEAD_SIZE + total], step)


def take(
    header: bytes | bytearray | memoryview, frame: bytes | bytearray | memoryview
) -> list[bytes] | FrameRun:
    """Return what the host gave as a super-frame if it is plain TCP, else as `segment_run` does.

    Raises `DecodeError` as that does.
    """
    flags, kind, _, mss, start, offset = HEADER.unpack(header)
    if flags & NEEDS_CSUM and kind & ~GSO_ECN in _TCP_KINDS and offset == TCP_CHECKSUM:
        plain = bytearray(HEAD.size + len(frame))
        HEAD.pack_into(plain, 0, kind, mss, start)
        plain[HEAD.size :] = frame
        try:
            return SuperFrame(plain)
        except DecodeError:
            pass
    return segment_run(header, frame)


def _is_plain(top: bytes, layout: Layout, size: int) -> bool:
    """Tell whether a super-frame is nothing but data of a TCP stream, with lengths that are right."""
    network, transport = layout.network, layout.transport
    if network > ethernet.HEADER_SIZE + _MAX_TAGS * ethernet.VLAN_TAG_SIZE:
        return False
    flags = top[transport + 13]
    if flags & _NEITHER_DATA or not flags & TCP_ACK:
        return False
    if layout.is_ipv4:
        length = int.from_bytes(top[network + 2 : network + 4], "big")
        is_fragment = top[network + 6] & 0xBF or top[network + 7]
        return transport == network + ip.IPV4_HEADER_SIZE and length == size - network and not is_fragment
    length = int.from_bytes(top[network + 4 : network + 6], "big")
    return transport == network + ip.IPV6_HEADER_SIZE and length == size - transport


class Sealed(NamedTuple):
    """A super-frame whose pieces are complete; `open` tells whether it is authentic."""

    number: int
    pieces: int
    record: memoryview

    def open(self, session: DatagramSession) -> SuperFrame | None:
        """Return the super-frame; None if the session rejects it. Raises `DecodeError` if it is none."""
        plain = session.open_super_frame(self.number, self.pieces, self.record)
        return None if plain is None else SuperFrame(plain)


class Assembly:
    """The pieces of one peer's super-frames, of which there is one at a time."""

    __slots__ = ("_lost", "_next", "_number", "_parts", "_pieces", "_size", "incomplete")

    def __init__(self) -> None:
        self._number = self._pieces = self._next = self._size = 0
        self._parts: list[memoryview] = []
        """What has come of the present one: pieces number 0 to ``_next`` - 1."""
        self._lost: int | None = None
        """Number of the last one that was given up."""
        self.incomplete = 0
        """Super-frames of which some pieces came and others did not, or not in order."""

    def add(self, datagrams: list[bytes] | DatagramRun) -> list[Sealed]:
        """Take datagrams that are pieces by their id; return the super-frames that they complete.

        Nothing in what is returned lies in the buffer of a run.
        """
        if isinstance(datagrams, DatagramRun):
            complete = self._add_run(datagrams)
            if complete is not None:
                return complete
            datagrams = datagrams.datagrams()
        complete = []
        for datagram in datagrams:
            if len(datagram) > PIECE_HEAD_SIZE:
                index, pieces = datagram[_NUMBER_END], datagram[_NUMBER_END + 1]
                number = int.from_bytes(datagram[PREFIX_SIZE:_NUMBER_END], "big") - index
                complete += self._add(number, index, 1, pieces, memoryview(datagram)[PIECE_HEAD_SIZE:])
        return complete

    def _add_run(self, run: DatagramRun) -> list[Sealed] | None:
        """Take a run of pieces that follow each other; None if they do not."""
        data, step, count = run.data, run.step, len(run)
        if step <= PIECE_HEAD_SIZE or len(data) - (count - 1) * step <= PIECE_HEAD_SIZE:
            return None
        index, pieces = data[_NUMBER_END], data[_NUMBER_END + 1]
        number = int.from_bytes(data[PREFIX_SIZE:_NUMBER_END], "big") - index
        if number < 0 or index + count > pieces or number + pieces > _NUMBERS:
            return None
        if run.column(PREFIX_SIZE, PIECE_HEAD_SIZE) != _places(number, index, count, pieces).tobytes():
            return None
        full = len(data) // step
        rows: Bytes = np.frombuffer(data, np.uint8, full * step).reshape(full, step)
        part = np.empty(len(data) - count * PIECE_HEAD_SIZE, np.uint8)
        end = full * (step - PIECE_HEAD_SIZE)
        part[:end].reshape(full, step - PIECE_HEAD_SIZE)[:] = rows[:, PIECE_HEAD_SIZE:]
        if full < count:
            part[end:] = np.frombuffer(data, np.uint8, -1, full * step + PIECE_HEAD_SIZE)
        return self._add(number, index, count, pieces, part.data)

    def _add(self, number: int, index: int, count: int, pieces: int, part: memoryview) -> list[Sealed]:
        """Take consecutive pieces, the first of which has this index; return what they complete."""
        if index == 0 and number >= 0:
            self._lose_present()
            self._number, self._pieces, self._next, self._size = number, pieces, 0, 0
        elif not self._parts or (number, index, pieces) != (self._number, self._next, self._pieces):
            self._lose_present()
            self._lose(number)
            return []
        self._parts.append(part)
        self._next += count
        self._size += len(part)
        if self._next > pieces or self._size > MAX_SUPER_FRAME + TAG_SIZE:
            self._lose_present()
        elif self._next == pieces:
            parts, self._parts = self._parts, []
            record = parts[0] if len(parts) == 1 else memoryview(b"".join(parts))
            return [Sealed(number, pieces, record)]
        return []

    def _lose_present(self) -> None:
        if self._parts:
            self._parts = []
            self._lose(self._number)

    def _lose(self, number: int) -> None:
        """Count a super-frame that will never be complete, once."""
        if number != self._lost:
            self._lost = number
            self.incomplete += 1


def _places(number: int, index: int, count: int, pieces: int) -> Bytes:
    """Return number, index and count of consecutive pieces as they stand in datagrams, a row for each."""
    places = np.empty((count, PIECE_HEAD_SIZE - PREFIX_SIZE), np.uint8)
    counted = numbers(number + index, count)
    places[:, :SEQNO_SIZE] = np.frombuffer(counted, np.uint8).reshape(count, SEQNO_SIZE)
    places[:, SEQNO_SIZE] = np.arange(index, index + count)
    places[:, SEQNO_SIZE + 1] = pieces
    return places
