"""Chooses the members that get the flows of our own stations to an address with ``balance=flow``.

The data path gives each flow to one of them (`pytinc.datapath.flow_table`). Only the client's own node sees
all packets of a flow, so only this node can keep a flow at its member.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pytinc.vip.actions import FlowShares
from pytinc.vip.core import Core
from pytinc.vip.members import UNFIT, Member


def flow_shares(core: Core, addresses: Mapping[bytes, Iterable[Member]]) -> dict[bytes, FlowShares]:
    """Return the members that get the flows to each address; ``addresses``: the members that can be reached.

    Our own host gets no flows: a station behind our device reaches it without us. A member that does not
    answer probes gets none either, whatever it says over meta connections, because nothing reaches it by UDP.
    """
    return {address: _shares(core, address, members) for address, members in addresses.items()}


def _shares(core: Core, address: bytes, members: Iterable[Member]) -> FlowShares:
    record, governed = core.table.get(address), core.governed.get(address)
    serving = frozenset[str]() if governed is None else governed.serving
    there = sorted((member for member in members if _is_there(core, member)), key=lambda member: member.node)
    holders = frozenset[bytes]() if record is None else frozenset(record.holders) - core.own_holders(record)
    return FlowShares(
        tuple((member.node, member.mac, member.weight) for member in there if member.node in serving),
        frozenset(member.mac for member in there if member.node in serving or member.state not in UNFIT),
        holders | {member.mac for member in there},
    )


def _is_there(core: Core, member: Member) -> bool:
    """Tell whether frames reach a member of another node."""
    return (
        member.node != core.me
        and core.mesh.owner(member.mac) == member.node
        and not core.is_silenced(member.node)
    )
