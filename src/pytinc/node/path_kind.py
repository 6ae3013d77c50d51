"""The way that frames for a node take now: for those who watch the node."""

from __future__ import annotations

import enum

from pytinc.datapath.peer_slot import PeerSlot


class PathKind(enum.Enum):
    """The way that a frame for a node would take now, if it is no longer than the path takes."""

    SELF = "self"
    UDP = "udp"
    """Straight to it by UDP."""
    RELAYED = "relayed"
    """By UDP to another node, which passes it on."""
    TCP = "tcp"
    """Through meta connections."""
    NONE = "none"
    """It is unreachable, or there is no key yet."""


def path_of(slot: PeerSlot) -> tuple[PathKind, str | None]:
    """Return the way to a node and whom frames go to first, as `pytinc.datapath.outbound` would choose.

    A neighbour gets what is too long for the straight path by TCP; relays are not used for it.
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
