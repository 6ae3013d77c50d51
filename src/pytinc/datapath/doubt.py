"""Chooses the datagrams in a node's name that are worth a check while an attacker forges many of them.

See docs/protocol-data.md, "Hostile datagrams".

Node ids are public, so anybody can send datagrams in the name of a node, and each check costs the computation
of a tag. A node whose datagrams fail too often gets a `Doubt` (`PeerSlot.doubt`). It selects sequence numbers
near the next expected one, which an attacker who does not see the traffic cannot guess; a few other numbers;
and little from addresses that send nothing authentic. The numbers of the true node are nearly always near.
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
"""Datagrams that may fail per second before the node is doubted."""
LASTING: Final = 10.0
"""Seconds without any bad datagram after which the doubt ends."""
FAR: Final = 16
"""Checks per second of numbers that are not near: they are right if very many datagrams were lost."""
FROM_SOURCE: Final = 16
FROM_ALL: Final = 256
"""Failures per second after which datagrams of one address, or of all addresses together, are not checked any
more. The limit does not apply to the known address of the node, nor to relays."""

_NUMBER_END: Final = PREFIX_SIZE + SEQNO_SIZE


class Doubt:
    """Decides which datagrams of one node are checked."""

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
        """Tell whether no bad datagram has come for a while."""
        return now >= self._until

    def sift(
        self,
        datagrams: list[bytes] | DatagramRun,
        window: ReplayWindow,
        stranger: SockAddr | None,
        now: float,
    ) -> list[bytes] | DatagramRun:
        """Return the datagrams that are worth a check; the run itself if all are.

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
        """Tell whether to report failures to the node: once a second."""
        told, self._told = self._told, True
        return not told
