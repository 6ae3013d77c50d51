"""The kind of path that frames for a node take now, for programs that watch the node."""

from __future__ import annotations

import enum

from pytinc.datapath.peer_slot import PeerSlot


class PathKind(enum.Enum):
    """The path that a frame for a node would take now, if it is no longer than the path allows."""

    SELF = "self"
    UDP = "udp"
    """Directly to it by UDP."""
    RELAYED = "relayed"
    """By UDP to another node, which passes it on."""
    TCP = "tcp"
    """Through meta connections."""
    NONE = "none"
    """It is unreachable, or there is no key yet."""


def path_of(slot: PeerSlot) -> tuple[PathKind, str | None]:
    """Return the kind of path to a node and the first hop, as `pytinc.datapath.outbound` would choose.

    Frames that are too long for the direct path to a neighbour go by TCP, and not through a relay.
    """
    if slot.is_me:
        return PathKind.SELF, None
    if not slot.reachable:
        return PathKind.NONE, None
    if slot.session is not None and slot.paths:
        relay = slot.paths[0].relay
        if relay is slot:
            return PathKind.UDP, None
        if slot.connection is None:
            return PathKind.RELAYED, relay.name
    if slot.connection is not None:
        return PathKind.TCP, None
    if slot.session is None or slot.nexthop is None:
        return PathKind.NONE, None
    return PathKind.TCP, slot.nexthop.name
