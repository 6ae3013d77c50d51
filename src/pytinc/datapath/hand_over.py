"""Passes connections on to the member that served a virtual address before our host (docs/virtual-ip.md).

When another member hands an address, or one of its clients, over to us, clients send to our host at once,
even on connections that only the former member's host knows. For a while, this module passes segments of
connections that did not begin here to that host. `pytinc.node.guard` sets the addresses, the clients and the
duration; the switch and its twin ask. The former member delivers these segments to its own host, so nothing
circles. It notes these connections: if it gets the client back soon, they belong to its host.

Cold path: it lasts for half a minute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytinc.datapath.guard_table import GuardTable
from pytinc.wire import flow
from pytinc.wire.ethernet import DESTINATION, ETHERTYPE, SOURCE
from pytinc.wire.ip import DESTINATIONS

if TYPE_CHECKING:
    from pytinc.datapath.runs import FrameRun

MAX_BEGUN: Final = 65_536
"""Most connections that are remembered as ours; the oldest ones are forgotten first."""


def may_be_handed_over(guard: GuardTable, run: FrameRun) -> bool:
    """Tell whether frames of a run for our host may be for an address that was handed over to us."""
    header = run.header
    where = DESTINATIONS.get(header[ETHERTYPE])
    if where is None:
        return False
    address = run.head[where]
    is_handed_over = address in guard.taken_over or header[SOURCE] + address in guard.taken_over
    return is_handed_over or not run.all_have_the_first(where)


def former_member(guard: GuardTable, frame: bytes, now: float) -> bytes | None:
    """Return the MAC address to which a frame for our host is passed on; None: our host gets it."""
    where = DESTINATIONS.get(frame[ETHERTYPE])
    if where is None:
        return None
    address = frame[where]
    former = guard.taken_over.get(address) or guard.taken_over.get(frame[SOURCE] + address)
    if former is None or now >= former[1]:
        return None
    packet = flow.parse(frame)
    if packet is None or packet.tcp_flags is None:
        return None
    if packet.begins or former[0] == frame[DESTINATION]:
        guard.begun[packet.flow] = None
        if len(guard.begun) > MAX_BEGUN:
            del guard.begun[next(iter(guard.begun))]
        return None
    return None if packet.flow in guard.begun else former[0]
