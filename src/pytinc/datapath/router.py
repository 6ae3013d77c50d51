"""Router mode: forwards packets by IP address (docs/protocol-data.md, "Router mode").

The router replaces the switch for the node's whole life (`pytinc.datapath.datapath`). On a tap, the host asks
for the owner of an address by ARP or neighbour solicitation; `pytinc.datapath.neighbour` answers for all
nodes. On a tun there are no MACs: frames have a made-up header here, which never leaves.

HOT PATH, as `outbound`; it must equal `pytinc.datapath.reference`.

Departures from tinc: a packet from another node for a subnet that this node owns as well is delivered here,
even if this node prefers another owner; no ICMP error answers an ICMP error or a multicast packet; a node
cannot take over a broadcast subnet by announcing it; and the departures of `outbound`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from pytinc.datapath import icmp, neighbour
from pytinc.datapath.delivery import Delivery
from pytinc.datapath.flood_meter import FloodKind
from pytinc.datapath.icmp import Reason
from pytinc.datapath.output import Output
from pytinc.datapath.peer_slot import PeerSlot
from pytinc.datapath.routes import NoOwner
from pytinc.datapath.storm import within_limit
from pytinc.datapath.table import ForwardingTable
from pytinc.wire import ip
from pytinc.wire.ethernet import ARP, HEADER_SIZE, IPV4, IPV6

if TYPE_CHECKING:
    from pytinc.datapath.runs import FrameRun

MIN_IPV4: Final = HEADER_SIZE + ip.IPV4_HEADER_SIZE
MIN_IPV6: Final = HEADER_SIZE + ip.IPV6_HEADER_SIZE


class Router:
    """Finds the owner of each packet's destination address."""

    def __init__(self, table: ForwardingTable, delivery: Delivery) -> None:
        self._table = table
        self._delivery = delivery

    # -- HOT PATH --

    def forward(self, source: PeerSlot, frames: Sequence[bytes], now: float, out: Output) -> None:
        """Give packets of ``source`` (the own node: of the device) to the owners of their destinations."""
        table = self._table
        if table.capture is not None:
            table.capture += frames
        if table.rules.kernel and not source.is_me:
            self._delivery.to_device(frames, out)
            return
        groups, others = _groups_by_destination(frames)
        waiting: dict[PeerSlot, list[bytes]] = {}
        for destination, group in groups:
            owner = table.routes.lookup(destination)
            if isinstance(owner, PeerSlot):
                if not (source.is_me or owner.is_me) and table.routes.is_among_owners(destination, table.me):
                    owner = table.me  # its sender has skipped the better owner
                if owner in waiting:
                    waiting[owner] += group
                else:
                    waiting[owner] = group
            elif owner is NoOwner.BROADCAST:
                if waiting:
                    self._forward_all(source, waiting, now, out)
                    waiting = {}
                group = within_limit(table, source, FloodKind.OTHER, group, now, out)
                if group:
                    self._delivery.to_all(source, group, group, now, out)
            elif owner is NoOwner.UNKNOWN:
                table.drops.unknown_destination += len(group)
                self._refuse(source, group, icmp.NO_SUBNET, now, out)
            else:
                table.drops.unreachable += len(group)
                self._refuse(source, group, icmp.OWNER_UNREACHABLE, now, out)
        if waiting:
            self._forward_all(source, waiting, now, out)
        for frame in others:
            self._take_other(source, frame, out)

    def forward_run(self, source: PeerSlot, run: FrameRun, now: float, out: Output) -> None:
        """Do what `forward` does for the frames of a run: a router examines each packet."""
        self.forward(source, run.frames(), now, out)

    def _forward_all(
        self, source: PeerSlot, by_owner: dict[PeerSlot, list[bytes]], now: float, out: Output
    ) -> None:
        for owner, frames in by_owner.items():
            if owner is source:
                self._table.drops.looped += len(frames)
            else:
                self._forward(source, owner, frames, now, out)

    def _forward(
        self, source: PeerSlot, owner: PeerSlot, frames: list[bytes], now: float, out: Output
    ) -> None:
        """Send packets of ``source`` to the other node that owns their destination."""
        rules, drops, delivery = self._table.rules, self._table.drops, self._delivery
        relay = owner.relay
        if relay is None:
            owner.drops.unreachable += len(frames)
            return
        if not (source.is_me or owner.is_me):
            if not rules.forward:
                drops.not_for_us += len(frames)
                self._refuse(source, frames, icmp.PROHIBITED, now, out)
                return
            if rules.decrement_ttl:
                frames = delivery.decrement_ttl(source, frames, now, out)
                if not frames:
                    return
        if relay is source:
            drops.looped += len(frames)
        elif owner.is_me:
            delivery.to_device(delivery.clamped(source, frames), out)
        elif rules.direct_only and relay is not owner:
            owner.drops.no_path += len(frames)
            self._refuse(source, frames, icmp.PROHIBITED, now, out)
        else:
            delivery.to_relay(source, owner, relay, frames, now, out)

    # -- cold --

    def _refuse(self, source: PeerSlot, frames: list[bytes], reason: Reason, now: float, out: Output) -> None:
        """Tell the senders of packets that they cannot be delivered."""
        delivery = self._delivery
        for frame in frames:
            if icmp.deserves_answer(frame) and delivery.limit.allows(now):
                delivery.answer(source, icmp.unreachable(frame, reason), now, out)

    def _take_other(self, source: PeerSlot, frame: bytes, out: Output) -> None:
        """Handle frames that are not routed: answer the host's questions for MACs, drop the others."""
        table = self._table
        kind = frame[12:14]
        question: neighbour.Question | None = None
        if kind == ARP:
            question = neighbour.parse_arp(frame)
        elif kind == IPV6 and len(frame) >= MIN_IPV6:
            question = neighbour.parse_solicitation(frame)
        elif kind in (IPV4, IPV6):
            table.drops.short += 1
            return
        if question is None or not source.is_me or table.hwaddr is None:
            table.drops.bad_record += 1
            if not source.is_me and kind != IPV6:
                out.upcalls.other_mode[source] = None
            return
        table.hwaddr = question.mac
        owner = table.routes.lookup(question.target)
        if owner is not table.me and owner is not NoOwner.UNKNOWN:
            self._delivery.to_device([question.answer], out)


def _groups_by_destination(frames: Sequence[bytes]) -> tuple[list[tuple[bytes, list[bytes]]], list[bytes]]:
    """Cut a batch into groups of packets to one IP address, each after that address.

    Frames that are not routed come separately: other ethertypes, truncated frames, questions for MACs.
    """
    groups: list[tuple[bytes, list[bytes]]] = []
    others: list[bytes] = []
    last: bytes | None = None
    group: list[bytes] = []
    for frame in frames:
        kind = frame[12:14]
        if kind == IPV4 and len(frame) >= MIN_IPV4:
            destination = frame[30:34]
        elif kind == IPV6 and len(frame) >= MIN_IPV6 and not neighbour.is_solicitation(frame):
            destination = frame[38:54]
        else:
            others.append(frame)
            continue
        if destination != last:
            last, group = destination, []
            groups.append((destination, group))
        group.append(frame)
    return groups, others
