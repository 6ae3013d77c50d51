"""Sends the flows of our own stations to the members of a virtual address that share them.

A station sends everything for the address to the MAC of one member, the one that its neighbour table names.
Here the frame gets the MAC of the member that has its flow (`pytinc.datapath.flow_table`), before the switch
looks up its owner. A run of one flow costs one look-up; plain TCP and UDP packets need not be parsed further
(`_plain_flow`).

HOT PATH: no logging, no exception, no object for a frame of a known flow. It must equal
`pytinc.datapath.reference`.
"""

from __future__ import annotations

import math
from struct import Struct
from typing import TYPE_CHECKING, Final

from pytinc.datapath.flow_table import FlowTable
from pytinc.wire import flow
from pytinc.wire.ethernet import DESTINATION, ETHERTYPE, IPV6
from pytinc.wire.ip import DESTINATIONS, PROTOCOL_TCP, PROTOCOL_UDP, TCP_NOT_IN_THE_MIDDLE

if TYPE_CHECKING:
    from pytinc.datapath.runs import FrameRun

_PLAIN_V4: Final = b"\x08\x00\x45"
"""EtherType, and the first byte of a header without options."""
_WHOLE: Final = {
    _PLAIN_V4: frozenset((b"\0\0", b"\x40\0")),
    IPV6: frozenset(bytes((first,)) for first in range(0x60, 0x70)),
}
"""Further header fields of a plain packet: in IPv4 the flags and offset of an unfragmented one, in IPv6 the
version."""
_V4: Final = Struct("!6s6x3s5x2sxc2x12s9xB")
_V6: Final = Struct("!6s6x2sc5xcx36s9xB")
"""The offsets in a plain frame of destination MAC, kind, the fields of `_WHOLE`, protocol, IP addresses and
ports, and TCP flags."""
_TCP: Final = bytes((PROTOCOL_TCP,))
_UDP: Final = bytes((PROTOCOL_UDP,))

_Fields = tuple[bytes, bytes, bytes, bytes, bytes, int]


Group = tuple[bytes, list[bytes]]
"""An Ethernet header, and the frames that share it."""


def redirect(table: FlowTable, groups: list[Group], now: float) -> list[Group]:
    """Return frames of our stations in groups; frames of flows get the MACs of their members."""
    redirected: list[Group] = []
    for header, frames in groups:
        if header[DESTINATION] in table.macs:
            redirected += _redirect_group(table, header, frames, now)
        else:
            redirected.append((header, frames))
    return redirected


def _redirect_group(table: FlowTable, header: bytes, frames: list[bytes], now: float) -> list[Group]:
    to = header[DESTINATION]
    groups: list[Group] = []
    last: _Fields | None = None
    group: list[bytes] = []
    mac = present = b""
    for frame in frames:
        fields = _fields(frame)
        if fields is None or fields != last:
            name = None if fields is None else _plain_flow(fields)
            mac = _member(table, to, frame, name, now)
            # The result for a plain frame holds for all following frames with the same fields.
            last = None if name is None else fields
        if mac != present:
            present, group = mac, []
            groups.append((mac + header[6:], group))
        group.append(frame if mac == to else mac + frame[6:])
    return groups


def _member(table: FlowTable, to: bytes, frame: bytes, name: bytes | None, now: float) -> bytes:
    """Return the MAC that a frame gets; ``to``: its own, ``name``: of its flow if it is plain."""
    mac = None if name is None else table.known(name, now)
    if mac is None:
        where = DESTINATIONS.get(frame[ETHERTYPE])
        if where is None or frame[where] not in table.addresses:
            return to
        packet = flow.parse(frame)
        mac = None if packet is None else table.member(packet, now)
        if mac is None:
            return to
    if table.macs[to] != math.inf:
        table.note_use(to, now)
    return mac


def redirect_run(table: FlowTable, run: FrameRun, now: float) -> bool:
    """Give all frames of a run the MAC of their member, if they have one.

    False: they do not all belong to one known flow. Then nothing is changed, and each frame must be examined.
    """
    head = run.beginning(_V6.size)
    to = head[DESTINATION]
    until = table.macs.get(to)
    if until is None:
        return True
    fields = _fields(head)
    name = None if fields is None else _plain_flow(fields)
    mac = None if name is None else table.known(name, now)
    if mac is None:
        where = DESTINATIONS.get(head[ETHERTYPE])
        return where is None or (head[where] not in table.addresses and run.all_have_the_first(where))
    if not (run.is_data or run.is_one_flow()):
        return False
    if until < math.inf:
        table.note_use(to, now)
    if mac != to:
        run.set_destination(mac)
    return True


def _fields(frame: bytes) -> _Fields | None:
    """Return the key of a plain frame's flow, from the frame's first bytes; None: the frame is not plain."""
    size = len(frame)
    if size >= _V4.size and frame[12:15] == _PLAIN_V4:
        return _V4.unpack_from(frame)
    return _V6.unpack_from(frame) if size >= _V6.size and frame[ETHERTYPE] == IPV6 else None


def _plain_flow(fields: _Fields) -> bytes | None:
    """Return the key of the flow that a plain frame belongs to.

    Plain frames are UDP, or TCP in the middle of a connection, neither with fragments nor with options of IP.
    `pytinc.wire.flow.parse` says the same about it.
    """
    _, kind, whole, protocol, ends, flags = fields
    if whole not in _WHOLE[kind]:
        return None
    if protocol == _UDP or (protocol == _TCP and not flags & TCP_NOT_IN_THE_MIDDLE):
        return protocol + ends
    return None
