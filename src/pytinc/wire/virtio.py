"""The virtio-net header: what the kernel leaves to do for a frame (virtio 1.2, 5.1.6).

A device with offloads has one in front of every frame, in both directions. It tells where a checksum is
missing, and how a super-frame is to be cut. `pytinc.net` reads it, `pytinc.datapath` acts on it.
"""

from __future__ import annotations

import struct
from typing import Final

HEADER: Final = struct.Struct("=BBHHHH")
"""struct virtio_net_hdr: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset; host byte order."""
FLAGS: Final = 0
GSO_TYPE: Final = 1
"""Offsets of the first two fields, of one byte each."""
CHECKSUM_PLACE: Final = struct.Struct("=HH")
"""csum_start and csum_offset, ..."""
CHECKSUM_PLACE_AT: Final = 6
"""... and where they are in the header."""
NULL_HEADER: Final = bytes(HEADER.size)
"""The header of a frame with which nothing is left to do."""

NEEDS_CSUM: Final = 1
"""Flag: the checksum field holds the sum of the pseudo header only."""
GSO_NONE: Final = 0
GSO_TCPV4: Final = 1
GSO_TCPV6: Final = 4
GSO_UDP_L4: Final = 5
GSO_ECN: Final = 0x80
"""Flag beside the TCP types: the CWR flag is set."""
