"""Bits: the options of nodes, edges and connections, and what dumps say of nodes and connections.

docs/protocol-meta.md and docs/protocol-control.md, "Status bits".
"""

from __future__ import annotations

from enum import IntFlag
from typing import Final


class OptionBits:
    """Bits in the options of a connection, edge or node; the top byte is the protocol minor.

    Plain integers: an `enum.IntFlag` drops the unknown top byte when one of its members is inverted.
    """

    INDIRECT: Final = 0x01
    TCPONLY: Final = 0x02
    PMTU_DISCOVERY: Final = 0x04
    CLAMP_MSS: Final = 0x08


def options_version(options: int) -> int:
    """Return the protocol minor that the top byte of ``options`` holds."""
    return options >> 24


class NodeStatus(IntFlag):
    """Status bits of a node."""

    VALIDKEY = 0x2
    WAITING_FOR_KEY = 0x4
    VISITED = 0x8
    REACHABLE = 0x10
    INDIRECT = 0x20
    SPTPS = 0x40
    UDP_CONFIRMED = 0x80
    SEND_LOCALLY = 0x100
    UDP_PACKET = 0x200
    VALIDKEY_IN = 0x400
    HAS_ADDRESS = 0x800
    PING_SENT = 0x1000


class ConnectionStatus(IntFlag):
    """Status bits of a connection, with the numbers of tinc after 1.1pre18."""

    PINGED = 0x1
    CONNECTING = 0x4
    ENCRYPT_OUT = 0x40
    DECRYPT_IN = 0x80
    MST = 0x100
    CONTROL = 0x200
    PCAP = 0x400
    LOG = 0x800
    LOG_COLOR = 0x1000
    INVITATION = 0x2000
    INVITATION_USED = 0x4000
    TARPIT = 0x8000
