"""From the device to the peers: learn, look up, clamp, seal, choose the way (dataplane.md 3 and 5).

`Outbound.frames_from_device` takes what one wake-up read from the device; `Inbound` hands the frames of peers
to `switch` and what is to be relayed to `relay`. Frames are sorted by the node they go to, and each node's
frames are sealed and queued as runs, so that what follows, UDP_SEGMENT above all, sees many packets at once.
What one source sends to one node keeps its order, as far as it goes the same way (UDP or TCP).

Departures from tinc: fragments go to the owner, sealed end to end, and not to the relay on the way (5.7);
a relayed datagram never goes back to where it came from; what is longer than a frame may be (1518) and cannot
be cut into fragments ends here.

HOT PATH: no logging, no exception for an ordinary drop, no object for a frame (style.md 4.9). It must equal
`pytinc.datapath.reference`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytinc.datapath.clamp import LONGEST_SYN, clamp_mss
from pytinc.datapath.compression import compress
from pytinc.datapath.guard import DESTINATIONS, note_uses, screen
from pytinc.datapath.icmp import ErrorLimit
from pytinc.datapath.output import Output
from pytinc.datapath.peer_slot import PeerSlot, UdpPath
from pytinc.datapath.table import ForwardingTable
from pytinc.datapath.too_big import TooBig
from pytinc.datapath.ttl import TimeToLive
from pytinc.protocol.sptps.datagram import DatagramSession
from pytinc.wire.datagram import (
    DATAGRAM_OVERHEAD,
    ID_SIZE,
    MAX_DATAGRAM_SIZE,
    MTU_MAX,
    PREFIX_SIZE,
    TYPE_COMPRESSED,
    TYPE_MAC,
)
from pytinc.wire.ethernet import ARP, DESTINATION, HEADER_SIZE, IPV4, IPV6, NO_TYPE, SOURCE, VLAN, is_group
from pytinc.wire.neighbour import GUARD_MAC

if TYPE_CHECKING:
    from pytinc.datapath.runs import DatagramRun, FrameRun

_NOBODYS = frozenset((bytes(6), GUARD_MAC))
"""MACs that no node owns. A guard's question may come back from our LAN, by way of another node on it."""
_IP_TYPES = frozenset((IPV4, IPV6, VLAN))
_NEIGHBOUR_TYPES = frozenset((ARP, IPV6))
"""What may be ARP or neighbour discovery."""


