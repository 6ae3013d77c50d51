"""UDP_INFO and MTU_INFO: nodes on the path help both ends to a direct path.

See docs/protocol-meta.md, "UDP_INFO" and "MTU_INFO".

tinc: send_udp_info(), send_mtu_info().
"""

from __future__ import annotations

from typing import Final

from pytinc.node.core import Core
from pytinc.node.meta_output import MetaOutput
from pytinc.node.records import Peer
from pytinc.wire.datagram import MTU_MAX
from pytinc.wire.requests import MtuInfo, UdpInfo

UDP_INFO_VERSION: Final = 5
MTU_INFO_VERSION: Final = 6


class PathInfo:
    """Exchanges facts about UDP paths with other nodes."""

    def __init__(self, core: Core, meta_output: MetaOutput) -> None:
        self._core = core
        self._meta_output = meta_output

    def relayed(self, sender: Peer, source: Peer, target: Peer, *, now: float) -> None:
        """A datagram came through ``sender``: help both ends to a direct path.

        See docs/protocol-data.md, "Receiving"; docs/protocol-meta.md, "UDP_INFO".
        """
        via = None if source.route is None else source.route.via
        target_via = None if target.route is None else target.route.via
        if sender.name != via and target_via == self._core.me.name:
            self.udp_info_to(source, now)
        if target is self._core.me:
            source.last_relay, source.relayed_at = sender.name, now
            source.relayed_packets = source.slot.in_packets
            self.send_mtu_info(self._core.me, sender, MTU_MAX, now)

    def udp_info_to(self, peer: Peer, now: float) -> None:
        """Tell the nodes on the path to ``peer`` the address at which we can be reached."""
        self.send_udp_info(self._core.me, peer, now)

    def send_udp_info(self, source: Peer, target: Peer, now: float) -> None:
        """Send UDP_INFO about ``source`` towards ``target`` if the rules allow.

        See docs/protocol-meta.md, "UDP_INFO".
        """
        core = self._core
        if target.route is None or not target.reachable:
            return
        if target.slot.relay is None:
            return
        relay = core.of_slot(target.slot.relay)
        if relay is core.me or relay.route is None or not relay.reachable:
            return
        if core.settings.tcp_only or source.tcp_only or relay.tcp_only:
            return
        connection = self._meta_output.next_hop(relay)
        if connection is None or connection.version < UDP_INFO_VERSION:
            return
        if source is core.me:
            if relay.is_neighbour or now - relay.udp_info_sent < core.settings.udp_info_interval:
                return
            relay.udp_info_sent = now
        address = source.address
        if source is core.me:
            # As in our edge: with the port of UDP, not of the TCP connection.
            address = None if connection.edge is None else connection.edge.local_address
        if address is not None and address.family:
            self._meta_output.send(connection, UdpInfo(source.name, relay.name, address))

    def send_mtu_info(self, source: Peer, target: Peer, mtu: int, now: float) -> None:
        """Send MTU_INFO about ``source`` towards ``target`` if the rules allow.

        See docs/protocol-meta.md, "MTU_INFO".
        """
        core = self._core
        if target is core.me or not target.reachable:
            return
        if source is core.me:
            if target.is_neighbour or now - target.mtu_info_sent < core.settings.mtu_info_interval:
                return
            target.mtu_info_sent = now
        self.send_mtu_info_line(source, target, self._known_mtu(source, mtu))

    def _known_mtu(self, source: Peer, mtu: int) -> int:
        """Return the MTU towards ``source``, corrected by our own measurements."""
        core = self._core
        if source is core.me or source.route is None or source.slot.relay is None:
            return mtu
        if source.path.is_fixed and source.route.via == core.me.name:
            return source.slot.minmtu
        relay = core.of_slot(source.slot.relay)
        for candidate in (relay, core.peers.get(relay.route.nexthop) if relay.route else None):
            if candidate is not None and candidate.path.is_fixed:
                return min(mtu, candidate.slot.minmtu)
        return mtu

    def send_mtu_info_line(self, source: Peer, target: Peer, mtu: int) -> None:
        """Send MTU_INFO whether the rules allow it or not."""
        connection = self._meta_output.next_hop(target)
        if connection is not None and connection.version >= MTU_INFO_VERSION:
            self._meta_output.send(connection, MtuInfo(source.name, target.name, mtu))

    def provisional_mtu(self, peer: Peer, mtu: int) -> None:
        """Accept an MTU from a relay until our own search is final."""
        if not peer.path.is_fixed:
            peer.slot.mtu = mtu
