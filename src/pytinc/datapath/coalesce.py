"""Consecutive TCP frames of one flow, joined into super-frames for the host (the opposite of `segment`).

A peer's frames leave for the TAP device in batches. Where its kernel takes super-frames, one write of up to
64 KiB costs little more than the write of one frame, and the host's TCP sees one large packet. `net.tap`
calls `coalesce` for every batch. A run is what is in the batch: nothing waits for more.

Only what can be cut again into exactly the same frames is joined. So checksums are verified first, and frames
that are odd in any way are handed on alone, as they came. `datapath.coalesce_reference` does the same one
frame at a time.

Importing this module loads numpy, as `pytinc.datapath.segment` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from sys import byteorder
from typing import Any, Final, NamedTuple

import numpy as np

from pytinc.datapath.segment import (
    GSO_TCPV4,
    GSO_TCPV6,
    HEADER,
    NEEDS_CSUM,
    TCP_CHECKSUM,
    TCP_PSH,
)
from pytinc.wire import ethernet, ip

NULL_HEADER: Final = bytes(HEADER.size)
"""The virtio-net header of a frame with which nothing is left to do."""
MIN_SIZE: Final = 200
"""Bytes; smaller frames are not looked at: acknowledgements carry nothing to join."""
MIN_RUN: Final = 6
"""Frames; joining fewer costs more than writing them one by one (benchmarks/micro_offload.py)."""
MAX_IP_SIZE: Final = 65535
"""The largest length that an IPv4 header can tell; the same limit is kept for IPv6."""

TCP_ACK: Final = 0x10
TCP_ECE: Final = 0x40
JOINABLE_FLAGS: Final = (TCP_ACK, TCP_ACK | TCP_ECE)
"""TCP flags, PSH aside, of frames that may be joined. PSH ends a run; who has FIN, SYN, RST, URG or CWR is
left alone."""
MAX_TAGS: Final = 2
"""VLAN tags before the IP header: 802.1Q, or 802.1ad with one more inside."""

_LEAD: Final = 2
"""Bytes before each row of the matrix: they align the headers behind Ethernet's 14 bytes to 32 bits."""
_VLAN_TYPES: Final = (b"\x81\x00", b"\x88\xa8")
_NO_CHECKSUM: Final = 0xFFFF
"""Means the same as zero, which is what cutting gives: a frame with it would not come out the same again."""

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]


_IS_JOINABLE: Final = np.array([flags & ~TCP_PSH in JOINABLE_FLAGS for flags in range(256)])
_GOES_ON: Final = np.array([not flags & TCP_PSH for flags in range(256)])
"""By the TCP flags of a frame: whether it may be in a run, and whether another may follow it there."""


class _Layout(NamedTuple):
    """Where the frames of a run have their headers."""

    network: int
    is_ipv4: bool
    transport: int
    payload: int

    @property
    def addresses(self) -> int:
        """Where the IP addresses are, which stand right before the TCP header."""
        return self.transport - (8 if self.is_ipv4 else 32)


