"""Tells the clients of an address who serves, where that is a member for which this node speaks.

How clients are told is the matter of `pytinc.vip.announcing`; where the members share the clients, each
client has its own member, and `pytinc.vip.sharing` tells them.
"""

from __future__ import annotations

from typing import Final

from pytinc.vip.core import Core
from pytinc.vip.members import Address
from pytinc.vip.membership import Membership
from pytinc.vip.sharing import Sharing
from pytinc.wire import neighbour

RIVAL_REST: Final = 1.0
"""Seconds between two announcements that answer another member's lower claim."""
REMINDER: Final = 10.0
"""Seconds between two announcements of the owner to all, where hosts of C members answer as well."""


class Speaker:
    """Speaks to the clients for itself and its wards."""

    def __init__(self, core: Core, membership: Membership, sharing: Sharing) -> None:
        self._core = core
        self._membership = membership
        self._sharing = sharing
        self._announcing = sharing.announcing

    def update(self, known: Address, now: float) -> None:
        """Tell the clients which single member serves now, if this node speaks for that member."""
        node = None if known.balanced else self._membership.speaking(known)
        speaks_of = None
        if node is not None:
            # The MAC address of a ward may change; for our own host the first one is enough.
            speaks_of = node, None if node == self._core.me else self._membership.mac(known, node)
        if speaks_of == known.speaks_of:
            self._remind(known, node, now)
            return
        known.speaks_of, known.announced = speaks_of, now
        if node is None:
            self._announcing.stop(known.address)
        else:
            self._announce(known.address, node, now)

    def _remind(self, known: Address, node: str | None, now: float) -> None:
        """Announce the owner again now and then if other hosts answer as well.

        This node may have missed the question of a client that believes one of them.
        """
        record = self._core.table.get(known.address)
        if node is None or record is None or now < known.announced + REMINDER:
            return
        mac = self._membership.mac(known, node)
        if mac is not None and self._core.is_contested(record):
            known.announced = now
            self._core.send(neighbour.announcement(mac, known.address))

    def answer_rival(self, known: Address, now: float) -> None:
        """Another member serves under a lower claim, as it does not know ours: tell it, and the clients."""
        if now - known.rival_answered < RIVAL_REST:
            return
        known.rival_answered = now
        if self._membership.takes_part(known.address):
            self._membership.change(now)
        speaking = self._membership.speaking(known)
        if speaking is not None:
            self._announce(known.address, speaking, now)

    def take_clients_of(self, node: str, now: float) -> None:
        """Tell all clients who serves: a member that has left may have served some of them unnoticed."""
        for known in self._membership.addresses.values():
            speaking = None if known.balanced else self._membership.speaking(known)
            if speaking is not None and node in known.others and known.announced < now:
                known.announced = now
                self._announce(known.address, speaking, now)

    def welcome(self, node: str, now: float) -> None:
        """Tell the clients of a node that has just joined who serves: they may have missed announcements."""
        for known in self._membership.addresses.values():
            speaking, record = self._membership.speaking(known), self._core.table.get(known.address)
            mac = None if speaking is None or known.balanced else self._membership.mac(known, speaking)
            if record is not None and mac is not None:
                self._announcing.welcome(record, mac, node, now)

    def _announce(self, address: bytes, node: str, now: float) -> None:
        """Tell the clients who serves: ``node``, for which this node speaks, or each client's own member."""
        known, record = self._membership.addresses[address], self._core.table.get(address)
        mac = self._membership.mac(known, node)
        if known.balanced:
            self._sharing.tell_all(address, now)
        elif record is not None and mac is not None:
            self._announcing.start(record, mac, now)
            self._announcing.tick(now)
