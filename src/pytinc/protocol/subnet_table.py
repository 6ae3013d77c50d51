"""Subnets and their owners, including the MAC addresses that the switch has learned.

MACs are subnets of type MAC in the same table as IP subnets, announced in the same way
(docs/protocol-data.md, "MAC table"; tinc: subnet.c). A node learns only the MACs behind its own device; other
nodes announce theirs.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Final

from pytinc.errors import LimitError
from pytinc.wire.subnet import Subnet, SubnetKind

MAX_SUBNETS_PER_OWNER: Final = 20_000
"""More hosts than any LAN behind one node has; further subnets that a peer claims are ignored."""
MAX_SUBNETS: Final = 200_000
"""Subnets of all nodes together; about 100 MB in the worst case."""
MAX_LEARNED: Final = 16_384
"""MACs learned from the own device. When there are more, the one that was silent for longest is removed: it
is the least likely to be needed, and its next frame teaches it again."""


class SubnetTable:
    """All subnets with their owners. The owner of a broadcast subnet is None."""

    def __init__(self) -> None:
        self._by_owner: dict[str | None, dict[Subnet, None]] = {}
        self._sorted: dict[str | None, list[Subnet]] = {}
        self._mac_owners: dict[bytes, list[tuple[int, str]]] = {}
        """Owners of each MAC in order of preference: weight, then name."""
        self._broadcast_macs: frozenset[bytes] = frozenset()
        self._learned: dict[bytes, float] = {}
        """When each MAC learned from the own device was seen last; sorted, oldest first, after `expire`."""
        self._given_up: set[bytes] = set()
        self._count = 0
        self._owners: dict[tuple[SubnetKind, bytes, int], dict[str, int]] = {}
        """How many subnets each node has for one network; they may differ in weight."""
        self._contested: set[tuple[SubnetKind, bytes, int]] = set()
        """Networks with more than one owner."""

    def __len__(self) -> int:
        """Return the number of subnets."""
        return self._count

    def add(self, owner: str | None, subnet: Subnet, *, limited: bool = True) -> bool:
        """Add a subnet; False if ``owner`` had exactly this one.

        `LimitError` when the table is full, unless ``limited`` is false.
        """
        subnets = self._by_owner.get(owner, {})
        if subnet in subnets:
            return False
        if limited and (len(subnets) >= MAX_SUBNETS_PER_OWNER or self._count >= MAX_SUBNETS):
            raise LimitError(f"too many subnets of {owner}")
        self._insert(owner, subnet)
        return True

    def _insert(self, owner: str | None, subnet: Subnet) -> None:
        self._by_owner.setdefault(owner, {})[subnet] = None
        self._count += 1
        if owner is not None:
            network = (subnet.kind, subnet.address, subnet.prefix)
            owners = self._owners.setdefault(network, {})
            owners[owner] = owners.get(owner, 0) + 1
            if len(owners) > 1:
                self._contested.add(network)
        self._sorted.pop(owner, None)
        if owner is None:
            self._note_broadcast_macs()
        elif subnet.kind is SubnetKind.MAC:
            insort(self._mac_owners.setdefault(subnet.address, []), (subnet.weight, owner))

    def delete(self, owner: str | None, subnet: Subnet) -> bool:
        """Delete a subnet; False if ``owner`` does not have exactly this one (with this weight)."""
        subnets = self._by_owner.get(owner, {})
        if subnet not in subnets:
            return False
        del subnets[subnet]
        self._count -= 1
        if owner is not None:
            self._leave_network(owner, (subnet.kind, subnet.address, subnet.prefix))
        self._sorted.pop(owner, None)
        if not subnets:
            del self._by_owner[owner]
        if owner is None:
            self._note_broadcast_macs()
        elif subnet.kind is SubnetKind.MAC:
            owners = self._mac_owners[subnet.address]
            owners.remove((subnet.weight, owner))
            if not owners:
                del self._mac_owners[subnet.address]
        return True

    def _leave_network(self, owner: str, network: tuple[SubnetKind, bytes, int]) -> None:
        owners = self._owners[network]
        owners[owner] -= 1
        if not owners[owner]:
            del owners[owner]
        if len(owners) < 2:
            self._contested.discard(network)
        if not owners:
            del self._owners[network]

    @property
    def has_rivals(self) -> bool:
        """Tell whether any network has more than one owner."""
        return bool(self._contested)

    def rivals(self) -> set[str]:
        """Return the nodes that own a network which another node owns as well."""
        return {owner for network in self._contested for owner in self._owners[network]}

    def _note_broadcast_macs(self) -> None:
        subnets = self._by_owner.get(None, ())
        self._broadcast_macs = frozenset(
            subnet.address for subnet in subnets if subnet.kind is SubnetKind.MAC
        )

    def has(self, owner: str | None, subnet: Subnet) -> bool:
        """Tell whether ``owner`` has exactly this subnet."""
        return subnet in self._by_owner.get(owner, ())

    def of(self, owner: str | None) -> list[Subnet]:
        """Return the subnets of one owner in tinc's order."""
        subnets = self._sorted.get(owner)
        if subnets is None:
            found = self._by_owner.get(owner)
            if found is None:
                return []
            subnets = self._sorted[owner] = sorted(found, key=_sort_key)
        return list(subnets)

    def all(self) -> list[tuple[str | None, Subnet]]:
        """Return all subnets with their owners in the order of dumps (docs/protocol-meta.md, "Subnets")."""
        everything = [(owner, subnet) for owner, subnets in self._by_owner.items() for subnet in subnets]
        everything.sort(key=lambda item: (item[1].sort_key, item[0] or ""))
        return everything

    # -- MACs --

    def macs(self) -> Iterator[bytes]:
        """Yield every MAC that a node owns."""
        return iter(self._mac_owners)

    def mac_owner(self, mac: bytes, is_reachable: Callable[[str], bool]) -> str | None:
        """Return the owner to which frames for ``mac`` go: the first reachable one by weight and name.

        If none is reachable, return the last one (sending then fails, as in tinc). None means broadcast: no
        node owns the MAC, or it is a broadcast subnet. A node cannot claim a broadcast subnet by announcing
        it (in tinc a node with a smaller weight can).
        """
        owners = self._mac_owners.get(mac)
        if not owners or mac in self._broadcast_macs:
            return None
        for _, owner in owners:
            if is_reachable(owner):
                return owner
        return owners[-1][1]

    def outweighed(self, mac: bytes) -> tuple[tuple[int, str], tuple[int, str]] | None:
        """Return the owner of a MAC that has the least weight, and the next one if its weight is larger.

        Each is a weight and a name. Learned MACs have all the same weight, so this is no station that moves.
        None if there is no other owner, or if it has the same weight.
        """
        owners = self._mac_owners.get(mac, [])
        others = [found for found in owners if found[1] != owners[0][1]]
        return (owners[0], others[0]) if others and others[0][0] > owners[0][0] else None

    # -- learning, for the own node --

    def is_learned(self, subnet: Subnet) -> bool:
        """Return whether this subnet of the own node was learned (and so can expire)."""
        return subnet.kind is SubnetKind.MAC and subnet.address in self._learned

    def learn(self, me: str, mac: bytes, now: float) -> tuple[bool, list[Subnet]]:
        """Learn the source MAC of a frame. Returns whether it is new, and the subnet that was removed for it.

        A configured MAC is never new, whatever its weight. Learning never fails: announcements of peers
        cannot fill the table so that MACs of the own device do not fit.
        """
        if any(owner == me for _, owner in self._mac_owners.get(mac, ())):
            self.renew(mac, now)
            return False, []
        evicted: list[Subnet] = []
        if len(self._learned) >= MAX_LEARNED:
            evicted.append(self._forget(me, next(iter(self._learned))))
        self._insert(me, Subnet.mac(mac))
        self._learned[mac] = now
        return True, evicted

    def renew(self, mac: bytes, seen: float) -> None:
        """Note that a frame from a learned MAC came at ``seen``."""
        before = self._learned.get(mac)
        if before is not None and seen > before:
            del self._learned[mac]
            self._learned[mac] = seen
            self._given_up.discard(mac)

    def hand_over(self, mac: bytes) -> None:
        """Mark a learned MAC that another node announced: `expire` removes it unless it is seen here."""
        if mac in self._learned:
            self._given_up.add(mac)

    def expire(self, me: str, now: float, lifetime: float) -> list[Subnet]:
        """Delete and return the learned MACs not seen for ``lifetime`` seconds, and those handed over."""
        # `renew` is called late and in no order; the entries are nearly sorted, so sorting is cheap.
        self._learned = dict(sorted(self._learned.items(), key=itemgetter(1)))
        old = [mac for mac, seen in self._learned.items() if seen + lifetime < now or (mac in self._given_up)]
        return [self._forget(me, mac) for mac in old]

    def _forget(self, me: str, mac: bytes) -> Subnet:
        del self._learned[mac]
        self._given_up.discard(mac)
        subnet = Subnet.mac(mac)
        self.delete(me, subnet)
        return subnet


def _sort_key(subnet: Subnet) -> tuple[int, int, bytes, int]:
    return subnet.sort_key
