"""The capability block that pytinc nodes put into the padding of their UDP probes (docs/protocol.md).

Layout: ``b"pytinc"`` | version (1) | be16 flags. A C node ignores it. But it copies bytes 3 to 17 of a
request into its reply, where they must not look like a block of its own. So a block in a request starts
elsewhere than one in a reply: each at the first byte that nobody reads (docs/protocol-data.md, "Probes").

Called by `pytinc.protocol.pmtu`; what the flags lead to is decided in `pytinc.node.probes`.
"""

from __future__ import annotations

import enum
from typing import Final

IN_REQUEST: Final = 1
"""Offset in a request: after its kind."""
IN_SHORT_REPLY: Final = 3
"""Offset in a reply of 18 bytes: after its kind and the length of the request."""
_MAGIC: Final = b"pytinc\x01"
"""With the version of the layout: a later one is no block for us."""
_FLAGS_SIZE: Final = 2
BLOCK_SIZE: Final = len(_MAGIC) + _FLAGS_SIZE


class Capability(enum.IntFlag):
    """What a node can do. Unknown bits are kept and mean nothing."""

    NONE = 0
    FAST_TAG = 1
    """It takes data records with RFC 8439's tag under the present key."""
    SUPER_FRAMES = 2
    """It takes super-frames in pieces under the present key (`pytinc.wire.super_frame`)."""
    GUARD = 4
    """It takes care of the stations behind it that use shared addresses (`pytinc.vip`)."""


def format_block(capabilities: Capability) -> bytes:
    """Return the block that announces ``capabilities``."""
    return _MAGIC + int(capabilities).to_bytes(_FLAGS_SIZE, "big")


def parse_block(payload: bytes, offset: int) -> Capability:
    """Return what the block at ``offset`` announces; nothing if there is none that we know."""
    block = payload[offset : offset + BLOCK_SIZE]
    if len(block) < BLOCK_SIZE or not block.startswith(_MAGIC):
        return Capability.NONE
    return Capability(int.from_bytes(block[len(_MAGIC) :], "big"))
