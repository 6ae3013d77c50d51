"""Chooses the member of a virtual address that gets a flow of our own stations (docs/virtual-ip.md).

`pytinc.node.guard` writes the members of each address (`FlowTable.configure`); `pytinc.datapath.flows` asks
for the member of each packet. The table of its address (`pytinc.datapath.maglev`) assigns a new flow to a
member. The flow stays there as long as that member is there, whatever happens to the others.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Final, NamedTuple

from pytinc.datapath import maglev
from pytinc.wire.flow import Packet
from pytinc.wire.ip import TCP_FIN, TCP_RST

MAX_FLOWS: Final = 65_536
"""Most flows that are known; the one used least recently is forgotten first."""
MAX_FRAGMENTED: Final = 1024
"""The same for packets in fragments."""
TCP_LIFE: Final = 900.0
"""Seconds after its last packet for which a flow is known."""
CLOSING_LIFE: Final = 60.0
"""The same for a TCP connection after the first FIN or RST."""
OTHER_LIFE: Final = 120.0
"""The same for all other protocols."""
FRAGMENTS_LIFE: Final = 30.0
"""Seconds within which the fragments of a packet arrive."""
SECOND_CHANCE: Final = 300.0
"""Seconds after a change of members in which an unknown connection may be older than the change."""
SETTLED: Final = 10.0
"""Seconds for which a set of members must last to count as the former one: a node that starts learns of one
member after the other."""
OLD_MAC_LIFE: Final = 600.0
"""Seconds after its last use for which the MAC of a former member is remembered: stations may send to it."""
MAX_OLD_MACS: Final = 256
_CLOSES: Final = TCP_FIN | TCP_RST


class FlowMember(NamedTuple):
    """A member that gets flows."""

    node: str
    mac: bytes
    weight: int
    """Its share, relative to the others'."""


@dataclass(frozen=True, slots=True)
class FlowRule:
    """The members that get the flows to an address."""

    members: tuple[FlowMember, ...]
    """The members that get new flows."""
    kept: frozenset[bytes]
    """MACs of members that keep their present flows."""
    macs: frozenset[bytes]
    """MACs of all members: a station sends packets for the address to one of them."""


class _Places:
    """The members by place in the table of an address."""

    __slots__ = ("_macs", "_members")

    def __init__(self, members: tuple[FlowMember, ...]) -> None:
        self._members = members
        self._macs: tuple[bytes, ...] = ()

    def mac(self, place: int) -> bytes:
        """Return the MAC of the member that has a place."""
        if not self._macs:
            # Computed only when a flow needs it, because members of unused addresses may change all the time.
            indices = maglev.shares(tuple((member.node, member.weight) for member in self._members))
            self._macs = tuple(self._members[index].mac for index in indices)
        return self._macs[place]


class _Targets:
    """The members of an address, and the assignment of flows before they changed."""

    __slots__ = ("address", "before", "before_until", "kept", "members", "new", "places", "since")

    def __init__(self, address: bytes) -> None:
        self.address = address
        self.members: tuple[FlowMember, ...] = ()
        self.new: frozenset[bytes] = frozenset()
        """MACs of members that get new flows."""
        self.kept: frozenset[bytes] = frozenset()
        self.places: _Places | None = None
        """None: there are no members."""
        self.before: _Places | None = None
        self.before_until = -math.inf
        self.since = -math.inf
        """When the members last changed."""

    def change(self, rule: FlowRule, now: float) -> None:
        """Take over another rule."""
        self.kept = rule.kept
        if rule.members == self.members:
            return
        if self.places is not None and now >= self.since + SETTLED:
            self.before, self.before_until = self.places, now + SECOND_CHANCE
        self.since = now
        self.members = rule.members
        self.new = frozenset(member.mac for member in rule.members)
        self.places = _Places(rule.members) if rule.members else None

    def choose(self, flow: bytes, now: float, *, may_be_old: bool) -> bytes | None:
        """Return the MAC of the member that gets an unknown flow; None: there is no member."""
        if self.places is None:
            return None
        place = maglev.place(flow)
        if may_be_old and self.before is not None and now < self.before_until:
            before = self.before.mac(place)
            if before in self.kept:
                return before
        return self.places.mac(place)


class _Flow:
    """A flow that is known."""

    __slots__ = ("due", "life", "mac", "targets")

    def __init__(self, targets: _Targets, mac: bytes, life: float) -> None:
        self.targets = targets
        self.mac = mac
        self.life = life
        self.due = math.inf
        """When it is forgotten, unless a packet comes."""

    @property
    def used(self) -> float:
        """When its last packet came."""
        return self.due - self.life


