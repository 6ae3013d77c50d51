"""From the device to the peers: learn, look up, clamp, seal, choose the way (dataplane.md 3 and 5).

`Outbound.frames_from_device` takes what one wake-up read from the device. Frames are sorted by the node
they go to (order within one node is kept) and each node's frames are sealed and queued as runs, so that
what follows, UDP_SEGMENT above all, sees many packets at once. `Inbound` uses `forward` and `flood` for
frames of peers.

HOT PATH: no logging, no exception for an ordinary drop, no object for a frame (style.md 4.9).
"""

from __future__ import annotations

from collections.abc import Sequence

from pytinc.datapath.clamp import clamp_mss
from pytinc.datapath.output import Output
from pytinc.datapath.table import ForwardingTable, PeerSlot, UdpPath
from pytinc.datapath.too_big import TooBig
from pytinc.wire.datagram import MTU_MAX, SPTPS_DATAGRAM_OVERHEAD, TYPE_MAC
from pytinc.wire.ethernet import HEADER_SIZE, IPV4, IPV6, NO_TYPE, VLAN

_ZERO_MAC = bytes(6)
_IP_TYPES = frozenset((IPV4, IPV6, VLAN))
_LONGEST_SYN = 200
"""A SYN carries no data: no frame longer than its headers and options can need its MSS clamped."""


