"""Super-frames of the host, cut into the frames that go over the wire.

With checksum and segmentation offload the kernel leaves two jobs to whoever reads the TAP device: it hands
over up to 64 KiB of a TCP or UDP flow as one frame, and checksums that are not filled in. A virtio-net header
in front of each frame says what is left to do (virtio 1.2, 5.1.6). `net.tap` calls `segment` for every frame
that needs it, so that the rest of the data path sees plain frames: byte for byte those that a kernel without
offload sends.

A super-frame is cut in one go. Its frames become the rows of a byte matrix, and each header field that
differs between them is one operation on a column. `datapath.segment_reference` does the same one frame at a
time.

Importing this module loads numpy, which takes a tenth of a second: only those who have offload on do it.
"""

from __future__ import annotations

import struct
from sys import byteorder
from typing import Any, Final, NamedTuple

import numpy as np

from pytinc.errors import DecodeError
from pytinc.wire import ethernet, ip

HEADER: Final = struct.Struct("=BBHHHH")
"""struct virtio_net_hdr: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset; host byte order."""
NEEDS_CSUM: Final = 1
"""Flag: the checksum field holds the sum of the pseudo header only."""
GSO_NONE: Final = 0
GSO_TCPV4: Final = 1
GSO_TCPV6: Final = 4
GSO_UDP_L4: Final = 5
GSO_ECN: Final = 0x80
"""Flag beside the TCP types: the CWR flag is set."""

TCP_FIN: Final = 0x01
TCP_PSH: Final = 0x08
TCP_CWR: Final = 0x80
UDP_HEADER_SIZE: Final = 8
TCP_CHECKSUM: Final = 16
UDP_CHECKSUM: Final = 6
"""Where a TCP and a UDP header have their checksums."""
PROTOCOL_UDP: Final = 17

_VLAN_TYPES: Final = (b"\x81\x00", b"\x88\xa8")
"""802.1Q, and 802.1ad for the outer one of two tags."""
_EXTENSIONS: Final = (0, 43, 60)
"""IPv6 headers between IPv6 and TCP: hop-by-hop options, routing, destination options (RFC 8200, 4)."""
_LONGEST_TCP_HEADER: Final = 60
_LONG: Final = 512
"""From this size on numpy adds up a single frame faster than a big integer (measured)."""


Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Integers = np.ndarray[Any, np.dtype[np.int64]]


class _Layout(NamedTuple):
    """Where a super-frame has its headers."""

    network: int
    is_ipv4: bool
    transport: int
    is_tcp: bool
    payload: int


def segment(header: bytes | bytearray | memoryview, frame: bytes | bytearray | memoryview) -> list[bytes]:
    """Return the frames that a kernel without offload would have sent instead of ``frame``.

    ``header`` is the virtio-net header, ten bytes. Raises `DecodeError` if it makes no sense for this frame.
    """
    flags, kind, _, gso_size, start, offset = HEADER.unpack(header)
    if not flags & NEEDS_CSUM:
        if kind != GSO_NONE:
            raise DecodeError("a super-frame without the place of its checksum")
        return [bytes(frame)]
    if start + offset + 2 > len(frame):
        raise DecodeError("the checksum lies beyond the frame")
    if kind == GSO_NONE:
        return [_fill_checksum(bytes(frame), start, offset)]
    # The kernel's hdr_len is a hint, and not always the length of the headers.
    layout = _parse(bytes(frame[: start + _LONGEST_TCP_HEADER]), kind & ~GSO_ECN, start, offset)
    if gso_size == 0 or layout.payload > len(frame):
        raise DecodeError("a super-frame that cannot be cut")
    if len(frame) - layout.payload <= gso_size:
        return [_fill_checksum(bytes(frame), start, offset)]
    return _cut(np.frombuffer(frame, np.uint8), layout, gso_size)


