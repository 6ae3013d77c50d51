"""Member records: what the members of virtual addresses tell other pytinc nodes about themselves.

Guardians tell the same about members that run tinc's daemon.

A record travels as the payload of a probe between two nodes, so it is sealed and authentic, and its sender is
known. C nodes never get one (docs/protocol.md, "Member records"). Layout, all numbers big-endian::

    kind = 3 (1) | version = 2 (1) | boot (4) | sequence (4) | count (1) | count entries

    entry: length of the address, 4 or 16 (1) | address | state (1) | priority (1) | flags (1) | MAC (6)
           | term (4) | priority of the holder (1) | holder (6) | weight (1) | member (6)

*boot* is a random number that a node draws when it starts, *sequence* counts its records since then. *holder*
is the id of the node that holds the address as the sender knows it, and *term* the number of this
claim, which grows with each take-over, freeze and thaw.
*member* is the id of the node that the entry is about if the sender is its guardian, and zero if the sender
speaks for itself.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from pytinc.errors import DecodeError
from pytinc.wire.virtual_ip import DEFAULT_WEIGHT, Balance

MEMBER_RECORD: Final = 3
"""First byte of a probe that is a member record. Requests and replies have 0 to 2."""
MAX_SIZE: Final = 400
"""Bytes of a record, so that it fits into every path MTU; more addresses go into further records."""
MAX_TERM: Final = (1 << 32) - 1
NO_HOLDER: Final = bytes(6)
_VERSION: Final = 2
_FROZEN: Final = 1
_HEARS: Final = 2
_BALANCE_SHIFT: Final = 2
_BALANCE: Final = 3 << _BALANCE_SHIFT
_TERMS: Final = MAX_TERM + 1
_HEADER: Final = struct.Struct(">BBIIB")
_ENTRY: Final = struct.Struct(">BBB6sIB6sB6s")
_SIZES: Final = (4, 16)


class EntryState(enum.IntEnum):
    """The state of a member for an address."""

    REMOVED = 0
    """It is not a member any more."""
    INIT = 1
    FAULT = 2
    BACKUP = 3
    ACTIVE = 4
    DRAIN = 5
    ABSENT = 6
    """Its host does not have the address."""


class Claim(NamedTuple):
    """Who holds an address. Of two claims the one with the later term counts, then the higher priority."""

    term: int
    holder: bytes
    """Node id; `NO_HOLDER` if no node ever held it."""
    priority: int = 0
    """The priority of the holder when it took over."""
    frozen: bool = False
    """The holder keeps the address, whatever its checks and priorities are."""

    @property
    def next_term(self) -> int:
        """The term of the claim that follows; 0 follows `MAX_TERM`."""
        return (self.term + 1) % _TERMS

    def is_later(self, other: Claim) -> bool:
        """Tell whether the term is later than that of another claim.

        Terms wrap around, so that every claim can be followed by a later one.
        """
        if NO_HOLDER in (self.holder, other.holder):
            return self.holder != other.holder == NO_HOLDER
        return 0 < (self.term - other.term) % _TERMS < _TERMS // 2


@dataclass(frozen=True, slots=True)
class Entry:
    """The statement of a member, or its guardian, about one address."""

    address: bytes
    """4 or 16 bytes."""
    state: EntryState
    priority: int
    mac: bytes
    """The MAC address at which the member's host has the address."""
    claim: Claim
    hears_holder: bool = False
    """The sender hears the holder itself, and would choose it."""
    balance: Balance = Balance.FAILOVER
    """How the member is configured to share the clients."""
    weight: int = DEFAULT_WEIGHT
    """The member's weight."""
    member: bytes = NO_HOLDER
    """Id of the node that the entry is about, if the sender is its guardian; `NO_HOLDER`: the sender
    itself."""

    @property
    def size(self) -> int:
        """Bytes of the entry in a record."""
        return 1 + len(self.address) + _ENTRY.size

    def pack(self) -> bytes:
        """Return the bytes of the entry."""
        term, holder, priority, frozen = self.claim
        flags = (_FROZEN if frozen else 0) | (_HEARS if self.hears_holder else 0)
        flags |= self.balance << _BALANCE_SHIFT
        numbers = (self.state, self.priority, flags, self.mac, term, priority, holder, self.weight)
        rest = _ENTRY.pack(*numbers, self.member)
        return bytes((len(self.address),)) + self.address + rest


@dataclass(frozen=True, slots=True)
class MemberRecord:
    """One record."""

    boot: int
    sequence: int
    entries: tuple[Entry, ...]

    def pack(self) -> bytes:
        """Return the bytes of the record."""
        header = _HEADER.pack(MEMBER_RECORD, _VERSION, self.boot, self.sequence, len(self.entries))
        return header + b"".join(entry.pack() for entry in self.entries)


def portions(entries: Iterable[Entry]) -> Iterator[tuple[Entry, ...]]:
    """Divide entries into portions, each of which fits into a record."""
    portion: list[Entry] = []
    size = _HEADER.size
    for entry in entries:
        if portion and size + entry.size > MAX_SIZE:
            yield tuple(portion)
            portion, size = [], _HEADER.size
        portion.append(entry)
        size += entry.size
    if portion:
        yield tuple(portion)


def parse_record(payload: bytes) -> MemberRecord:
    """Read a record; DecodeError if it is malformed or of another version.

    Bytes behind the last entry are ignored, for later versions.
    """
    if len(payload) < _HEADER.size or len(payload) > MAX_SIZE:
        raise DecodeError("a member record of a wrong size")
    kind, version, boot, sequence, count = _HEADER.unpack_from(payload)
    if kind != MEMBER_RECORD or version != _VERSION:
        raise DecodeError("a member record of an unknown version")
    entries = []
    offset = _HEADER.size
    for _ in range(count):
        entry, offset = _parse_entry(payload, offset)
        entries.append(entry)
    return MemberRecord(boot, sequence, tuple(entries))


def _parse_entry(payload: bytes, offset: int) -> tuple[Entry, int]:
    size = payload[offset] if offset < len(payload) else 0
    start = offset + 1 + size
    if size not in _SIZES or start + _ENTRY.size > len(payload):
        raise DecodeError("a member record ends in the middle of an entry")
    state, priority, flags, mac, term, rank, holder, weight, member = _ENTRY.unpack_from(payload, start)
    balance = (flags & _BALANCE) >> _BALANCE_SHIFT
    if state > EntryState.ABSENT or not priority or not weight or balance > Balance.FLOW or mac[0] & 1:
        raise DecodeError("a member record with a wrong entry")
    claim = Claim(term, holder, rank, bool(flags & _FROZEN))
    address, hears_holder = payload[offset + 1 : start], bool(flags & _HEARS)
    shares = Balance(balance), weight
    entry = Entry(address, EntryState(state), priority, mac, claim, hears_holder, *shares, member)
    return entry, start + _ENTRY.size
