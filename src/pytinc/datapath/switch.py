"""The switch: finds the owner of a frame by its destination MAC address.

See docs/protocol-data.md, "Switch" and "MAC table".

It takes the frames of the own device and of peers, learns which MACs are behind the device, and passes each
frame to `Delivery`: for its owner, or for all if nobody owns its destination. Frames are sorted by
destination node, so that each node's frames are sealed together. In router mode
`pytinc.datapath.router.Router` takes its place.

HOT PATH: no logging, no exception for an ordinary drop, no object for a frame. It must equal
`pytinc.datapath.reference`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from pytinc.datapath import flows
from pytinc.datapath.delivery import Delivery
from pytinc.datapath.guard import note_uses, screen
from pytinc.datapath.hand_over import former_member, may_be_handed_over
from pytinc.datapath.loops import look_for_loops
from pytinc.datapath.output import Output
from pytinc.datapath.peer_slot import PeerSlot
from pytinc.datapath.storm import kind_of, within_limit
from pytinc.datapath.table import ForwardingTable
from pytinc.wire.ethernet import ARP, DESTINATION, HEADER_SIZE, IPV6, NO_TYPE, SOURCE, is_group
from pytinc.wire.ip import DESTINATIONS
from pytinc.wire.neighbour import GUARD_MAC

if TYPE_CHECKING:
    from pytinc.datapath.runs import FrameRun

_NOBODYS: Final = frozenset((bytes(6), GUARD_MAC))
"""MACs that no node may own. A guard's question may come back from our LAN, through another node on it."""
_NEIGHBOUR_TYPES: Final = frozenset((ARP, IPV6))
"""EtherTypes that may be ARP or neighbour discovery."""


