"""ARP and the neighbour messages of IPv6: what is in the packets (RFC 826; RFC 4861, 4.3, 4.4 and 4.6).

Only untagged Ethernet frames are understood. Two modules interpret the packets: `pytinc.wire.neighbour` puts
both families into one form for the guard of shared addresses, and `pytinc.datapath.neighbour` answers the
host of a node in router mode. Parsers never raise; they return None for what they do not understand.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from pytinc.wire import ip
from pytinc.wire.ethernet import HEADER_SIZE

REQUEST: Final = b"\0\1"
REPLY: Final = b"\0\2"
NO_IPV4: Final = bytes(4)
"""The sender address of a probe, whose sender has no address yet (RFC 5227, 2.1.1)."""
NO_IPV6: Final = bytes(16)
"""The unspecified address, with the same meaning (RFC 4862, 5.4)."""
NO_MAC: Final = bytes(6)

SOLICITATION: Final = 135
ADVERTISEMENT: Final = 136
SOURCE_LINK_LAYER: Final = 1
TARGET_LINK_LAYER: Final = 2
NONCE: Final = 14
"""RFC 3971, 5.3.2: an answer copies this option or omits it; hosts without support ignore it."""
SOLICITED: Final = 0x40
OVERRIDE: Final = 0x20
"""Flags of an advertisement."""
HOPS: Final = 255
"""Hop limit of every neighbour message, which proves that no router has forwarded it."""
OPTIONS_AT: Final = 24
"""Bytes of a message before its options: type, code, checksum, reserved or flags (4), target (16)."""
IPV6_BODY: Final = HEADER_SIZE + ip.IPV6_HEADER_SIZE
"""Where the ICMPv6 message begins in a frame."""

_ARP_HEAD: Final = bytes((0, 1, 8, 0, 6, 4))
"""Ethernet, IPv4, and the lengths of their addresses."""
_ARP_SIZE: Final = HEADER_SIZE + 28
_OPTION_UNIT: Final = 8
_SOLICITED_NODE: Final = bytes.fromhex("ff0200000000000000000001ff")
"""First 13 bytes of the multicast group of an address; the last three bytes of the address follow."""


class Arp(NamedTuple):
    """An ARP packet for IPv4 on Ethernet."""

    operation: bytes
    """`REQUEST`, `REPLY`, or something else."""
    mac: bytes
    address: bytes
    """MAC and IPv4 address of the sender."""
    target_mac: bytes
    target: bytes
    """MAC and IPv4 address of the target; the MAC address in a request is ignored."""


def parse_arp(frame: bytes) -> Arp | None:
    """Read the ARP packet in a frame; the caller has checked the ethertype."""
    if len(frame) < _ARP_SIZE or frame[14:20] != _ARP_HEAD:
        return None
    return Arp(frame[20:22], frame[22:28], frame[28:32], frame[32:38], frame[38:42])


def format_arp(packet: Arp) -> bytes:
    """Return what follows the Ethernet header."""
    return _ARP_HEAD + b"".join(packet)


class NeighbourMessage(NamedTuple):
    """A neighbour solicitation or advertisement."""

    type: int
    source: bytes
    destination: bytes
    """IPv6 addresses of the packet."""
    target: bytes
    """The address that the message is about."""
    options: bytes
    """Unparsed; `first_options` reads them."""


def parse_neighbour(frame: bytes) -> NeighbourMessage | None:
    """Read the neighbour message in a frame that carries ICMPv6; its checksum must be right."""
    length = int.from_bytes(frame[18:20], "big")
    body = frame[IPV6_BODY : IPV6_BODY + length]
    if len(body) != length or length < OPTIONS_AT:
        return None
    if body[0] not in (SOLICITATION, ADVERTISEMENT) or body[1] != 0:
        return None
    source, destination = frame[22:38], frame[38:54]
    pseudo = ip.pseudo_header_v6(source, destination, length, ip.PROTOCOL_ICMPV6)
    if ip.checksum(pseudo + body) != 0:
        return None
    return NeighbourMessage(body[0], source, destination, body[8:OPTIONS_AT], body[OPTIONS_AT:])


def first_options(options: bytes) -> dict[int, bytes] | None:
    """Return the first six bytes of the first option of each type; None if they are malformed."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(options):
        size = _OPTION_UNIT * options[at + 1] if at + 1 < len(options) else 0
        if size == 0 or at + size > len(options):
            return None
        found.setdefault(options[at], options[at + 2 : at + 8])
        at += size
    return found


def option(kind: int, value: bytes) -> bytes:
    """Return an option with six bytes in it: a MAC address, or a nonce."""
    return bytes((kind, 1)) + value


def solicitation(source: bytes, destination: bytes, target: bytes, options: bytes = b"") -> bytes:
    """Return the IPv6 packet that asks for ``target``."""
    return message_packet(source, destination, bytes((SOLICITATION, 0)) + bytes(6) + target + options)


def advertisement(target: bytes, mac: bytes, to: bytes, flags: int) -> bytes:
    """Return the IPv6 packet from ``target`` that tells the address ``to`` that ``mac`` has ``target``."""
    body = bytes((ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0)) + target + option(TARGET_LINK_LAYER, mac)
    return message_packet(target, to, body)


def message_packet(source: bytes, destination: bytes, body: bytes) -> bytes:
    """Return the IPv6 packet of a neighbour message whose checksum (bytes 2 and 3) is still zero."""
    return ip.packet_icmpv6(source, destination, body, HOPS)


def solicited_group(target: bytes) -> bytes:
    """Return the solicited-node multicast address of ``target`` (RFC 4291, 2.7.1)."""
    return _SOLICITED_NODE + target[13:]
