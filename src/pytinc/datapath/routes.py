"""Finds the owner of an IP address: the subnets of all nodes, longest prefix first.

See docs/protocol-data.md, "Router mode"; docs/protocol-meta.md, "Subnets".

`pytinc.node.forwarding` adds and deletes subnets, the router asks. Answers are kept for the addresses that
traffic goes to, until a subnet changes or `RouteTable.flush` is called because the reachability of owners
changed.
"""

from __future__ import annotations

import enum
from bisect import insort
from typing import TYPE_CHECKING, Final, NamedTuple

from pytinc.wire.subnet import Subnet

if TYPE_CHECKING:
    from pytinc.datapath.peer_slot import PeerSlot

MAX_KEPT: Final = 4096
"""Addresses whose owner is kept, as in tinc. A scan of a network fills this; then it begins anew."""


class NoOwner(enum.Enum):
    """Why a packet goes to no single node."""

    BROADCAST = enum.auto()
    """The address lies in a broadcast subnet: to all."""
    UNKNOWN = enum.auto()
    """No subnet has it."""
    UNREACHABLE = enum.auto()
    """Some have it, but none of their owners can be reached."""


class _Entry(NamedTuple):
    """A subnet of one node, in the order of preference among those of one network."""

    owned: bool
    """False for broadcast subnets: they come first, so no node can take one for itself by announcing it."""
    address: bytes
    weight: int
    name: str
    slot: PeerSlot | None


class RouteTable:
    """All IP subnets. Subnets of other kinds are not kept here."""

    def __init__(self) -> None:
        self._networks: dict[tuple[int, int], dict[int, list[_Entry]]] = {}
        """By length of the address and of the prefix (in bits): entries of each network, best first."""
        self._prefixes: dict[int, tuple[int, ...]] = {4: (), 16: ()}
        """By length of the address: the lengths of prefixes in use, longest first."""
        self._kept: dict[bytes, PeerSlot | NoOwner] = {}

    def add(self, subnet: Subnet, owner: PeerSlot | None) -> None:
        """Add a subnet that is not there yet; the owner of a broadcast subnet is None."""
        key, network, entry = _place(subnet, owner)
        networks = self._networks.get(key)
        if networks is None:
            networks = self._networks[key] = {}
            self._note_prefixes(key[0])
        insort(networks.setdefault(network, []), entry, key=_preference)
        self._kept.clear()

    def delete(self, subnet: Subnet, owner: PeerSlot | None) -> None:
        """Delete a subnet that was added."""
        key, network, entry = _place(subnet, owner)
        networks = self._networks[key]
        networks[network].remove(entry)
        if not networks[network]:
            del networks[network]
        if not networks:
            del self._networks[key]
            self._note_prefixes(key[0])
        self._kept.clear()

    def flush(self) -> None:
        """Forget what was kept: other owners are reachable now."""
        self._kept.clear()

    def lookup(self, address: bytes) -> PeerSlot | NoOwner:
        """Return the node that packets to ``address`` (4 or 16 bytes) go to, or why there is none.

        The first subnet with a reachable owner that is not silent counts: when that of the longest prefix is
        gone, the next weight takes over, then a shorter prefix.
        """
        found = self._kept.get(address)
        if found is None:
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            found = self._kept[address] = self._find(address)
        return found

    def is_among_owners(self, address: bytes, slot: PeerSlot) -> bool:
        """Tell whether a node owns the smallest network with ``address``, even if not as the best owner."""
        size, value = len(address), int.from_bytes(address, "big")
        for prefix in self._prefixes[size]:
            entries = self._networks[size, prefix].get(value >> (size * 8 - prefix))
            if entries:
                return any(entry.slot is slot for entry in entries)
        return False

    def _find(self, address: bytes) -> PeerSlot | NoOwner:
        size, value = len(address), int.from_bytes(address, "big")
        answer: PeerSlot | NoOwner = NoOwner.UNKNOWN
        for prefix in self._prefixes[size]:
            for entry in self._networks[size, prefix].get(value >> (size * 8 - prefix), ()):
                if entry.slot is None:
                    return NoOwner.BROADCAST
                if entry.slot.reachable and not entry.slot.silent:
                    return entry.slot
                if answer is NoOwner.UNKNOWN or (answer is NoOwner.UNREACHABLE and entry.slot.reachable):
                    # An owner that is only silent is better than none.
                    answer = entry.slot if entry.slot.reachable else NoOwner.UNREACHABLE
        return answer

    def _note_prefixes(self, size: int) -> None:
        used = (prefix for its_size, prefix in self._networks if its_size == size)
        self._prefixes[size] = tuple(sorted(used, reverse=True))


def _place(subnet: Subnet, owner: PeerSlot | None) -> tuple[tuple[int, int], int, _Entry]:
    size = len(subnet.address)
    network = int.from_bytes(subnet.address, "big") >> (size * 8 - subnet.prefix)
    name = "" if owner is None else owner.name
    return (
        (size, subnet.prefix),
        network,
        _Entry(owner is not None, subnet.address, subnet.weight, name, owner),
    )


def _preference(entry: _Entry) -> tuple[bool, bytes, int, str]:
    return entry[:4]
