"""UDP probes prove that a path works, find its MTU, and announce features of the node.

See docs/protocol-data.md, "Tunnel upkeep".

`pytinc.protocol.pmtu` interprets the answers; this module connects it with addresses, sessions and the table.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from pytinc.datapath.output import Probe
from pytinc.node.actions import SendDatagram
from pytinc.node.address_caches import AddressCaches
from pytinc.node.addresses import Addresses
from pytinc.node.core import Core
from pytinc.node.records import NEVER, Peer
from pytinc.node.topology import Topology
from pytinc.protocol.sptps.handshake import State
from pytinc.wire.address import Address, SockAddr
from pytinc.wire.bits import OptionBits
from pytinc.wire.capabilities import Capability
from pytinc.wire.datagram import DATAGRAM_OVERHEAD, MTU_MAX, NULL_ID, TYPE_PROBE
from pytinc.wire.records import SptpsCipher

ROAMING_INTERVAL: Final = 1.0
"""Seconds between two probes of an address that a peer may have moved to."""
FAST_TAG_PROBES: Final = 3
"""After this many requests in a row without an announcement of the fast tag, a peer gets tinc's tag."""
INCOMPLETE_INTERVAL: Final = 0.2
"""Seconds between two requests to a peer to send no super-frames; a request may be lost."""


class Heard(NamedTuple):
    """What a received probe requires."""

    is_searching: bool
    """It was a request, and UDP to its sender is not proved yet."""
    is_confirmed: bool
    """It was the first answer: UDP with its sender works."""


