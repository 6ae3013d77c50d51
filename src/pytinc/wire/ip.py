"""Internet checksums, and the few header offsets the switch needs (RFC 791, 8200, 1071, 1624)."""

from __future__ import annotations

from typing import Final

from pytinc.wire.ethernet import IPV4, IPV6

IPV4_HEADER_SIZE: Final = 20
IPV6_HEADER_SIZE: Final = 40
PLAIN_IPV4: Final = 0x45
"""First byte of an IPv4 header without options."""
PROTOCOL_ICMP: Final = 1
PROTOCOL_IPIP: Final = 4
PROTOCOL_TCP: Final = 6
PROTOCOL_UDP: Final = 17
PROTOCOL_ICMPV6: Final = 58
ICMP_ERRORS: Final = frozenset((3, 4, 5, 11, 12))
"""ICMP types that report an error about a packet; in ICMPv6 these are the types below 128."""
ICMPV6_FIRST_QUERY: Final = 128
ICMP_TIME_EXCEEDED: Final = 11
ICMPV6_TIME_EXCEEDED: Final = 3
TCP_HEADER_SIZE: Final = 20
TCP_FIN: Final = 0x01
TCP_SYN: Final = 0x02
TCP_RST: Final = 0x04
TCP_PSH: Final = 0x08
TCP_ACK: Final = 0x10
TCP_ECE: Final = 0x40
TCP_CWR: Final = 0x80
TCP_NOT_IN_THE_MIDDLE: Final = TCP_FIN | TCP_SYN | TCP_RST
"""Flags that begin or end a connection."""
TCP_CHECKSUM: Final = 16
"""Offset of the checksum in a TCP header."""
UDP_HEADER_SIZE: Final = 8
UDP_CHECKSUM: Final = 6
"""Offset of the checksum in a UDP header."""
DONT_FRAGMENT: Final = 0x4000
MORE_FRAGMENTS: Final = 0x2000
OFFSET_MASK: Final = 0x1FFF

DESTINATIONS: Final = {IPV4: slice(30, 34), IPV6: slice(38, 54)}
"""Where the destination address is in an untagged frame, by EtherType."""


def checksum(data: bytes) -> int:
    """Return the Internet checksum of ``data`` (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total = int.from_bytes(data, "big") % 0xFFFF
    # A sum that is a multiple of 0xFFFF is 0xFFFF unless all bytes are zero.
    if total == 0 and any(data):
        total = 0xFFFF
    return ~total & 0xFFFF


def update_checksum(old: int, before: int, after: int) -> int:
    """Return the checksum after one 16-bit word changed (RFC 1624, equation 3)."""
    total = (~old & 0xFFFF) + (~before & 0xFFFF) + after
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packet_icmpv6(source: bytes, destination: bytes, body: bytes, hops: int) -> bytes:
    """Return the IPv6 packet with an ICMPv6 message, whose checksum (bytes 2 and 3) must be zero before."""
    pseudo = pseudo_header_v6(source, destination, len(body), PROTOCOL_ICMPV6)
    head = bytes((0x60, 0, 0, 0)) + len(body).to_bytes(2, "big") + bytes((PROTOCOL_ICMPV6, hops))
    checked = body[:2] + checksum(pseudo + body).to_bytes(2, "big") + body[4:]
    return head + source + destination + checked


def pseudo_header_v6(source: bytes, destination: bytes, length: int, protocol: int) -> bytes:
    """Return the IPv6 pseudo header that is part of upper-layer checksums (RFC 8200, 8.1)."""
    return source + destination + length.to_bytes(4, "big") + bytes((0, 0, 0, protocol))