class Outbound:
    """The way out.

    The node writes ``table``; written here are counters, ``own_macs``, the guard's uses and the capture.

    `pytinc.datapath.router.Router` replaces the part that looks for the owner.
    """

    _record_type = TYPE_MAC
    _record_start = 0
    """How much of a frame's head a record leaves out."""

    def __init__(self, table: ForwardingTable) -> None:
        self._table = table
        self._limit = ErrorLimit()
        self._too_big = TooBig(self._limit)
        self._ttl = TimeToLive(table.me.id, self._limit, table.own_address)

    # -- HOT PATH: switching --

    def frames_from_device(self, frames: Sequence[bytes | FrameRun], now: float, out: Output) -> None:
        """Switch the frames that one wake-up read from the device."""
        me = self._table.me
        single: list[bytes] = []
        for frame in frames:
            if isinstance(frame, bytes):
                single.append(frame)
                continue
            if single:
                self._single_from_device(single, now, out)
                single = []
            me.in_packets += len(frame)
            me.in_bytes += frame.total
            self.switch_run(me, frame, now, out)
        if single:
            self._single_from_device(single, now, out)

    def _single_from_device(self, frames: list[bytes], now: float, out: Output) -> None:
        me = self._table.me
        me.in_packets += len(frames)
        me.in_bytes += sum(map(len, frames))
        self.switch(me, frames, now, out)

    def switch(self, source: PeerSlot, frames: Sequence[bytes], now: float, out: Output) -> None:
        """Give frames of ``source`` (the own node: of the device) to their owners (dataplane.md 5.1, 5.2).

        What holds for one frame holds for all that follow it with the same header, so that a batch of one
        flow is looked at once. A frame for all waits until those before it have gone.
        """
        table = self._table
        rules, drops, me = table.rules, table.drops, table.me
        from_device = source is me
        if table.capture is not None:
            table.capture += frames
        if rules.kernel and not from_device:
            self._to_device(frames, out)
            return
        guard = table.guard
        waiting: dict[PeerSlot, list[bytes]] = {}
        for header, run in _runs_by_header(frames):
            if len(header) < HEADER_SIZE:
                drops.short += len(run)
                continue
            if from_device:
                if not rules.hub:
                    self._learn(header[SOURCE], now, out)
                if header[12:] == NO_TYPE:
                    drops.bad_record += len(run)  # a tinc peer would take it for a probe
                    continue
            for_device = run
            if guard is not None and header[12:] in _NEIGHBOUR_TYPES:
                run, for_device = screen(table, source, run, now, out)
                if not run:
                    continue
            owner = None if rules.hub else table.owner_of(header[DESTINATION])
            if guard is not None and header[DESTINATION] in guard.macs:
                note_uses(guard, run, now, out)
            if owner is None:
                if waiting:
                    self._forward_all(source, waiting, now, out)
                    waiting = {}
                self._flood(source, run, for_device, now, out)
            elif owner is source:
                drops.looped += len(run)
            elif not (rules.forward or from_device or owner is me):
                drops.not_for_us += len(run)
            elif owner in waiting:
                waiting[owner] += run
            else:
                waiting[owner] = run
        if waiting:
            self._forward_all(source, waiting, now, out)

    def _learn(self, mac: bytes, now: float, out: Output) -> None:
        """Note that a source MAC was seen; the node takes up new ones (dataplane.md 5.3)."""
        own_macs = self._table.own_macs
        if mac in own_macs:
            own_macs[mac] = now
        elif not is_group(mac) and mac not in _NOBODYS:
            out.upcalls.learn[mac] = None

    def _forward_all(
        self, source: PeerSlot, by_owner: dict[PeerSlot, list[bytes]], now: float, out: Output
    ) -> None:
        for owner, frames in by_owner.items():
            if owner.is_me:
                self._to_device(self._clamp_for_device(source, frames), out)
            else:
                self._forward(source, owner, frames, now, out)

    # -- one destination --

    def _forward(
        self, source: PeerSlot, owner: PeerSlot, frames: list[bytes], now: float, out: Output
    ) -> None:
        """Send frames of ``source`` to the other node that owns their destination (steps 5 to 9 of 5.2)."""
        table = self._table
        relay = owner.relay
        if relay is None or not owner.reachable:
            owner.drops.unreachable += len(frames)
            return
        if table.rules.decrement_ttl and not source.is_me:
            frames = self._decrement_ttl(source, frames, now, out)
        if table.rules.direct_only and relay is not owner:
            owner.drops.no_path += len(frames)
            return
        self._send_fitting(source, owner, relay, frames, now, out)

    def _send_fitting(
        self,
        source: PeerSlot,
        owner: PeerSlot,
        relay: PeerSlot,
        frames: list[bytes],
        now: float,
        out: Output,
    ) -> None:
        """Send frames to their owner, in a form that fits the path to ``relay``."""
        sizes = list(map(len, frames))
        if not sizes:
            return
        if max(sizes) > relay.mtu or (relay.clamp_mss and min(sizes) <= LONGEST_SYN):
            frames = self._fit(source, relay, frames, now, out)
        self._send(owner, frames, now, out)

    def _fit(
        self, source: PeerSlot, relay: PeerSlot, frames: list[bytes], now: float, out: Output
    ) -> list[bytes]:
        """Clamp the MSS of SYNs, and treat frames that exceed the MTU of the path (steps 8 and 9 of 5.2)."""
        mtu = relay.mtu
        clamp = min(source.mtu, mtu) if relay.clamp_mss else 0
        fitting: list[bytes] = []
        for frame in frames:
            if len(frame) > mtu:
                parts, error = self._too_big.handle(frame, mtu, now)
                fitting += parts
                if error is not None:
                    self._answer(source, error, now, out)
            elif clamp and len(frame) <= LONGEST_SYN and frame[12:14] in _IP_TYPES:
                fitting.append(clamp_mss(frame, clamp))
            else:
                fitting.append(frame)
        return fitting

    def _decrement_ttl(self, source: PeerSlot, frames: list[bytes], now: float, out: Output) -> list[bytes]:
        """Take a hop from each frame (DecrementTTL); answer those that have none left."""
        alive: list[bytes] = []
        for frame in frames:
            changed, error = self._ttl.decrement(frame, now)
            if changed is not None:
                alive.append(changed)
            else:
                self._table.drops.ttl_exceeded += 1
            if error is not None:
                self._answer(source, error, now, out)
        return alive

    def _age_for_all(
        self, source: PeerSlot, frames: list[bytes], for_device: list[bytes], now: float, out: Output
    ) -> tuple[list[bytes], list[bytes]]:
        """Take a hop from frames for all; those whose form for the device is another have none to lose."""
        if for_device is frames:
            aged = self._decrement_ttl(source, frames, now, out)
            return aged, aged
        passed: list[bytes] = []
        arriving: list[bytes] = []
        for frame, own_form in zip(frames, for_device, strict=True):
            aged = self._decrement_ttl(source, [frame], now, out)
            passed += aged
            arriving += aged if own_form is frame else [own_form]
        return passed, arriving

    def _answer(self, source: PeerSlot, frame: bytes, now: float, out: Output) -> None:
        """Send an ICMP error back to where the frame came from."""
        if source.is_me:
            self._to_device([frame], out)
        else:
            self._send(source, [frame], now, out)

    def _clamp_for_device(self, source: PeerSlot, frames: list[bytes]) -> list[bytes]:
        """Clamp the MSS of SYNs that a peer sent to our side, to the MTU of the way back."""
        if not self._table.me.clamp_mss or min(map(len, frames)) > LONGEST_SYN:
            return frames
        mtu = source.mtu
        return [
            clamp_mss(frame, mtu) if len(frame) <= LONGEST_SYN and frame[12:14] in _IP_TYPES else frame
            for frame in frames
        ]

    def _to_device(self, frames: Sequence[bytes], out: Output) -> None:
        """Write frames to the own device."""
        me = self._table.me
        me.out_packets += len(frames)
        me.out_bytes += sum(map(len, frames))
        out.frames.extend(frames)

    # -- HOT PATH: a run goes as a whole, or frame by frame --

    def switch_run(self, source: PeerSlot, run: FrameRun, now: float, out: Output) -> None:
        """Do what `switch` does with the frames of a run, in one go where they are nothing special."""
        if not self._switch_whole(source, run, now, out):
            self.switch(source, run.frames(), now, out)

    def _switch_whole(self, source: PeerSlot, run: FrameRun, now: float, out: Output) -> bool:
        """Give a run to the one node that owns its destination; False: nothing was done."""
        table = self._table
        rules, me = table.rules, table.me
        if rules.hub or rules.kernel or rules.decrement_ttl or table.capture is not None:
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
        from_device = source is me
        if from_device:
            self._learn(header[SOURCE], now, out)
        elif not (rules.forward or owner is me):
            return False
        if owner is not me:
            return self._forward_whole(source, owner, run, now, out)
        if me.clamp_mss and _may_need_clamping(run, source.mtu):
            return False
        me.out_packets += len(run)
        me.out_bytes += run.total
        out.frames.append(run)
        return True

    def _forward_whole(
        self, source: PeerSlot, owner: PeerSlot, run: FrameRun, now: float, out: Output
    ) -> bool:
        """Seal a run for its owner and queue it; False: nothing was done."""
        relay, session = owner.relay, owner.session
        if relay is None or not owner.reachable or session is None or not owner.paths or owner.compression:
            return False
        if self._table.rules.direct_only and relay is not owner:
            return False
        size, path = run.size, owner.paths[0]
        if (
            size > relay.mtu
            or size > path.limit
            or (size > owner.minmtu and owner.connection is not None)
            or (relay.clamp_mss and _may_need_clamping(run, min(source.mtu, relay.mtu)))
        ):
            return False
        datagrams = None
        if session.peer_accepts_super_frames and path.relay is owner and self._table.segments:
            # No longer than the frames: a path that carries those must not lose the pieces.
            datagrams = run.in_pieces(session, path.prefix[ID_SIZE:], min(path.limit, size))
        if datagrams is None:
            datagrams = run.seal(session, path.prefix, self._record_type)
        if datagrams is None:
            return False
        owner.out_packets += len(run)
        owner.out_bytes += run.total
        if owner.upkeep_due <= now:
            out.upcalls.touched[owner] = None
        out.queue_run(path, datagrams)
        return True

    # -- everyone --

    def _flood(
        self, source: PeerSlot, frames: list[bytes], for_device: list[bytes], now: float, out: Output
    ) -> None:
        """Send broadcast frames, and those for unknown MACs, to all (dataplane.md 5.5).

        Frames of a peer go to the own device, too, in the form that is ``for_device``, and never back to the
        neighbour they came from. ``Forwarding = off`` does not stop them, as in tinc.
        """
        table = self._table
        mode = table.rules.broadcast
        origin = None
        targets: tuple[PeerSlot, ...] = ()
        if not source.is_me:
            if table.rules.decrement_ttl:
                frames, for_device = self._age_for_all(source, frames, for_device, now, out)
            self._to_device(for_device, out)
            origin = source.nexthop
        if mode == "mst":
            targets = table.tree
        elif mode == "direct" and source.is_me:
            targets = table.direct
        for slot in targets:
            if slot is not origin:
                self._send(slot, frames, now, out)

    # -- the guard's own frames --

    def inject(self, frame: bytes, now: float, out: Output) -> None:
        """Send a frame of the guard to the owner of its destination; if it is for all, to our device, too."""
        me, owner = self._table.me, self._table.owner_of(frame[DESTINATION])
        if owner is None:
            self._to_device([frame], out)
            self._flood(me, [frame], [], now, out)
        elif owner is me:
            self._to_device([frame], out)
        else:
            self._forward(me, owner, [frame], now, out)

    # -- HOT PATH: sealing and choosing the way (3.1 to 3.5) --

    def _send(self, slot: PeerSlot, frames: list[bytes], now: float, out: Output) -> None:
        """Seal frames for a node and queue them, by UDP where a probe has proved the size, else by TCP."""
        count = len(frames)
        if not count:
            return
        if not slot.reachable:
            slot.drops.unreachable += count
            return
        sizes = list(map(len, frames))
        slot.out_packets += count
        slot.out_bytes += sum(sizes)
        session = slot.session
        if session is None or slot.upkeep_due <= now:
            out.upcalls.touched[slot] = None
        if slot.compression and session is not None and session.can_send:
            for frame in frames:
                self._send_compressed(slot, session, frame, out)
            return
        longest, paths = max(sizes), slot.paths
        if (
            session is None
            or not paths
            or longest - self._record_start > paths[0].limit
            or (longest > slot.minmtu and slot.connection is not None)
        ):
            for frame in frames:
                self._send_one(slot, frame, out)
            return
        path = paths[0]
        datagrams = session.seal_batch(path.prefix, self._record_type, self._payloads(frames))
        if datagrams:
            out.queue(path, datagrams)
        else:  # the key is used up
            for frame in frames:
                self._send_one(slot, frame, out)

    def _payloads(self, frames: list[bytes]) -> list[bytes]:
        """Return what the records of ``frames`` carry."""
        return frames

    def _send_one(self, slot: PeerSlot, frame: bytes, out: Output) -> None:
        """Send a frame that needs a look: no key, no proved path, or too long for the best one.

        A neighbour without a key gets the plain frame even where UDP is proved; tinc drops it.
        """
        size = len(frame)
        session = slot.session if slot.session is not None and slot.session.can_send else None
        if size > MTU_MAX:
            slot.drops.oversized += 1
        elif slot.connection is not None and (session is None or size > slot.minmtu):
            out.upcalls.packets.append((slot, frame))
        elif session is None:
            slot.drops.no_key += 1
        elif (path := _path_for(slot, size - self._record_start)) is not None:
            out.queue(path, session.seal_batch(path.prefix, self._record_type, self._payloads([frame])))
        else:
            record = session.seal(self._record_type, frame[self._record_start :])
            out.upcalls.sptps_packets.append((slot, self._table.me, record))

    def _send_compressed(self, slot: PeerSlot, session: DatagramSession, frame: bytes, out: Output) -> None:
        """Send a frame to a node that wants its packets compressed, if that makes this one shorter (8).

        What goes in plain frames by a meta connection stays as it is: tinc compresses it without saying so.
        """
        data = compress(slot.compression, frame[self._record_start :])
        if (
            data is None
            or len(frame) > MTU_MAX
            or (slot.connection is not None and len(data) + self._record_start > slot.minmtu)
        ):
            self._send_one(slot, frame, out)
            return
        type_ = self._record_type | TYPE_COMPRESSED
        path = _path_for(slot, len(data))
        if path is None:
            out.upcalls.sptps_packets.append((slot, self._table.me, session.seal(type_, data)))
        else:
            out.queue(path, session.seal_batch(path.prefix, type_, [data]))

    def relay(
        self,
        destination: PeerSlot,
        source: PeerSlot,
        sender: PeerSlot | None,
        datagrams: list[bytes] | DatagramRun,
        now: float,
        out: Output,
    ) -> None:
        """Pass datagrams between two other nodes on unchanged; they start with both ids (3.3).

        ``sender`` is who sent them to us by UDP (None: they came by TCP). They never go back to it: while
        nodes disagree about the graph they would run in circles.
        """
        drops = self._table.drops
        if destination.upkeep_due <= now or destination.session is None:
            out.upcalls.touched[destination] = None
        if not isinstance(datagrams, list):
            path = _path_for(destination, datagrams.step - DATAGRAM_OVERHEAD)
            if path is not None and path.relay is not sender:
                out.queue_run(path, datagrams.copy())
                return
            datagrams = datagrams.datagrams()
        for datagram in datagrams:
            path = _path_for(destination, len(datagram) - DATAGRAM_OVERHEAD)
            if len(datagram) > MAX_DATAGRAM_SIZE:
                drops.oversized += 1
            elif sender is not None and (destination.nexthop if path is None else path.relay) is sender:
                drops.looped += 1
            elif path is not None:
                out.queue(path, [datagram])
            else:
                out.upcalls.sptps_packets.append((destination, source, datagram[PREFIX_SIZE:]))


def _path_for(slot: PeerSlot, size: int) -> UdpPath | None:
    """Return the first UDP path that a record payload of ``size`` fits in."""
    for path in slot.paths:
        if size <= path.limit:
            return path
    return None


def _may_need_clamping(run: FrameRun, mtu: int) -> bool:
    """Tell whether a frame of a run may be a SYN to clamp; of longer frames only the last can be one."""
    if run.is_data:
        return False
    if run.size <= LONGEST_SYN:
        return run.may_have_syn()
    if run.last > LONGEST_SYN:
        return False
    last = run.last_frame()
    return clamp_mss(last, mtu) is not last


def _runs_by_header(frames: Sequence[bytes]) -> list[tuple[bytes, list[bytes]]]:
    """Cut a batch into runs of consecutive frames with the same Ethernet header, each after its header."""
    runs: list[tuple[bytes, list[bytes]]] = []
    last: bytes | None = None
    run: list[bytes] = []
    for frame in frames:
        header = frame[:HEADER_SIZE]
        if header != last:
            last, run = header, []
            runs.append((header, run))
        run.append(frame)
    return runs
