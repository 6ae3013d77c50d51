"""The forwarding table: the facts that the control plane gives the data path, and the counters in return.

The node writes it (`pytinc.node.forwarding` writes most, other parts write the facts that they know first);
the parts of `pytinc.datapath.datapath` read it for every batch. One `PeerSlot` (`pytinc.datapath.peer_slot`)
stands for one node of the mesh, the own node included, so that the data path never asks the node anything.
UDP paths follow from routes, addresses and MTUs: code that changes one of these must have the paths computed
anew (`ForwardingTable.refresh_all`, `note_minmtu`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pytinc.datapath.flood_history import FloodHistory
from pytinc.datapath.flow_table import FlowTable
from pytinc.datapath.guard_table import GuardTable
from pytinc.datapath.peer_slot import Drops, PeerSlot, UdpPath
from pytinc.datapath.routes import RouteTable
from pytinc.protocol.sptps.datagram import DatagramSession
from pytinc.wire.address import SockAddr
from pytinc.wire.datagram import NULL_ID

BROADCAST_MAC: Final = b"\xff" * 6


@dataclass(slots=True)
class SwitchRules:
    """The settings that decide about frames; fixed between reloads (``router`` for the node's life)."""

    router: bool = False
    """Packets find their way by IP address (``Mode = router``): `pytinc.datapath.router`."""
    hub: bool = False
    """Every frame is broadcast (``Mode = hub``)."""
    forward: bool = True
    """Frames of one peer are passed on to another (``Forwarding = internal``)."""
    kernel: bool = False
    """``Forwarding = kernel``: every frame from a peer goes to the device."""
    direct_only: bool = False
    decrement_ttl: bool = False
    broadcast: str = "mst"
    """``mst``, ``direct`` or ``no``; with TunnelServer, ``no``."""
    broadcast_limit: int = 0
    """Frames of each `pytinc.datapath.flood_meter.FloodKind` that a node may send to all in a second; 0: any
    number."""
    compression: int = 0
    """The level at which we have asked peers to compress packets for us (``Compression``); 0: not at all."""


class FrameWay(NamedTuple):
    """The facts about all ordinary frames from one station of ours to another station."""

    owner: PeerSlot
    session: DatagramSession
    path: UdpPath
    limit: int
    """The longest frame that this path takes."""
    source: bytes
    """The MAC of our station."""
    guard: GuardTable | None
    """The guard table that notes uses of the destination; None if it does not watch that MAC."""


class DatagramWay(NamedTuple):
    """The facts about all datagrams that one node sends directly to this node."""

    source: PeerSlot
    session: DatagramSession
    address: SockAddr
    """The first two items of the known address of the node."""
    stations: dict[bytes, GuardTable | None]
    """MACs of our stations that take its frames unchanged, each with the guard table if that notes its
    uses."""


@dataclass(slots=True)
class ForwardingTable:
    """Everything the data path knows."""

    me: PeerSlot
    rules: SwitchRules = field(default_factory=SwitchRules)
    segments: bool = True
    """The sockets send a group of datagrams in one call, as far as is known: all of them or none."""
    slots: dict[str, PeerSlot] = field(default_factory=dict)
    by_id: dict[bytes, PeerSlot] = field(default_factory=dict)
    confirmed: dict[tuple[str, int], PeerSlot] = field(default_factory=dict)
    """First two items of the confirmed UDP address of each peer (not the own node)."""
    macs: dict[bytes, PeerSlot] = field(default_factory=dict)
    """Owner of each MAC that is not broadcast: the best one (docs/protocol-data.md, "MAC table")."""
    own_macs: dict[bytes, float] = field(default_factory=dict)
    """MACs that the own node owns by learning, and when a frame from each was seen last (loop time)."""
    routes: RouteTable = field(default_factory=RouteTable)
    """Owners of IP subnets; asked in router mode only."""
    hwaddr: bytes | None = None
    """Router mode: the MAC that frames for the device are addressed to; None: the device (a tun) has none.
    That of the tap, or of the last station on it that asked for an address."""
    own_address: Callable[[bytes], bytes | None] | None = None
    """Router mode: gives the address that this host has towards another one, for ICMP errors of its own."""
    tree: tuple[PeerSlot, ...] = ()
    """Neighbours whose connection is in the spanning tree."""
    direct: tuple[PeerSlot, ...] = ()
    """Reachable nodes reached without relay (``Broadcast = direct``)."""
    drops: Drops = field(default_factory=Drops)
    """Drops that are not counted for a node (`PeerSlot.drops`); `total_drops` has all."""
    guard: GuardTable | None = None
    """The rules and observations of the guard of shared addresses; None: it is off, or has no work in this
    mode."""
    flows: FlowTable | None = None
    """The members that get the flows of our own stations; None: no members share any."""
    floods: FloodHistory = field(default_factory=FloodHistory)
    """The frames flooded a moment ago; only a switch uses it."""
    frame_ways: dict[bytes, FrameWay] = field(default_factory=dict)
    """The cache of `pytinc.datapath.short_way`, by the MACs at the beginning of a frame."""
    datagram_ways: dict[bytes, DatagramWay] = field(default_factory=dict)
    """The same by the ids at the beginning of a datagram."""
    capture: list[bytes] | None = None
    """Frames that entered the switch, while a pcap client listens; the shell empties it."""

    def __post_init__(self) -> None:
        self.set_route(self.me, self.me, self.me)
        self.slots[self.me.name] = self.me
        self.by_id[self.me.id] = self.me

    def add(self, name: str) -> PeerSlot:
        """Return the slot of ``name``, made if it is new."""
        slot = self.slots.get(name)
        if slot is None:
            slot = self.slots[name] = PeerSlot(name)
            self.by_id[slot.id] = slot
        return slot

    def remove(self, name: str) -> None:
        """Forget a node altogether."""
        slot = self.slots.pop(name, None)
        if slot is not None:
            self.by_id.pop(slot.id, None)
            self._unconfirm(slot)
            self.drops.add(slot.drops)  # the sum never falls

    def total_drops(self) -> Drops:
        """Return all drops since the start, by reason."""
        total = Drops()
        total.add(self.drops)
        for slot in self.slots.values():
            total.add(slot.drops)
        return total

    def set_route(self, slot: PeerSlot, via: PeerSlot | None, nexthop: PeerSlot | None) -> None:
        """Record the route to ``slot``, in tinc's terms; both None: there is none. `refresh_all` must follow.

        ``via`` is the last node on the route that may get UDP directly. It is the own node if there is none:
        then datagrams go to the next hop, as meta requests do.
        """
        slot.relay, slot.nexthop = (nexthop if via is self.me else via), nexthop

    def set_address(self, slot: PeerSlot, address: SockAddr | None, socket: int) -> None:
        """Record the UDP address of ``slot``, and look it up by this address if that is confirmed."""
        self._unconfirm(slot)
        slot.address, slot.socket = address, socket
        self.note_confirmed(slot)

    def note_confirmed(self, slot: PeerSlot) -> None:
        """Look ``slot`` up by its UDP address if that is confirmed, and stop doing so otherwise."""
        self._unconfirm(slot)
        if slot.confirmed and slot.address is not None:
            self.confirmed[slot.address[:2]] = slot

    def _unconfirm(self, slot: PeerSlot) -> None:
        address = slot.address
        if address is None or self.confirmed.get(address[:2]) is not slot:
            return
        del self.confirmed[address[:2]]
        # Two nodes behind one address are rare; the other one stays confirmed.
        for other in self.slots.values():
            if other is not slot and other.confirmed and other.address and other.address[:2] == address[:2]:
                self.confirmed[address[:2]] = other
                return

    def use_socket(self, slot: PeerSlot, socket: int) -> None:
        """Answer ``slot`` through the socket that took its last good datagram."""
        slot.socket = socket
        if slot.minmtu > 0:
            self.refresh_all()

    def owner_of(self, mac: bytes) -> PeerSlot | None:
        """Return the node that owns a MAC; None if nobody does, as with broadcast and multicast.

        A MAC learned here belongs to this node even if a node with a smaller name owns it, too: the station
        has moved here, and that node has not noticed yet (docs/protocol-data.md, "MAC table").
        """
        owner = self.macs.get(mac)
        return self.me if owner is not self.me and mac in self.own_macs else owner

    def forget_ways(self) -> None:
        """Clear the cache of the short way.

        It must be called after the control plane has changed anything here, and after the data path has
        changed paths. The node calls it after each event that did more than forward packets.
        """
        self.frame_ways.clear()
        self.datagram_ways.clear()

    def refresh(self, slot: PeerSlot) -> None:
        """Work out the UDP paths of ``slot`` anew (docs/protocol-data.md, "Choice of way").

        The first path leads to the static relay or the node itself, for records that are proved to fit, the
        second to the next hop. Records that fit neither go by TCP. A relay without UDP is skipped, where tinc
        would use TCP; relays of versions before 4, which do not know ids, are not considered.
        """
        paths: list[UdpPath] = []
        for relay in (slot.relay, slot.nexthop):
            if relay is None or relay.is_me or any(path.relay is relay for path in paths):
                continue
            if relay.tcp_only or relay.address is None or relay.minmtu <= 0:
                continue
            prefix = (NULL_ID if relay is slot else slot.id) + self.me.id
            paths.append(UdpPath(relay.minmtu, relay.socket, relay.address, prefix, relay))
        slot.paths = tuple(paths)

    def refresh_all(self) -> None:
        """Compute every node's paths, after the graph or the path to a relay has changed."""
        self.forget_ways()
        for slot in self.slots.values():
            slot.routed_minmtu = slot.minmtu
            self.refresh(slot)

    def note_minmtu(self, slot: PeerSlot) -> None:
        """Compute all paths anew if the proved ``minmtu`` has changed: the peer may relay for any node."""
        if slot.minmtu != slot.routed_minmtu:
            self.refresh_all()
