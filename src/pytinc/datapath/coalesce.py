"""Consecutive TCP frames of one flow, joined into super-frames for the host (the opposite of `segment`).

A peer's frames leave for the TAP device in batches. Where its kernel takes super-frames, one write of up to
64 KiB costs little more than the write of one frame, and the host's TCP sees one large packet. `net.tap`
calls `coalesce` for every batch. A chain (frames of which each continues the one before) ends with the batch:
nothing waits for more.

Frames are joined only if the result can be cut into exactly the same frames again. So checksums are verified
first, and unusual frames are passed on singly, as they came. `datapath.coalesce_reference` does the same one
frame at a time.

Importing this module loads numpy, as `pytinc.datapath.segment` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from sys import byteorder
from typing import Any, Final, NamedTuple

import numpy as np
from numpy import count_nonzero

from pytinc.datapath.runs import LEAD, Bytes, FrameRun
from pytinc.datapath.super_frames import SuperFrame
from pytinc.wire import ethernet, ip
from pytinc.wire.ip import TCP_ACK, TCP_CHECKSUM, TCP_ECE, TCP_PSH
from pytinc.wire.virtio import GSO_TCPV4, GSO_TCPV6, HEADER, NEEDS_CSUM, NULL_HEADER

MIN_SIZE: Final = 200
"""Bytes; smaller frames are not examined: acknowledgements carry no data to join."""
MIN_CHAIN: Final = 6
"""Frames; joining fewer costs more than writing them one by one (benchmarks/micro_offload.py)."""
MAX_IP_SIZE: Final = 65535
"""The largest length in an IPv4 header; the same limit applies to IPv6. Longer frames are not examined
either."""

MAX_TAGS: Final = 2
"""VLAN tags before the IP header: 802.1Q, or 802.1ad with one more inside."""

_LEAD: Final = 2
"""Bytes before each frame in the matrix: they align the headers behind Ethernet's 14 bytes to 32 bits."""
_NO_CHECKSUM: Final = 0xFFFF
"""Means the same as zero, which is what cutting gives: a frame with it would not come out the same again."""

Write = tuple[bytes, "bytes | memoryview"]
"""What one call of writev takes: a virtio-net header and a frame."""
Words = np.ndarray[Any, np.dtype[np.uint32]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]


class _Layout(NamedTuple):
    """The offsets of the headers in frames of one layout."""

    network: int
    is_ipv4: bool
    transport: int
    payload: int

    @property
    def addresses(self) -> int:
        """Where the IP addresses are, which stand right before the TCP header."""
        return self.transport - (8 if self.is_ipv4 else 32)

    def length(self, size: int) -> int:
        """Return the length that the IP header of a frame of ``size`` bytes tells."""
        return size - (self.network if self.is_ipv4 else self.transport)

    def is_length_right(self, frame: bytes) -> bool:
        """Tell whether the IP header knows how long the frame is."""
        at = self.network + (2 if self.is_ipv4 else 4)
        return frame[at] << 8 | frame[at + 1] == self.length(len(frame))


def coalesce(frames: Sequence[bytes]) -> list[Write]:
    """Return virtio-net header and frame for each write to the device, in order.

    Frames that are not joined come out as they are, with `NULL_HEADER`.
    """
    out: list[Write] = []
    sizes = list(map(len, frames))
    count, first = len(frames), 0
    while first < count:
        layout = None
        if first + MIN_CHAIN <= count and MIN_SIZE <= sizes[first] <= MAX_IP_SIZE:
            layout = _parse(frames[first])
        end = first if layout is None else _end_of_stretch(frames, sizes, first, layout)
        if layout is None or end - first < MIN_CHAIN:
            out.append((NULL_HEADER, frames[first]))
            first += 1
        else:
            stretch = _Stretch(_matrix(frames[first:end]), sizes[first], sizes[end - 1], frames[first:end])
            first += _join_stretch(stretch, layout, out)
    return out


