"""Cuts super-frames of the host into the frames that go over the wire.

With checksum and segmentation offload, the kernel leaves two jobs to the reader of the TAP device: it passes
up to 64 KiB of a TCP or UDP flow as one frame, and leaves checksums unset. A virtio-net header in front of
each frame says what is left to do (`pytinc.wire.virtio`). A device gives super-frames to `super_frames.take`,
which calls `segment_run`, and the tap gives other frames to `gather`, so that the rest of the data path sees
plain frames: byte for byte those that a kernel without offload sends.

A super-frame is cut in one step. Its frames become the rows of a byte matrix, and each header field that
differs between them is one operation on a column. `datapath.segment_reference` does the same one frame at a
time.

Importing this module loads numpy, which takes a tenth of a second: only daemons with offload import it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from sys import byteorder
from typing import Final, NamedTuple

import numpy as np

from pytinc.datapath.runs import LEAD, MIN_RUN, Bytes, FrameRun
from pytinc.errors import DecodeError
from pytinc.wire import ethernet, ip
from pytinc.wire.ip import TCP_CHECKSUM, TCP_CWR, TCP_FIN, TCP_PSH, UDP_CHECKSUM, UDP_HEADER_SIZE
from pytinc.wire.virtio import (
    CHECKSUM_PLACE,
    CHECKSUM_PLACE_AT,
    FLAGS,
    GSO_ECN,
    GSO_NONE,
    GSO_TCPV4,
    GSO_TCPV6,
    GSO_UDP_L4,
    HEADER,
    NEEDS_CSUM,
)

_EXTENSIONS: Final = (0, 43, 60)
"""IPv6 headers between IPv6 and TCP: hop-by-hop options, routing, destination options (RFC 8200, 4)."""
_LONGEST_TCP_HEADER: Final = 60
_MAX_LENGTH: Final = 0xFFFF
"""What the length field of an IP packet can tell. A virtual machine behind a raw socket may ask for more."""
_LONG: Final = 512
"""From this size on numpy adds up a single frame faster than a big integer (measured)."""


_WORD: Final = struct.Struct("!H")
_TOP: Final = HEADER.size + ethernet.HEADER_SIZE + 2
"""Headers, and the two bytes of IP that tell its class: a run has one mark (`pytinc.net.marks`)."""


class Layout(NamedTuple):
    """Where a super-frame has its headers, and where its data begins."""

    network: int
    is_ipv4: bool
    transport: int
    is_tcp: bool
    payload: int


def segment(header: bytes | bytearray | memoryview, frame: bytes | bytearray | memoryview) -> list[bytes]:
    """Return the frames that a kernel without offload would have sent instead of ``frame``.

    ``header`` is the virtio-net header, ten bytes. Raises `DecodeError` if it makes no sense for this frame.
    """
    frames = segment_run(header, frame)
    return frames if isinstance(frames, list) else frames.frames()


def segment_run(
    header: bytes | bytearray | memoryview, frame: bytes | bytearray | memoryview
) -> list[bytes] | FrameRun:
    """Do what `segment` does, and return a run if it is more than a few frames."""
    flags, kind, _, gso_size, start, offset = HEADER.unpack(header)
    if not flags & NEEDS_CSUM:
        if kind != GSO_NONE:
            raise DecodeError("a super-frame without the place of its checksum")
        return [bytes(frame)]
    if kind == GSO_NONE:
        return [fill_checksum(bytes(frame), start, offset)]
    if start + offset + 2 > len(frame):
        raise DecodeError("the checksum lies beyond the frame")
    # The kernel's hdr_len is a hint, and not always the length of the headers.
    layout = parse(bytes(frame[: start + _LONGEST_TCP_HEADER]), kind & ~GSO_ECN, start, offset)
    is_too_long = layout.payload - layout.network + gso_size > _MAX_LENGTH
    if gso_size == 0 or layout.payload > len(frame) or is_too_long:
        raise DecodeError("a super-frame that cannot be cut")
    if len(frame) - layout.payload <= gso_size:
        return [fill_checksum(bytes(frame), start, offset)]
    run = cut(np.frombuffer(frame, np.uint8), layout, gso_size)
    return run if len(run) >= MIN_RUN else run.frames()


def fill_checksum(frame: bytes, start: int, offset: int) -> bytes:
    """Return a frame with its checksum, the only thing that the kernel has left to do. Raises `DecodeError`.

    It is the sum of everything from ``start`` on, that of the pseudo header in the field itself included. As
    in the kernel (skb_checksum_help()) a result of zero becomes 0xffff, which means the same; for UDP a zero
    would say that there is no checksum.
    """
    size, at = len(frame) - start, start + offset
    if at + 2 > len(frame):
        raise DecodeError("the checksum lies beyond the frame")
    if size < _LONG:
        total = int.from_bytes(frame[start:], "big")
        if size % 2:
            total <<= 8
        check = (0xFFFF - total % 0xFFFF).to_bytes(2, "big")
    else:
        words = np.frombuffer(frame, np.uint16, size // 2, start)
        total = int(np.add.reduce(words, dtype=np.uint64))
        if size % 2:
            total += int.from_bytes(frame[-1:] + b"\0", byteorder)
        check = (0xFFFF - total % 0xFFFF).to_bytes(2, byteorder)
    return frame[:at] + check + frame[at + 2 :]


def gather(read: Sequence[bytes]) -> tuple[list[bytes | FrameRun], int]:
    """Return the frames of several reads that gave one each, and how many were left out.

    Each of ``read`` is a virtio-net header without segmentation, and a frame. Checksums are filled in. Frames
    of one length, header and class that follow each other become a run. Left out are those with a checksum
    beyond their end.
    """
    frames: list[bytes | FrameRun] = []
    dropped, first = 0, 0
    while first < len(read):
        end = _end_of_equals(read, first)
        group = read[first:end]
        run = _equal_run(group) if len(group) >= MIN_RUN else None
        if run is not None:
            frames.append(run)
        else:
            for each in group:
                try:
                    frames.append(_completed(each))
                except DecodeError:
                    dropped += 1
        first = end
    return frames, dropped


def _completed(read: bytes) -> bytes:
    frame = read[HEADER.size :]
    if not read[FLAGS] & NEEDS_CSUM:
        return frame
    return fill_checksum(frame, *CHECKSUM_PLACE.unpack_from(read, CHECKSUM_PLACE_AT))


def _end_of_equals(read: Sequence[bytes], first: int) -> int:
    """Return the end of the frames of one length with the same headers (virtio-net's, Ethernet's) and class.

    It may be any end below ``first + MIN_RUN`` if there are not so many.
    """
    top, size = read[first][:_TOP], len(read[first])
    end, count = first + 1, len(read)
    if first + MIN_RUN > count or len(read[first + MIN_RUN - 1]) != size:
        return end
    while end < count and len(read[end]) == size and read[end][:_TOP] == top:
        end += 1
    return end


def _equal_run(group: Sequence[bytes]) -> FrameRun | None:
    """Return a run of what `_end_of_equals` has found; None if its checksums have an odd place."""
    flags, _, _, _, start, offset = HEADER.unpack_from(group[0])
    count, size = len(group), len(group[0]) - HEADER.size
    if size < ethernet.HEADER_SIZE:
        return None
    rows = np.zeros((count, LEAD + size + -(LEAD + size) % 4), np.uint8)
    read = np.frombuffer(b"".join(group), np.uint8)
    rows[:, LEAD : LEAD + size] = read.reshape(count, HEADER.size + size)[:, HEADER.size :]
    if flags & NEEDS_CSUM:
        begin, field = LEAD + start, LEAD + start + offset
        if begin % 4 or field % 2 or start + offset + 2 > size:
            return None
        sums = np.add.reduce(rows[:, begin:].view(np.uint32), axis=1, dtype=np.int64)
        rows.view(np.uint16)[:, field // 2] = 0xFFFF - sums % 0xFFFF
    return FrameRun(rows, size, size)


def parse(top: bytes, kind: int, start: int, offset: int) -> Layout:
    """Find the headers of a super-frame in its first bytes; they must agree with the virtio-net header."""
    network = ethernet.HEADER_SIZE
    while top[network - 2 : network] in ethernet.VLAN_TYPES:
        network += ethernet.VLAN_TAG_SIZE
    ethertype = top[network - 2 : network]
    is_ipv4, is_tcp = ethertype == ethernet.IPV4, kind in (GSO_TCPV4, GSO_TCPV6)
    if len(top) < start + (ip.TCP_HEADER_SIZE if is_tcp else UDP_HEADER_SIZE):
        raise DecodeError("a super-frame shorter than its headers")
    if is_ipv4 and kind in (GSO_TCPV4, GSO_UDP_L4):
        transport, protocol = _after_ipv4(top, network)
    elif ethertype == ethernet.IPV6 and kind in (GSO_TCPV6, GSO_UDP_L4):
        transport, protocol = _after_ipv6(top, network)
    else:
        raise DecodeError(f"a super-frame of type {kind} and ethertype {ethertype.hex()}")
    expected = (start, TCP_CHECKSUM, ip.PROTOCOL_TCP) if is_tcp else (start, UDP_CHECKSUM, ip.PROTOCOL_UDP)
    if (transport, offset, protocol) != expected:
        raise DecodeError("a super-frame whose headers are not where its checksum is")
    size = (top[transport + 12] >> 4) * 4 if is_tcp else UDP_HEADER_SIZE
    if is_tcp and size < ip.TCP_HEADER_SIZE:
        raise DecodeError("a TCP header that is too short")
    return Layout(network, is_ipv4, transport, is_tcp, transport + size)


def _after_ipv4(top: bytes, network: int) -> tuple[int, int]:
    """Return where the packet of the protocol above IPv4 begins, and the number of that protocol."""
    if len(top) < network + ip.IPV4_HEADER_SIZE or top[network] >> 4 != 4:
        raise DecodeError("a super-frame without an IPv4 header")
    size = (top[network] & 0x0F) * 4
    if size < ip.IPV4_HEADER_SIZE:
        raise DecodeError("an IPv4 header that is too short")
    return network + size, top[network + 9]


def _after_ipv6(top: bytes, network: int) -> tuple[int, int]:
    """Return where the packet of the protocol above IPv6 begins, and the number of that protocol."""
    if len(top) < network + ip.IPV6_HEADER_SIZE:
        raise DecodeError("a super-frame without an IPv6 header")
    protocol, position = top[network + 6], network + ip.IPV6_HEADER_SIZE
    while protocol in _EXTENSIONS and position + 2 <= len(top):
        protocol, position = top[position], position + (top[position + 1] + 1) * 8
    return position, protocol


def cut(frame: Bytes, layout: Layout, mss: int) -> FrameRun:
    """Cut a super-frame into frames with ``mss`` bytes each, fewer in the last.

    One frame is one row. Transport headers are aligned to 32 bits there, which the columns and the sums need.
    """
    start = layout.payload
    size = len(frame) - start
    full, rest = divmod(size, mss)
    count = full + 1 if rest else full
    begin, end = LEAD + start, LEAD + start + mss
    rows = np.empty((count, end + -end % 4), np.uint8)
    header = bytearray(LEAD) + frame[:start].tobytes()
    first, last = _prepare_header(header, LEAD, layout, mss, size)
    rows[:, :begin] = np.frombuffer(header, np.uint8)
    rows[:full, begin:end] = frame[start : start + full * mss].reshape(full, mss)
    rows[:, end:] = 0
    if layout.is_tcp:
        flags = LEAD + layout.transport + 13
        rows[0, flags] |= first
        rows[-1, flags] |= last
    if rest:
        rows[full, begin : begin + rest] = frame[start + full * mss :]
        rows[full, begin + rest :] = 0
    shorter = mss - rest if rest else 0
    _write_columns(rows, header, LEAD, layout, mss, shorter)
    return FrameRun(rows, start + mss, start + mss - shorter)


def _prepare_header(header: bytearray, lead: int, layout: Layout, mss: int, size: int) -> tuple[int, int]:
    """Turn the headers of a super-frame (``size`` bytes of payload) into those of a full frame in its middle.

    Return the TCP flags that only the first and only the last frame have.
    """
    network, transport, payload = lead + layout.network, lead + layout.transport, lead + layout.payload
    length = payload - transport + mss
    # The checksum field holds the sum of the pseudo header, with the length of the whole super-frame.
    field = transport + (TCP_CHECKSUM if layout.is_tcp else UDP_CHECKSUM)
    (pseudo,) = _WORD.unpack_from(header, field)
    _WORD.pack_into(header, field, (pseudo + mss - size) % 0xFFFF)
    if layout.is_ipv4:
        _WORD.pack_into(header, network + 2, transport - network + length)
        _WORD.pack_into(header, network + 10, 0)
    else:
        _WORD.pack_into(header, network + 4, transport - network - ip.IPV6_HEADER_SIZE + length)
    if not layout.is_tcp:
        _WORD.pack_into(header, transport + 4, length)
        return 0, 0
    flags = header[transport + 13]
    header[transport + 13] = flags & ~(TCP_FIN | TCP_PSH | TCP_CWR)
    return flags & TCP_CWR, flags & (TCP_FIN | TCP_PSH)


def _write_columns(rows: Bytes, header: bytearray, lead: int, layout: Layout, mss: int, shorter: int) -> None:
    """Write what differs from frame to frame; all else is in ``header``. The last frame is ``shorter``."""
    network, transport = lead + layout.network, lead + layout.transport
    field = (transport + (TCP_CHECKSUM if layout.is_tcp else UDP_CHECKSUM)) // 2
    numbers = np.arange(len(rows))
    words = rows.view(">u2")
    if layout.is_tcp:
        sequence = int.from_bytes(header[transport + 4 : transport + 8], "big")
        rows.view(">u4")[:, (transport + 4) // 4] = numbers * mss + sequence
    if layout.is_ipv4:
        (first,) = _WORD.unpack_from(header, network + 4)
        ids = (numbers + first) & 0xFFFF
        words[:, network // 2 + 2] = ids
        # All but the id is the same in all full frames; the checksum field is zero so far.
        same = int.from_bytes(header[network : network + 4] + header[network + 6 : transport], "big") % 0xFFFF
        words[:, network // 2 + 5] = -(ids + same) % 0xFFFF
    if shorter:
        last = words[-1]
        if layout.is_ipv4:
            last[network // 2 + 1] -= shorter
            last[network // 2 + 5] = (int(last[network // 2 + 5]) + shorter) % 0xFFFF
        else:
            last[network // 2 + 2] -= shorter
        if not layout.is_tcp:
            last[transport // 2 + 2] -= shorter
        last[field] = (int(last[field]) - shorter) % 0xFFFF
    # The sum is the same in any byte order, and however many 16-bit words are added at a time (RFC 1071, 2).
    sums = np.add.reduce(rows[:, transport:].view(np.uint32), axis=1, dtype=np.int64)
    rows.view(np.uint16)[:, field] = -sums % 0xFFFF if layout.is_tcp else 0xFFFF - sums % 0xFFFF
