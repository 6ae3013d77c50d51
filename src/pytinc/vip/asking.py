"""Finds the hosts that have the addresses in use: the question of one guard serves all guards.

A *lone question* is asked in no client's name. Its answers go to a MAC address that nobody owns, so switches
send them to every node: a guard that hears the question hears the answers as well. The question names the
guard that asks, so guards know of each other. For each address the first `CALLERS` guards, in the order of a
hash, keep asking and take care of clients behind C nodes. The others stand by.
"""

from __future__ import annotations

import math
from typing import Final

from pytinc.vip.addresses import CALLER_LIFE, AddressRecord
from pytinc.vip.allowance import Allowance
from pytinc.vip.core import Core
from pytinc.vip.rendezvous import weight
from pytinc.wire import neighbour
from pytinc.wire.neighbour import GUARD_ADDRESS, GUARD_MAC, NOBODY, Message

CALLERS: Final = 3
"""How many guards ask for a shared address and take care of clients behind C nodes."""
FIRST_QUESTION: Final = (0.2, 0.7)
"""Seconds from the first use of an address to our question for it, chosen at random between these."""
FIRST_CALL: Final = (0.1, 1.0)
"""Seconds from the discovery that an address is shared to our question, unless enough guards ask earlier."""
SHARED_REST: Final = 30.0
"""Seconds between two questions of one guard for a shared address."""
NEWCOMER_TIME: Final = (2.0, 10.0)
"""Seconds from the arrival of a node to our question for an address that is not shared yet, chosen at random
between these: the new node's host may have the address as well."""
NEWCOMER_REST: Final = 60.0
"""Least seconds between two such questions for one address."""
FIRST_REST: Final = 2.0
LONGEST_REST: Final = 600.0
"""Seconds between two questions for an address that is not shared; they double each time. In a young mesh
answers get lost, because nodes have no keys with each other yet."""
SPREAD: Final = (0.75, 1.25)
"""These times are multiplied by a number chosen at random between these."""
QUESTIONS_PER_SECOND: Final = 10.0
QUESTION_BURST: Final = 20.0
STEP: Final = 0.05
"""Least seconds between two looks at all addresses."""
CLAIM_TIME: Final = 10.0
"""Seconds for which nothing is asked about an address that a host is claiming (RFC 5227: 5 to 7)."""
MAX_CLAIMS: Final = 256
WITHDRAWAL_MEMORY: Final = 5.0
"""Seconds for which a node's word that it leaves an address is remembered. Leaving takes less time, and
anybody in the network can forge the message."""
_IPV4_SIZE: Final = 4


