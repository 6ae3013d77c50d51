"""Sealed records that come by TCP for lack of a UDP path to this node or onwards (SPTPS_PACKET, REQ_KEY 21).

tinc: receive_tcppacket_sptps(), send_sptps_data().
"""

from __future__ import annotations

from pytinc.datapath.inbound import Inbound
from pytinc.node.core import Core
from pytinc.node.path_info import PathInfo
from pytinc.node.records import Peer
from pytinc.wire.datagram import ID_SIZE, MAX_PACKET_SIZE, MTU_MAX


class TcpPackets:
    """Hands records that came by TCP to the data path."""

    def __init__(self, core: Core, inbound: Inbound, path_info: PathInfo) -> None:
        self._core = core
        self._inbound = inbound
        self._path_info = path_info

    def received(self, bringer: Peer, data: bytes, now: float) -> None:
        """Handle a record for this node, or pass it on. ``data`` starts with both node ids."""
        core, table = self._core, self._core.table
        if len(data) > MAX_PACKET_SIZE:  # a neighbour can announce up to 32,767 bytes
            table.drops.oversized += 1
            return
        destination = table.by_id.get(data[:ID_SIZE])
        source = table.by_id.get(data[ID_SIZE : 2 * ID_SIZE])
        if destination is None or source is None or source.is_me:
            core.log(3, "debug", f"SPTPS_PACKET with unknown ids from {bringer.name}")
            return
        origin, target = core.of_slot(source), core.of_slot(destination)
        if target is core.me or (target.route is not None and target.route.via == core.me.name):
            self._path_info.udp_info_to(origin, now)
        self._inbound.sptps_packet(data, now, core.output)
        if target is core.me:
            self._path_info.send_mtu_info(core.me, origin, MTU_MAX, now)

    def relay(self, source: Peer, target: Peer, record: bytes, now: float) -> None:
        """Pass on a record that came as REQ_KEY 21."""
        self._inbound.sptps_packet(target.slot.id + source.slot.id + record, now, self._core.output)
