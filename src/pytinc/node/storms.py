"""Reports nodes that send too many frames to all, and when they stop (`pytinc.datapath.storm`).

A storm begins with the first frame that is dropped, and ends when none was dropped for a while. Both get a
log line, unless the last storm of the same node was logged a short while ago.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pytinc.datapath.peer_slot import PeerSlot
from pytinc.node.changes import Happened
from pytinc.node.core import Core

QUIET: Final = 10.0
"""Seconds without a dropped frame after which a storm is over."""
LOG_INTERVAL: Final = 60.0
"""A storm that begins sooner after the line about another one of the same node is logged at level 2."""


@dataclass(slots=True)
class _Storm:
    """The last storm of a node."""

    begin: float
    last: float
    """When the data path reported the storm last, which it does every second."""
    dropped_before: int
    """The node's drop counter at the end of the previous storm."""
    level: int
    logged: float
    """When the beginning of a storm was logged at level 0."""
    is_over: bool = False


class Storms:
    """Follows the storms of all nodes."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._storms: dict[PeerSlot, _Storm] = {}

    def reported(self, slots: Iterable[PeerSlot], now: float) -> None:
        """The data path has dropped frames of these nodes."""
        for slot in slots:
            storm = self._storms.get(slot)
            if storm is not None and not storm.is_over:
                storm.last = now
            else:
                self._begin(slot, storm, now)

    def _begin(self, slot: PeerSlot, before: _Storm | None, now: float) -> None:
        if before is None:
            storm = _Storm(now, now, dropped_before=0, level=0, logged=now)
        else:
            level = 0 if now - before.logged >= LOG_INTERVAL else 2
            storm = _Storm(now, now, before.dropped_before, level, before.logged if level else now)
        self._storms[slot] = storm
        self._core.changes.note(Happened("storm", {"node": slot.name, "state": "begin", "dropped": None}))
        self._core.log(
            storm.level,
            "warning",
            f"{_where(slot)} sends more than {self._core.settings.broadcast_limit} packets a second to all "
            "(BroadcastLimit): the rest is dropped",
        )

    def forget(self, slot: PeerSlot) -> None:
        """A node was purged."""
        self._storms.pop(slot, None)

    def next_deadline(self) -> float:
        """Return when `tick` has something to do."""
        if not self._storms:
            return math.inf
        lasting = (storm.last for storm in self._storms.values() if not storm.is_over)
        return min(lasting, default=math.inf) + QUIET

    def tick(self, now: float) -> None:
        """Report the storms that have ended."""
        for slot, storm in self._storms.items():
            if not storm.is_over and now >= storm.last + QUIET:
                dropped = slot.drops.storm - storm.dropped_before
                end = Happened("storm", {"node": slot.name, "state": "end", "dropped": dropped})
                self._core.changes.note(end)
                self._core.log(
                    storm.level,
                    "warning",
                    f"{_where(slot)} no longer sends too much to all: {dropped} packets were dropped in "
                    f"{storm.last - storm.begin + 1:.0f} s",
                )
                storm.is_over, storm.dropped_before = True, slot.drops.storm


def _where(slot: PeerSlot) -> str:
    return "Our own device" if slot.is_me else f"Node {slot.name}"
