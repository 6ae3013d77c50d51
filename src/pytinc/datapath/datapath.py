"""The data path of one node: its interface for the node, tests and benchmarks.

    device ──> frames_from_device ──> Switch or Router ──> Delivery ──> Outbound ──> output.datagrams
                                              ^               │
    UDP, TCP ──> Inbound ──── frames ─────────┘               └─────> output.frames
                    └──────── datagrams for others ──> Outbound.relay ──> output.datagrams

A frame or datagram that arrives alone goes through `ShortWay` instead, if nothing about it is unusual.

All parts share one `ForwardingTable`, which the node writes; the parts write only counters and their own
notes in it (docs/architecture.md, "The data's way"). All results are appended to an `Output`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytinc.datapath.delivery import Delivery
from pytinc.datapath.inbound import Forwarder, Inbound
from pytinc.datapath.outbound import Outbound
from pytinc.datapath.output import Output
from pytinc.datapath.router import Router
from pytinc.datapath.short_way import ShortWay
from pytinc.datapath.switch import Switch
from pytinc.datapath.table import ForwardingTable
from pytinc.wire.address import SockAddr
from pytinc.wire.ethernet import DESTINATION

if TYPE_CHECKING:
    from pytinc.datapath.runs import FrameRun


class DataPath:
    """Both directions of one node. It is a switch or a router for its whole life."""

    def __init__(self, table: ForwardingTable) -> None:
        self._table = table
        outbound = Outbound(table)
        self.send_held = outbound.send_held
        """Sends the frames that have waited for the key of a node."""
        self._delivery = Delivery(table, outbound)
        self.forwarder: Forwarder = (Router if table.rules.router else Switch)(table, self._delivery)
        self.inbound = Inbound(table, self.forwarder, outbound)
        self.short_way = None if table.rules.router else ShortWay(table, self.inbound)
        """Takes frames and datagrams that arrive alone; None in a router."""

    def frames_from_device(
        self, frames: Sequence[bytes | FrameRun], now: float, out: Output, *, refused: bool = False
    ) -> None:
        """Handle the frames that one wake-up read from the device.

        ``refused``: it is a single frame, which `short_way` has refused.
        """
        if len(frames) == 1 and not refused and self.short_way is not None:
            (frame,) = frames
            if isinstance(frame, bytes) and (sent := self.short_way.frame(frame, now)) is not None:
                path, datagram = sent
                out.queue(path, [datagram])
                return
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
            self.forwarder.forward_run(me, frame, now, out)
        if single:
            self._single_from_device(single, now, out)

    def _single_from_device(self, frames: list[bytes], now: float, out: Output) -> None:
        me = self._table.me
        me.in_packets += len(frames)
        me.in_bytes += sum(map(len, frames))
        self.forwarder.forward(me, frames, now, out)

    def datagrams(
        self,
        datagrams: Sequence[bytes],
        addresses: Sequence[SockAddr],
        socket: int,
        now: float,
        out: Output,
        *,
        refused: bool = False,
    ) -> None:
        """Handle the datagrams that one wake-up read from the UDP socket with index ``socket``.

        ``refused`` is as for frames.
        """
        if len(datagrams) == 1 and not refused and self.short_way is not None:
            frame = self.short_way.datagram(datagrams[0], addresses[0], socket, now, out)
            if frame:
                out.frames.append(frame)
            if frame is not None:
                return
        self.inbound.datagrams(datagrams, addresses, socket, now, out)

    def inject(self, frame: bytes, now: float, out: Output) -> None:
        """Send a frame of the guard to the owner of its destination; a broadcast also to our device."""
        me, owner = self._table.me, self._table.owner_of(frame[DESTINATION])
        if owner is None:
            self._delivery.to_device([frame], out)
            self._delivery.to_all(me, [frame], [], now, out)
        elif owner is me:
            self._delivery.to_device([frame], out)
        else:
            self._delivery.to_owner(me, owner, [frame], now, out)
