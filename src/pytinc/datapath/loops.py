"""Recognises flooded frames that come back because the network has a loop (tinc does not look for loops).

Two nodes whose devices are bridged to the same LAN make one: a broadcast of that LAN reaches the mesh through
both, comes back to the LAN, and so on for ever. The sign of a loop is a frame that came from the device a
moment ago and now comes from the mesh, identical in each byte, or the other way round. The MAC alone would be
no sign: it may have moved (a virtual machine, a virtual address). Frames of MACs that several hosts may have
at once are ignored: those of VRRP, of guards, and of the holders of shared addresses.

A frame that comes again from the same side is no sign: a station may repeat itself, and while routes change,
the mesh delivers some frames twice. But while there is a loop, a quick repetition has gone round through a
node that does not look for loops.

A few frames prove nothing, and an insider can repeat the frames of others. So `pytinc.node.loops` decides: it
sends a test frame that nobody can guess to the own LAN only. Until that frame comes from the mesh, nothing is
dropped. But the source MAC of a frame that the device returns at once is not learned: its station is where
the frame came from.

HOT PATH of frames for all only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytinc.wire.ethernet import SOURCE
from pytinc.wire.neighbour import GUARD_MAC

if TYPE_CHECKING:
    from pytinc.datapath.output import Output
    from pytinc.datapath.peer_slot import PeerSlot
    from pytinc.datapath.table import ForwardingTable

ROUND_TRIP: Final = 0.5
"""Seconds in which a frame usually completes the loop; a station that moves takes longer."""
_VRRP: Final = b"\x00\x00\x5e\x00"
"""The first bytes of the MACs of VRRP, CARP and other protocols that share one MAC among hosts (RFC 9542)."""


def look_for_loops(
    table: ForwardingTable, source: PeerSlot, frames: list[bytes], now: float, out: Output
) -> tuple[list[bytes], int]:
    """Note frames that share an Ethernet header whose destination nobody owns.

    Return the frames that may be flooded (all, unless the node is sure of a loop), and how many have not just
    come back. If that number is 0, the sender is elsewhere, and its MAC must not be learned.
    """
    history = table.floods
    asked = len(frames)
    frames = history.without_questions(source, frames, now)
    if len(frames) < asked and not source.is_me:
        out.upcalls.returned.setdefault(source, b"")
    if not frames:
        return [], 0
    mac = frames[0][SOURCE]
    if mac == GUARD_MAC or mac[:4] == _VRRP or (table.guard is not None and mac in table.guard.macs):
        return frames, len(frames)
    left: list[bytes] = []
    fresh = 0
    for frame in frames:
        found = history.seen(source, frame, now)
        if found is None:
            fresh += 1
            left.append(frame)
            continue
        first, age = found
        if first.is_me == source.is_me:
            fresh += 1
            if history.breaks_loops and age < ROUND_TRIP:
                source.drops.looped += 1
            else:
                left.append(frame)
            continue
        fresh += age >= ROUND_TRIP
        history.returned += 1
        if source.is_me:
            history.device_returned = now
        peer = source if first.is_me else first
        if history.tells(peer):
            out.upcalls.returned[peer] = mac
        if history.breaks_loops:
            source.drops.looped += 1
        else:
            left.append(frame)
    return left, fresh
