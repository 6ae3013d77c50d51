"""The short way: a fast path through the switch for a frame or datagram that arrives alone.

A request and its answer are often single frames, each alone in its batch, and their sender waits. `Switch`,
`Delivery`, `Outbound` and `Inbound` process whole batches and check for everything unusual, which costs more
than sealing one frame. `ShortWay` takes a frame or datagram with nothing unusual: the owner of its
destination is known, there is a key and a proved path, and no filter concerns it. It uses the same session,
writes the same counters and notes the same uses. All other packets take the path for batches.

Most of this depends only on the two stations or on the peer. It is determined with the first packet and
cached in the table as a `FrameWay` or `DatagramWay` until the node has handled an event (`forget_ways`).

HOT PATH: no logging, few calls. It must equal `pytinc.datapath.reference`.
"""

from __future__ import annotations

from typing import Final

from pytinc.datapath.clamp import LONGEST_SYN, PLAIN_FLAGS
from pytinc.datapath.guard import note_known_use
from pytinc.datapath.guard_table import GuardTable
from pytinc.datapath.inbound import Inbound
from pytinc.datapath.output import Output
from pytinc.datapath.peer_slot import UdpPath
from pytinc.datapath.table import DatagramWay, ForwardingTable, FrameWay
from pytinc.wire.address import SockAddr
from pytinc.wire.datagram import (
    ID_SIZE,
    MAX_DATAGRAM_SIZE,
    MIN_DATAGRAM_SIZE,
    NULL_ID,
    PREFIX_SIZE,
    TYPE_MAC,
)
from pytinc.wire.ethernet import DESTINATION, HEADER_SIZE, IPV4, IPV6, SOURCE
from pytinc.wire.ip import (
    IPV4_HEADER_SIZE,
    IPV6_HEADER_SIZE,
    PLAIN_IPV4,
    PROTOCOL_ICMP,
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    TCP_SYN,
)

MAX_WAYS: Final = 1024
"""Most cached entries: pairs of stations, or stations of ours for each peer. When there are more, all are
forgotten."""
_MACS: Final = slice(0, 12)
_TYPE_MAC: Final = bytes((TYPE_MAC,))
_KIND: Final = slice(12, 15)
_IPV4_PLAIN: Final = IPV4 + bytes((PLAIN_IPV4,))
"""The type of a frame and the first byte of its packet: IPv4 without options."""
_IPV4_PAYLOAD: Final = HEADER_SIZE + IPV4_HEADER_SIZE
_IPV6_PAYLOAD: Final = HEADER_SIZE + IPV6_HEADER_SIZE
_PLAIN_FLAGS_V6: Final = _IPV6_PAYLOAD + 13
"""The offset of the TCP flags in a packet without VLAN tag and extension headers."""


