"""Super-frames between pytinc nodes: one record in many datagrams (docs/protocol.md).

A super-frame is what the host's TCP hands to its network card to be cut: one header and up to 64 KiB of a
flow. Two pytinc nodes send it as it is, sealed as one record. The record goes in pieces, each in a datagram:

    "pytinc" (6) | source id (6) | be32 number | index (1) | pieces (1) | part of the sealed record

The number of a piece is that of the record plus its index. The plaintext is a `HEAD` and the frame.
"""

from __future__ import annotations

import struct
from typing import Final

from pytinc.wire.datagram import PREFIX_SIZE, NodeId
from pytinc.wire.records import SEQNO_SIZE

SUPER_FRAME_ID: Final = NodeId(b"pytinc")
"""Stands where other datagrams have the id of their destination. Only who is meant gets such a datagram."""
PIECE_HEAD_SIZE: Final = PREFIX_SIZE + SEQNO_SIZE + 2
MAX_PIECES: Final = 255

ONE_CALL_PIECES: Final = 64
ONE_CALL_BYTES: Final = 65507
"""What one call of UDP_SEGMENT carries (UDP_MAX_SEGMENTS of older kernels, the largest UDP payload). A
super-frame that takes more is cut: of several calls one may find the socket's buffer full."""

HEAD: Final = struct.Struct(">BHH")
"""In front of the frame: the kind of segmentation, the bytes of data in each of its frames, and where its TCP
header is. The kind is that of a virtio-net header (virtio 1.2, 5.1.6): 1 for IPv4 and 4 for IPv6, plus 0x80
if the CWR flag is the first frame's alone."""
MAX_SUPER_FRAME: Final = HEAD.size + 14 + 8 + 65535
"""Longest plaintext: an IP packet of any length with two VLAN tags."""
