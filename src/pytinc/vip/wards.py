"""Members that run tinc's daemon, and for which this node speaks: it is their guardian.

A ward is a member like any other, but its guardian does for it what a pytinc member does for itself: it
checks the ward's health from outside, tells the other pytinc nodes about it, claims the address for it, and
tells the clients. There is one thing that it cannot do: keep the ward's host from answering while another
member serves (`pytinc.vip.corrections`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from pytinc.vip.core import Core
from pytinc.vip.members import Address
from pytinc.vip.own_member import OwnMember
from pytinc.wire.datagram import node_id
from pytinc.wire.vip_record import NO_HOLDER, Entry, EntryState
from pytinc.wire.virtual_ip import VirtualIP

LOOKS: Final = (1.0, 30.0)
"""The first and the longest wait, in seconds, between two questions for the MAC address of a ward that has
not answered yet; it doubles each time."""


class Ward(OwnMember):
    """Another node as a member of one address, as its guardian sees it."""

    def __init__(self, config: VirtualIP, now: float) -> None:
        super().__init__(config, now)
        assert config.node is not None
        self.id = node_id(config.node)
        self.present = False
        self.mac: bytes | None = None
        """The MAC address at which the ward's host has the address; None: it has not answered yet."""
        self._answered = False
        self._look_pause = LOOKS[0]
        self._next_look = -math.inf

    def find_state(self, now: float, *, holds: bool, drains: bool) -> EntryState:
        """Return what the ward does with the address now.

        A guardian that has just started does not know it before the ward has answered.
        """
        if now < (self.init_until if self._answered else self.latest_init):
            return EntryState.INIT
        return super().find_state(now, holds=holds, drains=drains)

    def see(self, mac: bytes | None) -> None:
        """Note the MAC address at which the ward's host answers for the address, if it does."""
        self.mac, self.present = mac, mac is not None
        if self.present:
            self._answered = True
            self._look_pause, self._next_look = LOOKS[0], -math.inf

    def take_look(self, now: float) -> bool:
        """Tell whether a question for the address is due, because the ward has not answered."""
        if self.present or now < self._next_look:
            return False
        self._next_look = now + self._look_pause
        self._look_pause = min(2 * self._look_pause, LOOKS[1])
        return True


class Wards:
    """All wards of this node, by address and name."""

    def __init__(self, core: Core, is_there: Callable[[str], bool]) -> None:
        self._core = core
        self._is_there = is_there
        self._wards: dict[bytes, dict[str, Ward]] = {}
        self._sequence = 0
        """The sequence number of the next statement, so that each one is newer than the last."""

    def configure(self, virtual_ips: Sequence[VirtualIP], now: float) -> list[tuple[str, Entry]]:
        """Take over settings; return the final entries of former wards, with their names."""
        mesh, wanted = self._core.mesh, {line.key for line in virtual_ips}
        removed = []
        for address, wards in list(self._wards.items()):
            for node in [node for node in wards if (address, node) not in wanted]:
                ward = wards.pop(node)
                entry = self._entry(Address(address), ward, EntryState.REMOVED)
                removed.append((node, entry))
            if not wards:
                del self._wards[address]
        for line in virtual_ips:
            if line.node is None:
                continue
            wards = self._wards.setdefault(line.address, {})
            if line.node in wards:
                wards[line.node].reconfigure(line)
            else:
                wards[line.node] = Ward(line, now)
            ward = wards[line.node]
            # Both need the right; otherwise any node could speak for any other.
            ward.permitted = mesh.may_hold(self._core.me, line.address, now) and mesh.may_hold(
                line.node, line.address, now
            )
        return removed

    def addresses(self) -> Iterable[bytes]:
        """Return the addresses that have wards."""
        return self._wards.keys()

    def of(self, address: bytes) -> dict[str, Ward]:
        """Return the wards that are members of an address, by name."""
        return self._wards.get(address, {})

    def __iter__(self) -> Iterator[Ward]:
        return (ward for wards in self._wards.values() for ward in wards.values())

    def __bool__(self) -> bool:
        """Tell whether there are any wards."""
        return any(self._wards.values())

    def needs_look(self, address: bytes, now: float) -> bool:
        """Tell whether a question for an address is due, because a reachable ward has not answered."""
        looks = [
            self._core.mesh.is_reachable(node) and ward.take_look(now)
            for node, ward in self.of(address).items()
        ]
        return any(looks)

    def speak(self, known: Address, now: float) -> bool:
        """Record what this node says about its wards; tell whether others must know at once."""
        core, record = self._core, self._core.table.get(known.address)
        is_news = False
        self._sequence += 1
        for node, ward in self.of(known.address).items():
            before = ward.state, ward.mac
            ward.see(None if record is None else core.mac_of(record, node))
            ward.state = ward.find_state(now, holds=known.claim.holder == ward.id, drains=False)
            if ward.state is not before[0]:
                core.tell_state(known.address, node, ward.state, before[0], ward.trouble())
            if ward.state is not before[0] or not self._is_there(node):
                ward.ready_since = now
            is_news |= before != (ward.state, ward.mac)
            entry = self._entry(known, ward, ward.state)
            known.hear(
                node, ward.id, entry, 0, self._sequence, now, guardian=core.me, is_alive=self._is_there
            )
        return is_news

    def entries(self, known: Address) -> list[Entry]:
        """Return the entries about the wards that are members of an address."""
        return [self._entry(known, ward, ward.state) for ward in self.of(known.address).values()]

    @staticmethod
    def _entry(known: Address, ward: Ward, state: EntryState) -> Entry:
        config = ward.config
        return Entry(
            known.address,
            state,
            config.priority,
            ward.mac or NO_HOLDER,
            known.claim,
            ward.hears_holder,
            config.balance,
            config.weight,
            ward.id,
        )
