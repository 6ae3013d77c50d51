"""Storm control: limits how many frames of one node are sent to all per second (``BroadcastLimit``).

It counts flooded frames: broadcast, multicast, and frames for MACs that nobody owns; in hub mode, where every
frame is flooded, only broadcast and multicast. They count for the node that they come from. With ``Broadcast
= mst`` this is a neighbour, which stands for all nodes behind it. Frames of the device count for the own
node. ARP, neighbour discovery and the frames of guards are counted separately, so that a storm of other
frames does not keep hosts from finding each other, nor clients from learning which host serves an address.

HOT PATH of frames for all only. Nothing else comes here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytinc.datapath.flood_meter import FloodKind
from pytinc.wire.ethernet import ARP, DESTINATION, SOURCE
from pytinc.wire.neighbour import GUARD_MAC

if TYPE_CHECKING:
    from pytinc.datapath.output import Output
    from pytinc.datapath.peer_slot import PeerSlot
    from pytinc.datapath.table import ForwardingTable

_SOLICITED: Final = b"\x33\x33\xff"
"""The first bytes of the MACs of solicited-node groups, to which IPv6 hosts send their questions."""
_ALL_NODES: Final = b"\x33\x33\0\0\0\1"
"""The MACs to which IPv6 hosts and routers send announcements."""


def kind_of(header: bytes) -> FloodKind:
    """Return the kind as which a frame with this Ethernet header is counted."""
    if header[SOURCE] == GUARD_MAC:
        return FloodKind.GUARD
    if header[12:14] == ARP or header[:3] == _SOLICITED or header[DESTINATION] == _ALL_NODES:
        return FloodKind.NEIGHBOUR
    return FloodKind.OTHER


def within_limit(
    table: ForwardingTable, source: PeerSlot, kind: FloodKind, frames: list[bytes], now: float, out: Output
) -> list[bytes]:
    """Return the frames of ``source`` that may go to all; the others are dropped."""
    limit = table.rules.broadcast_limit
    if not limit:
        return frames
    passing = source.flooding.admit(kind, len(frames), limit, now)
    if passing == len(frames):
        return frames
    source.drops.storm += len(frames) - passing
    if source.flooding.tells():
        out.upcalls.storms[source] = None
    return frames[:passing]
