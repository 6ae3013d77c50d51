"""The capability block that pytinc nodes put into the padding of their UDP probes (docs/protocol.md).

Layout: ``b"pytinc"`` | version (1) | be16 flags. C nodes ignore it, but they copy bytes 3 to 17 of a
request into their replies; that copy must not look as if the C node had sent a block. So blocks in requests
and in replies start at different offsets, each at the first byte that nobody reads (docs/protocol-data.md,
"Probes").

`pytinc.protocol.pmtu` calls this module; `pytinc.node.probes` decides what follows from the flags.
"""

from __future__ import annotations

import enum
from typing import Final

IN_REQUEST: Final = 1
"""Offset in a request: after the kind."""
IN_SHORT_REPLY: Final = 3
"""Offset in a reply of 18 bytes: after the kind and the length of the request."""
_MAGIC: Final = b"pytinc\x01"
"""Includes the version of the layout; a block of a later version is ignored."""
_FLAGS_SIZE: Final = 2
BLOCK_SIZE: Final = len(_MAGIC) + _FLAGS_SIZE


class Capability(enum.IntFlag):
    """What a node can do. Unknown bits are kept and ignored."""

    NONE = 0
    FAST_TAG = 1
    """The node accepts data records with RFC 8439's tag under the current key."""
    SUPER_FRAMES = 2
    """The node accepts super-frames in pieces under the current key (`pytinc.wire.super_frame`)."""
    GUARD = 4
    """The node guards the stations behind it that use shared addresses (`pytinc.vip`)."""
    MEMBER_RECORDS = 8
    """The node takes member records of virtual IPs (`pytinc.wire.vip_record`)."""
    AES_SUPER_FRAMES = 16
    """The node accepts super-frames that are sealed with AES-256-GCM, and its CPU is fast at that."""


def format_block(capabilities: Capability) -> bytes:
    """Return the block that announces ``capabilities``."""
    return _MAGIC + int(capabilities).to_bytes(_FLAGS_SIZE, "big")


def parse_block(payload: bytes, offset: int) -> Capability:
    """Return what the block at ``offset`` announces; no capabilities if there is no known block."""
    block = payload[offset : offset + BLOCK_SIZE]
    if len(block) < BLOCK_SIZE or not block.startswith(_MAGIC):
        return Capability.NONE
    return Capability(int.from_bytes(block[len(_MAGIC) :], "big"))
