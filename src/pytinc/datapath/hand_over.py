"""Connections to the member that served a virtual address before our host (docs/virtual-ip.md).

When another member hands an address over to us, clients come to our host at once, also with connections that
only the former member's host knows. Their segments are passed on to it for a while: a segment of a connection
that did not begin here since is of such a one. `pytinc.node.guard` says for which addresses and how long;
the switch and its twin ask. The former member, which does not serve any more, gives what it gets to its host,
so nothing goes round in circles.

Cold path: it lasts for half a minute.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pytinc.wire import flow
from pytinc.wire.ethernet import ETHERTYPE
from pytinc.wire.ip import DESTINATIONS, TCP_ACK, TCP_SYN

MAX_BEGUN: Final = 65_536
"""Connections that are remembered for each address; those that began first are forgotten first."""


@dataclass(slots=True)
class HandOver:
    """One address that was handed over to us."""

    former: bytes
    """The MAC address of the former member's host."""
    until: float
    """When this ends."""
    begun: OrderedDict[bytes, None] = field(default_factory=OrderedDict)
    """Connections that began here."""

    def is_former(self, packet: flow.Packet) -> bool:
        """Tell whether a packet is of a connection of the former member; note those that begin here."""
        flags = packet.tcp_flags
        if flags is None:
            return False
        if flags & (TCP_SYN | TCP_ACK) == TCP_SYN:
            self.begun[packet.flow] = None
            if len(self.begun) > MAX_BEGUN:
                self.begun.popitem(last=False)
            return False
        return packet.flow not in self.begun


def former_member(hand_overs: Mapping[bytes, HandOver], frame: bytes, now: float) -> bytes | None:
    """Return the MAC address to which a frame for our host is passed on; None: our host gets it."""
    where = DESTINATIONS.get(frame[ETHERTYPE])
    hand_over = None if where is None else hand_overs.get(frame[where])
    if hand_over is None or now >= hand_over.until:
        return None
    packet = flow.parse(frame)
    return hand_over.former if packet is not None and hand_over.is_former(packet) else None