class Switch:
    """Finds the owner of each frame's destination MAC."""

    def __init__(self, table: ForwardingTable, delivery: Delivery) -> None:
        self._table = table
        self._delivery = delivery

    def forward(self, source: PeerSlot, frames: Sequence[bytes], now: float, out: Output) -> None:
        """Pass frames of ``source`` (the own node stands for the device) to their owners.

        The decision for one frame holds for all following frames with the same header, so a batch of one flow
        is examined once. A frame for all waits until the frames before it have gone.
        """
        table = self._table
        rules, drops, me = table.rules, table.drops, table.me
        from_device = source is me
        if table.capture is not None:
            table.capture += frames
        if rules.kernel and not from_device:
            self._delivery.to_device(frames, out)
            return
        guard = table.guard
        groups = _groups_by_header(frames)
        if from_device and table.flows is not None:
            groups = flows.redirect(table.flows, groups, now)
        waiting: dict[PeerSlot, list[bytes]] = {}
        for header, group in groups:
            if len(header) < HEADER_SIZE:
                drops.short += len(group)
                continue
            owner = None if rules.hub else table.owner_of(header[DESTINATION])
            is_flood, fresh = owner is None and (is_group(header) or not rules.hub), len(group)
            if is_flood:
                group, fresh = look_for_loops(table, source, group, now, out)
            if from_device:
                if fresh and not rules.hub:
                    self._learn(header[SOURCE], now, out)
                if header[12:] == NO_TYPE:
                    drops.bad_record += len(group)  # a tinc peer would take it for a probe
                    continue
            if is_flood and group:
                group = within_limit(table, source, kind_of(header), group, now, out)
            if not group:
                continue
            for_device = group
            if guard is not None and header[12:] in _NEIGHBOUR_TYPES:
                group, for_device = screen(table, source, group, now, out)
                if not group:
                    continue
            if guard is not None and header[DESTINATION] in guard.macs:
                note_uses(guard, group, now, out)
            if guard is not None and guard.taken_over and owner is me and not from_device:
                group = self._pass_on(source, group, waiting, now)
                if not group:
                    continue
            if owner is None:
                if waiting:
                    self._forward_all(source, waiting, now, out)
                    waiting = {}
                self._delivery.to_all(source, group, for_device, now, out)
            elif owner is source:
                drops.looped += len(group)
            elif not (rules.forward or from_device or owner is me):
                drops.not_for_us += len(group)
            elif owner in waiting:
                waiting[owner] += group
            else:
                waiting[owner] = group
        if waiting:
            self._forward_all(source, waiting, now, out)

    def _learn(self, mac: bytes, now: float, out: Output) -> None:
        """Note that a source MAC was seen; the node learns new ones.

        While a loop passes here, no MAC moves to this node: its station has not moved, only its frames came
        round.
        """
        table = self._table
        if mac in table.own_macs:
            table.own_macs[mac] = now
        elif not (
            is_group(mac) or mac in _NOBODYS or (mac in table.macs and table.floods.loop_passes_here(now))
        ):
            out.upcalls.learn[mac] = None

    def _pass_on(
        self, source: PeerSlot, frames: list[bytes], waiting: dict[PeerSlot, list[bytes]], now: float
    ) -> list[bytes]:
        """Sort frames of connections of another member's host to that host's node; return the rest.

        See `pytinc.datapath.hand_over`.
        """
        table = self._table
        ours: list[bytes] = []
        assert table.guard is not None
        for frame in frames:
            former = former_member(table.guard, frame, now)
            owner = None if former is None else table.owner_of(former)
            if former is None or owner in (None, source, table.me) or not table.rules.forward:
                ours.append(frame)
            else:
                waiting.setdefault(owner, []).append(former + frame[6:])
        return ours

    def _forward_all(
        self, source: PeerSlot, by_owner: dict[PeerSlot, list[bytes]], now: float, out: Output
    ) -> None:
        delivery = self._delivery
        for owner, frames in by_owner.items():
            if owner.is_me:
                delivery.to_device(delivery.clamped(source, frames), out)
            else:
                delivery.to_owner(source, owner, frames, now, out)

    # -- HOT PATH: a run goes as a whole, or frame by frame --

    def forward_run(self, source: PeerSlot, run: FrameRun, now: float, out: Output) -> None:
        """Do what `forward` does for the frames of a run, at once if they are ordinary."""
        if not self._forward_whole(source, run, now, out):
            self.forward(source, run.frames(), now, out)

    def _forward_whole(self, source: PeerSlot, run: FrameRun, now: float, out: Output) -> bool:
        """Pass a run to the one node that owns its destination; False: nothing was sent."""
        table = self._table
        rules, me = table.rules, table.me
        if rules.hub or rules.kernel or rules.decrement_ttl or table.capture is not None:
            return False
        from_device = source is me
        if from_device and table.flows is not None and not flows.redirect_run(table.flows, run, now):
            return False
        header = run.header
        owner = table.owner_of(header[DESTINATION])
        if owner is None or owner is source or header[12:] == NO_TYPE:
            return False
        guard = table.guard
        if guard is not None:
            if header[12:] in _NEIGHBOUR_TYPES and (header[12:] == ARP or run.may_be_icmpv6()):
                return False
            if header[DESTINATION] in guard.macs:
                where = DESTINATIONS.get(header[12:])
                if where is not None and not run.all_have_the_first(where):
                    return False
                note_uses(guard, [run.head], now, out)
            if guard.taken_over and owner is me and may_be_handed_over(guard, run):
                return False
        if from_device:
            self._learn(header[SOURCE], now, out)
        elif not (rules.forward or owner is me):
            return False
        if owner is me:
            return self._delivery.run_to_device(source, run, out)
        return self._delivery.run_to_owner(source, owner, run, now, out)


def _groups_by_header(frames: Sequence[bytes]) -> list[tuple[bytes, list[bytes]]]:
    """Cut a batch into groups of frames with one Ethernet header, each after its header."""
    groups: list[tuple[bytes, list[bytes]]] = []
    last: bytes | None = None
    group: list[bytes] = []
    for frame in frames:
        header = frame[:HEADER_SIZE]
        if header != last:
            last, group = header, []
            groups.append((header, group))
        group.append(frame)
    return groups