def coalesce(frames: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """Return virtio-net header and frame for each write to the device, in order.

    Frames that are not joined come out as they are, with `NULL_HEADER`.
    """
    out: list[tuple[bytes, bytes]] = []
    sizes = list(map(len, frames))
    count, first = len(frames), 0
    while first < count:
        size = sizes[first]
        layout = _parse(frames[first]) if size >= MIN_SIZE and first + MIN_RUN <= count else None
        if layout is None:
            out.append((NULL_HEADER, frames[first]))
            first += 1
            continue
        # What goes before the TCP header is mostly the same in a run; all of it is compared later.
        top, lengths = layout.network + 2, layout.transport + 12
        key, options = frames[first][:top], frames[first][lengths]
        end = first + 1
        while (
            end < count
            and sizes[end] == size
            and frames[end][:top] == key
            and frames[end][lengths] == options
        ):
            end += 1
        # The last one may be shorter.
        if end < count and layout.payload < sizes[end] < size:
            end += frames[end][:top] == key and frames[end][lengths] == options
        first += _join_stretch(frames[first:end], sizes[first:end], layout, out)
    return out


def _parse(frame: bytes) -> _Layout | None:
    """Find the headers of a frame that may begin a run; None if it may not."""
    network, tags = ethernet.HEADER_SIZE, 0
    while frame[network - 2 : network] in _VLAN_TYPES and tags < MAX_TAGS:
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
    size = (frame[transport + 12] >> 4) * 4
    payload = transport + size
    if protocol != ip.PROTOCOL_TCP or size < ip.TCP_HEADER_SIZE or payload >= len(frame):
        return None
    return _Layout(network, is_ipv4, transport, payload)


@lru_cache(maxsize=64)
def _columns(layout: _Layout) -> tuple[Bools, Bytes]:
    """Return which header bytes may differ inside a run, and which tell fragments and other protocols."""
    network, is_ipv4, transport, payload = layout
    varies = np.zeros(payload, np.bool_)
    # Length, id and checksum of IPv4, or the length of IPv6; sequence number, flags and checksum of TCP.
    lengths = (2, 3, 4, 5, 10, 11) if is_ipv4 else (4, 5)
    varies[[network + column for column in lengths]] = True
    varies[[transport + column for column in (4, 5, 6, 7, 13, 16, 17)]] = True
    fixed = [network + 6, network + 7, network + 9] if is_ipv4 else [network + 6]
    return varies, np.array(fixed)


def _join_stretch(
    frames: Sequence[bytes], sizes: Sequence[int], layout: _Layout, out: list[tuple[bytes, bytes]]
) -> int:
    """Join what can be joined of frames that are of one size, but for the last, which may be shorter.

    Return how many were dealt with: a shorter one that does not belong here may begin a run of its own.
    """
    if len(frames) < MIN_RUN:
        count = len(frames) - (sizes[-1] < sizes[0])
        out += [(NULL_HEADER, frame) for frame in frames[:count]]
        return count
    rows = _matrix(frames)
    links = _links(rows, sizes, layout)
    most = (MAX_IP_SIZE - (layout.payload - layout.network)) // (sizes[0] - layout.payload)
    count = len(frames) - (sizes[-1] < sizes[0] and not links[-1])
    # A run ends where the next frame does not follow, and where an IP packet could hold no more.
    start = 0
    for end in [*(np.flatnonzero(~links[: count - 1]) + 1).tolist(), count]:
        for begin in range(start, end, most):
            stop = min(begin + most, end)
            if stop - begin >= MIN_RUN:
                out.append(_joined(frames[begin:stop], rows[begin:stop], layout))
            else:
                out += [(NULL_HEADER, frame) for frame in frames[begin:stop]]
        start = end
    return count


def _matrix(frames: Sequence[bytes]) -> Bytes:
    """Return one row for each frame: `_LEAD` bytes, the frame, and zeros up to the next 32 bits."""
    size, count = len(frames[0]), len(frames)
    end = _LEAD + size
    rows = np.empty((count, end + -end % 4), np.uint8)
    missing = size - len(frames[-1])
    joined = b"".join(frames) + bytes(missing)
    rows[:, _LEAD:end] = np.frombuffer(joined, np.uint8).reshape(count, size)
    rows[:, end:] = 0
    return rows


def _links(rows: Bytes, sizes: Sequence[int], layout: _Layout) -> Bools:
    """Tell for each frame but the first whether it continues the one before it."""
    varies, fixed = _columns(layout)
    network, transport = _LEAD + layout.network, _LEAD + layout.transport
    head = rows[:, _LEAD : _LEAD + layout.payload]
    flags = rows[:, transport + 13]
    others = flags & ~np.uint8(TCP_PSH)
    good = _are_sound(rows, sizes, layout)
    good &= _IS_JOINABLE[flags]
    like_first = (head == head[0]) | varies
    if like_first.all():  # nearly always: all of one flow
        links: Bools = good[1:] & good[:-1]
    else:
        good &= like_first[:, fixed].all(axis=1)
        links = good[1:] & good[:-1]
        links &= ((head[1:] == head[:-1]) | varies).all(axis=1)
    links &= others[1:] == others[:-1]
    links &= _GOES_ON[flags[:-1]]
    sequences = rows.view(">u4")[:, (transport + 4) // 4].astype(np.uint32)
    links &= sequences[1:] - sequences[:-1] == np.uint32(sizes[0] - layout.payload)
    if layout.is_ipv4:
        ids = rows.view(">u2")[:, (network + 4) // 2].astype(np.uint16)
        links &= ids[1:] - ids[:-1] == 1
    return links


def _are_sound(rows: Bytes, sizes: Sequence[int], layout: _Layout) -> Bools:
    """Tell for each frame whether its lengths and checksums are right, read by the layout of the first."""
    network, transport = _LEAD + layout.network, _LEAD + layout.transport
    words = rows.view(np.uint16)
    # All are of one size, but perhaps for the last.
    size, last = sizes[0] - layout.transport, sizes[-1] - layout.transport
    # The sum is the same in any byte order (RFC 1071, 2), so numbers of our own are turned to this machine's.
    sums = np.add.reduce(rows[:, _LEAD + layout.addresses :].view(np.uint32), axis=1, dtype=np.int64)
    sums += _native(ip.PROTOCOL_TCP) + _native(size)
    sums[-1] += _native(last) - _native(size)
    sound: Bools = sums % 0xFFFF == 0
    sound &= words[:, (transport + TCP_CHECKSUM) // 2] != _NO_CHECKSUM
    # What the IP header tells of the length: with itself in IPv4, without in IPv6.
    own = ip.IPV4_HEADER_SIZE if layout.is_ipv4 else 0
    lengths = words[:, network // 2 + (1 if layout.is_ipv4 else 2)]
    right = lengths == _native(size + own)
    right[-1] = int(lengths[-1]) == _native(last + own)
    sound &= right
    if layout.is_ipv4:
        header = np.add.reduce(rows[:, network:transport].view(np.uint32), axis=1, dtype=np.int64)
        sound &= header % 0xFFFF == 0
        sound &= words[:, network // 2 + 5] != _NO_CHECKSUM
    return sound


def _native(word: int) -> int:
    """Return what the two bytes of ``word``, sent with the high one first, are as a number here."""
    return int.from_bytes(word.to_bytes(2, "big"), byteorder)


def _joined(frames: Sequence[bytes], rows: Bytes, layout: _Layout) -> tuple[bytes, bytes]:
    """Return the super-frame for a run, and the virtio-net header that says how to cut it."""
    network, is_ipv4, transport, payload = layout
    last = frames[-1]
    step = len(frames[0]) - payload
    data = rows[:, _LEAD + payload : _LEAD + payload + step].tobytes()
    missing = len(frames[0]) - len(last)
    if missing:
        data = data[:-missing]
    head = bytearray(frames[0][:payload])
    head[transport + 13] |= last[transport + 13] & TCP_PSH
    length = payload - transport + len(data)
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
    kind = GSO_TCPV4 if is_ipv4 else GSO_TCPV6
    return HEADER.pack(NEEDS_CSUM, kind, payload, step, transport, TCP_CHECKSUM), bytes(head) + data