def _fill_checksum(frame: bytes, start: int, offset: int) -> bytes:
    """Add up everything from ``start`` on, which includes the sum of the pseudo header in the field itself.

    As in the kernel (skb_checksum_help()) a result of zero becomes 0xffff, which means the same; for UDP a
    zero would say that there is no checksum.
    """
    size = len(frame) - start
    if size < _LONG:
        value = 0xFFFF - (int.from_bytes(frame[start:], "big") << (size % 2 * 8)) % 0xFFFF
        check = value.to_bytes(2, "big")
    else:
        words = np.frombuffer(frame, np.uint16, size // 2, start)
        total = int(np.add.reduce(words, dtype=np.uint64))
        if size % 2:
            total += int.from_bytes(frame[-1:] + b"\0", byteorder)
        check = (0xFFFF - total % 0xFFFF).to_bytes(2, byteorder)
    at = start + offset
    return b"%b%b%b" % (frame[:at], check, frame[at + 2 :])


def _parse(top: bytes, kind: int, start: int, offset: int) -> _Layout:
    """Find the headers of a super-frame in its first bytes; they must agree with the virtio-net header."""
    network = ethernet.HEADER_SIZE
    while top[network - 2 : network] in _VLAN_TYPES:
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
    expected = (start, TCP_CHECKSUM, ip.PROTOCOL_TCP) if is_tcp else (start, UDP_CHECKSUM, PROTOCOL_UDP)
    if (transport, offset, protocol) != expected:
        raise DecodeError("a super-frame whose headers are not where its checksum is")
    size = (top[transport + 12] >> 4) * 4 if is_tcp else UDP_HEADER_SIZE
    if is_tcp and size < ip.TCP_HEADER_SIZE:
        raise DecodeError("a TCP header that is too short")
    return _Layout(network, is_ipv4, transport, is_tcp, transport + size)


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


def _cut(frame: Bytes, layout: _Layout, mss: int) -> list[bytes]:
    """Cut a super-frame into frames with ``mss`` bytes each, fewer in the last.

    One frame is one row. A row begins with so many bytes of padding that the transport header is aligned to
    32 bits, which the columns and the sums need; behind it are zeros up to the next 32 bits.
    """
    start = layout.payload
    size = len(frame) - start
    full, rest = divmod(size, mss)
    count = full + 1 if rest else full
    lead = -layout.transport % 4
    begin, end = lead + start, lead + start + mss
    rows = np.empty((count, end + -end % 4), np.uint8)
    rows[:, lead:begin] = frame[:start]
    rows[:full, begin:end] = frame[start : start + full * mss].reshape(full, mss)
    rows[:, end:] = 0
    if rest:
        rows[full, begin : begin + rest] = frame[start + full * mss :]
        rows[full, begin + rest :] = 0
    numbers = np.arange(count)
    shorter = mss - rest if rest else 0
    _write_network(rows, lead, layout, end - lead, shorter, numbers)
    _write_transport(rows, lead, layout, mss, size, shorter, numbers)
    # All rows become bytes in one call, which takes a third of the time of slicing.
    frames: list[bytes] = np.ndarray((count,), f"V{end - lead}", rows, lead, (rows.shape[1],)).tolist()
    if rest:
        frames[-1] = frames[-1][:-shorter]
    return frames


def _write_network(
    rows: Bytes, lead: int, layout: _Layout, size: int, shorter: int, numbers: Integers
) -> None:
    """Write the columns of the IP header. Frames have ``size`` bytes, the last one is ``shorter``."""
    network, is_ipv4, transport = layout.network, layout.is_ipv4, layout.transport
    words = rows.view(">u2")
    column = (lead + network) // 2
    if not is_ipv4:
        length = size - network - ip.IPV6_HEADER_SIZE
        words[:, column + 2] = length
        words[-1, column + 2] = length - shorter
        return
    length = size - network
    words[:, column + 1] = length
    words[-1, column + 1] = length - shorter
    header = rows[0, lead + network : lead + transport].tobytes()
    sums = numbers + int.from_bytes(header[4:6], "big")
    sums &= 0xFFFF
    words[:, column + 2] = sums  # so far only the id
    sums += int.from_bytes(header[:2] + header[6:10] + header[12:], "big") % 0xFFFF + length
    sums[-1] -= shorter
    words[:, column + 5] = -sums % 0xFFFF


def _write_transport(
    rows: Bytes, lead: int, layout: _Layout, mss: int, size: int, shorter: int, numbers: Integers
) -> None:
    """Write the columns of the TCP or UDP header. The whole payload has ``size`` bytes."""
    begin = lead + layout.transport
    words = rows.view(">u2")
    column = begin // 2
    headers = layout.payload - layout.transport
    length = headers + mss
    if layout.is_tcp:
        sequence = rows.view(">u4")[:, (begin + 4) // 4]
        sequence += (numbers * mss).astype(np.uint32)
        flags = rows[:, begin + 13]
        flags[1:] &= 0xFF ^ TCP_CWR
        flags[:-1] &= 0xFF ^ (TCP_FIN | TCP_PSH)
        column += TCP_CHECKSUM // 2
    else:
        words[:, column + 2] = length
        words[-1, column + 2] = length - shorter
        column += UDP_CHECKSUM // 2
    # The field holds the sum of the pseudo header, with the length of the whole super-frame.
    pseudo = int(words[0, column]) + length - (headers + size)
    words[:, column] = pseudo % 0xFFFF
    words[-1, column] = (pseudo - shorter) % 0xFFFF
    # The sum is the same in any byte order, and however many 16-bit words are added at a time (RFC 1071, 2).
    sums = np.add.reduce(rows[:, begin:].view(np.uint32), axis=1, dtype=np.int64)
    rows.view(np.uint16)[:, column] = -sums % 0xFFFF if layout.is_tcp else 0xFFFF - sums % 0xFFFF
