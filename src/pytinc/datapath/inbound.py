"""From the peers to the device: find the source, relay or open, then switch (dataplane.md 2.5, 2.6, 5).

Which node a datagram is from is told by the ids in front of it and proved by opening it; addresses decide
only whether a stranger may use us as a relay. Consecutive datagrams of one node are opened in one go.

HOT PATH: no logging, no exception for an ordinary drop, no object for a datagram (style.md 4.9).
"""

from __future__ import annotations

from collections.abc import Sequence

from pytinc.datapath.outbound import Outbound
from pytinc.datapath.output import Output, Probe
from pytinc.datapath.table import ForwardingTable, PeerSlot
from pytinc.wire.address import SockAddr
from pytinc.wire.datagram import (
    ID_SIZE,
    MAX_PACKET_SIZE,
    MIN_DATAGRAM_SIZE,
    MTU_MAX,
    NULL_ID,
    PREFIX_SIZE,
    TYPE_HANDSHAKE,
    TYPE_MAC,
    TYPE_PROBE,
)
from pytinc.wire.ethernet import HEADER_SIZE, NO_TYPE

_MIN_SEALED = MIN_DATAGRAM_SIZE - PREFIX_SIZE


class Inbound:
    """The way in. ``outbound`` takes the frames that go on to other nodes."""

    def __init__(self, table: ForwardingTable, outbound: Outbound) -> None:
        self._table = table
        self._outbound = outbound

    # -- HOT PATH: datagrams --

    def datagrams(
        self,
        datagrams: Sequence[bytes],
        addresses: Sequence[SockAddr],
        socket: int,
        now: float,
        out: Output,
    ) -> None:
        """Take what one wake-up read from the UDP socket with index ``socket``."""
        table = self._table
        by_id, me, drops = table.by_id, table.me, table.drops
        source: PeerSlot | None = None
        source_address: SockAddr | None = None
        batch: list[bytes] = []
        for datagram, address in zip(datagrams, addresses, strict=True):
            if not MIN_DATAGRAM_SIZE <= len(datagram) <= MAX_PACKET_SIZE:
                drops.short += 1
                continue
            slot = by_id.get(datagram[ID_SIZE:PREFIX_SIZE])
            if slot is None or slot is me:
                drops.unknown_source += 1
                continue
            if datagram[:ID_SIZE] != NULL_ID:
                self._indirect(slot, datagram, address, socket, now, out)
                continue
            if slot is source and address == source_address:
                batch.append(datagram)
                continue
            if source is not None and source_address is not None:
                self._direct(source, batch, source_address, socket, now, out)
            source, source_address, batch = slot, address, [datagram]
        if source is not None and source_address is not None:
            self._direct(source, batch, source_address, socket, now, out)

    def _direct(
        self,
        source: PeerSlot,
        datagrams: list[bytes],
        address: SockAddr,
        socket: int,
        now: float,
        out: Output,
    ) -> None:
        """Open datagrams that their source sent straight to us."""
        if self._open(source, datagrams, PREFIX_SIZE, address, socket, now, out, direct=True) and (
            source.address is None or address[:2] != source.address[:2]
        ):
            out.upcalls.moved[source] = (address, socket)

    def _indirect(
        self,
        source: PeerSlot,
        datagram: bytes,
        address: SockAddr,
        socket: int,
        now: float,
        out: Output,
    ) -> None:
        """Take a datagram with a destination id: relay it, or open it if it has come by way of a relay."""
        table = self._table
        sender = table.confirmed.get(address[:2])
        destination = table.by_id.get(datagram[:ID_SIZE])
        if sender is None:
            table.drops.unknown_source += 1
        elif destination is None or destination is sender:
            table.drops.unknown_destination += 1
        elif not destination.reachable:
            table.drops.unreachable += 1
        elif destination is table.me:
            out.upcalls.relayed[sender, source, destination] = None
            self._open(source, [datagram], PREFIX_SIZE, address, socket, now, out, direct=False)
        else:
            out.upcalls.relayed[sender, source, destination] = None
            self._outbound.relay(destination, source, datagram, now, out)

    def _open(
        self,
        source: PeerSlot,
        datagrams: list[bytes],
        offset: int,
        address: SockAddr | None,
        socket: int,
        now: float,
        out: Output,
        *,
        direct: bool,
    ) -> bool:
        """Open records of ``source`` and switch their frames; tell whether any was authentic.

        ``address`` is None for records that came by TCP.
        """
        session = source.session
        drops = self._table.drops
        if session is None:
            drops.no_key += len(datagrams)
            out.upcalls.no_session[source] = None
            return False
        frames: list[bytes] = []
        authentic = failed = False
        for record in session.open_batch(datagrams, offset):
            if record is None:
                drops.not_authentic += 1
                failed = True
                continue
            authentic = True
            type_, payload = record
            if type_ == TYPE_MAC and HEADER_SIZE <= len(payload) <= MTU_MAX:
                frames.append(payload)
            elif type_ == TYPE_PROBE and address is not None:
                out.upcalls.probes.append(Probe(source, payload, address, socket, direct))
            elif type_ == TYPE_HANDSHAKE:
                out.upcalls.handshakes[source] = None
            else:
                drops.bad_record += 1
        if failed and address is not None and self._table.confirmed.get(address[:2]) is source:
            out.upcalls.failed[source] = None
        if frames:
            if address is not None:
                source.maxrecentlen = max(source.maxrecentlen, *map(len, frames))
            self._switch(source, frames, now, out)
        return authentic

    # -- HOT PATH: frames of peers --

    def _switch(self, source: PeerSlot, frames: list[bytes], now: float, out: Output) -> None:
        """Give frames to the device, to their owner, or to all (dataplane.md 5.2)."""
        table = self._table
        me, macs, rules = table.me, table.macs, table.rules
        source.in_packets += len(frames)
        source.in_bytes += sum(map(len, frames))
        own: list[bytes] = []
        by_owner: dict[PeerSlot, list[bytes]] = {}
        flooded: list[bytes] = []
        for frame in frames:
            owner = me if rules.kernel else None if rules.hub else macs.get(frame[:6])
            if owner is me:
                own.append(frame)
            elif owner is None:
                flooded.append(frame)
            elif owner is source:
                table.drops.looped += 1
            elif not rules.forward:
                table.drops.not_for_us += 1
            elif owner in by_owner:
                by_owner[owner].append(frame)
            else:
                by_owner[owner] = [frame]
        if own:
            self._outbound.to_device(self._outbound.clamp_for_device(source, own), out)
        for owner, batch in by_owner.items():
            self._outbound.forward(source, owner, batch, now, out)
        if flooded:
            self._outbound.flood(source, flooded, now, out)

    # -- what comes by TCP --

    def frames_from_neighbour(
        self, source: PeerSlot, frames: Sequence[bytes], now: float, out: Output
    ) -> None:
        """Switch plain frames from a neighbour's meta connection (PACKET)."""
        good: list[bytes] = []
        for frame in frames:
            if len(frame) < HEADER_SIZE:
                self._table.drops.short += 1
            elif len(frame) > MTU_MAX:
                self._table.drops.oversized += 1
            elif frame[12:14] == NO_TYPE:
                self._table.drops.bad_record += 1  # a C node's probe that had no key (13.1)
            else:
                good.append(frame)
        if good:
            self._switch(source, good, now, out)

    def sptps_packet(self, data: bytes, now: float, out: Output) -> None:
        """Take destination id, source id and sealed record from a meta connection (SPTPS_PACKET).

        Passed on whether or not we have a key with the destination ourselves (13.3).
        """
        table = self._table
        destination, source = table.by_id.get(data[:ID_SIZE]), table.by_id.get(data[ID_SIZE:PREFIX_SIZE])
        if destination is None or source is None or source.is_me:
            table.drops.unknown_source += 1
        elif len(data) - PREFIX_SIZE < _MIN_SEALED:
            table.drops.short += 1
        elif destination is table.me:
            self._open(source, [data], PREFIX_SIZE, None, 0, now, out, direct=False)
        elif not destination.reachable:
            table.drops.unreachable += 1
        else:
            self._outbound.relay(destination, source, data, now, out)
