"""The choice: which member serves an address as far as this node can tell, and why it is another one now.

What members say decides (`Address.choose`), except where this node cannot hear well itself: a holder that
only others hear stays, and silence of everybody is no sign that the holder is gone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from pytinc.vip.core import Core
from pytinc.vip.members import Address, Member
from pytinc.vip.membership import Leader, Membership
from pytinc.vip.own_member import OwnMember
from pytinc.wire.vip_record import EntryState

DOUBT_TIME: Final = 0.3
"""Seconds after other nodes are heard again in which the holder may be heard as well, ..."""
DOUBT_TIME_OF_RECORDS: Final = 1.5
"""... and, once it is heard, seconds in which its next record may come."""


class Reason(NamedTuple):
    """Why another node serves."""

    kind: str
    """``first``, ``silent``, ``unreachable``, ``drain``, ``fault``, ``removed``, ``claim``, ``preempt`` or
    ``order``."""
    text: str
    """For people."""


class Election:
    """Chooses among the members."""

    def __init__(self, core: Core, membership: Membership, leader: Leader) -> None:
        self._core = core
        self._membership = membership
        self._leader = leader

    def find_owner(
        self, known: Address, members: Sequence[Member], parts: Mapping[str, OwnMember], now: float
    ) -> str | None:
        """Return the member that should serve, as far as this node can tell.

        ``members``: all that can be reached; ``parts``: those for which this node speaks.
        """
        if not self._membership.takes_part(known.address):
            known.follow({member.node for member in members})
        owner, holder = known.choose(members), self._core.mesh.name_of(known.claim.holder)
        for part in parts.values():
            self._set_hears_holder(known, part, members, owner, now)
        if self._is_out_of_earshot(known, holder, members, now):
            return holder
        if now < known.vouched_until and all(known.claim.holder != part.id for part in parts.values()):
            # No record of the holder has come yet: this node has only just met members that know it.
            return holder if owner in parts else owner
        if owner in parts and self._may_be_cut_off(holder):
            # Wait until the graph shows the failure or other nodes are heard again; the holder may be heard
            # soon after.
            known.doubted = now
            return holder
        if owner in parts and holder is not None and now < self._end_of_doubt(known, holder):
            return holder
        return owner

    def _is_out_of_earshot(
        self, known: Address, holder: str | None, members: Sequence[Member], now: float
    ) -> bool:
        """Tell whether only another member hears the holder: no UDP passes between the holder and this node.

        Without this check, two members that cannot hear each other would take the address from each other
        again and again.
        """
        nodes = {member.node for member in members}
        return (
            holder is not None
            and holder not in nodes
            and known.is_holder_heard(nodes)
            and self._core.mesh.is_reachable(holder)
            and not self._leader.is_gone(holder)
            and self._core.mesh.may_hold(holder, known.address, now)
        )

    def _may_be_cut_off(self, holder: str | None) -> bool:
        """Tell whether the holder fell silent together with all other nodes: then this node may be cut off.

        A node that knows no other node that could answer cannot tell, and believes what it sees.
        """
        core = self._core
        if holder is None or holder == core.me or not core.mesh.is_reachable(holder):
            return False
        if not self._leader.is_gone(holder):
            return False
        silent = core.watch.get(holder)
        since = silent.suspect_since if silent is not None else math.inf
        others = [core.watch.get(node) for node in self._membership.watched() - {holder}]
        known = [detector for detector in others if detector is not None and detector.proved]
        return bool(known) and all(detector.last_heard <= since for detector in known)

    def _end_of_doubt(self, known: Address, holder: str) -> float:
        """Return until when this node waits for a holder after all nodes were silent."""
        if not self._core.mesh.is_reachable(holder):
            return -math.inf
        return known.doubted + (DOUBT_TIME if self._leader.is_gone(holder) else DOUBT_TIME_OF_RECORDS)

    @staticmethod
    def is_in_doubt(known: Address, now: float) -> bool:
        """Tell whether an address was left to a silent holder lately, so that another look is due soon."""
        return now < known.doubted + DOUBT_TIME_OF_RECORDS

    def _set_hears_holder(
        self, known: Address, own: OwnMember, members: Sequence[Member], owner: str | None, now: float
    ) -> None:
        hears = any(member.id == known.claim.holder and member.node == owner for member in members)
        if own.hears_holder is not hears:
            own.hears_holder = hears
            self._membership.change(now)

    @staticmethod
    def preempting(
        known: Address, parts: dict[str, OwnMember], owner: str | None, members: Sequence[Member], now: float
    ) -> str | None:
        """Return the best member of ours that takes the address back from the owner; None if none does."""
        present = {member.node: member.priority for member in members}
        if owner not in present or known.claim.frozen:
            return None
        eager = [
            node
            for node, part in parts.items()
            if present.get(node, 0) > present[owner] and now >= part.preemption_due()
        ]
        return max(eager, key=present.__getitem__, default=None)

    def reason(self, known: Address, before: str | None, owner: str | None) -> Reason:
        """Return why another node serves."""
        core, own = self._core, self._membership.own.get(known.address)
        if before is None:
            return Reason("first", "nobody did")
        said = known.others.get(before)
        state, trouble = (EntryState.REMOVED if said is None else said.entry.state), None
        if before == core.me and own is not None:
            state, trouble = own.state, own.wants_drain() or own.trouble()
        elif before != core.me and not core.mesh.is_reachable(before):
            return Reason("unreachable", f"{before} has left the mesh")
        elif before != core.me and self._leader.is_gone(before):
            return Reason("silent", f"{before} is silent")
        match state:
            case EntryState.DRAIN:
                return Reason("drain", f"{before} drains")
            case EntryState.FAULT | EntryState.INIT | EntryState.ABSENT:
                return Reason("fault", f"{before} is not well" + (f": {trouble}" if trouble else ""))
            case EntryState.REMOVED:
                return Reason("removed", f"{before} is no longer a member")
            case _:
                return Reason("claim", f"{owner} took over")
