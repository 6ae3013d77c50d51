"""`FloodHistory`: what was flooded a moment ago, and where it came from (see `pytinc.datapath.loops`)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pytinc.datapath.peer_slot import PeerSlot

MAX_FRAMES: Final = 4096
"""Frames noted in a second; beyond that some are not recognised when they come back."""
MEMORY: Final = 10.0
"""Seconds: how long a loop is taken to exist after the last frame that came back."""


class FloodHistory:
    """Frames that were flooded in the present second and the one before."""

    __slots__ = ("_before", "_noted", "_second", "_told", "breaks_loops", "device_returned", "returned")

    def __init__(self) -> None:
        self.returned = 0
        """How many frames have come back."""
        self.breaks_loops = False
        """The node is sure of a loop: what comes back is dropped."""
        self.device_returned = -math.inf
        """When the device last gave back what the mesh had sent."""
        self._noted: dict[int, tuple[PeerSlot, float]] = {}
        """By the hash of each frame: the node that it came from first, and when."""
        self._before: dict[int, tuple[PeerSlot, float]] = {}
        self._second = 0.0
        self._told: set[PeerSlot] = set()

    def seen(self, source: PeerSlot, frame: bytes, now: float) -> tuple[PeerSlot, float] | None:
        """Note a frame; if it came before, return the node that it came from first, and how long ago."""
        if now >= self._second + 1:
            self._before = self._noted if now < self._second + 2 else {}
            self._noted = {}
            self._second = now
            self._told.clear()
        key = hash(frame)
        noted = self._noted.get(key) or self._before.get(key)
        if noted is None:
            if len(self._noted) < MAX_FRAMES:
                self._noted[key] = source, now
            return None
        first, when = noted
        return first, now - when

    def loop_passes_here(self, now: float) -> bool:
        """Tell whether there is a loop that the own device is part of."""
        return self.breaks_loops and now < self.device_returned + MEMORY

    def tells(self, peer: PeerSlot) -> bool:
        """Tell whether the node is to hear of frames that come back from a node: once a second."""
        if peer in self._told:
            return False
        self._told.add(peer)
        return True