class Probes:
    """Sends probes, and takes in the probes of others."""

    def __init__(
        self,
        core: Core,
        topology: Topology,
        addresses: Addresses,
        caches: AddressCaches,
    ) -> None:
        self._core = core
        self._topology = topology
        self._addresses = addresses
        self._caches = caches

    # -- sending --

    def send_due(self, peer: Peer, now: float, *, search_mtu: bool) -> None:
        """Send the probes that are due to a node that we have a key with."""
        path = peer.path
        for probe in path.upkeep(
            now,
            search_mtu=search_mtu,
            pmtu_option=bool(peer.options & OptionBits.PMTU_DISCOVERY),
            version=peer.version,
            random_bytes=self._core.random_bytes,
            initial_maximum=lambda: self._initial_maximum(peer),
            has_local_edge=self._addresses.has_local_address(peer),
        ):
            self._send(peer, probe.payload, local=probe.local)
        self._core.table.note_minmtu(peer.slot)

    def _send(self, peer: Peer, payload: bytes, *, local: bool = False) -> None:
        target = self._addresses.local_address(peer) if local else self._addresses.remote_address(peer)
        if target is not None:
            self._send_to(peer, payload, *target)

    def _send_to(self, peer: Peer, payload: bytes, socket: int, address: SockAddr) -> None:
        session = peer.slot.session
        if session is None or not session.can_send:
            return
        announced = peer.path.capabilities
        if Capability.FAST_TAG in announced:
            session.accept_fast()  # the probe announces that we accept the fast tag
        if Capability.SUPER_FRAMES in announced:
            session.accept_super_frames()
        if Capability.AES_SUPER_FRAMES in announced:
            session.accept_aes()
        datagram = NULL_ID + self._core.me.slot.id + session.seal(TYPE_PROBE, payload)
        self._core.act(SendDatagram(socket, address, datagram, peer.name))

    def send_guard_probe(self, peer: Peer, nonce: bytes) -> None:
        """Send a probe for the guard (`pytinc.vip`): any node's answer contains ``nonce``."""
        if peer.slot.confirmed and peer.slot.address is not None:
            request = peer.path.make_request(lambda size: nonce)
            self._send_to(peer, request, peer.slot.socket, peer.slot.address)

    def send_vip_record(self, peer: Peer, payload: bytes) -> None:
        """Send a record of virtual IPs (member or assignment) to a pytinc node whose address is proved."""
        if peer.slot.confirmed and peer.slot.address is not None:
            self._send_to(peer, payload, peer.slot.socket, peer.slot.address)

    def datagram_too_big(self, name: str, size: int, now: float) -> None:
        """The kernel refused a datagram: the path MTU is smaller (tinc: reduce_mtu())."""
        peer = self._core.peers.get(name)
        if peer is None:
            return
        before = peer.path.maxmtu
        peer.path.too_big(size - DATAGRAM_OVERHEAD, now)
        self._core.table.note_minmtu(peer.slot)
        if peer.valid_key and peer.path.maxmtu < before:
            self.send_due(peer, now, search_mtu=True)

    def _initial_maximum(self, peer: Peer) -> int | None:
        """Return the longest payload that the kernel's own path MTU allows; None if the kernel knows none."""
        target = self._addresses.remote_address(peer)
        mtu = None if target is None else self._core.path_mtu(target[1])
        if target is None or mtu is None:
            return None
        ip_header = 40 if len(target[1]) == 4 else 20
        return min(mtu - ip_header - 8 - DATAGRAM_OVERHEAD, MTU_MAX)

    # -- receiving --

    def receive(self, peer: Peer, probe: Probe, now: float, *, timed: bool) -> Heard:
        """Take in a probe that came directly from its sender, and answer a request.

        ``timed``: if it is an answer, its arrival time gives the round trip time of the path.
        """
        path = peer.path
        result = path.on_probe(probe.payload, now, peer.version, timed=timed)
        if result.capabilities is not None:
            self._learn_capabilities(peer, result.capabilities, now)
        if result.reply is not None:
            self._send_to(peer, result.reply, probe.socket, probe.address)
        return Heard(result.reply is not None and not peer.slot.confirmed, result.confirmed)

    def withhold_super_frames(self, peer: Peer, now: float) -> None:
        """Pieces of super-frames were lost on the way: ask for none for a while (docs/protocol.md)."""
        if now < peer.incomplete_told + INCOMPLETE_INTERVAL:
            return
        peer.incomplete_told = now
        peer.path.withhold_super_frames(now)
        self._send(peer, peer.path.make_request(self._core.random_bytes))

    def moved(self, peer: Peer, address: Address, now: float) -> None:
        """Authentic data came from a new address: probe it first if the old one is proved, else take it."""
        if address == peer.address:
            return  # the peer has just answered from there
        if not peer.slot.confirmed:
            self._addresses.set_address(peer, address)
            return
        if now - peer.roaming_sent < ROAMING_INTERVAL:
            return
        target = self._addresses.target(address)
        if target is not None:
            peer.roaming, peer.roaming_sent = address, now
            self._send_to(peer, peer.path.make_request(self._core.random_bytes), *target)

    def _learn_capabilities(self, peer: Peer, capabilities: Capability, now: float) -> None:
        """Note which features a peer announces under the present key (docs/protocol.md)."""
        peer.keeps_session = bool(capabilities)
        peer.is_guard = Capability.GUARD in capabilities
        peer.takes_records = Capability.MEMBER_RECORDS in capabilities
        session = peer.slot.session
        if session is None or session.state is State.REKEY_ACK:
            return  # we seal with the new key already, and the probe came with the old one
        settings = peer.path.settings
        interval = settings.keepalive_interval if settings.udp_discovery else settings.ping_interval
        peer.fast_until = now + FAST_TAG_PROBES * interval
        self.use_forms(peer, capabilities & settings.capabilities)

    def use_forms(self, peer: Peer, allowed: Capability) -> None:
        """Use these formats, besides tinc's own, for data to a peer."""
        session = peer.slot.session
        if session is None:
            return
        # With another cipher than tinc's there is only one tag.
        fast = Capability.FAST_TAG in allowed and session.cipher is SptpsCipher.CHACHA20_POLY1305
        super_frames = Capability.SUPER_FRAMES in allowed
        if session.peer_accepts_fast is not fast:
            session.peer_accepts_fast = fast
            self._core.log(4, "debug", f"Data for {peer.name} gets the {'fast' if fast else 'usual'} tag")
        session.peer_accepts_aes = Capability.AES_SUPER_FRAMES in allowed
        if session.peer_accepts_super_frames is not super_frames:
            session.peer_accepts_super_frames = super_frames
            how = "whole" if super_frames else "cut"
            self._core.log(4, "debug", f"Super-frames for {peer.name} are sent {how}")

    def confirm(self, peer: Peer) -> None:
        """UDP with a node works: its address is proved, and worth remembering.

        Forget which relay brought the node's frames. The first frames of a node come through a relay, because
        they waited for a key before a direct path was proved, so they do not show the present path.
        """
        peer.relayed_at = NEVER
        self._core.log(2, "info", f"UDP address of {peer.name} set to {peer.address}")
        self._addresses.follow_path(peer)
        edge = self._topology.graph.edge(self._core.me.name, peer.name)
        if peer.is_neighbour and edge is not None and edge.address.is_usable:
            self._caches.remember(peer, edge.address)
        if peer.connection is not None and peer.connection.outgoing is not None:
            peer.connection.outgoing.restart_addresses()
