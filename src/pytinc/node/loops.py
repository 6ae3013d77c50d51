"""Decides that the network has a loop, and says so (`pytinc.datapath.loops`; tinc does not look for loops).

One frame that comes back may be chance: a station that moved, or two that ask the same at the same time. From
a loop frames come back in second after second. While there is one, what comes back is dropped, which keeps
floods from going round, and MACs stay where they are; frames for one station are not touched.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pytinc.datapath.flood_history import MEMORY
from pytinc.datapath.peer_slot import PeerSlot
from pytinc.node.changes import Happened
from pytinc.node.core import Core

SECONDS: Final = 3
"""In so many seconds, within `MEMORY`, frames must have come back."""
LOG_INTERVAL: Final = 60.0


@dataclass(slots=True)
class _Signs:
    """What speaks for a loop by way of one node."""

    seconds: list[float] = field(default_factory=list)
    """When frames came back: a time for each second, the last `SECONDS` of them."""
    logged: float = -math.inf


class Loops:
    """Follows the frames that come back, by the node that they come back from."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._signs: dict[PeerSlot, _Signs] = {}
        self._over = math.inf
        """When the loop that exists now is over if nothing comes back until then."""
        self._counted = 0
        """How many frames had come back when the log told of it last."""

    def reported(self, returned: Mapping[PeerSlot, bytes], now: float) -> None:
        """Frames have come back from these nodes, one of each from the MAC address."""
        for slot, mac in returned.items():
            signs = self._signs.setdefault(slot, _Signs())
            signs.seconds = [*signs.seconds, now][-SECONDS:]
            if len(signs.seconds) == SECONDS and now - signs.seconds[0] < MEMORY:
                self._core.table.floods.breaks_loops = True
                self._over = now + MEMORY
                if now - signs.logged >= LOG_INTERVAL:
                    signs.logged = now
                    self._say(slot, mac)

    def _say(self, slot: PeerSlot, mac: bytes) -> None:
        returned = self._core.table.floods.returned
        packets = returned - self._counted
        self._core.changes.note(
            Happened("loop", {"node": slot.name, "mac": mac.hex(":"), "packets": packets})
        )
        self._core.log(
            0,
            "warning",
            f"There is a loop: what the MAC address {mac.hex(':')} sends to all comes back by way of node "
            f"{slot.name} ({packets} packets). Is a LAN bridged to the VPN at both nodes?",
        )
        self._counted = returned

    def forget(self, slot: PeerSlot) -> None:
        """A node was purged."""
        self._signs.pop(slot, None)

    def next_deadline(self) -> float:
        """Return when `tick` has something to do."""
        return self._over

    def tick(self, now: float) -> None:
        """Drop nothing any more once nothing has come back for a while."""
        if now >= self._over:
            self._over = math.inf
            self._core.table.floods.breaks_loops = False
