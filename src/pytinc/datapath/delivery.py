"""Delivers frames whose destination is decided: to another node, to all, or to the own device.

`Switch` and `Router` find the owner of a frame; this module has the steps after that, which are the same for
both. A frame between two other nodes loses a hop (DecrementTTL). The MSS of a TCP connection is lowered to
fit the path. An IP packet that is too long for the path is fragmented, or its sender gets an ICMP error. Then
`Outbound` seals the frames for other nodes.

Departure from tinc: fragments go to the owner, sealed end to end, and not to the relay on the path
(docs/protocol-data.md, "Large packets").

HOT PATH, as `pytinc.datapath.outbound`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from pytinc.datapath import neighbour
from pytinc.datapath.clamp import LONGEST_SYN, clamp_mss
from pytinc.datapath.icmp import ErrorLimit
from pytinc.datapath.outbound import Outbound
from pytinc.datapath.output import Output
from pytinc.datapath.peer_slot import PeerSlot
from pytinc.datapath.table import ForwardingTable
from pytinc.datapath.too_big import TooBig
from pytinc.datapath.ttl import TimeToLive
from pytinc.wire.ethernet import IPV4, IPV6, VLAN

if TYPE_CHECKING:
    from pytinc.datapath.runs import FrameRun

_IP_TYPES: Final = frozenset((IPV4, IPV6, VLAN))


class Delivery:
    """The steps between the choice of a frame's destination and its sealing."""

    def __init__(self, table: ForwardingTable, outbound: Outbound) -> None:
        self._table = table
        self._outbound = outbound
        self._is_router = table.rules.router
        self.limit = ErrorLimit()
        """Limits ICMP errors of all kinds."""
        self._too_big = TooBig(self.limit)
        self._ttl = TimeToLive(table.me.id, self.limit, table.own_address)

    # -- HOT PATH: one node --

    def to_owner(
        self, source: PeerSlot, owner: PeerSlot, frames: list[bytes], now: float, out: Output
    ) -> None:
        """Send frames of ``source`` to another node that owns their destination, if a path exists."""
        rules, relay = self._table.rules, owner.relay
        if relay is None or not owner.reachable:
            owner.drops.unreachable += len(frames)
            return
        if rules.decrement_ttl and not source.is_me:
            frames = self.decrement_ttl(source, frames, now, out)
        if rules.direct_only and relay is not owner:
            owner.drops.no_path += len(frames)
            return
        self.to_relay(source, owner, relay, frames, now, out)

    def to_relay(
        self,
        source: PeerSlot,
        owner: PeerSlot,
        relay: PeerSlot,
        frames: list[bytes],
        now: float,
        out: Output,
    ) -> None:
        """Send frames to their owner through ``relay``, in a form that fits the path to it."""
        sizes = list(map(len, frames))
        if not sizes:
            return
        if max(sizes) > relay.mtu or (relay.clamp_mss and min(sizes) <= LONGEST_SYN):
            frames = self._fit(source, relay, frames, now, out)
        self._outbound.send(owner, frames, now, out)

    def run_to_owner(self, source: PeerSlot, owner: PeerSlot, run: FrameRun, now: float, out: Output) -> bool:
        """Do what `to_owner` does, for all frames of a run at once; False: nothing was done."""
        rules, relay = self._table.rules, owner.relay
        if relay is None or not owner.reachable or (rules.direct_only and relay is not owner):
            return False
        if run.size > relay.mtu:
            return False
        if relay.clamp_mss and _may_need_clamping(run, min(source.mtu, relay.mtu)):
            return False
        return self._outbound.send_run(owner, run, now, out)

    def _fit(
        self, source: PeerSlot, relay: PeerSlot, frames: list[bytes], now: float, out: Output
    ) -> list[bytes]:
        """Clamp the MSS of SYNs, and fragment or answer frames that exceed the MTU of the path."""
        mtu = relay.mtu
        clamp = min(source.mtu, mtu) if relay.clamp_mss else 0
        fitting: list[bytes] = []
        for frame in frames:
            if len(frame) > mtu:
                parts, error = self._too_big.handle(frame, mtu, now)
                fitting += parts
                if error is not None:
                    self.answer(source, error, now, out)
            elif clamp and len(frame) <= LONGEST_SYN and frame[12:14] in _IP_TYPES:
                fitting.append(clamp_mss(frame, clamp))
            else:
                fitting.append(frame)
        return fitting

    def decrement_ttl(self, source: PeerSlot, frames: list[bytes], now: float, out: Output) -> list[bytes]:
        """Take a hop from each frame (DecrementTTL); answer frames that have none left."""
        alive: list[bytes] = []
        for frame in frames:
            changed, error = self._ttl.decrement(frame, now)
            if changed is not None:
                alive.append(changed)
            else:
                self._table.drops.ttl_exceeded += 1
            if error is not None:
                self.answer(source, error, now, out)
        return alive

    def _age_for_all(
        self, source: PeerSlot, frames: list[bytes], for_device: list[bytes], now: float, out: Output
    ) -> tuple[list[bytes], list[bytes]]:
        """Take a hop from frames for all; a frame that was rewritten for the device has none to lose."""
        if for_device is frames:
            aged = self.decrement_ttl(source, frames, now, out)
            return aged, aged
        passed: list[bytes] = []
        arriving: list[bytes] = []
        for frame, own_form in zip(frames, for_device, strict=True):
            aged = self.decrement_ttl(source, [frame], now, out)
            passed += aged
            arriving += aged if own_form is frame else [own_form]
        return passed, arriving

    def answer(self, source: PeerSlot, frame: bytes, now: float, out: Output) -> None:
        """Send an ICMP error back to the source of the frame."""
        if source.is_me:
            self.to_device([frame], out)
        else:
            self._outbound.send(source, [frame], now, out)

    # -- the own device --

    def to_device(self, frames: Sequence[bytes], out: Output) -> None:
        """Write frames to the own device.

        A router gives them its own MAC address, and the host's as their destination.
        """
        table = self._table
        if self._is_router and table.hwaddr is not None:
            macs = table.hwaddr + neighbour.router_mac(table.hwaddr)
            frames = [macs + frame[12:] for frame in frames]
        me = table.me
        me.out_packets += len(frames)
        me.out_bytes += sum(map(len, frames))
        out.frames.extend(frames)

    def run_to_device(self, source: PeerSlot, run: FrameRun, out: Output) -> bool:
        """Write a run of ``source`` to the own device of a switch; False: nothing was done."""
        me = self._table.me
        if me.clamp_mss and _may_need_clamping(run, source.mtu):
            return False
        me.out_packets += len(run)
        me.out_bytes += run.total
        out.frames.append(run)
        return True

    def clamped(self, source: PeerSlot, frames: list[bytes]) -> list[bytes]:
        """Clamp the MSS of SYNs that a peer sent to our side, to the MTU of the path back."""
        if not self._table.me.clamp_mss or min(map(len, frames)) > LONGEST_SYN:
            return frames
        mtu = source.mtu
        return [
            clamp_mss(frame, mtu) if len(frame) <= LONGEST_SYN and frame[12:14] in _IP_TYPES else frame
            for frame in frames
        ]

    # -- everyone --

    def to_all(
        self, source: PeerSlot, frames: list[bytes], for_device: list[bytes], now: float, out: Output
    ) -> None:
        """Send broadcast frames and frames for unknown MACs to all (docs/protocol-data.md, "Broadcast").

        Frames of a peer also go to the own device, in the form ``for_device``, and never back to the next hop
        towards their source. ``Forwarding = off`` does not stop them, as in tinc.
        """
        table = self._table
        mode = table.rules.broadcast
        origin = None
        targets: tuple[PeerSlot, ...] = ()
        if not source.is_me:
            if table.rules.decrement_ttl:
                frames, for_device = self._age_for_all(source, frames, for_device, now, out)
            if for_device is not frames:
                for_device = [frame for frame in for_device if frame]
            self.to_device(for_device, out)
            origin = source.nexthop
        if mode == "mst":
            targets = table.tree
        elif mode == "direct" and source.is_me:
            targets = table.direct
        for slot in targets:
            if slot is not origin:
                self._outbound.send(slot, frames, now, out)


def _may_need_clamping(run: FrameRun, mtu: int) -> bool:
    """Tell whether a frame of a run may be a SYN to clamp; among longer frames only the last can be one."""
    if run.is_data:
        return False
    if run.size <= LONGEST_SYN:
        return run.may_have_syn()
    if run.last > LONGEST_SYN:
        return False
    last = run.last_frame()
    return clamp_mss(last, mtu) is not last
