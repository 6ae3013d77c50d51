"""How the daemon reaches a node, judged as tinc does from one row of its list.

See docs/tinc-program.md, "dump and info".

`info`, `dump graph`, the lists for people and the JSON lists all show it, each in its own words.
"""

from __future__ import annotations

from enum import Enum

from pytinc.control.messages import NodeRow
from pytinc.wire.bits import NodeStatus


class Reach(Enum):
    """How packets get to a node. The values are the words of ``--json``."""

    SELF = "self"
    UNREACHABLE = "unreachable"
    RELAYED = "relayed"
    """Through the node `NodeRow.via`: there is no direct path."""
    UNKNOWN = "unknown"
    """There is no key yet, so no path has been tried."""
    UDP = "udp"
    TCP = "tcp"
    """Over the meta connection with the node itself."""
    FORWARDED = "forwarded"
    """Over the meta connection with `NodeRow.nexthop`: UDP does not work (yet)."""


def reach_of(row: NodeRow) -> Reach:
    """Return how the node is reached; the first match counts."""
    if row.is_self:
        return Reach.SELF
    if not row.status & NodeStatus.REACHABLE:
        return Reach.UNREACHABLE
    if row.via != row.name:
        return Reach.RELAYED
    if not row.status & NodeStatus.VALIDKEY:
        return Reach.UNKNOWN
    if row.min_mtu > 0:
        return Reach.UDP
    return Reach.TCP if row.nexthop == row.name else Reach.FORWARDED
