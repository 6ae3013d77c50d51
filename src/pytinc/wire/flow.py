"""Flows: packets that belong together, so that one host must get them all (TCP connections above all).

The key of a flow consists of these bytes: protocol, source, destination and ports of TCP and UDP; the
identifier in place of ports for echo; source and destination alone for anything else. An ICMP error belongs
to the flow of the packet that it is about, in the direction in which its sender sends (RFC 792, RFC 4443). A
later fragment has no ports, but the same identification as the first one (RFC 791, RFC 8200, 4.5).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from pytinc.wire.ethernet import ETHERTYPE, HEADER_SIZE, IPV4, IPV6
from pytinc.wire.ip import (
    ICMP_ERRORS,
    ICMPV6_FIRST_QUERY,
    IPV4_HEADER_SIZE,
    IPV6_HEADER_SIZE,
    MORE_FRAGMENTS,
    OFFSET_MASK,
    PROTOCOL_ICMP,
    PROTOCOL_ICMPV6,
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    TCP_ACK,
    TCP_SYN,
)

_PORTS: Final = 4
_TCP_FLAGS: Final = 13
"""Offset of the flags in a TCP header."""
_ICMP_QUOTE: Final = 8
"""Offset of the packet that an ICMP error is about."""
_ICMP_ID: Final = slice(4, 6)
_ECHO: Final = {PROTOCOL_ICMP: (0, 8), PROTOCOL_ICMPV6: (128, 129)}
"""ICMP types of echo request and reply, by protocol."""
_NEIGHBOUR_DISCOVERY: Final = range(133, 138)
_EXTENSIONS: Final = (0, 43, 60)
"""IPv6 headers in front of others: hop-by-hop options, routing, destination options (RFC 8200, 4)."""
_FRAGMENT: Final = 44
_FRAGMENT_SIZE: Final = 8
_MAX_EXTENSIONS: Final = 8


class Packet(NamedTuple):
    """The facts that a packet shows about its flow."""

    flow: bytes
    """The same for all packets of a flow, in one direction."""
    destination: bytes
    """IP address."""
    tcp_flags: int | None = None
    """None: the packet is not the beginning of a TCP segment."""
    fragment: bytes = b""
    """The same for all fragments of a packet; empty: the packet is whole."""
    is_later: bool = False
    """It is a fragment, and not the first: `flow` contains only source and destination."""
    is_error: bool = False
    """It is an ICMP error about a packet of the flow's other direction."""

    @property
    def begins(self) -> bool:
        """It is the segment that begins a TCP connection."""
        return self.tcp_flags is not None and self.tcp_flags & (TCP_SYN | TCP_ACK) == TCP_SYN


class _Headers(NamedTuple):
    source: bytes
    destination: bytes
    protocol: int
    body: bytes
    """The data after the IP headers."""
    fragment: bytes
    is_later: bool


def parse(frame: bytes) -> Packet | None:
    """Return the facts about the flow of the IP packet in an untagged frame, from its first bytes.

    None: it is no IP packet, its IP header is truncated, or it is neighbour discovery, which is about the
    station that has a MAC address and not about a flow.
    """
    headers = _headers(frame[ETHERTYPE], frame[HEADER_SIZE:])
    if headers is None:
        return None
    source, destination, protocol, body, fragment, is_later = headers
    if not is_later and protocol == PROTOCOL_ICMPV6 and body[:1] and body[0] in _NEIGHBOUR_DISCOVERY:
        return None
    if not is_later and _is_error(protocol, body):
        about = _headers(frame[ETHERTYPE], body[_ICMP_QUOTE:])
        flow = source + destination if about is None else _flow(about, backwards=True)
        return Packet(flow, destination, None, fragment, is_error=True)
    is_tcp = protocol == PROTOCOL_TCP and not is_later and len(body) > _TCP_FLAGS
    flags = body[_TCP_FLAGS] if is_tcp else None
    return Packet(_flow(headers), destination, flags, fragment, is_later)


def _is_error(protocol: int, body: bytes) -> bool:
    if protocol == PROTOCOL_ICMP:
        return bool(body) and body[0] in ICMP_ERRORS
    return protocol == PROTOCOL_ICMPV6 and bool(body) and body[0] < ICMPV6_FIRST_QUERY


def _flow(headers: _Headers, *, backwards: bool = False) -> bytes:
    """Return the key of a packet's flow; ``backwards``: of the answers to it."""
    source, destination, protocol, body, _, is_later = headers
    ends = destination + source if backwards else source + destination
    if is_later:
        return ends
    if protocol in (PROTOCOL_TCP, PROTOCOL_UDP) and len(body) >= _PORTS:
        ports = body[2:4] + body[:2] if backwards else body[:4]
        return bytes((protocol,)) + ends + ports
    if protocol in _ECHO and len(body) >= _ICMP_ID.stop and body[0] in _ECHO[protocol]:
        return bytes((protocol,)) + ends + body[_ICMP_ID]
    return ends


def _headers(ethertype: bytes, packet: bytes) -> _Headers | None:
    """Read the IP headers of a packet; None if they are invalid or truncated."""
    if ethertype == IPV4:
        return _ipv4(packet)
    return _ipv6(packet) if ethertype == IPV6 else None


def _ipv4(packet: bytes) -> _Headers | None:
    if len(packet) < IPV4_HEADER_SIZE or packet[0] >> 4 != 4:
        return None
    size = (packet[0] & 0x0F) * 4
    if size < IPV4_HEADER_SIZE:
        return None
    source, destination, protocol = packet[12:16], packet[16:20], packet[9]
    place = int.from_bytes(packet[6:8], "big")
    offset, fragment = place & OFFSET_MASK, b""
    if offset or place & MORE_FRAGMENTS:
        fragment = packet[9:10] + packet[12:20] + packet[4:6]
    return _Headers(source, destination, protocol, packet[size:], fragment, offset > 0)


def _ipv6(packet: bytes) -> _Headers | None:
    if len(packet) < IPV6_HEADER_SIZE or packet[0] >> 4 != 6:
        return None
    source, destination = packet[8:24], packet[24:40]
    protocol, body = packet[6], packet[IPV6_HEADER_SIZE:]
    fragment, offset = b"", 0
    for _ in range(_MAX_EXTENSIONS):
        if protocol in _EXTENSIONS and len(body) >= 2:
            protocol, body = body[0], body[(body[1] + 1) * 8 :]
        elif protocol == _FRAGMENT and len(body) >= _FRAGMENT_SIZE and not fragment:
            place = int.from_bytes(body[2:4], "big")
            offset = place >> 3
            if offset or place & 1:
                fragment = body[:1] + packet[8:40] + body[4:8]
            protocol, body = body[0], body[_FRAGMENT_SIZE:]
            if offset:
                break
        else:
            break
    return _Headers(source, destination, protocol, body, fragment, offset > 0)
