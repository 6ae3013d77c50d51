"""Ethernet frames: offsets and the one VLAN tag we look behind."""

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
"""Never a real frame: where a frame has its ethertype, a UDP probe has zeros."""

HEADER_OF_IP: Final = {
    bytes((version << 4 | rest,)): bytes(12) + kind
    for version, kind in ((4, IPV4), (6, IPV6))
    for rest in range(16)
}
"""By the first byte of an IP packet: the header it gets where it comes without one. The MACs are zero."""


def is_group(mac: bytes) -> bool:
    """Tell whether a MAC stands for many stations: multicast or broadcast."""
    return bool(mac[0] & 1)


def payload_offset(frame: bytes) -> int:
    """Return where the payload begins: after the header, or after one 802.1Q tag."""
    return HEADER_SIZE + VLAN_TAG_SIZE if frame[ETHERTYPE] == VLAN else HEADER_SIZE


def ethertype(frame: bytes, offset: int) -> bytes:
    """Return the ethertype in front of ``offset`` (see `payload_offset`)."""
    return frame[offset - 2 : offset]
