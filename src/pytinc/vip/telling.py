"""Decides when and to which nodes member records go: what this node says about itself and its wards.

Other members of the same addresses are told every second, all other pytinc nodes now and then, and all of
them several times when something has changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Final

from pytinc.vip.actions import SendRecord
from pytinc.vip.core import Core
from pytinc.wire.vip_record import Entry, MemberRecord, portions

INTERVAL: Final = 1.0
"""Seconds between two records to a member of a common address."""
FAR_INTERVAL: Final = 5.0
"""The same for other pytinc nodes."""
REPEATS: Final = (0.0, 0.05, 0.15, 0.4)
"""Seconds after a change at which all nodes get records, several times because a record may be lost."""


class Telling:
    """Remembers which nodes got which records, and when."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._boot = core.nonce()
        self._sequence = 0
        self._told: dict[str, float] = {}
        """When each node last got our records."""
        self._repeats: list[float] = []
        """The times at which all nodes get records again."""
        self._removed: list[Entry] = []
        """Members for which this node no longer speaks; the others are told so as often as of a change."""

    @property
    def has_removed(self) -> bool:
        """Tell whether others must still be told of members for which this node no longer speaks."""
        return bool(self._removed)

    def removed(self, entry: Entry) -> None:
        """This node no longer speaks for a member."""
        self._removed.append(entry)

    def kept(self, entries: Collection[Entry]) -> None:
        """These are the members for which this node speaks now."""
        kept = {(entry.address, entry.member) for entry in entries}
        self._removed = [each for each in self._removed if (each.address, each.member) not in kept]

    def change(self, now: float) -> None:
        """Tell all nodes what is new, several times."""
        self._repeats = [now + delay for delay in REPEATS]

    def newcomer(self, node: str) -> None:
        """A node has joined that knows nothing about us: send it the next records."""
        self._told[node] = -math.inf

    def forget(self, node: str) -> None:
        """A node is in the mesh again and may have restarted: treat it as one that got no records."""
        self._told.pop(node, None)

    def next_deadline(self) -> float:
        """Return when all nodes get records again."""
        return self._repeats[0] if self._repeats else math.inf

    def send_due(self, entries: Callable[[], Sequence[Entry]], members: Collection[str], now: float) -> bool:
        """Send the records that are due; tell whether a node got its first ones.

        ``members``: the nodes that share an address with this one.
        """
        to_all = now >= self.next_deadline()
        self._repeats = [due for due in self._repeats if now < due]
        targets = [
            node
            for node in sorted(self._core.mesh.record_peers())
            if to_all
            or now - self._told.get(node, -math.inf) >= (INTERVAL if node in members else FAR_INTERVAL)
        ]
        if not targets:
            return False
        found_new = any(node not in self._told for node in targets)
        payloads = self._make_records(entries())
        for node in targets:
            self._told[node] = now
            self._core.actions += [SendRecord(node, payload) for payload in payloads]
        if not self._repeats:
            self._removed.clear()
        return found_new

    def _make_records(self, entries: Sequence[Entry]) -> list[bytes]:
        payloads = []
        for portion in portions([*entries, *self._removed]):
            self._sequence += 1
            payloads.append(MemberRecord(self._boot, self._sequence, portion).pack())
        return payloads

    def prune(self, now: float, life: float) -> None:
        """Forget nodes that got no records for ``life`` seconds."""
        for node in [node for node, told in self._told.items() if now - told > life]:
            del self._told[node]
