"""IP packets that exceed the MTU of their path: fragments, or an ICMP error back (dataplane.md 5.7).

Cold path: such frames are rare once MSS clamping and path MTU discovery have done their work.
"""

from __future__ import annotations

from typing import Final

from pytinc.wire import ethernet, ip

MIN_IPV4: Final = 576
MIN_IPV6: Final = 1280
"""Smaller packets are sent whatever the MTU: every IP host must take them."""
MIN_FRAGMENT_MTU: Final = 590
ICMP_PER_SECOND: Final = 3
_ICMPV4_QUOTE: Final = 548
_ICMPV6_QUOTE: Final = 528
_FRAGMENTATION_NEEDED: Final = (3, 4)
_PACKET_TOO_BIG: Final = (2, 0)


class TooBig:
    """Decides what becomes of a frame longer than the MTU of its path. Limits the ICMP errors made."""

    def __init__(self) -> None:
        self._second = -1
        self._sent = 0

    def handle(self, frame: bytes, mtu: int, now: float) -> tuple[list[bytes], bytes | None]:
        """Return the frames to send on, and the ICMP error for the sender (None: none).

        A frame that is no large IP packet is sent on as it is: TCP carries it.
        """
        start = ethernet.payload_offset(frame)
        kind = ethernet.ethertype(frame, start)
        if kind == ethernet.IPV4 and len(frame) > MIN_IPV4 + start:
            if int.from_bytes(frame[start + 6 : start + 8], "big") & ip.DONT_FRAGMENT:
                return [], icmp_too_big(frame, start, mtu) if self._may_answer(now) else None
            return fragment_ipv4(frame, start, mtu), None
        if kind == ethernet.IPV6 and len(frame) > MIN_IPV6 + start:
            return [], icmpv6_too_big(frame, start, mtu) if self._may_answer(now) else None
        return [frame], None

    def _may_answer(self, now: float) -> bool:
        """Count one ICMP error; False when there were enough in this second."""
        if int(now) != self._second:
            self._second, self._sent = int(now), 0
        self._sent += 1
        return self._sent <= ICMP_PER_SECOND


def fragment_ipv4(frame: bytes, start: int, mtu: int) -> list[bytes]:
    """Cut an IPv4 packet into fragments that fit; an odd one (options, padding) comes back whole."""
    total = int.from_bytes(frame[start + 2 : start + 4], "big")
    if frame[start] & 0x0F != 5 or total + start != len(frame):
        return [frame]
    flags = int.from_bytes(frame[start + 6 : start + 8], "big")
    data = frame[start + ip.IPV4_HEADER_SIZE :]
    most = (max(mtu, MIN_FRAGMENT_MTU) - start - ip.IPV4_HEADER_SIZE) & ~7
    fragments: list[bytes] = []
    for position in range(0, len(data), most):
        part = data[position : position + most]
        last = position + most >= len(data)
        more = flags & ip.MORE_FRAGMENTS if last else ip.MORE_FRAGMENTS
        offset = (flags & ip.OFFSET_MASK) + position // 8
        header = bytearray(frame[start : start + ip.IPV4_HEADER_SIZE])
        header[2:4] = (ip.IPV4_HEADER_SIZE + len(part)).to_bytes(2, "big")
        header[6:8] = (more | offset & ip.OFFSET_MASK).to_bytes(2, "big")
        header[10:12] = b"\0\0"
        header[10:12] = ip.checksum(bytes(header)).to_bytes(2, "big")
        fragments.append(frame[:start] + bytes(header) + part)
    return fragments


def _swapped(frame: bytes, start: int) -> bytes:
    """Return the Ethernet header of an answer to ``frame``."""
    return frame[6:12] + frame[0:6] + frame[12:start]


def icmp_too_big(frame: bytes, start: int, mtu: int) -> bytes:
    """Return "fragmentation needed" (RFC 1191) to the sender of ``frame``."""
    packet = frame[start:mtu]
    next_hop_mtu = max(mtu - start, 0)
    body = _icmp(_FRAGMENTATION_NEEDED, next_hop_mtu.to_bytes(4, "big"), packet[:_ICMPV4_QUOTE])
    body[2:4] = ip.checksum(bytes(body)).to_bytes(2, "big")
    header = bytearray(ip.IPV4_HEADER_SIZE)
    header[0] = 0x45
    header[2:4] = (ip.IPV4_HEADER_SIZE + len(body)).to_bytes(2, "big")
    header[8], header[9] = 255, ip.PROTOCOL_ICMP
    header[12:16], header[16:20] = frame[start + 16 : start + 20], frame[start + 12 : start + 16]
    header[10:12] = ip.checksum(bytes(header)).to_bytes(2, "big")
    return _swapped(frame, start) + bytes(header) + bytes(body)


def icmpv6_too_big(frame: bytes, start: int, mtu: int) -> bytes:
    """Return "packet too big" (RFC 4443, 3.2) to the sender of ``frame``."""
    packet = frame[start:mtu]
    source, destination = frame[start + 24 : start + 40], frame[start + 8 : start + 24]
    body = _icmp(_PACKET_TOO_BIG, max(mtu - start, 0).to_bytes(4, "big"), packet[:_ICMPV6_QUOTE])
    pseudo = ip.pseudo_header_v6(source, destination, len(body), ip.PROTOCOL_ICMPV6)
    body[2:4] = ip.checksum(pseudo + bytes(body)).to_bytes(2, "big")
    header = bytes((0x60, 0, 0, 0)) + len(body).to_bytes(2, "big")
    header += bytes((ip.PROTOCOL_ICMPV6, 255)) + source + destination
    return _swapped(frame, start) + header + bytes(body)


def _icmp(kind: tuple[int, int], rest: bytes, quote: bytes) -> bytearray:
    return bytearray(bytes(kind) + b"\0\0" + rest + quote)
