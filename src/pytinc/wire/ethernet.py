"""Ethernet frames: offsets, and the one VLAN tag that the switch looks behind."""

from __future__ import annotations

from typing import Final

HEADER_SIZE: Final = 14
VLAN_TAG_SIZE: Final = 4
DESTINATION: Final = slice(0, 6)
SOURCE: Final = slice(6, 12)
ETHERTYPE: Final = slice(12, 14)

IPV4: Final = b"\x08\x00"
IPV6: Final = b"\x86\xdd"
ARP: Final = b"\x08\x06"
VLAN: Final = b"\x81\x00"
"""A tag of 802.1Q."""
VLAN_TYPES: Final = (VLAN, b"\x88\xa8")
"""802.1Q, and 802.1ad for the outer one of two tags."""
NO_TYPE: Final = b"\0\0"
"""The ethertype field of a UDP probe, which no real frame has."""

HEADER_OF_IP: Final = {
    bytes((version << 4 | rest,)): bytes(12) + kind
    for version, kind in ((4, IPV4), (6, IPV6))
    for rest in range(16)
}
"""The header for an IP packet that has none, by the version in its first byte. The MACs are zero."""


def is_group(mac: bytes) -> bool:
    """Return whether a MAC address is that of a group: multicast or broadcast."""
    return bool(mac[0] & 1)


def payload_offset(frame: bytes) -> int:
    """Return the offset of the payload: after the header and one 802.1Q tag, if there is one."""
    return HEADER_SIZE + VLAN_TAG_SIZE if frame[ETHERTYPE] == VLAN else HEADER_SIZE


def ethertype(frame: bytes, offset: int) -> bytes:
    """Return the ethertype before the payload at ``offset`` (see `payload_offset`)."""
    return frame[offset - 2 : offset]