class FlowTable:
    """All flows of our stations to addresses whose members share them."""

    def __init__(self) -> None:
        self.macs: dict[bytes, float] = {}
        """MACs to which stations send packets for such an address, and until when each counts."""
        self.addresses: dict[bytes, _Targets] = {}
        self._flows: OrderedDict[bytes, _Flow] = OrderedDict()
        self._fragmented: OrderedDict[bytes, tuple[bytes, float]] = OrderedDict()
        """The member that got the first fragment of a packet, and when that is forgotten."""
        self.evicted = 0
        """Flows that were forgotten before they ended."""

    def __len__(self) -> int:
        return len(self._flows)

    def __bool__(self) -> bool:
        """Tell whether there is anything to do."""
        return bool(self.addresses)

    # -- what the node says --

    def configure(self, rules: Mapping[bytes, FlowRule], now: float) -> None:
        """Take over the members of all addresses."""
        removed = self.addresses.keys() - rules.keys()
        if removed:
            self._flows = OrderedDict(
                (flow, known) for flow, known in self._flows.items() if known.targets.address not in removed
            )
        for address in removed:
            del self.addresses[address]
        for address, rule in rules.items():
            self.addresses.setdefault(address, _Targets(address)).change(rule, now)
        current = frozenset[bytes]().union(*(rule.macs for rule in rules.values()))
        # Stations may go on sending to the MAC of a former member as long as other members answer.
        old = {mac: min(until, now + OLD_MAC_LIFE) for mac, until in self.macs.items() if mac not in current}
        newest = sorted(old, key=lambda mac: -old[mac])[:MAX_OLD_MACS]
        self.macs = dict.fromkeys(current, math.inf) | {mac: old[mac] for mac in newest}
        if not rules:
            self.macs.clear()
            self._fragmented.clear()

    def prune(self, now: float) -> None:
        """Forget what is over."""
        for mac in [mac for mac, until in self.macs.items() if until <= now]:
            del self.macs[mac]
        rested = takewhile(lambda item: item[1].used <= now - CLOSING_LIFE, self._flows.items())
        for flow in [flow for flow, known in rested if known.due <= now]:
            del self._flows[flow]
        while self._fragmented and next(iter(self._fragmented.values()))[1] <= now:
            self._fragmented.popitem(last=False)

    def counts(self) -> Counter[tuple[bytes, bytes]]:
        """Return how many flows are known, by the address of the virtual IP and the member's MAC."""
        return Counter((known.targets.address, known.mac) for known in self._flows.values())

    # -- HOT PATH --

    def known(self, flow: bytes, now: float) -> bytes | None:
        """Return the MAC of the member that has a known flow, and extend it; None: call `member`."""
        known = self._flows.get(flow)
        if known is None or known.due <= now or known.mac not in known.targets.kept:
            return None
        known.due = now + known.life
        self._flows.move_to_end(flow)
        return known.mac

    # -- any packet --

    def note_use(self, mac: bytes, now: float) -> None:
        """A station sends to a member's MAC: if the member is a former one, remember the MAC longer."""
        if self.macs[mac] < math.inf:
            self.macs[mac] = now + OLD_MAC_LIFE

    def member(self, packet: Packet, now: float) -> bytes | None:
        """Return the MAC of the member that gets a packet; None: the packet keeps its destination."""
        targets = self.addresses.get(packet.destination)
        if targets is None:
            return None
        if packet.is_later:
            first = self._fragmented.get(packet.fragment)
            if first is not None and now < first[1] and first[0] in targets.kept:
                return first[0]
        mac = self._member_of_flow(packet, targets, now)
        if packet.fragment and not packet.is_later and mac is not None:
            self._fragmented[packet.fragment] = mac, now + FRAGMENTS_LIFE
            self._fragmented.move_to_end(packet.fragment)
            if len(self._fragmented) > MAX_FRAGMENTED:
                self._fragmented.popitem(last=False)
        return mac

    def _member_of_flow(self, packet: Packet, targets: _Targets, now: float) -> bytes | None:
        flow, flags = packet.flow, packet.tcp_flags
        is_new = packet.begins
        known = self._flows.get(flow)
        stays = targets.new if is_new else targets.kept
        if known is not None and known.due > now and known.mac in stays:
            if packet.is_error:
                return known.mac
        else:
            mac = targets.choose(flow, now, may_be_old=flags is not None and not is_new)
            if mac is None or packet.is_error:
                return mac
            life = OTHER_LIFE if flags is None else TCP_LIFE
            known = self._flows[flow] = _Flow(targets, mac, life)
            if len(self._flows) > MAX_FLOWS:
                _, oldest = self._flows.popitem(last=False)
                self.evicted += oldest.due > now
        if is_new:
            known.life = TCP_LIFE
        elif flags is not None and flags & _CLOSES:
            known.life = CLOSING_LIFE
        known.due = now + known.life
        self._flows.move_to_end(flow)
        return known.mac
