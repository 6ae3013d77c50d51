"""ARP and neighbour discovery on a tap in router mode: the node answers for all others.

See docs/protocol-data.md, "Router mode".

The host behind the tap believes that every address of the VPN is on its Ethernet, and asks for the MAC of
each. The answer is a MAC that does not exist: the host's own with the last byte inverted. Called by
`pytinc.datapath.router` and its twin. Cold path.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from pytinc.wire import arp, ethernet, ip
from pytinc.wire.arp import Arp

_OPTION_SIZE: Final = 8
_SOURCE_LINK_LAYER: Final = bytes((arp.SOURCE_LINK_LAYER, 1))
_SOLICITATION: Final = bytes((arp.SOLICITATION,))


class Question(NamedTuple):
    """Somebody asks for the MAC of an address."""

    mac: bytes
    """Who asks."""
    target: bytes
    """The address: 4 or 16 bytes."""
    answer: bytes
    """The frame that answers; its MACs are those of the question."""


def router_mac(hwaddr: bytes) -> bytes:
    """Return the MAC that the host with ``hwaddr`` sees for every address of the VPN."""
    return hwaddr[:5] + bytes((hwaddr[5] ^ 0xFF,))


def is_solicitation(frame: bytes) -> bool:
    """Tell whether an untagged IPv6 packet is a neighbour solicitation."""
    return frame[20] == ip.PROTOCOL_ICMPV6 and frame[arp.IPV6_BODY : arp.IPV6_BODY + 1] == _SOLICITATION


def parse_arp(frame: bytes) -> Question | None:
    """Read an ARP request; None if it is none, or for anything but IPv4 on Ethernet."""
    packet = arp.parse_arp(frame)
    if packet is None or packet.operation != arp.REQUEST or ethernet.is_group(packet.mac):
        return None
    mac, target = packet.mac, packet.target
    answer = arp.format_arp(Arp(arp.REPLY, router_mac(mac), target, mac, packet.address))
    return Question(mac, target, frame[:14] + answer)


def parse_solicitation(frame: bytes) -> Question | None:
    """Read a neighbour solicitation; None if it is malformed, or has no address to answer to.

    A host that only makes sure that nobody has its address asks without one (RFC 4862, 5.4).
    """
    packet = arp.parse_neighbour(frame)
    if packet is None or packet.type != arp.SOLICITATION or packet.source == arp.NO_IPV6:
        return None
    option = packet.options[:_OPTION_SIZE]
    if option and (len(option) < _OPTION_SIZE or option[:2] != _SOURCE_LINK_LAYER):
        return None
    # Without the option only its header tells who asks: the host knows the answer's way already.
    mac = option[2:] or frame[ethernet.SOURCE]
    if ethernet.is_group(mac):
        return None
    answer = arp.advertisement(packet.target, router_mac(mac), packet.source, arp.SOLICITED)
    return Question(mac, packet.target, frame[:14] + answer)
