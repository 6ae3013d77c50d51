"""The addresses with members, and our own part in them: what all parts of the policy share.

It knows who is there and for whom this node speaks, and tells others of that (`pytinc.vip.telling`). Who is
to serve is the matter of `pytinc.vip.election` and `pytinc.vip.policy`.
"""

from __future__ import annotations

import math
from typing import Final, Protocol

from pytinc.vip.addresses import AddressRecord
from pytinc.vip.core import Core, Governed
from pytinc.vip.members import UNFIT, Address, Member
from pytinc.vip.own_member import OwnMember
from pytinc.vip.telling import Telling
from pytinc.vip.wards import Wards
from pytinc.wire.vip_record import NO_HOLDER, Entry

MAX_WITNESSES: Final = 2
"""Nodes watched beside the members, so that a member can notice that it is cut off itself."""


class Leader(Protocol):
    """Leads the stations behind the own device to the owner of an address."""

    def owner_changed(self, record: AddressRecord, before: str | None, owner: str, now: float) -> None:
        """Another node serves an address."""

    def is_gone(self, node: str) -> bool:
        """Tell whether a node is silent, and does not answer over meta connections either."""

    def find_holders(self, record: AddressRecord, now: float) -> None:
        """Ask which hosts have an address."""


class Membership:
    """All addresses with members, and the members for which this node speaks: itself and its wards."""

    def __init__(self, core: Core, leader: Leader) -> None:
        self._core = core
        self._leader = leader
        self.addresses: dict[bytes, Address] = {}
        self.own: dict[bytes, OwnMember] = {}
        """This node as a member, by address."""
        self.wards = Wards(core, self.is_there)
        self.telling = Telling(core)
        self.update_due = math.inf
        """When the choice is to be made again (`pytinc.vip.policy.Policy.update`)."""

    # -- for whom this node speaks --

    def takes_part(self, address: bytes) -> bool:
        """Tell whether this node is a member of an address, or guardian of a member."""
        return address in self.own or bool(self.wards.of(address))

    def concerned(self) -> set[bytes]:
        """Return the addresses of which this node is a member, or guardian of a member."""
        return {*self.own, *self.wards.addresses()}

    def parts(self, known: Address) -> dict[str, OwnMember]:
        """Return the members of an address for which this node speaks: itself and wards, by name."""
        parts: dict[str, OwnMember] = {}
        if known.address in self.own:
            parts[self._core.me] = self.own[known.address]
        for node, ward in self.wards.of(known.address).items():
            said = known.others.get(node)
            if said is not None and said.guardian == self._core.me:
                parts[node] = ward
        return parts

    def listeners(self) -> list[OwnMember]:
        """Return all members for which this node speaks or may have to speak."""
        return [*self.own.values(), *self.wards]

    def part(self, key: tuple[bytes, str | None]) -> OwnMember | None:
        """Return a member for which this node speaks; ``key`` as `VirtualIP.key`."""
        address, node = key
        return self.own.get(address) if node is None else self.wards.of(address).get(node)

    def speaking(self, known: Address) -> str | None:
        """Return the member that serves and for which this node speaks: itself, or a ward."""
        return next(
            (
                node
                for node, part in self.parts(known).items()
                if part.id == known.claim.holder and part.state not in UNFIT
            ),
            None,
        )

    # -- who is there --

    def is_there(self, node: str) -> bool:
        """Tell whether a node can be reached, and is not silent."""
        return self._core.mesh.is_reachable(node) and not self._leader.is_gone(node)

    def present(self, known: Address, now: float) -> list[Member]:
        """Return the other members that can be reached."""
        return known.present(self.is_there, now)

    def all_present(self, known: Address, now: float) -> list[Member]:
        """Return the members that can be reached, this node included."""
        members = self.present(known, now)
        own = self.own.get(known.address)
        if own is not None:
            config = own.config
            members.append(
                Member(
                    self._core.me,
                    self._core.my_id,
                    own.state,
                    config.priority,
                    config.balance,
                    config.weight,
                    self.mac(known, self._core.me) or NO_HOLDER,
                )
            )
        return members

    def mac(self, known: Address, node: str) -> bytes | None:
        """Return the MAC address of a member for which this node speaks."""
        record = self._core.table.get(known.address)
        mac = None if record is None else self._core.mac_of(record, node)
        return self._core.mesh.own_mac() if mac is None and node == self._core.me else mac

    def common_members(self) -> set[str]:
        """Return the nodes that share an address with this one: members, and guardians of members."""
        found = {
            name
            for address in self.concerned()
            for node, said in self.addresses[address].others.items()
            for name in (node, said.guardian)
        }
        return {name for name in found if name not in (None, self._core.me)}

    def watched(self) -> set[str]:
        """Return the nodes whose silence matters to this node as a member.

        They are the other members, and a few more nodes that show whether this node itself is cut off.
        """
        members = {node for node in self.common_members() if self._core.mesh.is_reachable(node)}
        witnesses = sorted(set(self._core.mesh.witnesses()) - members) if members else []
        return members.union(witnesses[:MAX_WITNESSES])

    # -- what the other parts of the guard see --

    def is_governed(self, known: Address, now: float) -> bool:
        """Tell whether members decide who serves; an address of which none is heard is a shared one."""
        return known.address in self.own or known.is_heard(now)

    def governed(self, known: Address) -> Governed:
        """Return who serves an address, for the other parts of the guard."""
        quiet = {node for node, said in known.others.items() if said.guardian is None}
        if known.address in self.own:
            quiet.add(self._core.me)
        return Governed(known.owner, known.serving, known.speaker, frozenset(quiet), known.balanced)

    # -- records --

    def change(self, now: float) -> None:
        """Have the news sent to all nodes, several times."""
        if self.listeners() or self.telling.has_removed:
            self.telling.change(now)
            self.update_due = min(self.update_due, now)

    def send_due(self, now: float) -> None:
        """Send the records that are due."""
        if not (self.listeners() or self.telling.has_removed):
            return
        if self.telling.send_due(self.entries, self.common_members(), now):
            for part in self.listeners():
                part.contact(now)

    def entries(self) -> list[Entry]:
        """Return what is told of the members for which this node speaks."""
        entries = [self._entry(address, own) for address, own in self.own.items()]
        for address in self.wards.addresses():
            entries += self.wards.entries(self.addresses[address])
        return entries

    def _entry(self, address: bytes, own: OwnMember) -> Entry:
        mac = self.mac(self.addresses[address], self._core.me) or NO_HOLDER
        config = own.config
        return Entry(
            address,
            own.state,
            config.priority,
            mac,
            self.addresses[address].claim,
            own.hears_holder,
            config.balance,
            config.weight,
        )
