"""Takes in member records: whom this node believes, and how much it remembers.

A node speaks for itself, or as a guardian for members that run tinc's daemon (`pytinc.vip.wards`).
"""

from __future__ import annotations

from typing import Final

from pytinc.vip.core import Core
from pytinc.vip.members import Address
from pytinc.vip.membership import Membership
from pytinc.vip.speaker import Speaker
from pytinc.wire.vip_record import NO_HOLDER, Entry, EntryState, MemberRecord, parse_record

MAX_ADDRESSES: Final = 256
"""Most addresses with members that are remembered: other nodes may invent them."""
MAX_ADDRESSES_OF_NODE: Final = 64
"""The same for one node, which cannot have more in its configuration."""


class Hearing:
    """Takes in what other nodes say of members."""

    def __init__(self, core: Core, membership: Membership, speaker: Speaker) -> None:
        self._core = core
        self._membership = membership
        self._speaker = speaker

    def record(self, node: str, node_id: bytes, payload: bytes, now: float) -> list[bytes]:
        """Take a member record of another node; return the addresses with news. DecodeError if malformed."""
        record = parse_record(payload)
        return [
            entry.address
            for entry in record.entries
            if self._core.mesh.may_hold(node, entry.address, now)
            and self._hear(node, node_id, entry, record, now)
        ]

    def _hear(self, node: str, node_id: bytes, entry: Entry, record: MemberRecord, now: float) -> bool:
        about, guardian = self._subject(node, node_id, entry, now)
        if about is None:
            return False
        known = self._membership.addresses.get(entry.address)
        if known is None or about not in known.others:
            if entry.state is EntryState.REMOVED or not self._has_room(node, known):
                return False
            known = self._membership.addresses.setdefault(entry.address, Address(entry.address))
        is_new = about not in known.others
        before = None if is_new else known.others[about].entry.state
        if not known.hear(
            about,
            node_id if guardian is None else entry.member,
            entry,
            record.boot,
            record.sequence,
            now,
            guardian=guardian,
            is_alive=self._membership.is_there,
        ):
            return False
        if entry.state is not before:
            self._core.tell_state(entry.address, about, entry.state, before, None)
        if any(entry.mac):
            shared = self._core.table.use(entry.address, now)
            shared.has_members = True
            shared.add_holder(entry.mac, now)
        if is_new and self._membership.takes_part(entry.address):
            # The node has just joined, and knows nothing about us.
            self._membership.telling.newcomer(node)
            self._membership.update_due = min(self._membership.update_due, now)
        if entry.state is EntryState.ACTIVE and entry.claim != known.claim:
            self._speaker.answer_rival(known, now)
        return True

    def _subject(self, node: str, node_id: bytes, entry: Entry, now: float) -> tuple[str | None, str | None]:
        """Return the member that an entry is about (None if the entry is not believable) and its guardian."""
        core = self._core
        if entry.member in (NO_HOLDER, node_id):
            return node, None
        about = core.mesh.name_of(entry.member)
        if about is None or (about == core.me and entry.address in self._membership.own):
            return None, None  # an unknown node, or this node itself
        return (about if core.mesh.may_hold(about, entry.address, now) else None), node

    def _has_room(self, node: str, known: Address | None) -> bool:
        """Tell whether a node may bring one more member, itself or a ward, and perhaps one more address."""
        brought = sum(
            (said.guardian or name) == node
            for each in self._membership.addresses.values()
            for name, said in each.others.items()
        )
        has_room = known is not None or len(self._membership.addresses) < MAX_ADDRESSES
        return has_room and brought < MAX_ADDRESSES_OF_NODE
