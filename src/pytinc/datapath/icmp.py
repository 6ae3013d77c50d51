"""Makes ICMP errors about frames that cannot be delivered; `delivery` sends them. Cold path.

See docs/protocol-data.md, "Large packets" and "Router mode".

At most three per second, all kinds together, as in tinc, so that nobody can use them as an amplifier.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from pytinc.wire import ethernet, ip
from pytinc.wire.datagram import NodeId

ERRORS_PER_SECOND: Final = 3
_QUOTE_V4: Final = 548
_QUOTE_V6: Final = 528
_FRAGMENTATION_NEEDED: Final = (3, 4)
_TIME_EXCEEDED: Final = (ip.ICMP_TIME_EXCEEDED, 0)
_PACKET_TOO_BIG: Final = (2, 0)
_TIME_EXCEEDED_V6: Final = (ip.ICMPV6_TIME_EXCEEDED, 0)
_UNREACHABLE: Final = 3
_UNREACHABLE_V6: Final = 1
_HOPS: Final = 255
_DUMMY_ADDRESS: Final = bytes((192, 0, 0, 8))
"""What a node without an IPv4 address puts in ICMP errors (RFC 7600, 22)."""
_MULTICAST_V4: Final = 224
"""First byte of the lowest IPv4 address that stands for no single host."""
_UNSPECIFIED: Final = bytes(16)
_LINK_LOCAL: Final = bytes((0xFE, 0x80)) + bytes(6)


class Reason(NamedTuple):
    """Why a packet cannot be delivered: the ICMP and the ICMPv6 code."""

    v4: int
    v6: int


NO_SUBNET: Final = Reason(6, 3)
"""Nobody has the address. For when each is sent see "Router mode"."""
OWNER_UNREACHABLE: Final = Reason(0, 0)
PROHIBITED: Final = Reason(9, 1)
"""Forwarding and DirectOnly."""


class ErrorLimit:
    """Counts ICMP errors."""

    def __init__(self) -> None:
        self._second = -1
        self._made = 0

    def allows(self, now: float) -> bool:
        """Count one error; False when there were enough in this second."""
        if int(now) != self._second:
            self._second, self._made = int(now), 0
        self._made += 1
        return self._made <= ERRORS_PER_SECOND


def too_big_v4(frame: bytes, start: int, mtu: int) -> bytes:
    """Return "fragmentation needed" (RFC 1191) to the sender of ``frame``, from its destination.

    ``start`` is the offset of the IP header (as for all functions here), ``mtu`` counts frame bytes.
    """
    source, packet = frame[start + 16 : start + 20], frame[start:mtu]
    return _error_v4(frame, start, source, _FRAGMENTATION_NEEDED, max(mtu - start, 0), packet)


def too_big_v6(frame: bytes, start: int, mtu: int) -> bytes:
    """Return "packet too big" (RFC 4443, 3.2) to the sender of ``frame``, from its destination."""
    source, packet = frame[start + 24 : start + 40], frame[start:mtu]
    return _error_v6(frame, start, source, _PACKET_TOO_BIG, max(mtu - start, 0), packet)


def time_exceeded_v4(frame: bytes, start: int, source: bytes | None = None) -> bytes:
    """Return "time exceeded" (RFC 792) to the sender of ``frame``.

    tinc asks the kernel which address it would use towards the sender. The switch has none and does no I/O,
    so without ``source`` the error comes from the address that the IANA set aside for this.
    """
    return _error_v4(frame, start, source or _DUMMY_ADDRESS, _TIME_EXCEEDED, 0, frame[start:])


def time_exceeded_v6(frame: bytes, start: int, node: NodeId, source: bytes | None = None) -> bytes:
    """Return "time exceeded" (RFC 4443, 3.3); else from a link-local address with the node's id in it."""
    if source is None:
        # The id takes the place of a MAC in a modified EUI-64 (RFC 4291, appendix A), as one set locally.
        source = _LINK_LOCAL + bytes((node[0] & 0xFC,)) + node[1:3] + b"\xff\xfe" + node[3:]
    return _error_v6(frame, start, source, _TIME_EXCEEDED_V6, 0, frame[start:])


def unreachable(frame: bytes, reason: Reason) -> bytes:
    """Return "destination unreachable" to the sender of an untagged IP packet, from its destination."""
    start = ethernet.HEADER_SIZE
    packet = frame[start:]
    if frame[ethernet.ETHERTYPE] == ethernet.IPV4:
        return _error_v4(frame, start, frame[30:34], (_UNREACHABLE, reason.v4), 0, packet)
    return _error_v6(frame, start, frame[38:54], (_UNREACHABLE_V6, reason.v6), 0, packet)


def deserves_answer(frame: bytes) -> bool:
    """Tell whether an untagged, complete IP packet may be answered by an ICMP error at all.

    Never another error, a later fragment, nor what came from no single host or went to many (RFC 1122,
    3.2.2; RFC 4443, 2.4).
    """
    if frame[ethernet.ETHERTYPE] == ethernet.IPV4:
        is_error = frame[23] == ip.PROTOCOL_ICMP and frame[34:35] and frame[34] in ip.ICMP_ERRORS
        later = int.from_bytes(frame[20:22], "big") & ip.OFFSET_MASK
        return not (is_error or later) and 0 < frame[26] < _MULTICAST_V4 and frame[30] < _MULTICAST_V4
    is_error = frame[20] == ip.PROTOCOL_ICMPV6 and frame[54:55] and frame[54] < ip.ICMPV6_FIRST_QUERY
    return not is_error and frame[22:38] != _UNSPECIFIED and frame[22] != 0xFF and frame[38] != 0xFF


def _error_v4(
    frame: bytes, start: int, source: bytes, kind: tuple[int, int], rest: int, packet: bytes
) -> bytes:
    body = _body(kind, rest, packet[:_QUOTE_V4])
    body[2:4] = ip.checksum(bytes(body)).to_bytes(2, "big")
    header = bytearray(ip.IPV4_HEADER_SIZE)
    header[0] = 0x45
    header[2:4] = (ip.IPV4_HEADER_SIZE + len(body)).to_bytes(2, "big")
    header[8], header[9] = _HOPS, ip.PROTOCOL_ICMP
    header[12:16], header[16:20] = source, frame[start + 12 : start + 16]
    header[10:12] = ip.checksum(bytes(header)).to_bytes(2, "big")
    return _swapped(frame, start) + bytes(header) + bytes(body)


def _error_v6(
    frame: bytes, start: int, source: bytes, kind: tuple[int, int], rest: int, packet: bytes
) -> bytes:
    destination = frame[start + 8 : start + 24]
    body = bytes(_body(kind, rest, packet[:_QUOTE_V6]))
    return _swapped(frame, start) + ip.packet_icmpv6(source, destination, body, _HOPS)


def _swapped(frame: bytes, start: int) -> bytes:
    """Return the Ethernet header of an answer to ``frame``."""
    return frame[ethernet.SOURCE] + frame[ethernet.DESTINATION] + frame[12:start]


def _body(kind: tuple[int, int], rest: int, quote: bytes) -> bytearray:
    return bytearray(bytes(kind) + b"\0\0" + rest.to_bytes(4, "big") + quote)
