"""The plain twin of `outbound` and `inbound`: one packet at a time, as docs/protocol-data.md describes.

The daemon does not use it. Tests push the same packets through both and compare the results
(`tests/datapath/test_twin.py`). It is also the best way to learn the fast code, which does the same with
batches, runs and cached look-ups. The twin computes owner and UDP path of each packet itself, queues every
datagram by itself, and reads super-frames with a plain parser of its own. It shares the parts of the fast
code that are plain already: `clamp_mss`, `TooBig`, `TimeToLive`, the guard's rules, `within_limit`,
`look_for_loops` and the containers. It checks every datagram, however many are forged
(`pytinc.datapath.doubt`).

Titles in parentheses are sections of that page.
"""

from __future__ import annotations

from pytinc.datapath import icmp, neighbour
from pytinc.datapath.clamp import clamp_mss
from pytinc.datapath.compression import compress, expand
from pytinc.datapath.flood_meter import FloodKind
from pytinc.datapath.flow_table import FlowTable
from pytinc.datapath.guard import note_uses, screen
from pytinc.datapath.hand_over import former_member
from pytinc.datapath.held import hold, take_held
from pytinc.datapath.icmp import ErrorLimit, Reason
from pytinc.datapath.loops import look_for_loops
from pytinc.datapath.output import Output, Probe
from pytinc.datapath.peer_slot import PeerSlot, UdpPath
from pytinc.datapath.routes import NoOwner
from pytinc.datapath.storm import kind_of, within_limit
from pytinc.datapath.super_frames_reference import frames_in
from pytinc.datapath.table import ForwardingTable
from pytinc.datapath.too_big import TooBig
from pytinc.datapath.ttl import TimeToLive
from pytinc.protocol.sptps.datagram import DatagramSession
from pytinc.wire import flow
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
from pytinc.wire.ethernet import (
    ARP,
    DESTINATION,
    ETHERTYPE,
    HEADER_OF_IP,
    HEADER_SIZE,
    IPV4,
    IPV6,
    NO_TYPE,
    SOURCE,
)
from pytinc.wire.neighbour import GUARD_MAC
from pytinc.wire.records import TAG_SIZE
from pytinc.wire.super_frame import MAX_SUPER_FRAME, PIECE_HEAD_SIZE, SUPER_FRAME_ID

_ZERO_MAC = bytes(6)


