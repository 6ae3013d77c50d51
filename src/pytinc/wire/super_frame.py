"""Super-frames between pytinc nodes: one record in many datagrams (docs/protocol.md).

A super-frame is a large TCP segment that the host leaves to its network card to split: one header and up to
64 KiB of a flow. Two pytinc nodes exchange it unsplit, sealed as one record. The record travels in pieces,
each in a datagram of its own:

    "pytinc" (6) | source id (6) | be32 number | index (1) | pieces (1) | part of the sealed record

The number of a piece is the number of the record plus the index of the piece. The plaintext is a `HEAD`
followed by the frame.
"""

from __future__ import annotations

import struct
from typing import Final

from pytinc.wire.datagram import PREFIX_SIZE, NodeId
from pytinc.wire.records import SEQNO_SIZE

SUPER_FRAME_ID: Final = NodeId(b"pytinc")
"""Takes the place of the destination id. Pieces are only sent directly to their receiver."""
PIECE_HEAD_SIZE: Final = PREFIX_SIZE + SEQNO_SIZE + 2
MAX_PIECES: Final = 255

ONE_CALL_PIECES: Final = 64
ONE_CALL_BYTES: Final = 65507
"""The limits of one call with UDP_SEGMENT (UDP_MAX_SEGMENTS of older kernels, the largest UDP payload). A
super-frame that needs more is split, because one of several calls might find the socket's buffer full."""

HEAD: Final = struct.Struct(">BHH")
"""The header before the frame: the kind of segmentation, the bytes of data in each of its frames, and the
offset of its TCP header. The kind is that of a virtio-net header (virtio 1.2, 5.1.6): 1 for IPv4 and 4 for
IPv6, plus 0x80 if only the first frame has the CWR flag."""
MAX_SUPER_FRAME: Final = HEAD.size + 14 + 8 + 65535
"""Longest plaintext: an IP packet of any length with two VLAN tags."""