class Asking:
    """Asks for addresses, and listens to other guards that ask."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._due = math.inf
        self._ticked = -math.inf
        self._allowance = Allowance(QUESTION_BURST, QUESTIONS_PER_SECOND)
        """For questions in our own name."""
        self._claims: dict[bytes, float] = {}
        self._asked_v6 = -math.inf

    # -- what is heard --

    def used(self, record: AddressRecord, now: float) -> None:
        """A station uses an address: find out which hosts have it, unless a question is due already."""
        if record.next_question == math.inf:
            record.next_question = now + self._core.between(FIRST_QUESTION)
        self._wake(record.next_question)

    def doubt(self, record: AddressRecord, now: float) -> None:
        """An unknown MAC address says that it has an address: ask soon."""
        record.next_question = min(record.next_question, now + FIRST_QUESTION[1])
        self._wake(record.next_question)

    def shared(self, record: AddressRecord, now: float) -> None:
        """An address turns out to be shared: guards must ask for it now, not at the next regular time."""
        record.next_question = min(record.next_question, now + self._core.between(FIRST_CALL))
        self._wake(record.next_question)

    def newcomer(self, record: AddressRecord, now: float) -> None:
        """A node joined whose host may have an address that only one host had so far."""
        if record.next_question == math.inf or now < record.newcomer_asked + NEWCOMER_REST:
            return
        record.newcomer_asked = now
        record.next_question = min(record.next_question, now + self._core.between(NEWCOMER_TIME))
        self._wake(record.next_question)

    def begin_round(self, record: AddressRecord, now: float, spared: frozenset[bytes] = frozenset()) -> None:
        """Begin a round: this node hears all answers to the question, except those of ``spared`` holders."""
        record.begin_round(now, spared)
        self._wake(record.round_end())

    def claimed(self, address: bytes, now: float) -> None:
        """A host checks that nobody has an address: a question of ours would look like a conflict to it."""
        self._claims.pop(address, None)
        if len(self._claims) >= MAX_CLAIMS:
            del self._claims[next(iter(self._claims))]
        self._claims[address] = now + CLAIM_TIME

    def heard(self, record: AddressRecord, message: Message, now: float) -> bool:
        """Another guard asked; tell whether it is one that has not asked for a while."""
        mesh, is_new = self._core.mesh, False
        leaving = mesh.name_of(inverted(message.note))
        if leaving is not None:
            record.withdrawn[leaving] = now
            record.leave(mac for mac in record.holders if mesh.owner(mac) == leaving)
        elif mesh.name_of(message.note) is not None:
            is_new = message.note not in record.present_callers(now)
            record.heard_caller(message.note, now)
        self.begin_round(record, now)
        if not self._core.is_shared(record):
            record.next_question = now + self._rest(record)
        return is_new

    def looked_for(self, message: Message, now: float) -> None:
        """Answer a host that checks whether the guard is still there after its question (RFC 4861, 7.3.3)."""
        if now - self._asked_v6 < SHARED_REST:
            self._core.send(neighbour.guard_answer(message.mac, message.address))

    # -- time --

    def next_deadline(self) -> float:
        """Return when `tick` has something to do."""
        return self._due

    def tick(self, now: float) -> bool:
        """End rounds and send the questions that are due; tell whether a round has ended."""
        if now < self._due:
            return False
        self._ticked = now
        due, ended = math.inf, False
        for record in self._core.table:
            if now >= record.round_end():
                record.end_round(now)
                ended = True
            if now >= record.next_question:
                self._ask_if_useful(record, now)
            due = min(due, record.round_end(), record.next_question)
        # One look serves many addresses: a scan leaves a thousand of them, each with its own deadline.
        self._due = max(due, now + STEP)
        return ended

    def prune(self, now: float) -> None:
        """Forget what is over."""
        for address in [address for address, until in self._claims.items() if now >= until]:
            del self._claims[address]

    # -- asking --

    def ask(self, record: AddressRecord, now: float, *, leaving: bool = False) -> None:
        """Ask a lone question for an address; ``leaving``: it also says that our holder is about to go."""
        source = NOBODY if len(record.address) == _IPV4_SIZE else GUARD_ADDRESS
        note = inverted(self._core.my_id) if leaving else self._core.my_id
        self._core.send(neighbour.question(GUARD_MAC, source, record.address, note=note))
        if source:
            self._asked_v6 = now
        record.asked = now
        self.begin_round(record, now)
        self._core.count(lone_questions=1)

    def may_ask_about(self, record: AddressRecord, now: float) -> bool:
        """Tell whether a question may be asked now, and count it if so."""
        return now >= self._claims.get(record.address, -math.inf) and self._allowance.take(now)

    def rank(self, record: AddressRecord, now: float) -> int:
        """Return how many guards that ask for the address come before us."""
        mesh = self._core.mesh
        mine = weight(record.address + self._core.my_id)
        return sum(
            weight(record.address + node_id) < mine
            for node_id in record.present_callers(now)
            if (name := mesh.name_of(node_id)) is not None
            and mesh.is_reachable(name)
            and name not in self._core.left
        )

    def is_caller(self, record: AddressRecord, now: float) -> bool:
        """Tell whether we take care of clients behind C nodes."""
        return now - record.asked < CALLER_LIFE and self.rank(record, now) < CALLERS

    def _ask_if_useful(self, record: AddressRecord, now: float) -> None:
        claimed = self._claims.get(record.address, -math.inf)
        if now < claimed:
            record.next_question = claimed
        elif not self._core.is_used(record, now):
            record.next_question = math.inf
        elif self._core.is_shared(record) and self.rank(record, now) >= CALLERS:
            record.next_question = now + self._core.between(SPREAD) * SHARED_REST
        elif not self._allowance.take(now):
            record.next_question = now + 1 / QUESTIONS_PER_SECOND
        else:
            self.ask(record, now)
            record.next_question = now + self._rest(record)

    def _rest(self, record: AddressRecord) -> float:
        if self._core.is_shared(record):
            record.rest = 0.0
            return self._core.between(SPREAD) * SHARED_REST
        record.rest = min(max(2 * record.rest, FIRST_REST), LONGEST_REST)
        return self._core.between(SPREAD) * record.rest

    def _wake(self, due: float) -> None:
        self._due = min(self._due, max(due, self._ticked + STEP))


def inverted(node_id: bytes) -> bytes:
    """Return the note of a guard whose holder is about to go; of that, the id of its node."""
    return bytes(byte ^ 0xFF for byte in node_id)
