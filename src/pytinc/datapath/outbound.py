"""From the own node to others: seals frames, chooses relay and path, sends by UDP or TCP.

See docs/protocol-data.md, "Sending" to "Choice of way".

Each node's frames are sealed and queued together, so that later steps, UDP_SEGMENT above all, get many
packets at once. Frames of one source for one node keep their order as long as they use the same transport
(UDP or TCP). This module also relays datagrams between two other nodes.

Departures from tinc: frames wait a moment for a key (`pytinc.datapath.held`). A relayed datagram never goes
back to where it came from. A frame that exceeds the limit (1518 bytes) and cannot be fragmented is dropped.

HOT PATH: no logging, no exception for an ordinary drop, no object for a frame. It must equal
`pytinc.datapath.reference`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytinc.datapath.compression import compress
from pytinc.datapath.held import hold, take_held
from pytinc.datapath.output import Output
from pytinc.datapath.peer_slot import PeerSlot, UdpPath
from pytinc.datapath.table import ForwardingTable
from pytinc.protocol.sptps.datagram import DatagramSession
from pytinc.wire.datagram import (
    DATAGRAM_OVERHEAD,
    ID_SIZE,
    MAX_DATAGRAM_SIZE,
    MTU_MAX,
    PREFIX_SIZE,
    TYPE_COMPRESSED,
    TYPE_MAC,
    TYPE_PACKET,
)
from pytinc.wire.ethernet import HEADER_SIZE

if TYPE_CHECKING:
    from pytinc.datapath.runs import DatagramRun, FrameRun


class Outbound:
    """The way out to other nodes."""

    def __init__(self, table: ForwardingTable) -> None:
        self._table = table
        router = table.rules.router
        self._record_type = TYPE_PACKET if router else TYPE_MAC
        self._start = HEADER_SIZE if router else 0
        """Bytes at the beginning of a frame that a record omits: routers do not need the Ethernet header."""

    # -- HOT PATH --

    def send(self, slot: PeerSlot, frames: list[bytes], now: float, out: Output) -> None:
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
                self._send_compressed(slot, session, frame, now, out)
            return
        longest, paths = max(sizes), slot.paths
        if (
            session is None
            or not paths
            or longest - self._start > paths[0].limit
            or (longest > slot.minmtu and slot.connection is not None)
        ):
            for frame in frames:
                self._send_one(slot, frame, now, out)
            return
        path = paths[0]
        datagrams = session.seal_batch(path.prefix, self._record_type, self._payloads(frames))
        if datagrams:
            out.queue(path, datagrams)
        else:  # the key is used up
            for frame in frames:
                self._send_one(slot, frame, now, out)

    def send_run(self, slot: PeerSlot, run: FrameRun, now: float, out: Output) -> bool:
        """Do what `send` does, for all frames of a run at once; False: nothing was done."""
        session = slot.session
        if session is None or not slot.paths or slot.compression:
            return False
        size, path = run.size, slot.paths[0]
        if size > path.limit or (size > slot.minmtu and slot.connection is not None):
            return False
        datagrams = None
        if session.peer_accepts_super_frames and path.relay is slot and self._table.segments:
            # Pieces are no longer than the frames, so a path that carries the frames carries the pieces.
            datagrams = run.in_pieces(session, path.prefix[ID_SIZE:], min(path.limit, size))
        if datagrams is None:
            datagrams = run.seal(session, path.prefix, self._record_type)
        if datagrams is None:
            return False
        slot.out_packets += len(run)
        slot.out_bytes += run.total
        if slot.upkeep_due <= now:
            out.upcalls.touched[slot] = None
        out.queue_run(path, datagrams)
        return True

    def send_held(self, slot: PeerSlot, now: float, out: Output) -> None:
        """Send the frames that have waited for a key; they were counted when they came."""
        session = slot.session
        for frame in take_held(slot, now):
            if slot.compression and session is not None and session.can_send:
                self._send_compressed(slot, session, frame, now, out)
            else:
                self._send_one(slot, frame, now, out)

    def _payloads(self, frames: list[bytes]) -> list[bytes]:
        """Return what the records of ``frames`` carry."""
        start = self._start
        return [frame[start:] for frame in frames] if start else frames

    def _send_one(self, slot: PeerSlot, frame: bytes, now: float, out: Output) -> None:
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
            hold(slot, frame, now)
        elif (path := _path_for(slot, size - self._start)) is not None:
            out.queue(path, session.seal_batch(path.prefix, self._record_type, self._payloads([frame])))
        else:
            record = session.seal(self._record_type, frame[self._start :])
            out.upcalls.sptps_packets.append((slot, self._table.me, record))

    def _send_compressed(
        self, slot: PeerSlot, session: DatagramSession, frame: bytes, now: float, out: Output
    ) -> None:
        """Send a frame to a node that wants compression; compress it if that makes it shorter.

        A plain frame on a meta connection stays uncompressed, because tinc does not mark compressed ones
        there.
        """
        data = compress(slot.compression, frame[self._start :])
        if (
            data is None
            or len(frame) > MTU_MAX
            or (slot.connection is not None and len(data) + self._start > slot.minmtu)
        ):
            self._send_one(slot, frame, now, out)
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
        """Pass datagrams between two other nodes on unchanged; they start with both ids.

        ``sender`` is the node that sent them to us by UDP (None: they came by TCP). They never go back to it,
        because they would circle while nodes disagree about the graph.
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
