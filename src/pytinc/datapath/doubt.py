"""What is still checked of the datagrams in a node's name while somebody forges many of them.

See docs/protocol-data.md, "Hostile datagrams".

Node ids are public, so anybody can send datagrams in the name of a node, and to check one takes a tag. A node
whose datagrams fail too often gets a `Doubt` (`PeerSlot.doubt`). It picks what is worth a check: numbers near
the one that is expected next, which nobody can guess who does not see the traffic; a few others; and little
from addresses that send nothing good. What the true node sends is nearly always near.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytinc.protocol.sptps.replay import ReplayWindow
from pytinc.wire.address import SockAddr
from pytinc.wire.datagram import PREFIX_SIZE
from pytinc.wire.records import SEQNO_SIZE

if TYPE_CHECKING:
    from pytinc.datapath.runs import DatagramRun

TRUSTED: Final = 64
"""Datagrams that may fail in a second before the node is doubted."""
LASTING: Final = 10.0
"""Seconds without any bad datagram after which the doubt ends."""
FAR: Final = 16
"""Checks in a second of numbers that are not near: they are right if very many datagrams were lost."""
FROM_SOURCE: Final = 16
FROM_ALL: Final = 256
"""Failures in a second after which one address, or all addresses together, are not checked any more; it does
not concern the address that the node is known to be at, nor relays."""

_NUMBER_END: Final = PREFIX_SIZE + SEQNO_SIZE


class Doubt:
    """Decides what is checked of one node's datagrams."""

    __slots__ = ("_failed", "_failures", "_far", "_second", "_told", "_until")

    def __init__(self, now: float) -> None:
        self._until = now + LASTING
        self._begin_second(now)

    def _begin_second(self, now: float) -> None:
        self._second = now
        self._far = FAR
        self._failed: dict[SockAddr, int] = {}
        self._failures = 0
        self._told = False

    def is_over(self, now: float) -> bool:
        """Tell whether nothing bad has come for a while."""
        return now >= self._until

    def sift(
        self,
        datagrams: list[bytes] | DatagramRun,
        window: ReplayWindow,
        stranger: SockAddr | None,
        now: float,
    ) -> list[bytes] | DatagramRun:
        """Return those that are worth a check; a run if these are all of it.

        ``stranger`` is the address that they came from, unless the node may well be there.
        """
        if now >= self._second + 1:
            self._begin_second(now)
        if stranger is not None and (
            self._failed.get(stranger, 0) >= FROM_SOURCE or self._failures >= FROM_ALL
        ):
            return []
        low, high = window.near
        if not isinstance(datagrams, list):
            near, far = datagrams.split(low, high)
            if not far:
                return datagrams
        else:
            near, far = [], []
            for datagram in datagrams:
                number = int.from_bytes(datagram[PREFIX_SIZE:_NUMBER_END], "big")
                (near if low <= number < high else far).append(datagram)
        if self._far and far:
            some = far[: self._far]
            self._far -= len(some)
            near += some
        return near

    def note(self, bad: int, stranger: SockAddr | None, now: float) -> None:
        """Count datagrams that were checked and failed."""
        self._until = now + LASTING
        if stranger is not None:
            self._failed[stranger] = self._failed.get(stranger, 0) + bad
            self._failures += bad

    def note_skipped(self, now: float) -> None:
        """Remember that datagrams were not checked."""
        self._until = now + LASTING

    def tells(self) -> bool:
        """Tell whether the node is to hear of failures: once a second."""
        told, self._told = self._told, True
        return not told