class ShortWay:
    """The short way of one node."""

    def __init__(self, table: ForwardingTable, inbound: Inbound) -> None:
        self._table = table
        self._me = table.me
        self._inbound = inbound

    def frame(self, frame: bytes, now: float) -> tuple[UdpPath, bytes] | None:
        """Return the datagram that carries a frame of the device, and its path; None: nothing is counted."""
        way = self._table.frame_ways.get(frame[_MACS]) or self._find_frame_way(frame)
        if way is None:
            return None
        owner, session, path, limit, source, guard = way
        size = len(frame)
        if (
            size > limit
            or owner.upkeep_due <= now
            or not _is_plain(frame, size)
            or (guard is not None and not note_known_use(guard, frame, now))
        ):
            return None
        datagram = session.seal_one(path.prefix, _TYPE_MAC, frame)
        if datagram is None:
            return None  # the key is used up
        self._table.own_macs[source] = now
        me = self._me
        me.in_packets += 1
        me.in_bytes += size
        owner.out_packets += 1
        owner.out_bytes += size
        return path, datagram

    def _find_frame_way(self, frame: bytes) -> FrameWay | None:
        """Compute the entry for frames with these MACs; None if they cannot take the short way."""
        table = self._table
        destination, source = frame[DESTINATION], frame[SOURCE]
        owner = table.owner_of(destination)
        if owner is None or owner.is_me or source not in table.own_macs:
            return None
        rules, session, relay, paths = table.rules, owner.session, owner.relay, owner.paths
        if (
            session is None
            or relay is None
            or not paths
            or not owner.reachable
            or owner.compression
            or rules.hub
            or (rules.direct_only and relay is not owner)
            or table.capture is not None
            or table.flows is not None
        ):
            return None
        limit = min(relay.mtu, paths[0].limit)
        if owner.connection is not None:
            limit = min(limit, owner.minmtu)
        guard = table.guard
        if guard is not None and destination not in guard.macs:
            guard = None
        if len(table.frame_ways) >= MAX_WAYS:
            table.frame_ways.clear()
        way = FrameWay(owner, session, paths[0], limit, source, guard)
        table.frame_ways[frame[_MACS]] = way
        return way

    def datagram(
        self, datagram: bytes, address: SockAddr, socket: int, now: float, out: Output
    ) -> bytes | None:
        """Handle a datagram that its source sent directly from its known address.

        Return the frame in it for the own device. An empty frame means that the datagram had other content,
        and ``out`` has all results. None: nothing was done.
        """
        table = self._table
        way = table.datagram_ways.get(datagram[:PREFIX_SIZE]) or self._find_datagram_way(datagram)
        if way is None:
            return None
        source, session, known, stations = way
        if (
            (address != known and address[:2] != known)
            or source.socket != socket
            or source.doubt is not None
            or not MIN_DATAGRAM_SIZE <= len(datagram) <= MAX_DATAGRAM_SIZE
        ):
            return None
        record: tuple[int, bytes] | None
        opened = session.open_one(datagram, PREFIX_SIZE)
        if isinstance(opened, bytes):
            type_, frame = opened[0], opened[1:]
            size = len(frame)
            destination = frame[DESTINATION]
            if (
                type_ == TYPE_MAC
                and (destination in stations or self._is_for_device(destination, stations))
                and _is_plain(frame, size)
                and ((guard := stations[destination]) is None or note_known_use(guard, frame, now))
            ):
                self._inbound.count(source, 1, size, size, is_direct=True)
                me = self._me
                me.out_packets += 1
                me.out_bytes += size
                return frame
            record = type_, frame
        else:
            record = opened
        self._inbound.take((record,), (source, True, address, socket, now, out), trusted=source.confirmed)
        return b""

    def _find_datagram_way(self, datagram: bytes) -> DatagramWay | None:
        """Compute the entry for datagrams with these ids; None if they cannot take the short way."""
        table = self._table
        if datagram[:ID_SIZE] != NULL_ID:
            return None
        source = table.by_id.get(datagram[ID_SIZE:PREFIX_SIZE])
        if source is None or source.session is None or source.address is None:
            return None
        way = DatagramWay(source, source.session, source.address[:2], {})
        table.datagram_ways[datagram[:PREFIX_SIZE]] = way
        return way

    def _is_for_device(self, destination: bytes, stations: dict[bytes, GuardTable | None]) -> bool:
        """Tell whether frames to this MAC go unchanged to the own device, and nowhere else; remember it."""
        table = self._table
        guard = table.guard
        if (
            table.owner_of(destination) is not self._me
            or table.rules.hub
            or table.capture is not None
            or (guard is not None and guard.taken_over)
        ):
            return False
        if len(stations) >= MAX_WAYS:
            stations.clear()
        stations[destination] = guard if guard is not None and destination in guard.macs else None
        return True


def _is_plain(frame: bytes, size: int) -> bool:
    """Tell whether a frame needs neither the guard nor the clamping of the MSS.

    This is true for untagged IP that cannot contain neighbour discovery or a TCP SYN.
    """
    kind = frame[_KIND]
    if kind == _IPV4_PLAIN:
        if size <= _IPV4_PAYLOAD:
            return False
        protocol, flags = frame[23], PLAIN_FLAGS
        if protocol == PROTOCOL_ICMP:
            return True
    elif kind[:2] == IPV6:
        if size <= _IPV6_PAYLOAD:
            return False
        protocol, flags = frame[20], _PLAIN_FLAGS_V6
    else:
        return False
    if protocol == PROTOCOL_TCP:
        return size > LONGEST_SYN or (size > flags and not frame[flags] & TCP_SYN)
    return protocol == PROTOCOL_UDP
