"""The virtio-net header: the work that the kernel leaves to others for a frame (virtio 1.2, 5.1.6).

A device with offloads puts one before every frame, in both directions. It says where a checksum is missing
and how a super-frame must be split. `pytinc.net` reads it; `pytinc.datapath` does the work.
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
"""The fields csum_start and csum_offset."""
CHECKSUM_PLACE_AT: Final = 6
"""Offset of csum_start in the header."""
NULL_HEADER: Final = bytes(HEADER.size)
"""The header of a frame that needs no work."""

NEEDS_CSUM: Final = 1
"""Flag: the checksum field holds the sum of the pseudo header only."""
GSO_NONE: Final = 0
GSO_TCPV4: Final = 1
GSO_TCPV6: Final = 4
GSO_UDP_L4: Final = 5
GSO_ECN: Final = 0x80
"""Flag beside the TCP types: the CWR flag is set."""
