"""The members of one virtual address: what they say, and which of them serves it.

There is no vote: each node applies the same rule to what the members say about themselves. The rule prefers
the member that holds the address already. Only when that member is gone, or does not want to serve, the
member with the highest priority takes over, and says so in a claim with a higher term. Two nodes that see
different members may both take over for a moment; as soon as they hear each other, both accept the higher
claim.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from pytinc.vip.rendezvous import weight
from pytinc.wire.vip_record import NO_HOLDER, Claim, Entry, EntryState
from pytinc.wire.virtual_ip import DEFAULT_WEIGHT, Balance

RECORD_LIFE: Final = 3.5
"""Seconds for which a record counts at a member; records come every second there."""
FAR_RECORD_LIFE: Final = 17.5
"""The same at other nodes: records come every 5 seconds there, and immediately after a change."""
VOUCH_TIME: Final = 1.0
"""Seconds in which this node should hear a holder that another member has reported."""
HAND_OVER_TIME: Final = 30.0
"""Seconds for which existing connections continue at the member that served before, if it is still there."""
MAX_MEMBERS: Final = 32
"""Of one address."""
MAX_TRANSITIONS: Final = 16
READY: Final = frozenset((EntryState.BACKUP, EntryState.ACTIVE))
"""States of members that may be chosen."""
UNFIT: Final = frozenset((EntryState.INIT, EntryState.ABSENT))
"""States of members that cannot serve at all."""


class Member(NamedTuple):
    """A member that can be reached, as far as the choice needs it."""

    node: str
    id: bytes
    state: EntryState
    priority: int
    balance: Balance = Balance.FAILOVER
    weight: int = DEFAULT_WEIGHT
    mac: bytes = NO_HOLDER
    """The MAC address at which its host has the address."""


class Said:
    """What another member, or its guardian, said last."""

    __slots__ = ("boot", "entry", "guardian", "heard", "id", "sequence")

    def __init__(
        self,
        node_id: bytes,
        entry: Entry,
        boot: int,
        sequence: int,
        now: float,
        guardian: str | None = None,
    ) -> None:
        self.id = node_id
        self.guardian = guardian
        """The node that speaks for this member; None: the member speaks for itself."""
        self.entry = entry
        self.boot = boot
        self.sequence = sequence
        self.heard = now

    def is_newer(self, boot: int, sequence: int) -> bool:
        """Tell whether a record is newer than the one that these statements came from."""
        return boot != self.boot or sequence > self.sequence


@dataclass(frozen=True, slots=True)
class Transition:
    """A change that an operator may want to know about."""

    at: float
    state: EntryState | None
    """The own state; None: this node is no member."""
    owner: str | None
    reason: str


class Address:
    """A virtual address with members."""

    def __init__(self, address: bytes) -> None:
        self.address = address
        self.life = FAR_RECORD_LIFE
        """Seconds for which a record counts."""
        self.others: dict[str, Said] = {}
        """What other members said, by node."""
        self.claim = Claim(0, NO_HOLDER)
        """The highest claim that was ever heard or made."""
        self.before_alone: Claim | None = None
        """The claim that counted until this node took over without hearing any other member."""
        self.taken_at = -math.inf
        """When this node did so."""
        self.former: tuple[bytes, float] | None = None
        """The id of the node that handed the address over to us, or our own id if we handed it over; and the
        time until which connections that no node has noted belong to that node's host."""
        self.rival_answered = -math.inf
        """When this node last answered a lower claim of another member."""
        self.vouched_until = -math.inf
        """Until then this node believes other members that the holder is there, although it has not heard the
        holder itself."""
        self.doubted = -math.inf
        """When the address was last left to a silent holder because all nodes were silent."""
        self.owner: str | None = None
        """The node that serves, by the last choice. With a balance other than failover it gives each client
        its member."""
        self.balance = Balance.FAILOVER
        """The owner's balance, so that all nodes agree even if the members are configured differently."""
        self.serving: frozenset[str] = frozenset()
        """All nodes that serve clients (`pytinc.vip.core.Governed`)."""
        self.speaks_of: tuple[str, bytes | None] | None = None
        """The member that serves, if this node speaks for it (itself or a ward), with the ward's MAC
        address."""
        self.announced = -math.inf
        """When that member was last announced to all."""
        self.transitions: deque[Transition] = deque(maxlen=MAX_TRANSITIONS)
        self.counts: Counter[str] = Counter()
        """Changes of the owner, by kind of reason."""

    @property
    def speaker(self) -> str | None:
        """The node that speaks for the owner: itself, or its guardian."""
        said = self.others.get(self.owner or "")
        return self.owner if said is None or said.guardian is None else said.guardian

    @property
    def speakers(self) -> set[str]:
        """The nodes that speak for other members, or for themselves."""
        return {said.guardian or node for node, said in self.others.items()}

    def hear(
        self,
        node: str,
        node_id: bytes,
        entry: Entry,
        boot: int,
        sequence: int,
        now: float,
        *,
        guardian: str | None = None,
        is_alive: Callable[[str], bool] = lambda node: True,
    ) -> bool:
        """Take in what a member or its guardian says; tell whether it is news.

        News is a changed state, priority, MAC address or claim, or the first record after the last one
        ceased to count.
        """
        said = self.others.get(node)
        if said is not None:
            same = said.guardian == guardian
            if not (said.is_newer(boot, sequence) if same else entry.state is not EntryState.REMOVED):
                return False
            if guardian is not None and not self._counts(said, entry, guardian, is_alive, now):
                return False
        if entry.state is EntryState.REMOVED:
            return self.others.pop(node, None) is not None
        if said is None and len(self.others) >= MAX_MEMBERS:
            return False
        self.others[node] = Said(node_id, entry, boot, sequence, now, guardian)
        is_claim_new = self._is_higher(entry.claim, self.claim)
        if is_claim_new:
            self.claim = entry.claim
            if entry.claim.holder != node_id:
                self.vouched_until = now + VOUCH_TIME
        return is_claim_new or said is None or said.entry != entry or not self._is_fresh(said, now)

    def is_heard(self, now: float) -> bool:
        """Tell whether anything said about a member still counts."""
        return any(self._is_fresh(said, now) for said in self.others.values())

    def _is_fresh(self, said: Said, now: float) -> bool:
        """Tell whether a statement still counts."""
        return now < self._expiry(said)

    def _expiry(self, said: Said) -> float:
        # A guardian may restart; its wards go on meanwhile, and other nodes watch them as well.
        return said.heard + (self.life if said.guardian is None else FAR_RECORD_LIFE)

    def _counts(
        self, said: Said, entry: Entry, guardian: str, is_alive: Callable[[str], bool], now: float
    ) -> bool:
        """Tell whether a guardian's entry replaces the former one."""
        if not self._is_fresh(said, now):
            return True
        if said.guardian is None or entry.state is EntryState.INIT:
            return False  # the member speaks for itself, or the guardian has just started and knows nothing
        return guardian <= said.guardian or not is_alive(said.guardian)

    def _is_higher(self, claim: Claim, other: Claim) -> bool:
        """Tell whether a claim is higher than another. All nodes agree, even after simultaneous claims."""
        if claim.is_later(other) or other.is_later(claim):
            return claim.is_later(other)
        return self._rank(claim) > self._rank(other)

    def _rank(self, claim: Claim) -> tuple[int, bytes, bool]:
        return claim.priority, weight(self.address + claim.holder), claim.frozen

    def take_over(self, holder: bytes, priority: int, *, frozen: bool = False) -> None:
        """Claim the address for a node, given by its id and its priority."""
        self.claim = Claim(self.claim.next_term, holder, priority, frozen)

    def present(self, is_alive: Callable[[str], bool], now: float) -> list[Member]:
        """Return the other members that can be reached and have been heard lately."""
        return [
            Member(
                node,
                said.id,
                said.entry.state,
                said.entry.priority,
                said.entry.balance,
                said.entry.weight,
                said.entry.mac,
            )
            for node, said in self.others.items()
            if self._is_fresh(said, now) and is_alive(node)
        ]

    def follow(self, nodes: Collection[str]) -> None:
        """Take the highest claim of these members, at a node that is not a member itself.

        Such a node does not keep a higher claim that it remembers: it cannot tell it to the members, and all
        of them may have forgotten it.
        """
        claims = [said.entry.claim for node, said in self.others.items() if node in nodes]
        for claim in claims:
            if claim is claims[0] or self._is_higher(claim, self.claim):
                self.claim = claim

    def is_holder_heard(self, nodes: Collection[str]) -> bool:
        """Tell whether one of these members hears the holder itself, and would choose it."""
        return any(
            said.entry.hears_holder and said.entry.claim == self.claim
            for node, said in self.others.items()
            if node in nodes
        )

    def choose(self, members: Iterable[Member]) -> str | None:
        """Return the node that should serve; None if there is none. ``members``: all that can be reached."""
        all_members = list(members)
        by_id = {member.id: member for member in all_members if member.state not in UNFIT}
        holder = by_id.get(self.claim.holder)
        if holder is not None and (holder.state in READY or self.claim.frozen):
            return holder.node
        candidates = [member for member in by_id.values() if member.state in READY]
        if not candidates:
            # No member is well, so an unwell one goes on: a service in doubt is better than none.
            if holder is not None:
                return holder.node
            candidates = [member for member in by_id.values() if member.state is EntryState.FAULT]
        best = max(candidates, key=self._preference, default=None)
        return None if best is None or self._is_awaited(best, all_members) else best.node

    def _is_awaited(self, best: Member, members: Iterable[Member]) -> bool:
        """Tell whether no member ever served and a better one than ``best`` is still starting: waiting for it
        avoids an immediate change of the owner."""
        return self.claim.holder == NO_HOLDER and any(
            member.state is EntryState.INIT and self._preference(member) > self._preference(best)
            for member in members
        )

    def _preference(self, member: Member) -> tuple[int, bytes]:
        return member.priority, weight(self.address + member.id)

    def set_owner(self, owner: str | None, members: Collection[Member]) -> bool:
        """Note the chosen owner and the members that serve; tell whether any of this changed."""
        before = self.owner, self.balance, self.serving
        self.owner = owner
        self.balance = next((member.balance for member in members if member.node == owner), self.balance)
        serving = set() if owner is None else {owner}
        if self.balanced:
            serving |= {member.node for member in members if member.state in READY}
        self.serving = frozenset(serving)
        return before != (self.owner, self.balance, self.serving)

    def goes_back(self, now: float) -> bool:
        """Tell whether the owner handed the address over to us lately.

        Then connections that no node has noted still belong to its host, although clients send to us.
        """
        said = self.others.get(self.owner or "")
        if self.former is None or said is None:
            return False
        former, until = self.former
        return said.id == former and now < until

    def forget_former(self, members: Iterable[Member]) -> None:
        """Forget the node that handed the address over once it cannot be reached.

        Connections that begin at our host from then on are not noted; if that node returned, it would get
        them.
        """
        if self.former is not None and all(member.id != self.former[0] for member in members):
            self.former = None

    @property
    def balanced(self) -> bool:
        """The members share the clients."""
        return self.balance is not Balance.FAILOVER

    def note(self, now: float, state: EntryState | None, reason: str, kind: str) -> None:
        """Remember a change; ``kind`` is the kind of the reason."""
        self.counts[kind] += 1
        self.transitions.appendleft(Transition(now, state, self.owner, reason))

    def shift(self, delay: float, now: float) -> None:
        """This node was suspended for ``delay`` seconds: records could not arrive in that time."""
        for said in self.others.values():
            said.heard = min(said.heard + delay, now)

    def prune(self, now: float, life: float) -> None:
        """Forget members that were not heard for ``life`` seconds."""
        for node in [node for node, said in self.others.items() if now - said.heard > life]:
            del self.others[node]

    def next_expiry(self, now: float) -> float:
        """Return when the next record ceases to count."""
        expiries = (self._expiry(said) for said in self.others.values())
        return min((expiry for expiry in expiries if expiry > now), default=math.inf)
