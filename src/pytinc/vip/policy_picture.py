"""Makes views of virtual IPs with members, for people and programs (`pytinc.vip.views`)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

from pytinc.vip.core import address_text
from pytinc.vip.members import Address
from pytinc.vip.own_member import OwnMember
from pytinc.vip.views import MemberState, MemberView, TransitionView, VirtualIpView
from pytinc.wire.vip_record import EntryState

STATES: Final[dict[EntryState, MemberState]] = {
    state: MemberState[state.name] for state in EntryState if state is not EntryState.REMOVED
}


def virtual_ip_view(
    known: Address,
    own: OwnMember | None,
    wards: Sequence[OwnMember],
    alive: Collection[str],
    clients: int,
    clients_of: Callable[[bytes], int | None],
    me: str,
    now: float,
) -> VirtualIpView:
    """Return a view of an address.

    ``own``: the node ``me`` as its member; ``wards``: the members that it is the guardian of; ``alive``: the
    other members that can be reached; ``clients``: how many stations use it; ``clients_of``: how many a
    member has, given by its id.
    """
    members = [
        MemberView(
            node,
            STATES[said.entry.state],
            said.entry.priority,
            now - said.heard,
            node in alive,
            said.entry.balance.word,
            said.entry.weight,
            clients_of(said.id),
            guardian=said.guardian,
        )
        for node, said in known.others.items()
    ]
    if own is not None:
        members.append(_own_view(own, me, clients_of(own.id)))
    return VirtualIpView(
        address_text(known.address),
        known.owner,
        None if own is None else STATES[own.state],
        known.claim.term,
        known.claim.frozen,
        None if own is None else own.config.preempt,
        tuple(sorted(members, key=lambda member: (-member.priority, member.node))),
        tuple(view for part in (own, *wards) if part is not None for view in part.check_views(now)),
        clients,
        tuple(
            TransitionView(
                now - each.at,
                None if each.state is None else STATES[each.state],
                each.owner,
                each.reason,
            )
            for each in known.transitions
        ),
        tuple(sorted(known.counts.items())),
        known.balance.word,
        0.0 if own is None else max(own.held_until - now, 0.0),
    )


def _own_view(own: OwnMember, me: str, clients: int | None) -> MemberView:
    config = own.config
    return MemberView(
        me, STATES[own.state], config.priority, None, True, config.balance.word, config.weight, clients
    )