def coalesce_run(run: FrameRun) -> list[Write]:
    """Do what `coalesce` does, for the frames of a run."""
    if isinstance(run, SuperFrame):
        return [run.for_device()]
    rows, size, last = run.rows, run.size, run.last
    layout = None
    if len(rows) >= MIN_CHAIN and MIN_SIZE <= size <= MAX_IP_SIZE:
        layout = _parse(rows[0, LEAD : LEAD + size].tobytes())
    if layout is None or not _is_laid_out_alike(rows, layout):
        return coalesce(run.frames())
    end = b""
    if last < size and (last <= layout.payload or not layout.is_length_right(run.last_frame())):
        end, run = run.last_frame(), run.without_last()
    out: list[Write] = []
    stretch = _Stretch(run.rows[:, LEAD - _LEAD :].view(np.uint32), size, run.last, run)
    if _join_stretch(stretch, layout, out) < len(run.rows):
        end = run.last_frame()
    if end:
        out.append((NULL_HEADER, end))
    return out


def _is_laid_out_alike(rows: Bytes, layout: _Layout) -> bool:
    """Tell whether all frames have the same tags before the IP header, and TCP headers of one length."""
    top = rows[:, LEAD + ethernet.HEADER_SIZE : LEAD + layout.network + 2]
    lengths = rows[:, LEAD + layout.transport + 12]
    return bool((top == top[0]).all() and (lengths == lengths[0]).all())


def _parse(frame: bytes) -> _Layout | None:
    """Find the headers of a frame that may begin a chain; None if it may not. Checksums are not checked."""
    network, tags = ethernet.HEADER_SIZE, 0
    while frame[network - 2 : network] in ethernet.VLAN_TYPES and tags < MAX_TAGS:
        network += ethernet.VLAN_TAG_SIZE
        tags += 1
    ethertype, is_ipv4 = frame[network - 2 : network], False
    if ethertype == ethernet.IPV4:
        # No options; not a fragment. Whether DF is set does not matter, but it is the same in all frames.
        if frame[network] != 0x45 or frame[network + 6] & 0xBF or frame[network + 7]:
            return None
        is_ipv4, transport, protocol = True, network + ip.IPV4_HEADER_SIZE, frame[network + 9]
    elif ethertype == ethernet.IPV6 and frame[network] >> 4 == 6:
        transport, protocol = network + ip.IPV6_HEADER_SIZE, frame[network + 6]
    else:
        return None
    if protocol != ip.PROTOCOL_TCP:
        return None
    size = (frame[transport + 12] >> 4) * 4
    layout = _Layout(network, is_ipv4, transport, transport + size)
    if size < ip.TCP_HEADER_SIZE or layout.payload >= len(frame):
        return None
    # PSH ends a chain; a frame with FIN, SYN, RST, URG or CWR is left alone.
    if frame[transport + 13] & ~(TCP_PSH | TCP_ECE) != TCP_ACK or not layout.is_length_right(frame):
        return None
    return layout


def _end_of_stretch(frames: Sequence[bytes], sizes: Sequence[int], first: int, layout: _Layout) -> int:
    """Return the end of the frames with one size and one layout; the last may be shorter.

    It may be any end below ``first + MIN_CHAIN`` if there are not so many.
    """
    size, end, count = sizes[first], first + 1, len(frames)
    # Before the TCP header only what is cheap to compare: all of it is compared later.
    top, lengths = layout.network + 2, layout.transport + 12
    key, options = frames[first][:top], frames[first][lengths]
    sixth = first + MIN_CHAIN - 1
    if sizes[sixth] > size or frames[sixth][:top] != key:
        return end
    while end < count and sizes[end] == size:
        end += 1
    end = first + _count_alike([frame[:top] for frame in frames[first:end]], key)
    end = first + _count_alike([frame[lengths] for frame in frames[first:end]], options)
    if (
        end < count
        and layout.payload < sizes[end] < size
        and frames[end][:top] == key
        and frames[end][lengths] == options
        and layout.is_length_right(frames[end])
    ):
        end += 1
    return end


def _count_alike(values: Sequence[object], value: object) -> int:
    """Return how many of ``values`` are equal to ``value`` before the first that is not."""
    if values.count(value) == len(values):
        return len(values)
    return next(index for index, other in enumerate(values) if other != value)


