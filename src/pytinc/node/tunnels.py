"""Tunnels to other nodes: keeps everything ready that is needed to reach each by UDP (tinc: try_tx()).

A tunnel is a key (`sessions`), an address (`addresses`), a path of known MTU (`probes`) and, as long as there
is no direct one, the help of relays (`path_info`). This module coordinates these parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from pytinc.datapath.output import Output, Probe
from pytinc.datapath.peer_slot import PeerSlot
from pytinc.node.addresses import Addresses
from pytinc.node.core import Core
from pytinc.node.path_info import PathInfo
from pytinc.node.probes import Probes
from pytinc.node.records import RELAY_VERSION, Peer
from pytinc.node.sessions import Sessions
from pytinc.protocol.sptps.handshake import Role
from pytinc.wire.address import Address
from pytinc.wire.capabilities import Capability
from pytinc.wire.datagram import MTU_MAX


class Tunnels:
    """All tunnels of the node."""

    def __init__(
        self,
        core: Core,
        addresses: Addresses,
        sessions: Sessions,
        probes: Probes,
        path_info: PathInfo,
        send_held: Callable[[PeerSlot, float, Output], None],
    ) -> None:
        self._core = core
        self._addresses = addresses
        self._sessions = sessions
        self._probes = probes
        self._path_info = path_info
        self._send_held = send_held
        self._next_timeout = math.inf

    # -- time --

    def next_deadline(self) -> float:
        """Return when `tick` has something to do, or a bit sooner."""
        return min(self._next_timeout, self._sessions.next_deadline())

    def tick(self, now: float) -> None:
        """Renew keys that are due; unconfirm peers that answered no probe for UDPDiscoveryTimeout."""
        self._sessions.tick(now)
        if now < self._next_timeout:
            return
        peers = self._core.peers.values()
        for peer in peers:
            if peer.path.timeout(now):
                self._give_up_udp(peer)
        self._next_timeout = min(peer.path.next_deadline() for peer in peers)

    def _give_up_udp(self, peer: Peer) -> None:
        self._core.log(2, "info", f"No UDP ping response from {peer.name} for too long")
        self._addresses.follow_path(peer)
        if peer.is_neighbour:
            # Our C neighbour may hold an MTU of 0 after a search without answers; this resets it
            # (docs/protocol-data.md, "Path MTU search").
            self._path_info.send_mtu_info_line(self._core.me, peer, MTU_MAX)

    # -- upkeep --

    def upkeep(self, peer: Peer, now: float, *, search_mtu: bool) -> None:
        """Maintain what is needed to reach ``peer``: key, UDP path, MTU, relays."""
        core = self._core
        if not peer.reachable or peer is core.me or peer.route is None:
            return
        if peer.is_neighbour and peer.slot.tcp_only:
            return
        needs_key = peer.waiting_for_key or not peer.valid_key
        if needs_key:
            self._sessions.request(peer, now)
        elif now >= peer.fast_until or not core.settings.fast_tag:
            self._probes.use_forms(peer, Capability.NONE)
        self._sessions.renew_worn_key(peer, now)
        if peer.slot.relay is not None and peer.slot.relay is not peer.slot:
            relay = core.of_slot(peer.slot.relay)
            if relay.version >= RELAY_VERSION:
                self.upkeep(relay, now, search_mtu=search_mtu)
            peer.slot.upkeep_due = now if needs_key else relay.slot.upkeep_due
            return
        if peer.valid_key:
            self._probes.send_due(peer, now, search_mtu=search_mtu)
        peer.slot.upkeep_due = now if needs_key else peer.path.next_upkeep(now)
        nexthop = core.peers[peer.route.nexthop]
        if not peer.slot.confirmed and nexthop is not peer and nexthop.version >= RELAY_VERSION:
            self.upkeep(nexthop, now, search_mtu=search_mtu)
            # Until UDP to the peer works its packets go by the next hop, whose search must not wait.
            peer.slot.upkeep_due = min(peer.slot.upkeep_due, nexthop.slot.upkeep_due)

    # -- what comes in --

    def session_request(self, peer: Peer, record: bytes, now: float) -> None:
        """A node starts a session with us (REQ_KEY 15)."""
        self._path_info.udp_info_to(peer, now)
        if self._sessions.answer(peer, record, now):
            self._path_info.send_mtu_info(self._core.me, peer, MTU_MAX, now)

    def handshake(
        self, peer: Peer, record: bytes, compression: int, reflexive: Address | None, now: float
    ) -> None:
        """A handshake record came over the mesh (ANS_KEY).

        ``reflexive`` is the peer's UDP address as a relay on the path sees it.
        """
        before = peer.slot.session
        if not self._sessions.receive(peer, record, compression, now):
            return
        session = peer.slot.session
        if session is not None and session is not before and session.role is Role.INITIATOR:
            # tinc waits for the next packet; a path that is proved now will not delay that one.
            # The responder's key arrives only after its last message, so it waits for our probe.
            self.upkeep(peer, now, search_mtu=True)
        is_news = reflexive is not None and reflexive.is_usable and reflexive != peer.address
        if is_news and not peer.slot.confirmed:
            self._addresses.set_address(peer, reflexive)
        self._path_info.send_mtu_info(self._core.me, peer, MTU_MAX, now)
        self._send_held(peer.slot, now, self._core.output)

    def probe_received(self, peer: Peer, probe: Probe, now: float, *, timed: bool) -> None:
        """A probe came directly from its sender; ``timed`` as in `Probes.receive`."""
        heard = self._probes.receive(peer, probe, now, timed=timed)
        self._next_timeout = min(self._next_timeout, peer.path.next_deadline())
        if heard.is_searching:
            self.upkeep(peer, now, search_mtu=True)
        if heard.is_confirmed:
            self._probes.confirm(peer)
            # Go on with the path MTU at once; tinc waits for the next packet.
            self.upkeep(peer, now, search_mtu=True)
        self._core.table.note_minmtu(peer.slot)

    # -- the end --

    def forget_peer(self, peer: Peer) -> None:
        """Drop everything about a node that was purged."""
        self._sessions.forget(peer)
        self._addresses.set_address(peer, None)
