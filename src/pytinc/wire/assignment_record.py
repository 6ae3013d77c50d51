"""Assignment records: the members that the clients of a virtual address are assigned to.

The member that assigns the clients tells the others, so that each of them can continue its work. Such a
record travels as the payload of a probe, like a member record (`pytinc.wire.vip_record`; docs/protocol.md,
"Assignment records"). Layout, all numbers big-endian::

    kind = 4 (1) | version = 1 (1) | boot (4) | sequence (4) | length of the address, 4 or 16 (1) | address
    | term (4) | holder (6) | count (1) | count members | count (1) | count clients

    member: node id (6)
    client: index of its member in this record (1) | MAC (6) | its own address, as long as the virtual one

*boot* and *sequence* are as in member records, but counted for themselves. *term* and *holder* are those of
the claim under which the sender gives the clients out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from pytinc.errors import DecodeError

ASSIGNMENT_RECORD: Final = 4
"""First byte of a probe that is an assignment record."""
MAX_SIZE: Final = 400
"""Bytes of a record, as of a member record."""
_VERSION: Final = 1
_HEADER: Final = struct.Struct(">BBIIB")
_CLAIM: Final = struct.Struct(">I6s")
_MAC_SIZE: Final = 6
_SIZES: Final = (4, 16)


class Assigned(NamedTuple):
    """One client."""

    mac: bytes
    address: bytes
    """Its own address, of the family of the virtual one."""
    member: bytes
    """The id of the node that serves it."""


@dataclass(frozen=True, slots=True)
class AssignmentRecord:
    """One record."""

    boot: int
    sequence: int
    address: bytes
    """4 or 16 bytes."""
    term: int
    holder: bytes
    """The id of the node that holds the address."""
    clients: tuple[Assigned, ...]

    def pack(self) -> bytes:
        """Return the bytes of the record."""
        members = list(dict.fromkeys(client.member for client in self.clients))
        parts = [
            _HEADER.pack(ASSIGNMENT_RECORD, _VERSION, self.boot, self.sequence, len(self.address)),
            self.address,
            _CLAIM.pack(self.term, self.holder),
            bytes((len(members),)),
            *members,
            bytes((len(self.clients),)),
        ]
        for client in self.clients:
            parts += [bytes((members.index(client.member),)), client.mac, client.address]
        return b"".join(parts)


def portions(size: int, clients: Iterable[Assigned]) -> Iterator[tuple[Assigned, ...]]:
    """Divide clients into portions, each of which fits into a record of an address of ``size`` bytes."""
    portion: list[Assigned] = []
    members: set[bytes] = set()
    for client in clients:
        needed = _HEADER.size + size + _CLAIM.size + 2
        needed += len(members | {client.member}) * _MAC_SIZE + (len(portion) + 1) * (1 + _MAC_SIZE + size)
        if needed > MAX_SIZE:
            yield tuple(portion)
            portion, members = [], set()
        portion.append(client)
        members.add(client.member)
    if portion:
        yield tuple(portion)


def parse_assignments(payload: bytes) -> AssignmentRecord:
    """Read a record; DecodeError if it is malformed or of another version.

    Bytes behind the last client are ignored, for later versions.
    """
    if len(payload) > MAX_SIZE:
        raise DecodeError("an assignment record that is too long")
    kind, version, boot, sequence, size = _HEADER.unpack(_take(payload, 0, _HEADER.size))
    if kind != ASSIGNMENT_RECORD or version != _VERSION:
        raise DecodeError("an assignment record of an unknown version")
    if size not in _SIZES:
        raise DecodeError("an assignment record with a wrong address")
    address = _take(payload, _HEADER.size, size)
    at = _HEADER.size + size
    term, holder = _CLAIM.unpack(_take(payload, at, _CLAIM.size))
    at += _CLAIM.size
    (count,) = _take(payload, at, 1)
    ids = _take(payload, at + 1, count * _MAC_SIZE)
    members = [ids[offset : offset + _MAC_SIZE] for offset in range(0, len(ids), _MAC_SIZE)]
    at += 1 + len(ids)
    (count,) = _take(payload, at, 1)
    at, clients = at + 1, []
    for _ in range(count):
        entry = _take(payload, at, 1 + _MAC_SIZE + size)
        at += len(entry)
        if entry[0] >= len(members) or entry[1] & 1:
            raise DecodeError("an assignment record with a wrong client")
        clients.append(Assigned(entry[1 : 1 + _MAC_SIZE], entry[1 + _MAC_SIZE :], members[entry[0]]))
    return AssignmentRecord(boot, sequence, address, term, holder, tuple(clients))


def _take(payload: bytes, at: int, size: int) -> bytes:
    if at + size > len(payload):
        raise DecodeError("an assignment record that is too short")
    return payload[at : at + size]
