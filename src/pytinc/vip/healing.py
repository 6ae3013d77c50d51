"""Leads the clients of an address from a holder that is gone to one that is there.

The guard never asserts who has the address: it asks "who has the address?" in the client's name, and the new
holder itself answers. The question goes to one holder, chosen by a hash of address, client and holder, so
every guard asks the same holder each time. Therefore repeated questions, and questions of several guards, do
not push a client back and forth, and the clients of a dead holder are spread over all others. The guard asks
all hosts only if it knows no other holder.

A `Healing` is one such move: the clients it concerns, and rounds of questions until the clients' frames go
elsewhere or the last round is over. `pytinc.vip.failover` makes it and sends its questions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from pytinc.vip.addresses import AddressRecord, Client
from pytinc.vip.rendezvous import weight

ROUNDS: Final = (0.0, 0.1, 0.3, 1.1, 3.0)
"""Seconds after the beginning at which questions are asked where this node cannot see the result. A question
may be lost, and a Linux kernel ignores an answer if its entry changed within the last second (locktime)."""
SEEN_ROUNDS: Final = (0.0, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.1, 1.4, 2.0, 3.0)
"""The same where the clients' frames pass here: the frames show when to stop."""
QUIET_ROUNDS: Final = 3
"""Rounds that are skipped if another guard has asked already."""
PACE: Final = 500
"""Most questions asked, or clients told, at once, ..."""
PAUSE: Final = 0.1
"""... and seconds until the next batch."""


class Question(NamedTuple):
    """A question to ask in a client's name."""

    client: Client
    to: bytes | None
    """The MAC address of the holder that is asked; None: all are."""


def choose(address: bytes, client: bytes, holders: Iterable[bytes]) -> bytes | None:
    """Return the holder (a MAC address) for a client: the same at every guard, evenly spread over clients.

    This is rendezvous hashing: when a holder goes, only its clients get another one.
    """
    return max(holders, key=lambda mac: (weight(address + client + mac), mac), default=None)


class Healing:
    """One move of the clients of an address."""

    def __init__(
        self,
        record: AddressRecord,
        node: str,
        gone: frozenset[bytes],
        clients: Iterable[Client],
        reason: str,
        silent_s: float,
        now: float,
        *,
        detection_s: float | None = None,
        remote: bool = False,
    ) -> None:
        self.record = record
        self.node = node
        """The node whose holders the clients leave."""
        self.gone = gone
        """The MAC addresses of these holders."""
        self.waiting = {client.mac: client for client in clients}
        """Clients that have not been seen to use another holder yet."""
        self.reason = reason
        """``silent``, ``unreachable``, ``withdrawn`` or ``removed``."""
        self.silent_s = silent_s
        """Seconds of silence before it was noticed."""
        self.detection_s = detection_s
        """The seconds of it that followed the suspicion; None: this node did not watch the silent one."""
        self.noticed = self.begin = now
        self.remote = remote
        """The clients are behind other nodes and get a holder behind other nodes: their frames do not pass
        here."""
        self.asked = 0
        """Clients in whose names questions were asked."""
        self.new_holder: bytes | None = None
        """The holder that was seen to answer, or to be used."""
        self.seconds: float | None = None
        """Seconds from the last sign of life of the old holder to the first of the new one."""
        self.chosen: bytes | None = None
        """The holder that the last question went to."""
        self.told = False
        """The log has reported it."""
        self.rounds_begun = 0
        """Rounds of questions that have begun; rounds that were missed do not count."""
        self._rounds = ROUNDS if remote else SEEN_ROUNDS
        self._moved: dict[bytes, tuple[Client, float]] = {}
        """Clients that were seen to use another holder, and when."""
        self._choices: dict[bytes, bytes] = {}
        self._round = 0
        self._queue: list[Client] = []
        self._next = now

    def postpone(self, begin: float) -> None:
        """Begin later."""
        self.begin = self._next = begin

    def next_deadline(self) -> float:
        """Return when `questions` has something to ask; infinite when all is asked."""
        return self._next

    @property
    def is_over(self) -> bool:
        """Nothing is left to ask."""
        return self._next == math.inf

    def prefer(self, client: Client, holder: bytes) -> None:
        """Ask this holder in the client's name, as long as it serves."""
        self._choices[client.mac] = holder

    def hush(self) -> None:
        """Another guard has asked: leave the first rounds to it."""
        if self._round == 0:
            self._round = QUIET_ROUNDS
            self._next = self.begin + self._rounds[QUIET_ROUNDS]

    def moved(self, client: Client, seen: float) -> None:
        """A client uses another holder now, as a frame has shown."""
        self._moved[client.mac] = client, seen
        self.waiting.pop(client.mac, None)
        if not self.waiting:
            self.end()

    def take_relapsed(self, last_use: Callable[[Client], tuple[float, bytes | None]]) -> list[Client]:
        """Return the clients that have gone back to a holder that they had left; each move counts once.

        ``last_use`` gives the time of a client's last frame and the holder that it went to.
        """
        found = []
        for client, moved in list(self._moved.values()):
            since, holder = last_use(client)
            if holder in self.gone and since > moved:
                del self._moved[client.mac]
                found.append(client)
        return found

    def end(self) -> None:
        """Stop asking."""
        self.waiting.clear()
        self._queue.clear()
        self._next = math.inf

    def _holder_for(self, client: Client, candidates: list[bytes]) -> bytes | None:
        """Return the holder to ask: the same one in every round, as long as it serves."""
        before = self._choices.get(client.mac)
        if before in candidates:
            return before
        chosen = choose(self.record.address, client.mac, candidates)
        if chosen is not None:
            self._choices[client.mac] = chosen
        return chosen

    def questions(self, now: float, candidates: Callable[[Client], list[bytes]]) -> list[Question]:
        """Return the questions that are due; ``candidates`` gives the holders that may be asked."""
        if now < self._next:
            return []
        if not self._queue:
            self._queue = list(self.waiting.values())
            self.asked = max(self.asked, len(self._queue))
            self.rounds_begun += 1
            self._round += 1
            while self._round < len(self._rounds) and self.begin + self._rounds[self._round] <= now:
                self._round += 1  # this call is late: missed rounds are skipped, not made up for
        batch, self._queue = self._queue[:PACE], self._queue[PACE:]
        if self._queue:
            self._next = now + PAUSE
        elif self._round < len(self._rounds) and self.waiting:
            pause = PAUSE if len(batch) == PACE else 0.0
            self._next = max(self.begin + self._rounds[self._round], now + pause)
        else:
            self._next = math.inf
        asked = [Question(client, self._holder_for(client, candidates(client))) for client in batch]
        self.chosen = next((question.to for question in reversed(asked) if question.to), self.chosen)
        return asked
