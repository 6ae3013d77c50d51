"""From other nodes: finds the source, relays or opens, and passes the frames to the switch.

See docs/protocol-data.md, "Receiving" and "Hostile datagrams".

The ids in front of a datagram name its source, and opening the datagram proves it. Addresses decide only
whether a stranger may use this node as a relay, and whether a datagram that cannot be opened is a reason for
a new key. tinc uses addresses first, and ignores the source id of a datagram that comes directly from a known
address. A group (consecutive datagrams with the same ids and address) is opened at once.

HOT PATH: no logging, no exception for an ordinary drop, no object for a datagram. It must
equal `pytinc.datapath.reference`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from pytinc.datapath.compression import expand
from pytinc.datapath.doubt import TRUSTED, Doubt
from pytinc.datapath.outbound import Outbound
from pytinc.datapath.output import Output, Probe
from pytinc.datapath.peer_slot import PeerSlot
from pytinc.datapath.table import ForwardingTable
from pytinc.errors import DecodeError
from pytinc.protocol.sptps.datagram import DatagramSession
from pytinc.wire.address import SockAddr
from pytinc.wire.datagram import (
    DATAGRAM_OVERHEAD,
    ID_SIZE,
    MAX_DATAGRAM_SIZE,
    MIN_DATAGRAM_SIZE,
    MTU_MAX,
    NULL_ID,
    PREFIX_SIZE,
    TYPE_COMPRESSED,
    TYPE_HANDSHAKE,
    TYPE_MAC,
    TYPE_PACKET,
    TYPE_PROBE,
)
from pytinc.wire.ethernet import HEADER_OF_IP, HEADER_SIZE, NO_TYPE
from pytinc.wire.super_frame import PIECE_HEAD_SIZE, SUPER_FRAME_ID

if TYPE_CHECKING:
    from pytinc.datapath.runs import DatagramRun, FrameRun
    from pytinc.datapath.super_frames import Assembly, Sealed

_COMPRESSED: Final = (TYPE_PACKET | TYPE_COMPRESSED, TYPE_MAC | TYPE_COMPRESSED)
_MAX_PACKET: Final = MTU_MAX - HEADER_SIZE
"""Longest IP packet: with its header it is no longer than a frame may be."""


BY_TCP: Final[SockAddr] = ("", 0)
"""Stands for the address of a record that came by TCP."""


class Forwarder(Protocol):
    """Decides where frames go: `pytinc.datapath.switch.Switch` or `pytinc.datapath.router.Router`."""

    def forward(self, source: PeerSlot, frames: Sequence[bytes], now: float, out: Output) -> None:
        """Send frames of ``source`` (the own node stands for the device) to their destinations."""

    def forward_run(self, source: PeerSlot, run: FrameRun, now: float, out: Output) -> None:
        """Do the same with the frames of a run."""


Arrival: TypeAlias = tuple[PeerSlot, bool, SockAddr, int, float, Output]
"""The facts that datagrams which arrived together share, from the socket to the device:

* source: the node that they are from, if they are authentic
* is_direct: they are addressed to us by that node, not passed on by a relay
* address: the sender; `BY_TCP` for records that a meta connection brought
* socket: the socket that received them
* now
* out: takes all results

