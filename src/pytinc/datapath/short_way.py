"""The short way of a lone frame or datagram through a switch.

People wait for the answer to a question: one frame, alone in its batch. `Switch`, `Delivery`, `Outbound` and
`Inbound` look at whole batches and at everything that may be unusual, which costs more than to seal a frame.
`ShortWay` takes a frame or datagram if a few tests tell that nothing is unusual: the owner of its destination
is known, there is a key and a proved path, and no filter has to look at it. It uses the same session, writes
the same counters and notes the same uses. Whatever fails a test goes the batch way, from where it stands.

HOT PATH: no logging, no object for a frame. It must equal `pytinc.datapath.reference`.
"""

from __future__ import annotations

from typing import Final

from pytinc.datapath.clamp import LONGEST_SYN, PLAIN_FLAGS
from pytinc.datapath.guard import note_uses
from pytinc.datapath.inbound import Inbound
from pytinc.datapath.output import Output
from pytinc.datapath.peer_slot import PeerSlot
from pytinc.datapath.table import ForwardingTable
from pytinc.wire.address import SockAddr
from pytinc.wire.datagram import (
    ID_SIZE,
    MAX_DATAGRAM_SIZE,
    MIN_DATAGRAM_SIZE,
    NULL_ID,
    PREFIX_SIZE,
    TYPE_MAC,
)
from pytinc.wire.ethernet import DESTINATION, ETHERTYPE, HEADER_SIZE, IPV4, IPV6, SOURCE
from pytinc.wire.ip import (
    IPV4_HEADER_SIZE,
    IPV6_HEADER_SIZE,
    PLAIN_IPV4,
    PROTOCOL_ICMP,
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    TCP_SYN,
)

_IPV6_PAYLOAD: Final = HEADER_SIZE + IPV6_HEADER_SIZE
_PLAIN_FLAGS_V6: Final = _IPV6_PAYLOAD + 13
"""Where a TCP packet has its flags if it has neither VLAN tag nor extension headers."""


class ShortWay:
    """Tries the short way. Its methods tell whether they took what came; if not, nothing is done."""

    def __init__(self, table: ForwardingTable, inbound: Inbound) -> None:
        self._table = table
        self._inbound = inbound

    def frame(self, frame: bytes, now: float, out: Output) -> bool:
        """Take a frame of the device to the node that owns its destination."""
        table = self._table
        destination, source, size = frame[DESTINATION], frame[SOURCE], len(frame)
        owner = table.owner_of(destination)
        if owner is None or owner.is_me or source not in table.own_macs:
            return False
        rules, session, relay, paths = table.rules, owner.session, owner.relay, owner.paths
        if (
            session is None
            or relay is None
            or not paths
            or not owner.reachable
            or owner.upkeep_due <= now
            or owner.compression
            or rules.hub
            or (rules.direct_only and relay is not owner)
            or table.capture is not None
            or table.flows is not None
            or size > relay.mtu
            or size > paths[0].limit
            or (size > owner.minmtu and owner.connection is not None)
            or not _is_plain(frame, size)
        ):
            return False
        path = paths[0]
        datagrams = session.seal_batch(path.prefix, TYPE_MAC, (frame,))
        if not datagrams:
            return False  # the key is used up
        table.own_macs[source] = now
        me, guard = table.me, table.guard
        me.in_packets += 1
        me.in_bytes += size
        owner.out_packets += 1
        owner.out_bytes += size
        if guard is not None and destination in guard.macs:
            note_uses(guard, [frame], now, out)
        out.queue(path, datagrams)
        return True

    def datagram(self, datagram: bytes, address: SockAddr, socket: int, now: float, out: Output) -> bool:
        """Take a datagram that its source sent straight to us from where it is known to be."""
        if not MIN_DATAGRAM_SIZE <= len(datagram) <= MAX_DATAGRAM_SIZE or datagram[:ID_SIZE] != NULL_ID:
            return False
        table = self._table
        source = table.by_id.get(datagram[ID_SIZE:PREFIX_SIZE])
        if source is None:
            return False
        session, known = source.session, source.address
        if (
            session is None
            or known is None
            or known[:2] != address[:2]
            or source.socket != socket
            or source.doubt is not None
        ):
            return False
        (record,) = records = session.open_batch((datagram,), PREFIX_SIZE)
        if record is not None and record[0] == TYPE_MAC:
            frame = record[1]
            size = len(frame)
            if self._is_for_device(frame, size):
                self._to_device(source, frame, size, now, out)
                return True
        self._inbound.take(records, (source, True, address, socket, now, out), trusted=source.confirmed)
        return True

    def _is_for_device(self, frame: bytes, size: int) -> bool:
        """Tell whether a frame of a peer goes to the own device as it is, and nowhere else."""
        table = self._table
        guard = table.guard
        return (
            table.owner_of(frame[DESTINATION]) is table.me
            and not table.rules.hub
            and table.capture is None
            and (guard is None or not guard.taken_over)
            and _is_plain(frame, size)
        )

    def _to_device(self, source: PeerSlot, frame: bytes, size: int, now: float, out: Output) -> None:
        table = self._table
        me, guard = table.me, table.guard
        self._inbound.count(source, 1, size, size, is_direct=True)
        if guard is not None and frame[DESTINATION] in guard.macs:
            note_uses(guard, [frame], now, out)
        me.out_packets += 1
        me.out_bytes += size
        out.frames.append(frame)


def _is_plain(frame: bytes, size: int) -> bool:
    """Tell whether neither the guard nor the clamping of MSS has to look at a frame.

    That is untagged IP that is neither neighbour discovery nor a TCP SYN, nor hides one.
    """
    kind = frame[ETHERTYPE]
    if kind == IPV4:
        if size <= HEADER_SIZE + IPV4_HEADER_SIZE or frame[14] != PLAIN_IPV4:
            return False
        protocol, flags = frame[23], PLAIN_FLAGS
        if protocol == PROTOCOL_ICMP:
            return True
    elif kind == IPV6:
        if size <= _IPV6_PAYLOAD:
            return False
        protocol, flags = frame[20], _PLAIN_FLAGS_V6
    else:
        return False
    if protocol == PROTOCOL_TCP:
        return size > LONGEST_SYN or (size > flags and not frame[flags] & TCP_SYN)
    return protocol == PROTOCOL_UDP