class _Plan(NamedTuple):
    """The header fields to compare in frames of one layout, in 32-bit words from the start of a row."""

    mask: Words
    """The bits that cutting gives back as they are, or counted up."""
    steps: Words
    """The increments of these words from one frame of a chain to the next."""
    fixed: Words
    """The bits that tell fragments, other protocols, wrong lengths and flags that forbid joining."""
    length: int
    """The word with the length of the IP packet."""
    length_unit: int
    """What one more byte adds to it."""
    flags: int
    """The word with the TCP flags."""
    network: slice
    """The words of the IPv4 header."""
    summed: slice
    """The words that the TCP checksum covers: addresses, header and data."""
    checksums: slice
    """The checksum fields, in 16-bit words."""


_PSH_BIT: Final = np.uint32(TCP_PSH << 16)


@lru_cache(maxsize=64)
def _plan(layout: _Layout, step: int) -> _Plan:
    """Return the plan for a stretch whose frames carry ``step`` bytes each."""
    network, tcp, end = ((_LEAD + at) // 4 for at in (layout.network, layout.transport, layout.payload))
    mask, steps, fixed = (
        np.full(end, 0xFFFFFFFF, np.uint32),
        np.zeros(end, np.uint32),
        np.zeros(end, np.uint32),
    )
    mask[0] = 0x0000FFFF  # the lead is not part of the frame
    mask[tcp + 3] ^= _PSH_BIT
    mask[tcp + 4] = 0x0000FFFF  # checksum
    steps[tcp + 1] = step  # sequence number
    fixed[tcp + 3] = (0xFF & ~(TCP_PSH | TCP_ECE)) << 16
    tcp_checksum = (_LEAD + layout.transport + TCP_CHECKSUM) // 2
    checksums = slice(tcp_checksum, tcp_checksum + 1)
    if layout.is_ipv4:
        mask[network + 2] = 0xFFFF0000  # checksum
        steps[network + 1] = 0x00010000  # identification
        fixed[network : network + 3] = 0x0000FFFF, 0x0000BFFF, 0x00FF0000
        first = (_LEAD + layout.network + 10) // 2
        checksums = slice(first, tcp_checksum + 1, tcp_checksum - first)
    else:
        fixed[network + 1] = 0xFFFFFF00
    return _Plan(
        mask,
        steps,
        fixed,
        network if layout.is_ipv4 else network + 1,
        1 if layout.is_ipv4 else 0x10000,
        tcp + 3,
        slice(network, tcp),
        slice((_LEAD + layout.addresses) // 4, None),
        checksums,
    )


class _Stretch(NamedTuple):
    """Frames of one size, but for the last, which may be shorter."""

    rows: Words
    """As `_matrix` makes them."""
    size: int
    last: int
    source: Sequence[bytes] | FrameRun

    def frames(self) -> Sequence[bytes]:
        """Return the frames one by one."""
        return self.source.frames() if isinstance(self.source, FrameRun) else self.source


def _join_stretch(stretch: _Stretch, layout: _Layout, out: list[Write]) -> int:
    """Join the frames that can be joined.

    Return how many were processed: a shorter frame at the end that is not joined may begin a chain of its
    own.
    """
    rows, size, last, _ = stretch
    links = _links(rows, size, last, layout)
    most = (MAX_IP_SIZE - (layout.payload - layout.network)) // (size - layout.payload)
    count = len(rows)
    # A chain ends where the next frame does not follow, and where an IP packet could hold no more.
    start = 0
    for end in [*((~links).nonzero()[0] + 1).tolist(), count]:
        for begin in range(start, end, most):
            stop = min(begin + most, end)
            if stop - begin >= MIN_CHAIN:
                out.append(_joined(rows[begin:stop], size, last if stop == len(rows) else size, layout))
                continue
            if stop == count and last < size:
                stop = count = count - 1
            out += [(NULL_HEADER, frame) for frame in stretch.frames()[begin:stop]]
        start = end
    return count


def _matrix(frames: Sequence[bytes]) -> Words:
    """Return one row for each frame: `_LEAD` bytes, the frame, and zeros up to the next 32 bits."""
    size, count = len(frames[0]), len(frames)
    tail = -(_LEAD + size) % 4
    lead = bytes(_LEAD)
    missing = size - len(frames[-1])
    joined = bytes(tail + _LEAD).join((lead + frames[0], *frames[1:-1], frames[-1] + bytes(missing + tail)))
    return np.frombuffer(joined, np.uint32).reshape(count, (_LEAD + size + tail) // 4)


def _links(rows: Words, size: int, last: int, layout: _Layout) -> Bools:
    """Tell for each frame but the first whether it continues the one before it.

    Each call of numpy costs more here than what it does, so there are few of them.
    """
    plan = _plan(layout, size - layout.payload)
    wrong = _checksum_errors(rows, size, last, layout, plan)
    no_checksum = rows.view(np.uint16)[:, plan.checksums] == _NO_CHECKSUM
    head = rows.view(">u4")[:, : len(plan.mask)].astype(np.uint32)
    # The length of the last is right, see `_end_of_stretch`: it is made what it would be with all its data.
    missing = size - last
    if missing:
        head[-1, plan.length] += missing * plan.length_unit
    goes_on: Bools = head[:-1, plan.flags] & _PSH_BIT == 0
    head &= plan.mask
    follows = head[1:] - head[:-1] == plan.steps
    # Nearly always all are of one flow.
    if count_nonzero(follows) == follows.size and not count_nonzero(wrong) and not count_nonzero(no_checksum):
        return goes_on
    bad = wrong.any(axis=0) | no_checksum.any(axis=1) | ((head ^ head[0]) & plan.fixed).any(axis=1)
    links: Bools = goes_on & follows.all(axis=1) & ~bad[1:] & ~bad[:-1]
    return links


def _checksum_errors(
    rows: Words, size: int, last: int, layout: _Layout, plan: _Plan
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return what is not zero for each frame with a wrong checksum: a line for TCP, one for IPv4."""
    # The sum is the same in any byte order (RFC 1071, 2), so numbers of our own are turned to this machine's.
    length = _native(size - layout.transport)
    pseudo = _native(ip.PROTOCOL_TCP) + length
    sums = np.empty((1 + layout.is_ipv4, len(rows)), np.int64)
    np.add.reduce(rows[:, plan.summed], axis=1, dtype=np.int64, out=sums[0], initial=pseudo)
    if last != size:
        sums[0, -1] += _native(last - layout.transport) - length
    if layout.is_ipv4:
        np.add.reduce(rows[:, plan.network], axis=1, dtype=np.int64, out=sums[1])
    return sums % 0xFFFF


def _native(word: int) -> int:
    """Return what the two bytes of ``word``, sent with the high one first, are as a number here."""
    return int.from_bytes(word.to_bytes(2, "big"), byteorder)


def _joined(rows: Words, size: int, last: int, layout: _Layout) -> Write:
    """Return the super-frame for a chain, and the virtio-net header that says how to cut it."""
    network, is_ipv4, transport, payload = layout
    step, count = size - payload, len(rows)
    every = rows.view(np.uint8)
    frame = np.empty(payload + count * step, np.uint8)
    frame[payload:].reshape(count, step)[:] = every[:, _LEAD + payload : _LEAD + size]
    head = bytearray(every[0, _LEAD : _LEAD + payload].tobytes())
    head[transport + 13] |= int(every[-1, _LEAD + transport + 13]) & TCP_PSH
    total = len(frame) - (size - last)
    length = total - transport
    if is_ipv4:
        head[network + 2 : network + 4] = (length + ip.IPV4_HEADER_SIZE).to_bytes(2, "big")
        head[network + 10 : network + 12] = b"\0\0"
        check = -int.from_bytes(head[network:transport], "big") % 0xFFFF
        head[network + 10 : network + 12] = check.to_bytes(2, "big")
    else:
        head[network + 4 : network + 6] = length.to_bytes(2, "big")
    # The kernel completes the checksum: only the sum of the pseudo header is given, not inverted.
    pseudo = int.from_bytes(head[layout.addresses : transport], "big") + ip.PROTOCOL_TCP + length
    at = transport + TCP_CHECKSUM
    head[at : at + 2] = (pseudo % 0xFFFF).to_bytes(2, "big")
    data = frame.data[:total]
    data[:payload] = head
    kind = GSO_TCPV4 if is_ipv4 else GSO_TCPV6
    return HEADER.pack(NEEDS_CSUM, kind, payload, step, transport, TCP_CHECKSUM), data
