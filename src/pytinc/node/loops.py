"""Decides whether the network has a loop, and logs it (`pytinc.datapath.loops`; tinc does not look).

A single frame that comes back may be chance: a station that moved, or two stations that ask the same question
at the same time. A loop returns frames second after second. But an insider can repeat the frames of others,
too. So the node sends a test frame that nobody can guess to its own LAN; there is a loop only if this frame
comes back from the mesh. While there is a loop, broadcasts that come back are dropped, which keeps floods
from circling, and MACs stay where they are; frames for one station are not affected.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pytinc.datapath.flood_history import MEMORY
from pytinc.datapath.peer_slot import PeerSlot
from pytinc.datapath.table import BROADCAST_MAC
from pytinc.node.changes import Happened
from pytinc.node.core import Core
from pytinc.wire.neighbour import GUARD_MAC

SECONDS: Final = 3
"""Frames must have come back in so many different seconds within `MEMORY`."""
LOG_INTERVAL: Final = 60.0
QUESTION_INTERVAL: Final = 1.0
PATIENCE: Final = 3.0
"""Seconds after the first test frame: without an answer the log says that there is no loop."""

_QUESTION: Final = BROADCAST_MAC + GUARD_MAC + b"\x88\xb5" + b"pytinc: is this a loop? "
"""The beginning of test frames; the EtherType is for experiments (IEEE 802), and hosts ignore it."""
_NONCE_SIZE: Final = 22
"""Makes a test frame as long as the shortest Ethernet frame."""


@dataclass(slots=True)
class _Signs:
    """The evidence for a loop through one node."""

    seconds: list[float] = field(default_factory=list)
    """When frames came back: one time for each second, the last `SECONDS` of them."""
    mac: bytes = b""
    """The source of the last frame that came back."""
    logged: float = -math.inf
    """When the log last reported a loop, ..."""
    feigned: float = -math.inf
    """... and when it last said that there is none."""

    def are_enough(self, now: float) -> bool:
        return len(self.seconds) == SECONDS and now - self.seconds[0] < MEMORY


class Loops:
    """Counts the frames that come back, for each node that they come back from."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._signs: dict[PeerSlot, _Signs] = {}
        self._asked = -math.inf
        """When the last test frame was sent, ..."""
        self._asks_since = -math.inf
        """... and the first one of the present series."""
        self._proved = -math.inf
        """When the last test frame came back."""
        self._over = math.inf
        """When the present loop counts as ended, if nothing comes back until then."""
        self._counted = 0
        """How many frames had come back when the log last reported the loop."""

    def reported(self, returned: Mapping[PeerSlot, bytes], now: float) -> None:
        """Frames have come back from these nodes, each from a MAC address; b"" stands for a test frame."""
        floods = self._core.table.floods
        if floods.answered:
            floods.answered = False
            self._proved = now
        for slot, mac in returned.items():
            signs = self._signs.setdefault(slot, _Signs())
            if mac:
                signs.mac = mac
                signs.seconds = [*signs.seconds, now][-SECONDS:]
        doubtful = {slot: signs for slot, signs in self._signs.items() if signs.are_enough(now)}
        if not returned or not doubtful:
            return
        self._ask(now)
        is_loop = now < self._proved + MEMORY
        if is_loop:
            floods.breaks_loops = True
            self._over = now + MEMORY
        elif now < self._asks_since + PATIENCE:
            return
        for slot, signs in doubtful.items():
            if is_loop and now - signs.logged >= LOG_INTERVAL:
                signs.logged = now
                self._say(slot, signs.mac)
            elif not is_loop and now - signs.feigned >= LOG_INTERVAL:
                signs.feigned = now
                self._say_feigned(slot, signs.mac)

    def _ask(self, now: float) -> None:
        """Send a test frame to the own LAN."""
        if now < self._asked + QUESTION_INTERVAL:
            return
        if now >= self._asked + MEMORY:
            self._asks_since = now
        self._asked = now
        question = _QUESTION + self._core.random_bytes(_NONCE_SIZE)
        self._core.table.floods.ask(question, now)
        self._core.output.frames.append(question)

    def _say_feigned(self, slot: PeerSlot, mac: bytes) -> None:
        self._core.log(
            0,
            "warning",
            f"Node {slot.name} repeats, or passes on, broadcasts of the MAC address {mac.hex(':')} here, "
            "but there is no loop: test frames for this node's own LAN do not come back from the VPN. "
            "Nothing is dropped",
        )

    def _say(self, slot: PeerSlot, mac: bytes) -> None:
        returned = self._core.table.floods.returned
        packets = returned - self._counted
        self._core.changes.note(
            Happened("loop", {"node": slot.name, "mac": mac.hex(":"), "packets": packets})
        )
        self._core.log(
            0,
            "warning",
            f"There is a loop: broadcasts of the MAC address {mac.hex(':')} come back through node "
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
        """Stop dropping frames once nothing has come back for a while."""
        if now >= self._over:
            self._over = math.inf
            self._core.table.floods.breaks_loops = False