class Outbound:
    """The way out. ``table`` is written by the node and only read here, but for its counters."""

    def __init__(self, table: ForwardingTable) -> None:
        self._table = table
        self._too_big = TooBig()

    # -- HOT PATH: frames from the device --

    def frames_from_device(self, frames: Sequence[bytes], now: float, out: Output) -> None:
        """Switch the frames that one wake-up read from the device."""
        table = self._table
        me, macs, own_macs = table.me, table.macs, table.own_macs
        drops, hub = table.drops, table.rules.hub
        by_owner: dict[PeerSlot, list[bytes]] = {}
        flooded: list[bytes] = []
        for frame in frames:
            if len(frame) < HEADER_SIZE:
                drops.short += 1
                continue
            me.in_packets += 1
            me.in_bytes += len(frame)
            source = frame[6:12]
            if source in own_macs:
                own_macs[source] = now
            elif not source[0] & 1 and source != _ZERO_MAC:
                out.upcalls.learn[source] = None
            if frame[12:14] == NO_TYPE:
                drops.bad_record += 1  # a tinc peer would take it for a probe
                continue
            owner = None if hub else macs.get(frame[:6])
            if owner is None:
                flooded.append(frame)
            elif owner is me or frame[:6] in own_macs:
                drops.looped += 1
            elif owner in by_owner:
                by_owner[owner].append(frame)
            else:
                by_owner[owner] = [frame]
        for owner, batch in by_owner.items():
            self.forward(me, owner, batch, now, out)
        if flooded:
            self.flood(me, flooded, now, out)

    # -- one destination --

    def forward(
        self, source: PeerSlot, owner: PeerSlot, frames: list[bytes], now: float, out: Output
    ) -> None:
        """Send frames of ``source`` to the one node that owns their destination (never the source itself)."""
        table = self._table
        via = owner.via
        if not owner.reachable or via is None:
            table.drops.unreachable += len(frames)
            return
        if via.is_me and owner.nexthop is not None:
            via = owner.nexthop
        if table.rules.direct_only and via is not owner:
            table.drops.no_path += len(frames)
            return
        self.send(owner, self._fit(source, via, frames, now, out), now, out)

    def _fit(
        self, source: PeerSlot, via: PeerSlot, frames: list[bytes], now: float, out: Output
    ) -> list[bytes]:
        """Clamp the MSS of SYNs, and treat frames that exceed the MTU of the path (steps 8 and 9 of 5.2)."""
        mtu = via.mtu
        clamp = min(source.mtu, mtu) if via.clamp_mss else 0
        if all(_LONGEST_SYN < len(frame) <= mtu for frame in frames):
            return frames
        fitting: list[bytes] = []
        for frame in frames:
            if len(frame) > mtu:
                parts, icmp = self._too_big.handle(frame, mtu, now)
                fitting += parts
                if icmp is not None:
                    self._answer(source, icmp, now, out)
            elif clamp and len(frame) <= _LONGEST_SYN and frame[12:14] in _IP_TYPES:
                fitting.append(clamp_mss(frame, clamp))
            else:
                fitting.append(frame)
        return fitting

    def _answer(self, source: PeerSlot, frame: bytes, now: float, out: Output) -> None:
        """Send an ICMP error back to where the frame came from."""
        if source.is_me:
            self.to_device([frame], out)
        else:
            self.send(source, [frame], now, out)

    def clamp_for_device(self, source: PeerSlot, frames: list[bytes]) -> list[bytes]:
        """Clamp the MSS of SYNs that a peer sent to our side, to the MTU of the way back."""
        if not self._table.me.clamp_mss or min(map(len, frames)) > _LONGEST_SYN:
            return frames
        return [clamp_mss(frame, source.mtu) if frame[12:14] in _IP_TYPES else frame for frame in frames]

    def to_device(self, frames: list[bytes], out: Output) -> None:
        """Write frames to the own device."""
        me = self._table.me
        me.out_packets += len(frames)
        me.out_bytes += sum(map(len, frames))
        out.frames += frames

    # -- everyone --

    def flood(self, source: PeerSlot, frames: list[bytes], now: float, out: Output) -> None:
        """Send broadcast frames, and those for unknown MACs, to all (dataplane.md 5.5).

        Frames of a peer go to the own device, too, and never back to the neighbour they came from.
        """
        table = self._table
        mode = table.rules.broadcast
        origin = None
        targets: tuple[PeerSlot, ...] = ()
        if not source.is_me:
            self.to_device(frames, out)
            origin = source.nexthop
        if mode == "mst":
            targets = table.tree
        elif mode == "direct" and source.is_me:
            targets = table.direct
        for slot in targets:
            if slot is not origin:
                self.send(slot, frames, now, out)

    # -- HOT PATH: sealing and choosing the way (3.1 to 3.5) --

    def send(self, slot: PeerSlot, frames: list[bytes], now: float, out: Output) -> None:
        """Seal frames for a node and queue them, by UDP where a probe has proved the size, else by TCP."""
        drops = self._table.drops
        slot.out_packets += len(frames)
        slot.out_bytes += sum(map(len, frames))
        if slot.session is None or slot.upkeep_due <= now:
            out.upcalls.touched[slot] = None
        paths = slot.paths
        longest = max(map(len, frames), default=0)
        if (
            slot.session is not None
            and paths
            and longest <= paths[0].limit
            and (slot.connection is None or longest <= slot.minmtu)
        ):
            self._send_by_udp(slot, paths[0], frames, out)
            return
        for frame in frames:
            if len(frame) > MTU_MAX:
                drops.oversized += 1
                continue
            self._send_one(slot, frame, out)

    def _send_by_udp(self, slot: PeerSlot, path: UdpPath, frames: list[bytes], out: Output) -> None:
        session = slot.session
        assert session is not None
        datagrams = session.seal_batch(path.prefix, TYPE_MAC, frames)
        if datagrams:
            out.runs.append((path, datagrams))
        else:
            self._table.drops.no_key += len(frames)

    def _send_one(self, slot: PeerSlot, frame: bytes, out: Output) -> None:
        """Send a frame that needs a look: no key, no proved path, or too long for the best one."""
        if slot.connection is not None and (slot.session is None or len(frame) > slot.minmtu):
            out.upcalls.packets.append((slot, frame))
            return
        session = slot.session
        if session is None or not session.can_send:
            self._table.drops.no_key += 1
            return
        for path in slot.paths:
            if len(frame) <= path.limit:
                self._send_by_udp(slot, path, [frame], out)
                return
        record = session.seal(TYPE_MAC, frame)
        out.upcalls.sptps_packets.append((slot, self._table.me, record))

    def relay(
        self, destination: PeerSlot, source: PeerSlot, datagram: bytes, now: float, out: Output
    ) -> None:
        """Pass a datagram between two other nodes on unchanged; ``datagram`` starts with both ids."""
        if destination.upkeep_due <= now or destination.session is None:
            out.upcalls.touched[destination] = None
        size = len(datagram) - 12 - SPTPS_DATAGRAM_OVERHEAD
        for path in destination.paths:
            if size <= path.limit:
                runs = out.runs
                if runs and runs[-1][0] is path:
                    runs[-1][1].append(datagram)
                else:
                    runs.append((path, [datagram]))
                return
        out.upcalls.sptps_packets.append((destination, source, datagram[12:]))
