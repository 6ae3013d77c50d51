"""`FloodHistory`: the frames flooded a moment ago, and their origins (see `pytinc.datapath.loops`)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pytinc.datapath.peer_slot import PeerSlot

MAX_FRAMES: Final = 4096
"""Most frames noted per second; further ones are not recognised when they come back."""
MEMORY: Final = 10.0
"""Seconds after the last frame that came back for which a loop is assumed to exist."""
ANSWER_TIME: Final = 5.0
"""Seconds that a test frame may need through LAN and mesh, even in a storm."""


class FloodHistory:
    """Frames that were flooded in the present second and the one before."""

    __slots__ = (
        "_before",
        "_noted",
        "_questions",
        "_second",
        "_told",
        "answered",
        "breaks_loops",
        "device_returned",
        "returned",
    )

    def __init__(self) -> None:
        self.returned = 0
        """How many frames have come back."""
        self.breaks_loops = False
        """The node is sure of a loop: frames that come back are dropped."""
        self.device_returned = -math.inf
        """When the device last returned a frame from the mesh."""
        self._noted: dict[int, tuple[PeerSlot, float]] = {}
        """By the hash of each frame: the node that it came from first, and when."""
        self._before: dict[int, tuple[PeerSlot, float]] = {}
        self._questions: dict[bytes, float] = {}
        """Test frames, sent to the own LAN only, and when."""
        self.answered = False
        """One of them came back from the mesh."""
        self._second = 0.0
        self._told: set[PeerSlot] = set()

    def seen(self, source: PeerSlot, frame: bytes, now: float) -> tuple[PeerSlot, float] | None:
        """Note a frame; if it came before, return the node that it first came from, and the seconds since."""
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

    def ask(self, question: bytes, now: float) -> None:
        """Note a test frame that goes to the own device only, and that nobody can guess."""
        self._questions = {each: sent for each, sent in self._questions.items() if now < sent + MEMORY}
        self._questions[question] = now

    def without_questions(self, source: PeerSlot, frames: list[bytes], now: float) -> list[bytes]:
        """Return all frames except own test frames; one of these from the mesh proves a loop."""
        questions = self._questions
        if not questions:
            return frames
        for frame in frames:
            if not source.is_me and now < questions.get(frame, -math.inf) + ANSWER_TIME:
                self.answered = True
        return [frame for frame in frames if frame not in questions]

    def loop_passes_here(self, now: float) -> bool:
        """Tell whether there is a loop that the own device is part of."""
        return self.breaks_loops and now < self.device_returned + MEMORY

    def tells(self, peer: PeerSlot) -> bool:
        """Tell whether to report frames that come back from a node: once a second."""
        if peer in self._told:
            return False
        self._told.add(peer)
        return True
