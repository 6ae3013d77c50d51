"""IP packets that exceed the MTU of their path: fragments, or an ICMP error back.

See docs/protocol-data.md, "Large packets".

Cold path: such frames are rare once MSS clamping and path MTU discovery have done their work.
"""

from __future__ import annotations

from typing import Final

from pytinc.datapath import icmp
from pytinc.datapath.icmp import ErrorLimit
from pytinc.wire import ethernet, ip

MIN_IPV4: Final = 576
MIN_IPV6: Final = 1280
"""Smaller packets are sent whatever the MTU: every IP host must take them."""
MIN_FRAGMENT_MTU: Final = 590


class TooBig:
    """Decides what becomes of a frame longer than the MTU of its path."""

    def __init__(self, limit: ErrorLimit) -> None:
        self._limit = limit

    def handle(self, frame: bytes, mtu: int, now: float) -> tuple[list[bytes], bytes | None]:
        """Return the frames to send on, and the ICMP error for the sender (None: none).

        A frame that is no large IP packet is sent on as it is: TCP carries it.
        """
        start = ethernet.payload_offset(frame)
        kind = ethernet.ethertype(frame, start)
        if kind == ethernet.IPV4 and len(frame) > MIN_IPV4 + start:
            if int.from_bytes(frame[start + 6 : start + 8], "big") & ip.DONT_FRAGMENT:
                return [], icmp.too_big_v4(frame, start, mtu) if self._limit.allows(now) else None
            return fragment_ipv4(frame, start, mtu), None
        if kind == ethernet.IPV6 and len(frame) > MIN_IPV6 + start:
            return [], icmp.too_big_v6(frame, start, mtu) if self._limit.allows(now) else None
        return [frame], None


def fragment_ipv4(frame: bytes, start: int, mtu: int) -> list[bytes]:
    """Cut an IPv4 packet into fragments that fit; an odd one (options, padding) comes back whole.

    ``start`` is the offset of the IP header; ``mtu`` counts frame bytes.
    """
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
