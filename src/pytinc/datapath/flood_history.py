"""`FloodHistory`: what was flooded a moment ago, and where it came from (see `pytinc.datapath.loops`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pytinc.datapath.peer_slot import PeerSlot

MAX_FRAMES: Final = 4096
"""Frames noted in a second; beyond that some are not recognised when they come back."""


class FloodHistory:
    """Frames that were flooded in the present second and the one before."""

    __slots__ = ("_before", "_noted", "_second", "_told", "breaks_loops", "device_returns", "returned")

    def __init__(self) -> None:
        self.returned = 0
        """How many frames have come back."""
        self.breaks_loops = False
        """The node is sure of a loop: what comes back is dropped."""
        self.device_returns = False
        """The device has given back what the mesh sent: if there is a loop, it passes here."""
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

    def tells(self, peer: PeerSlot) -> bool:
        """Tell whether the node is to hear of frames that come back from a node: once a second."""
        if peer in self._told:
            return False
        self._told.add(peer)
        return True