class Reference:
    """Both directions of the data path, for one packet."""

    def __init__(self, table: ForwardingTable) -> None:
        self._table = table
        self._limit = ErrorLimit()
        self._too_big = TooBig(self._limit)
        self._ttl = TimeToLive(table.me.id, self._limit, table.own_address)
        self._pieces: dict[PeerSlot, list[tuple[int, int, bytes]]] = {}
        """What has come of a peer's super-frame: its number, how many pieces it has, and a part, for each."""
        self._lost: dict[PeerSlot, int] = {}
        """Number of each peer's last super-frame that was given up."""

    # -- where packets come in --

    def frame_from_device(self, frame: bytes, now: float, out: Output) -> None:
        """Take a frame of the device."""
        me = self._table.me
        me.in_packets += 1
        me.in_bytes += len(frame)
        self._route(me, frame, now, out)

    def frame_from_neighbour(self, source: PeerSlot, frame: bytes, now: float, out: Output) -> None:
        """Handle a plain frame from a neighbour's meta connection (PACKET)."""
        if len(frame) < HEADER_SIZE:
            source.drops.short += 1
        elif len(frame) > MTU_MAX:
            source.drops.oversized += 1
        elif frame[ETHERTYPE] == NO_TYPE:
            source.drops.bad_record += 1
        else:
            self._frame_of_peer(source, frame, now, out)

    def datagram(self, datagram: bytes, address: SockAddr, socket: int, now: float, out: Output) -> None:
        """Handle a datagram from a UDP socket ("Receiving")."""
        table = self._table
        destination_id, source_id = datagram[:ID_SIZE], datagram[ID_SIZE:PREFIX_SIZE]
        source = table.by_id.get(source_id)
        if len(datagram) < MIN_DATAGRAM_SIZE:
            table.drops.short += 1
        elif len(datagram) > MAX_DATAGRAM_SIZE:
            table.drops.oversized += 1
        elif source is None or source is table.me:
            table.drops.unknown_source += 1
        elif destination_id == SUPER_FRAME_ID:
            self._piece(source, datagram, address, now, out)
        elif destination_id == NULL_ID:
            self._direct(source, datagram, address, socket, now, out)
        else:
            self._indirect(destination_id, source, datagram, address, socket, now, out)

    def sptps_packet(self, data: bytes, now: float, out: Output) -> None:
        """Handle both ids and a sealed record from a meta connection."""
        table = self._table
        destination, source = table.by_id.get(data[:ID_SIZE]), table.by_id.get(data[ID_SIZE:PREFIX_SIZE])
        if len(data) < MIN_DATAGRAM_SIZE:
            table.drops.short += 1
        elif source is None or source is table.me:
            table.drops.unknown_source += 1
        elif destination is None:
            table.drops.unknown_destination += 1
        elif destination is source:
            table.drops.looped += 1
        elif not destination.reachable:
            table.drops.unreachable += 1
        elif destination is table.me:
            self._open(source, data, None, 0, now, out, direct=False, trusted=True)
        else:
            self._relay(destination, source, None, data, now, out)

    # -- datagrams --

    def _direct(
        self, source: PeerSlot, datagram: bytes, address: SockAddr, socket: int, now: float, out: Output
    ) -> None:
        """Open a datagram that its source sent directly to this node ("Receiving")."""
        expected = source.address is not None and address[:2] == source.address[:2]
        trusted = expected and (source.confirmed or source.session is None)
        if self._open(source, datagram, address, socket, now, out, direct=True, trusted=trusted):
            if expected:
                source.socket = socket
            else:
                out.upcalls.moved[source] = (address, socket)

    def _piece(self, source: PeerSlot, datagram: bytes, address: SockAddr, now: float, out: Output) -> None:
        """Take a piece of a super-frame, and the super-frame if it is the last (docs/protocol.md)."""
        drops, session = self._table.drops, source.session
        expected = source.address is not None and address[:2] == source.address[:2]
        if session is None:
            source.drops.no_key += 1
            if expected:
                out.upcalls.no_session[source] = None
            return
        if not expected or not source.confirmed or not session.accepts_super_frames:
            drops.unknown_source += 1
            return
        index, pieces = datagram[PREFIX_SIZE + 4], datagram[PREFIX_SIZE + 5]
        number = int.from_bytes(datagram[PREFIX_SIZE : PREFIX_SIZE + 4], "big") - index
        so_far = self._pieces.pop(source, [])
        begins = index == 0 and number >= 0
        if so_far and (begins or (number, pieces) != so_far[0][:2] or index != len(so_far)):
            self._give_up(source, so_far[0][0], out)
            so_far = []
        if not so_far and not begins:
            self._give_up(source, number, out)
            return
        so_far.append((number, pieces, datagram[PIECE_HEAD_SIZE:]))
        record = b"".join(part for _, _, part in so_far)
        if len(so_far) > pieces or len(record) > MAX_SUPER_FRAME + TAG_SIZE:
            self._give_up(source, number, out)
        elif len(so_far) < pieces:
            self._pieces[source] = so_far
        else:
            self._super_frame(source, number, pieces, record, now, out)

    def _give_up(self, source: PeerSlot, number: int, out: Output) -> None:
        """Count a super-frame of which not all pieces came in order, once."""
        if self._lost.get(source) == number:
            return
        self._lost[source] = number
        source.drops.incomplete += 1
        out.upcalls.incomplete[source] = None

    def _super_frame(
        self, source: PeerSlot, number: int, pieces: int, record: bytes, now: float, out: Output
    ) -> None:
        """Open a super-frame and take its frames."""
        session = source.session
        assert session is not None
        plain = session.open_super_frame(number, pieces, memoryview(record))
        if plain is None:
            source.drops.not_authentic += pieces
            out.upcalls.failed[source] = None
            out.upcalls.incomplete[source] = None
            return
        frames = frames_in(bytes(plain))
        if frames is None:
            source.drops.bad_record += 1
            return
        if not self._table.rules.compression:
            longest = len(record) // pieces + PIECE_HEAD_SIZE - DATAGRAM_OVERHEAD
            source.maxrecentlen = max(source.maxrecentlen, longest)
        for each in frames:
            self._frame_of_peer(source, each, now, out)

    def _indirect(
        self,
        destination_id: bytes,
        source: PeerSlot,
        datagram: bytes,
        address: SockAddr,
        socket: int,
        now: float,
        out: Output,
    ) -> None:
        """Relay a datagram with a destination id, or open it if it is ours ("Receiving")."""
        table = self._table
        sender = table.confirmed.get(address[:2])
        destination = table.by_id.get(destination_id)
        if sender is None:
            table.drops.unknown_source += 1
        elif destination is None:
            table.drops.unknown_destination += 1
        elif destination is sender or destination is source:
            table.drops.looped += 1
        elif not destination.reachable:
            table.drops.unreachable += 1
        elif destination is not table.me:
            out.upcalls.relayed[sender, source, destination] = None
            self._relay(destination, source, sender, datagram, now, out)
        elif self._open(source, datagram, address, socket, now, out, direct=False, trusted=True):
            out.upcalls.relayed[sender, source, destination] = None

    def _relay(
        self,
        destination: PeerSlot,
        source: PeerSlot,
        sender: PeerSlot | None,
        datagram: bytes,
        now: float,
        out: Output,
    ) -> None:
        """Pass a datagram on unchanged ("Choice of way"), but never back to the node that sent it by UDP."""
        if destination.session is None or destination.upkeep_due <= now:
            out.upcalls.touched[destination] = None
        path = self._path(destination, len(datagram) - DATAGRAM_OVERHEAD)
        to = destination.nexthop if path is None else path.relay
        if len(datagram) > MAX_DATAGRAM_SIZE:
            self._table.drops.oversized += 1
        elif sender is not None and to is sender:
            self._table.drops.looped += 1
        elif path is None:
            out.upcalls.sptps_packets.append((destination, source, datagram[PREFIX_SIZE:]))
        else:
            out.datagrams.append((path, [datagram]))

    def _open(
        self,
        source: PeerSlot,
        datagram: bytes,
        address: SockAddr | None,
        socket: int,
        now: float,
        out: Output,
        *,
        direct: bool,
        trusted: bool,
    ) -> bool:
        """Open a record of ``source`` ("Record types"); tell whether it was authentic."""
        if source.session is None:
            source.drops.no_key += 1
            if trusted:
                out.upcalls.no_session[source] = None
            return False
        record = source.session.receive(datagram[PREFIX_SIZE:])
        if record is None:
            source.drops.not_authentic += 1
            if trusted:
                out.upcalls.failed[source] = None
            return False
        type_, payload = record
        if (
            type_ in (TYPE_PACKET | TYPE_COMPRESSED, TYPE_MAC | TYPE_COMPRESSED)
            and self._table.rules.compression
        ):
            expanded = expand(self._table.rules.compression, payload, MTU_MAX)
            if expanded is not None:
                type_, payload = type_ & ~TYPE_COMPRESSED, expanded
        if type_ == TYPE_PACKET and self._table.rules.router and payload[:1] in HEADER_OF_IP:
            type_, payload = TYPE_MAC, HEADER_OF_IP[payload[:1]] + payload
        if type_ == TYPE_MAC and HEADER_SIZE <= len(payload) <= MTU_MAX:
            if direct and not self._table.rules.compression:
                source.maxrecentlen = max(source.maxrecentlen, len(payload))
            self._frame_of_peer(source, payload, now, out)
        elif type_ == TYPE_PROBE and address is not None:
            out.upcalls.probes.append(Probe(source, payload, address, socket, direct))
        elif type_ == TYPE_HANDSHAKE:
            out.upcalls.handshakes[source] = None
        else:
            source.drops.bad_record += 1
            if record[0] == TYPE_PACKET and not self._table.rules.router:
                out.upcalls.other_mode[source] = None
        return True

    def _frame_of_peer(self, source: PeerSlot, frame: bytes, now: float, out: Output) -> None:
        source.in_packets += 1
        source.in_bytes += len(frame)
        self._route(source, frame, now, out)

    # -- switching --

    def _route(self, source: PeerSlot, frame: bytes, now: float, out: Output) -> None:
        """Switch a frame of the device or of another node ("Switch")."""
        table = self._table
        rules, me = table.rules, table.me
        if table.capture is not None:
            table.capture.append(frame)
        if rules.kernel and source is not me:
            self._to_device(frame, out)
            return
        if rules.router:
            self._route_ip(source, frame, now, out)
            return
        if len(frame) < HEADER_SIZE:
            table.drops.short += 1
            return
        if source is me and table.flows is not None:
            frame = self._to_member(table.flows, frame, now)
        owner = None if rules.hub else self._owner(frame[DESTINATION])
        is_flood = owner is None and (not rules.hub or bool(frame[0] & 1))
        frames, fresh = look_for_loops(table, source, [frame], now, out) if is_flood else ([frame], 1)
        if source is me and fresh and not rules.hub:
            self._learn(frame[SOURCE], now, out)
        if not frames:
            return
        if source is me and frame[ETHERTYPE] == NO_TYPE:
            table.drops.bad_record += 1
            return
        if is_flood and not within_limit(table, source, kind_of(frame), [frame], now, out):
            return
        left, devices = screen(table, source, [frame], now, out)
        if not left:
            return
        (frame,), (for_device,) = left, devices
        if table.guard is not None and frame[DESTINATION] in table.guard.macs:
            note_uses(table.guard, [frame], now, out)
        if owner is me and source is not me and rules.forward and table.guard is not None:
            former = former_member(table.guard, frame, now)
            former_owner = None if former is None else self._owner(former)
            if former is not None and former_owner not in (None, me, source):
                owner, frame = former_owner, former + frame[6:]
        if owner is None:
            self._flood(source, frame, for_device, now, out)
        elif owner is source:
            table.drops.looped += 1
        elif owner is me:
            self._to_device(clamp_mss(frame, source.mtu) if me.clamp_mss else frame, out)
        elif source is not me and not rules.forward:
            table.drops.not_for_us += 1
        else:
            self._forward(source, owner, frame, now, out)

    def _to_member(self, flows: FlowTable, frame: bytes, now: float) -> bytes:
        """Give a frame of our stations to the member that has its flow (docs/virtual-ip.md)."""
        to, packet = frame[DESTINATION], flow.parse(frame)
        if to not in flows.macs or packet is None:
            return frame
        mac = flows.member(packet, now)
        if mac is None:
            return frame
        flows.note_use(to, now)
        return mac + frame[6:]

    def _learn(self, mac: bytes, now: float, out: Output) -> None:
        """Note that the own node owns ``mac``, by its own table and not by the owner ("MAC table")."""
        table, is_group = self._table, bool(mac[0] & 1)
        has_loop = table.floods.loop_passes_here(now)
        if mac in table.own_macs:
            table.own_macs[mac] = now
        elif not is_group and mac not in (_ZERO_MAC, GUARD_MAC) and not (has_loop and mac in table.macs):
            out.upcalls.learn[mac] = None

    def _owner(self, mac: bytes) -> PeerSlot | None:
        """Return the node a frame goes to; None: to all."""
        return self._table.me if mac in self._table.own_macs else self._table.macs.get(mac)

    def _forward(self, source: PeerSlot, owner: PeerSlot, frame: bytes, now: float, out: Output) -> None:
        """Send a frame to another node that owns its destination ("Switch", steps 5 and 6)."""
        table = self._table
        relay = owner.relay
        if not owner.reachable or relay is None:
            owner.drops.unreachable += 1
            return
        aged = self._aged(source, frame, now, out)
        if aged is None:
            return
        if table.rules.direct_only and relay is not owner:
            owner.drops.no_path += 1
        else:
            self._send_fitting(source, owner, relay, aged, now, out)

    def _send_fitting(
        self, source: PeerSlot, owner: PeerSlot, relay: PeerSlot, aged: bytes, now: float, out: Output
    ) -> None:
        """Send a frame, in pieces if it must be, or tell its sender that it is too big."""
        if len(aged) > relay.mtu:
            parts, error = self._too_big.handle(aged, relay.mtu, now)
            if error is not None:
                self._answer(source, error, now, out)
            for part in parts:
                self._send(owner, part, now, out)
        else:
            mtu = min(source.mtu, relay.mtu)
            self._send(owner, clamp_mss(aged, mtu) if relay.clamp_mss else aged, now, out)

    def _aged(self, source: PeerSlot, frame: bytes, now: float, out: Output) -> bytes | None:
        """Return the frame with one hop less if it passes through us (DecrementTTL); None: it ends here."""
        if source is self._table.me or not self._table.rules.decrement_ttl:
            return frame
        aged, error = self._ttl.decrement(frame, now)
        if aged is None:
            self._table.drops.ttl_exceeded += 1
        if error is not None:
            self._answer(source, error, now, out)
        return aged

    def _flood(self, source: PeerSlot, frame: bytes, for_device: bytes, now: float, out: Output) -> None:
        """Send a frame to all ("Broadcast"), to the own device in a form of its own."""
        table = self._table
        aged = self._aged(source, frame, now, out)
        if aged is None:
            return
        from_me = source is table.me
        if not from_me and for_device:
            self._to_device(aged if for_device is frame else for_device, out)
        targets: tuple[PeerSlot, ...] = ()
        if table.rules.broadcast == "mst":
            targets = tuple(slot for slot in table.tree if from_me or slot is not source.nexthop)
        elif table.rules.broadcast == "direct" and from_me:
            targets = table.direct
        for slot in targets:
            self._send(slot, aged, now, out)

    # -- routing --

    def _route_ip(self, source: PeerSlot, frame: bytes, now: float, out: Output) -> None:
        """Route a packet, or answer the host's question for a MAC ("Router mode")."""
        drops = self._table.drops
        kind = frame[ETHERTYPE]
        if kind == IPV4:
            if len(frame) < 34:
                drops.short += 1
            else:
                self._route_to(frame[30:34], source, frame, now, out)
        elif kind == IPV6:
            if len(frame) < 54:
                drops.short += 1
            elif neighbour.is_solicitation(frame):
                self._tell_mac(source, neighbour.parse_solicitation(frame), out)
            else:
                self._route_to(frame[38:54], source, frame, now, out)
        else:
            if kind == ARP:
                self._tell_mac(source, neighbour.parse_arp(frame), out)
            else:
                drops.bad_record += 1
            if not source.is_me:
                out.upcalls.other_mode[source] = None

    def _route_to(self, address: bytes, source: PeerSlot, frame: bytes, now: float, out: Output) -> None:
        """Send a packet to the owner of its destination, by the list in "Router mode"."""
        table, rules, drops, me = self._table, self._table.rules, self._table.drops, self._table.me
        owner = table.routes.lookup(address)
        if owner is NoOwner.UNKNOWN:
            drops.unknown_destination += 1
            self._refuse(source, frame, icmp.NO_SUBNET, now, out)
            return
        if owner is NoOwner.UNREACHABLE:
            drops.unreachable += 1
            self._refuse(source, frame, icmp.OWNER_UNREACHABLE, now, out)
            return
        if not isinstance(owner, PeerSlot):
            if within_limit(table, source, FloodKind.OTHER, [frame], now, out):
                self._flood(source, frame, frame, now, out)
            return
        if source is not me and owner is not me and table.routes.is_among_owners(address, me):
            owner = me
        if owner is source:
            drops.looped += 1
            return
        relay = owner.relay
        if relay is None:
            owner.drops.unreachable += 1
            return
        passes_through = source is not me and owner is not me
        if passes_through and not rules.forward:
            drops.not_for_us += 1
            self._refuse(source, frame, icmp.PROHIBITED, now, out)
            return
        aged = self._aged(source, frame, now, out) if passes_through else frame
        if aged is None:
            return
        if relay is source:
            drops.looped += 1
        elif owner is me:
            self._to_device(clamp_mss(aged, source.mtu) if me.clamp_mss else aged, out)
        elif rules.direct_only and relay is not owner:
            owner.drops.no_path += 1
            self._refuse(source, aged, icmp.PROHIBITED, now, out)
        else:
            self._send_fitting(source, owner, relay, aged, now, out)

    def _refuse(self, source: PeerSlot, frame: bytes, reason: Reason, now: float, out: Output) -> None:
        """Tell the sender of a packet that it cannot be delivered."""
        if icmp.deserves_answer(frame) and self._limit.allows(now):
            self._answer(source, icmp.unreachable(frame, reason), now, out)

    def _tell_mac(self, source: PeerSlot, question: neighbour.Question | None, out: Output) -> None:
        """Answer for another node; the asking host gets all packets from now on ("Router mode")."""
        table = self._table
        if question is None or source is not table.me or table.hwaddr is None:
            table.drops.bad_record += 1
            return
        table.hwaddr = question.mac
        if table.routes.lookup(question.target) not in (table.me, NoOwner.UNKNOWN):
            self._to_device(question.answer, out)

    # -- out --

    def _answer(self, source: PeerSlot, frame: bytes, now: float, out: Output) -> None:
        """Send an ICMP error back to where the frame came from."""
        if source is self._table.me:
            self._to_device(frame, out)
        else:
            self._send(source, frame, now, out)

    def _to_device(self, frame: bytes, out: Output) -> None:
        """Write a frame to the device; on a tap of a router, from the router's MAC ("Router mode")."""
        hwaddr = self._table.hwaddr
        if self._table.rules.router and hwaddr is not None:
            frame = hwaddr + neighbour.router_mac(hwaddr) + frame[12:]
        self._table.me.out_packets += 1
        self._table.me.out_bytes += len(frame)
        out.frames.append(frame)

    def _send(self, slot: PeerSlot, frame: bytes, now: float, out: Output) -> None:
        """Send a frame to a node ("Sending")."""
        if not slot.reachable:
            slot.drops.unreachable += 1
            return
        slot.out_packets += 1
        slot.out_bytes += len(frame)
        self._send_counted(slot, frame, now, out)

    def send_held(self, slot: PeerSlot, now: float, out: Output) -> None:
        """Send the frames that have waited for a key ("Sending")."""
        for frame in take_held(slot, now):
            self._send_counted(slot, frame, now, out)

    def _send_counted(self, slot: PeerSlot, frame: bytes, now: float, out: Output) -> None:
        session = slot.session
        if session is None or slot.upkeep_due <= now:
            out.upcalls.touched[slot] = None
        is_neighbour = slot.connection is not None
        has_key = session is not None and session.can_send
        if (
            slot.compression
            and session is not None
            and has_key
            and self._sent_compressed(slot, session, frame, out)
        ):
            return
        if len(frame) > MTU_MAX:
            slot.drops.oversized += 1
        elif is_neighbour and (not has_key or len(frame) > slot.minmtu):
            out.upcalls.packets.append((slot, frame))
        elif session is None or not has_key:
            hold(slot, frame, now)
        else:
            router = self._table.rules.router
            type_, payload = (TYPE_PACKET, frame[HEADER_SIZE:]) if router else (TYPE_MAC, frame)
            path = self._path(slot, len(payload))
            record = session.seal(type_, payload, may_be_fast=path is not None)
            if path is None:
                out.upcalls.sptps_packets.append((slot, self._table.me, record))
            else:
                out.datagrams.append((path, [path.prefix + record]))

    def _sent_compressed(self, slot: PeerSlot, session: DatagramSession, frame: bytes, out: Output) -> bool:
        """Send a frame to a node that wants compression ("Compression"); False if that does not help."""
        start = HEADER_SIZE if self._table.rules.router else 0
        data = compress(slot.compression, frame[start:])
        if data is None or len(frame) > MTU_MAX:
            return False
        if slot.connection is not None and len(data) + start > slot.minmtu:
            return False
        path = self._path(slot, len(data))
        type_ = (TYPE_PACKET if start else TYPE_MAC) | TYPE_COMPRESSED
        record = session.seal(type_, data, may_be_fast=path is not None)
        if path is None:
            out.upcalls.sptps_packets.append((slot, self._table.me, record))
        else:
            out.datagrams.append((path, [path.prefix + record]))
        return True

    def _path(self, slot: PeerSlot, size: int) -> UdpPath | None:
        """Return the path of a record with ``size`` bytes of payload ("Choice of way"); None: TCP."""
        for relay in (slot.relay, slot.nexthop):
            if relay is None or relay is self._table.me:
                continue
            if relay.tcp_only or relay.address is None or relay.minmtu <= 0 or size > relay.minmtu:
                continue
            destination = NULL_ID if relay is slot else slot.id
            prefix = destination + self._table.me.id
            return UdpPath(relay.minmtu, relay.socket, relay.address, prefix, relay)
        return None
