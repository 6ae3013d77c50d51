"""The id prefix of UDP packets and the sizes around it (docs/protocol-data.md, "Datagrams").

Layout of a datagram: destination id (6) | source id (6) | be32 sequence number | sealed (type | payload)
| tag (16). A destination of all zeros means that the datagram is for the receiver, from the sender itself.
"""

from __future__ import annotations

import hashlib
from typing import Final, NewType

NodeId = NewType("NodeId", bytes)
"""The first six bytes of the SHA-512 of a node's name."""

ID_SIZE: Final = 6
PREFIX_SIZE: Final = 2 * ID_SIZE
NULL_ID: Final = NodeId(bytes(ID_SIZE))

SPTPS_DATAGRAM_OVERHEAD: Final = 21
"""Sequence number (4), type (1) and tag (16)."""
DATAGRAM_OVERHEAD: Final = PREFIX_SIZE + SPTPS_DATAGRAM_OVERHEAD
"""Bytes that a UDP payload has in addition to the record's payload."""
MIN_DATAGRAM_SIZE: Final = DATAGRAM_OVERHEAD
"""A shorter UDP payload cannot be genuine: it is dropped before any look-up."""

MTU_MAX: Final = 1518
"""Longest record payload between nodes: a full Ethernet frame with one VLAN tag (tinc: MTU)."""
MIN_MTU: Final = 512
"""A path that carries less than this is not worth using (tinc's floor for the search)."""
MAX_DATAGRAM_SIZE: Final = MTU_MAX + DATAGRAM_OVERHEAD
MAX_PACKET_SIZE: Final = 1673
"""tinc's packet buffer (BUFMAX): longer datagrams are never genuine."""

# Record types inside a datagram session.
TYPE_PACKET: Final = 0
TYPE_COMPRESSED: Final = 1
"""Flag: the payload is compressed."""
TYPE_MAC: Final = 2
"""Flag: the payload is an Ethernet frame with its header (switch and hub mode)."""
TYPE_PROBE: Final = 4
TYPE_HANDSHAKE: Final = 128


def node_id(name: str) -> NodeId:
    """Return the identifier that stands for ``name`` in packets."""
    return NodeId(hashlib.sha512(name.encode("ascii")).digest()[:ID_SIZE])