It is a plain tuple, because a named one for each small datagram would cost 3 % of its time in this module.
"""


class Inbound:
    """The way in. ``forwarder`` takes the frames, and ``outbound`` the datagrams to be relayed."""

    def __init__(self, table: ForwardingTable, forwarder: Forwarder, outbound: Outbound) -> None:
        self._table = table
        self._forwarder = forwarder
        self._outbound = outbound
        self._ip_headers = HEADER_OF_IP if table.rules.router else {}
        """The header that a packet without one gets, by its first byte; only routers take such packets."""

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
        drops = self._table.drops
        ids, address = b"", None
        group: list[bytes] = []
        for datagram, its_address in zip(datagrams, addresses, strict=True):
            if not MIN_DATAGRAM_SIZE <= len(datagram) <= MAX_DATAGRAM_SIZE:
                if len(datagram) < MIN_DATAGRAM_SIZE:
                    drops.short += 1
                else:
                    drops.oversized += 1
                continue
            its_ids = datagram[:PREFIX_SIZE]
            if its_ids == ids and its_address == address:
                group.append(datagram)
                continue
            if address is not None:
                self._group(ids, group, address, socket, now, out)
            ids, address, group = its_ids, its_address, [datagram]
        if address is not None:
            self._group(ids, group, address, socket, now, out)

    def datagram_run(self, run: DatagramRun, address: SockAddr, socket: int, now: float, out: Output) -> None:
        """Take datagrams that the kernel gave in one piece; its buffer is the caller's again afterwards."""
        ids = run.prefix()
        if ids is None:
            datagrams = run.datagrams()
            self.datagrams(datagrams, [address] * len(datagrams), socket, now, out)
        else:
            self._group(ids, run, address, socket, now, out)

    def _group(
        self,
        ids: bytes,
        datagrams: list[bytes] | DatagramRun,
        address: SockAddr,
        socket: int,
        now: float,
        out: Output,
    ) -> None:
        """Take datagrams that have the same ids and came from the same address."""
        source = self._table.by_id.get(ids[ID_SIZE:])
        if source is None or source.is_me:
            self._table.drops.unknown_source += len(datagrams)
            return
        destination = ids[:ID_SIZE]
        if destination == NULL_ID:
            self._direct(datagrams, (source, True, address, socket, now, out))
        elif destination == SUPER_FRAME_ID:
            self._pieces(datagrams, (source, True, address, socket, now, out))
        else:
            self._indirect(destination, datagrams, (source, False, address, socket, now, out))

    def _direct(self, datagrams: list[bytes] | DatagramRun, came: Arrival) -> None:
        """Open datagrams that their source sent directly to this node."""
        source, _, address, socket, _, out = came
        known = source.address
        expected = known is not None and address[:2] == known[:2]
        # Before there is a key nothing is proved. A peer that kept its key while we lost ours must not
        # wait until its probes time out, so the address that the graph tells is good enough to ask it.
        trusted = expected and (source.confirmed or source.session is None)
        if not self._open(datagrams, came, trusted=trusted):
            return
        if not expected:
            out.upcalls.moved[source] = (address, socket)
        elif source.socket != socket:
            self._table.use_socket(source, socket)

    def _indirect(self, destination_id: bytes, datagrams: list[bytes] | DatagramRun, came: Arrival) -> None:
        """Take datagrams with a destination id: relay them, or open what has come by way of a relay."""
        source, _, address, _, now, out = came
        table = self._table
        sender = table.confirmed.get(address[:2])
        destination = table.by_id.get(destination_id)
        if sender is None:
            table.drops.unknown_source += len(datagrams)
        elif destination is None:
            table.drops.unknown_destination += len(datagrams)
        elif destination is sender or destination is source:
            table.drops.looped += len(datagrams)
        elif not destination.reachable:
            table.drops.unreachable += len(datagrams)
        elif not destination.is_me:
            out.upcalls.relayed[sender, source, destination] = None
            self._outbound.relay(destination, source, sender, datagrams, now, out)
        elif self._open(datagrams, came, trusted=True):
            out.upcalls.relayed[sender, source, destination] = None

    def _open(self, datagrams: list[bytes] | DatagramRun, came: Arrival, *, trusted: bool) -> bool:
        """Open records and switch their frames; tell whether any was authentic.

        ``trusted``: the sender of the datagrams is known, so the node gets a report if they cannot be opened.
        Other senders may have forged the ids.
        """
        source, out = came[0], came[-1]
        session = source.session
        if session is None:
            source.drops.no_key += len(datagrams)
            if trusted:
                out.upcalls.no_session[source] = None
            return False
        if source.doubt is not None:
            datagrams = self._sift(source.doubt, session, datagrams, came, trusted=trusted)
            if not datagrams:
                return False
        if not isinstance(datagrams, list):
            if self._open_whole(session, datagrams, came):
                return True
            datagrams = datagrams.datagrams()
        records = session.open_batch(datagrams, PREFIX_SIZE)
        return self.take(records, came, trusted=trusted)

    def take(self, records: Sequence[tuple[int, bytes] | None], came: Arrival, *, trusted: bool) -> bool:
        """Act on opened records (None for one that failed); tell whether any was authentic."""
        source, is_direct, address, socket, now, out = came
        upcalls = out.upcalls
        headers = self._ip_headers
        frames: list[bytes] = []
        rejected = 0
        for record in records:
            if record is None:
                rejected += 1
                continue
            type_, payload = record
            if type_ == TYPE_MAC and HEADER_SIZE <= len(payload) <= MTU_MAX:
                frames.append(payload)
            elif type_ == TYPE_PACKET and len(payload) <= _MAX_PACKET and payload[:1] in headers:
                frames.append(headers[payload[:1]] + payload)
            elif type_ in _COMPRESSED and (frame := self._expanded(type_, payload)) is not None:
                frames.append(frame)
            elif type_ == TYPE_PROBE and address is not BY_TCP:
                upcalls.probes.append(Probe(source, payload, address, socket, is_direct))
            elif type_ == TYPE_HANDSHAKE:
                upcalls.handshakes[source] = None
            else:
                source.drops.bad_record += 1
                if type_ == TYPE_PACKET and not headers:
                    upcalls.other_mode[source] = None
        if rejected:
            self._reject(rejected, came, trusted=trusted)
        if frames:
            sizes = list(map(len, frames))
            self.count(source, len(sizes), sum(sizes), max(sizes), is_direct=is_direct)
            self._forwarder.forward(source, frames, now, out)
        return rejected < len(records)

    def _reject(self, bad: int, came: Arrival, *, trusted: bool) -> None:
        """Count datagrams that could not be opened; doubt their source if there are too many."""
        source, _, _, _, now, out = came
        source.drops.not_authentic += bad
        doubt = source.doubt
        if doubt is not None:
            doubt.note(bad, _stranger(came), now)
        else:
            if now >= source.rejected_since + 1:
                source.rejected, source.rejected_since = 0, now
            source.rejected += bad
            if source.rejected > TRUSTED:
                source.doubt = Doubt(now)
        if trusted and (doubt is None or doubt.tells()):
            out.upcalls.failed[source] = None

    def _sift(
        self,
        doubt: Doubt,
        session: DatagramSession,
        datagrams: list[bytes] | DatagramRun,
        came: Arrival,
        *,
        trusted: bool,
    ) -> list[bytes] | DatagramRun:
        """Return the datagrams of a doubted source that are worth a check."""
        source, _, _, _, now, out = came
        if doubt.is_over(now):
            source.doubt = None
            return datagrams
        chosen = doubt.sift(datagrams, session.window, _stranger(came), now)
        skipped = len(datagrams) - len(chosen)
        if skipped:
            source.drops.not_authentic += skipped
            doubt.note_skipped(now)
            if trusted and doubt.tells():
                out.upcalls.failed[source] = None
        return chosen

    def _open_whole(self, session: DatagramSession, datagrams: DatagramRun, came: Arrival) -> bool:
        """Open a run of frames in one go, and switch it; False: nothing was done."""
        if self._ip_headers:
            return False  # a router looks at each packet
        run = datagrams.open(session, TYPE_MAC)
        if run is None:
            return False
        source, is_direct, _, _, now, out = came
        self.count(source, len(run), run.total, run.size, is_direct=is_direct)
        self._forwarder.forward_run(source, run, now, out)
        return True

    def _pieces(self, datagrams: list[bytes] | DatagramRun, came: Arrival) -> None:
        """Take pieces of super-frames, and switch those that are complete (docs/protocol.md).

        They count only from where the peer is known to be: until they are complete nothing is proved.
        """
        source, _, address, _, _, out = came
        session, known = source.session, source.address
        expected = known is not None and address[:2] == known[:2]
        if session is None:
            source.drops.no_key += len(datagrams)
            if expected:
                out.upcalls.no_session[source] = None
            return
        if not (expected and source.confirmed and session.accepts_super_frames):
            self._table.drops.unknown_source += len(datagrams)
            return
        assembly = source.assembly
        if assembly is None:
            assembly = source.assembly = _new_assembly()
        for sealed in assembly.add(datagrams):
            self._super_frame(session, sealed, came)
        if assembly.incomplete:
            source.drops.incomplete += assembly.incomplete
            assembly.incomplete = 0
            out.upcalls.incomplete[source] = None

    def _super_frame(self, session: DatagramSession, sealed: Sealed, came: Arrival) -> None:
        """Open a super-frame and switch it."""
        source, _, _, _, now, out = came
        try:
            run = sealed.open(session)
        except DecodeError:
            source.drops.bad_record += 1
            return
        if run is None:
            source.drops.not_authentic += sealed.pieces
            out.upcalls.failed[source] = None
            # Whatever is wrong, frames are the safer way.
            out.upcalls.incomplete[source] = None
            return
        longest = len(sealed.record) // sealed.pieces + PIECE_HEAD_SIZE - DATAGRAM_OVERHEAD
        self.count(source, len(run), run.total, longest, is_direct=True)
        self._forwarder.forward_run(source, run, now, out)

    def count(self, source: PeerSlot, packets: int, total: int, longest: int, *, is_direct: bool) -> None:
        """Count frames of ``source``, ``total`` bytes in all."""
        source.in_packets += packets
        source.in_bytes += total
        # What a relay brought proves nothing about the straight path (tinc counts it, too), nor does the
        # length of what was compressed on the way.
        if is_direct and longest > source.maxrecentlen and not self._table.rules.compression:
            source.maxrecentlen = longest

    def _expanded(self, type_: int, data: bytes) -> bytes | None:
        """Return the frame in a compressed record; None if it is damaged or this node asked for none."""
        payload = expand(self._table.rules.compression, data, MTU_MAX)
        if payload is None:
            return None
        if type_ == TYPE_MAC | TYPE_COMPRESSED:
            return payload if len(payload) >= HEADER_SIZE else None
        header = self._ip_headers.get(payload[:1])
        return None if header is None or len(payload) > _MAX_PACKET else header + payload

    # -- what comes by TCP --

    def frames_from_neighbour(
        self, source: PeerSlot, frames: Sequence[bytes], now: float, out: Output
    ) -> None:
        """Switch plain frames from a neighbour's meta connection (PACKET)."""
        good: list[bytes] = []
        for frame in frames:
            if len(frame) < HEADER_SIZE:
                source.drops.short += 1
            elif len(frame) > MTU_MAX:
                source.drops.oversized += 1
            elif frame[12:14] == NO_TYPE:
                source.drops.bad_record += 1  # a C node's probe that had no key
            else:
                good.append(frame)
        if good:
            source.in_packets += len(good)
            source.in_bytes += sum(map(len, good))
            self._forwarder.forward(source, good, now, out)

    def sptps_packet(self, data: bytes, now: float, out: Output) -> None:
        """Take destination id, source id and sealed record from a meta connection (SPTPS_PACKET).

        A record for another node is passed on whether or not this node has a key with that node.
        """
        table = self._table
        destination, source = table.by_id.get(data[:ID_SIZE]), table.by_id.get(data[ID_SIZE:PREFIX_SIZE])
        if len(data) < MIN_DATAGRAM_SIZE:
            table.drops.short += 1
        elif source is None or source.is_me:
            table.drops.unknown_source += 1
        elif destination is None:
            table.drops.unknown_destination += 1
        elif destination is source:
            table.drops.looped += 1
        elif not destination.reachable:
            table.drops.unreachable += 1
        elif destination.is_me:
            self._open([data], (source, False, BY_TCP, 0, now, out), trusted=True)
        else:
            self._outbound.relay(destination, source, None, [data], now, out)


def _stranger(came: Arrival) -> SockAddr | None:
    """Return the address that datagrams came from; None if their source is likely to be there."""
    source, is_direct, address, _, _, _ = came
    known = source.address
    return address if is_direct and (known is None or known[:2] != address[:2]) else None


def _new_assembly() -> Assembly:
    from pytinc.datapath.super_frames import Assembly  # loads numpy

    return Assembly()
