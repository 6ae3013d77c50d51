"""ARP and neighbour discovery on a tap in router mode: the node answers for all others (dataplane.md 5.8).

The host behind the tap believes that every address of the VPN is on its Ethernet, and asks for its MAC. It
gets one that does not exist: its own with the last byte inverted. Called by `pytinc.datapath.router` and its
twin. Cold path.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from pytinc.wire import ethernet, ip

_ARP_SIZE: Final = ethernet.HEADER_SIZE + 28
_ARP_REQUEST: Final = bytes((0, 1, 8, 0, 6, 4, 0, 1))
"""Ethernet, IPv4, lengths of their addresses, request (RFC 826)."""
_ARP_REPLY: Final = _ARP_REQUEST[:-1] + b"\2"

_SOLICITATION: Final = 135
_ADVERTISEMENT: Final = 136
_BODY: Final = ethernet.HEADER_SIZE + ip.IPV6_HEADER_SIZE
_SOLICITATION_SIZE: Final = 24
"""Type, code, checksum, reserved (4), target (16); RFC 4861, 4.3."""
_OPTION_SIZE: Final = 8
_SOURCE_LINK_LAYER: Final = b"\1\1"
_TARGET_LINK_LAYER: Final = b"\2\1"
_SOLICITED: Final = bytes((0x40, 0, 0, 0))
_HOPS: Final = 255
_UNSPECIFIED: Final = bytes(16)


class Question(NamedTuple):
    """Somebody asks for the MAC of an address."""

    mac: bytes
    """Who asks."""
    target: bytes
    """The address: 4 or 16 bytes."""
    answer: bytes
    """The frame that answers; its MACs are those of the question."""


def router_mac(hwaddr: bytes) -> bytes:
    """Return the MAC that all of the VPN has for the host with ``hwaddr``."""
    return hwaddr[:5] + bytes((hwaddr[5] ^ 0xFF,))


def is_solicitation(frame: bytes) -> bool:
    """Tell whether an untagged IPv6 packet is a neighbour solicitation."""
    return frame[20] == ip.PROTOCOL_ICMPV6 and frame[54:55] == b"\x87"


def parse_arp(frame: bytes) -> Question | None:
    """Read an ARP request; None if it is none, or for anything but IPv4 on Ethernet."""
    if len(frame) < _ARP_SIZE or frame[14:22] != _ARP_REQUEST:
        return None
    mac, sender, target = frame[22:28], frame[28:32], frame[38:42]
    if ethernet.is_group(mac):
        return None
    answer = frame[:14] + _ARP_REPLY + router_mac(mac) + target + mac + sender
    return Question(mac, target, answer)


def parse_solicitation(frame: bytes) -> Question | None:
    """Read a neighbour solicitation; None if it is malformed, or has no address to answer to.

    A host that only makes sure that nobody has its address asks without one (RFC 4862, 5.4).
    """
    length = int.from_bytes(frame[18:20], "big")
    body = frame[_BODY : _BODY + length]
    source, option = frame[22:38], body[_SOLICITATION_SIZE : _SOLICITATION_SIZE + _OPTION_SIZE]
    if len(body) != length or len(body) < _SOLICITATION_SIZE or source == _UNSPECIFIED:
        return None
    pseudo = ip.pseudo_header_v6(source, frame[38:54], length, ip.PROTOCOL_ICMPV6)
    if ip.checksum(pseudo + body) != 0 or body[:2] != bytes((_SOLICITATION, 0)):
        return None
    if option and (len(option) < _OPTION_SIZE or option[:2] != _SOURCE_LINK_LAYER):
        return None
    # Without the option only its header tells who asks: the host knows the answer's way already.
    mac = option[2:] or frame[ethernet.SOURCE]
    if ethernet.is_group(mac):
        return None
    return Question(mac, body[8:24], frame[:14] + _advertisement(body[8:24], source, mac))


def _advertisement(target: bytes, to: bytes, mac: bytes) -> bytes:
    body = bytes((_ADVERTISEMENT, 0, 0, 0)) + _SOLICITED + target + _TARGET_LINK_LAYER + router_mac(mac)
    return ip.packet_icmpv6(target, to, body, _HOPS)
