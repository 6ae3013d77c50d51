"""Tunnels to other nodes: keys, UDP addresses, path MTU, and what the data path reports.

Every pair of nodes that exchanges packets has one datagram session. Its handshake travels along the
meta connections (REQ_KEY, ANS_KEY); its records by UDP where probes proved a path, else by TCP
(meta.md 6, dataplane.md 2-4; tinc: protocol_key.c, net_packet.c).
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

from pytinc.datapath.compression import usable
from pytinc.datapath.output import Probe, Upcalls
from pytinc.errors import DecodeError
from pytinc.node.actions import AppendPublicKey, SendDatagram
from pytinc.node.connections import Connection
from pytinc.node.peer import NEVER, RELAY_VERSION, Peer
from pytinc.protocol.sptps.datagram import DatagramSession
from pytinc.protocol.sptps.handshake import Role, State
from pytinc.wire import b64
from pytinc.wire.address import Address, SockAddr, from_sockaddr
from pytinc.wire.capabilities import Capability
from pytinc.wire.datagram import DATAGRAM_OVERHEAD, ID_SIZE, MAX_PACKET_SIZE, MTU_MAX, NULL_ID, TYPE_PROBE
from pytinc.wire.requests import MAX_LINE_LENGTH, AnsKey, MtuInfo, Number, OptionBits, ReqKey, UdpInfo

if TYPE_CHECKING:
    from pytinc.crypto.keys import PublicKey
    from pytinc.node.node import Node

SESSION_RETRY: Final = 10.0
"""Seconds after which an unanswered key request is repeated, and at least between two restarts."""
FIRST_RETRIES: Final = (2.0, 4.0, 8.0)
"""Seconds to wait after the first requests: one that met a route not ready yet costs no long gap."""
COLLISION_WINDOW: Final = 2.0
"""Seconds within which a REQ_KEY from a node counts as crossing with ours (meta.md 6.2)."""
KEY_ASK_INTERVAL: Final = 1.0
"""Seconds between two requests for a node's public key."""
KEY_ANSWER_WINDOW: Final = 30.0
"""Seconds for which an answer to such a request is awaited; an unasked key is not taken."""
SILENCE: Final = 3.0
"""Seconds of nothing but bad records from a confirmed address before the session is restarted."""
ROAMING_INTERVAL: Final = 1.0
"""Seconds between two probes of an address that a peer may have moved to."""
REKEY_SPACING: Final = 0.2
"""Seconds from one peer's new key to the next one's when keys expire: all at once they would fill the meta
connections of a large mesh, and stop the traffic of slow nodes."""
REKEY_SHARE: Final = 0.25
"""The last one is due after at most so much of KeyExpire."""
EDGE_ADDRESS_TURN: Final = 3
"""Every third packet to an unproved node goes to its own address, the others to those of its edges."""
FAST_TAG_PROBES: Final = 3
"""So many of our requests in a row without its word that it takes the fast tag, and a peer gets tinc's."""
INCOMPLETE_INTERVAL: Final = 0.2
"""Seconds between two requests to a peer to send no super-frames: one may be lost as well."""
PROBE_NONCE: Final = slice(14, 18)
"""Random bytes of a request that come back in the answer."""
UDP_INFO_VERSION: Final = 5
MTU_INFO_VERSION: Final = 6
SPTPS_PACKET_VERSION: Final = 7
NO_LEGACY: Final = -1


def udp_label(initiator: str, responder: str) -> bytes:
    """Return the SPTPS label of a node session; its NUL byte is part of what is signed."""
    return b"tinc UDP key expansion %s %s\0" % (initiator.encode(), responder.encode())


class Tunnels:
    """All tunnels of the node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._unproved_sends = 0
        self._next_timeout = math.inf
        self._rekeys: deque[str] = deque()
        """Who is to get a new key, in this order."""
        self._next_rekey = math.inf
        self._rekey_step = 0.0

    # -- time --

    def next_deadline(self) -> float:
        """Return when `tick` has something to do, or a bit sooner."""
        return min(self._next_timeout, self._next_rekey)

    def tick(self, now: float) -> None:
        """Unconfirm peers whose probes were not answered for UDPDiscoveryTimeout; renew keys that are due."""
        if now >= self._next_rekey:
            self._rekey_due(now)
        if now < self._next_timeout:
            return
        for peer in self._node.peers.values():
            if peer.path.timeout(now):
                self._give_up_udp(peer)
        self._next_timeout = min(peer.path.next_deadline() for peer in self._node.peers.values())

    def _give_up_udp(self, peer: Peer) -> None:
        self._node.log(2, "info", f"No UDP ping response from {peer.name} for too long")
        self._unconfirm(peer)
        if peer.is_neighbour:
            # Our C neighbour may hold an MTU of 0 after a search without answers; this resets it
            # (dataplane.md 13.12).
            self._send_mtu_info_line(self._node.me, peer, MTU_MAX)

    # -- upkeep --

    def upkeep(self, peer: Peer, now: float, *, search_mtu: bool) -> None:
        """Keep what is needed to reach ``peer`` in order: key, UDP path, MTU, relays (tinc: try_tx())."""
        node = self._node
        if not peer.reachable or peer is node.me or peer.route is None:
            return
        if peer.is_neighbour and peer.slot.tcp_only:
            return
        if not peer.valid_key:
            self._request_key(peer, now)
        elif now >= peer.fast_until or not node.settings.fast_tag:
            self._use_forms(peer, Capability.NONE)
        if peer.slot.relay is not None and peer.slot.relay is not peer.slot:
            relay = node.of_slot(peer.slot.relay)
            if relay.version >= RELAY_VERSION:
                self.upkeep(relay, now, search_mtu=search_mtu)
            peer.slot.upkeep_due = relay.slot.upkeep_due if peer.valid_key else now
            return
        if peer.valid_key:
            self._probe(peer, now, search_mtu=search_mtu)
            self._renew_worn_key(peer, now)
        peer.slot.upkeep_due = peer.path.next_upkeep(now) if peer.valid_key else now
        nexthop = node.peers[peer.route.nexthop]
        if not peer.slot.confirmed and nexthop is not peer and nexthop.version >= RELAY_VERSION:
            self.upkeep(nexthop, now, search_mtu=search_mtu)
            # Until UDP to the peer works its packets go by the next hop, whose search must not wait.
            peer.slot.upkeep_due = min(peer.slot.upkeep_due, nexthop.slot.upkeep_due)

    def _probe(self, peer: Peer, now: float, *, search_mtu: bool) -> None:
        path = peer.path
        for probe in path.upkeep(
            now,
            search_mtu=search_mtu,
            pmtu_option=bool(peer.options & OptionBits.PMTU_DISCOVERY),
            version=peer.version,
            random_bytes=self._node.random_bytes,
            initial_maximum=lambda: self._initial_maximum(peer),
            has_local_edge=self._local_address(peer) is not None,
        ):
            self._send_probe(peer, probe.payload, local=probe.local)
        self._node.table.note_minmtu(peer.slot)

    def _send_probe(self, peer: Peer, payload: bytes, *, local: bool = False) -> None:
        target = self._local_address(peer) if local else self._remote_address(peer)
        if target is not None:
            self._send_probe_to(peer, payload, *target)

    def _send_probe_to(self, peer: Peer, payload: bytes, socket: int, address: SockAddr) -> None:
        session = peer.slot.session
        if session is None or not session.can_send:
            return
        announced = peer.path.capabilities
        if Capability.FAST_TAG in announced:
            session.accept_fast()  # the probe says that we do
        if Capability.SUPER_FRAMES in announced:
            session.accept_super_frames()
        datagram = NULL_ID + self._node.me.slot.id + session.seal(TYPE_PROBE, payload)
        self._node.act(SendDatagram(socket, address, datagram, peer.name))

    def send_guard_probe(self, peer: Peer, nonce: bytes) -> None:
        """Send a probe for the guard (`pytinc.vip`): its answer brings ``nonce`` back, whoever answers."""
        if peer.slot.confirmed and peer.slot.address is not None:
            request = peer.path.make_request(lambda size: nonce)
            self._send_probe_to(peer, request, peer.slot.socket, peer.slot.address)

    def datagram_too_big(self, name: str, size: int, now: float) -> None:
        """The kernel refused a datagram: the path MTU is smaller (tinc: reduce_mtu())."""
        peer = self._node.peers.get(name)
        if peer is None:
            return
        before = peer.path.maxmtu
        peer.path.too_big(size - DATAGRAM_OVERHEAD, now)
        self._node.table.note_minmtu(peer.slot)
        if peer.valid_key and peer.path.maxmtu < before:
            self._probe(peer, now, search_mtu=True)

    def _initial_maximum(self, peer: Peer) -> int | None:
        """Return the longest payload the kernel's own path MTU allows, None if it does not know."""
        target = self._remote_address(peer)
        mtu = None if target is None else self._node.path_mtu(target[1])
        if target is None or mtu is None:
            return None
        ip_header = 40 if len(target[1]) == 4 else 20
        return min(mtu - ip_header - 8 - DATAGRAM_OVERHEAD, MTU_MAX)

    # -- addresses --

    def set_address(self, peer: Peer, address: Address | None) -> None:
        """Set the UDP address of a node; nothing about the path is proved then (tinc: update_node_udp())."""
        node = self._node
        if peer is node.me:
            return
        peer.address = address
        peer.roaming = None
        peer.path.reset_path()
        usable = address is not None and address.is_usable and address.host != ""
        socket = self._socket_for(address.family) if address is not None and usable else None
        if address is None or not usable or socket is None:
            node.table.set_address(peer.slot, None, 0)
        else:
            node.table.set_address(peer.slot, address.sockaddr(), socket)
        # No path uses an address of which nothing is proved, so this works out paths anew only if one was.
        node.table.note_minmtu(peer.slot)

    def _unconfirm(self, peer: Peer) -> None:
        self._node.table.note_confirmed(peer.slot)
        self._node.table.note_minmtu(peer.slot)

    def _socket_for(self, family: int) -> int | None:
        for index, (socket_family, _) in enumerate(self._node.sockets):
            if socket_family == family:
                return index
        return None

    def _target(self, address: Address | None) -> tuple[int, SockAddr] | None:
        if address is None or not address.is_usable:
            return None
        socket = self._socket_for(address.family)
        return None if socket is None else (socket, address.sockaddr())

    def _remote_address(self, peer: Peer) -> tuple[int, SockAddr] | None:
        """Return where a probe for ``peer`` goes (dataplane.md 3.6, tinc: choose_udp_address())."""
        slot = peer.slot
        own = None if slot.address is None else (slot.socket, slot.address)
        if slot.confirmed:
            return own
        self._unproved_sends += 1
        if self._unproved_sends % EDGE_ADDRESS_TURN == 0:
            return own
        graph = self._node.topology.graph
        reverses = [graph.edge(edge.target, peer.name) for edge in graph.edges_from(peer.name)]
        targets = [target for edge in reverses if edge and (target := self._target(edge.address))]
        return self._choose(targets) or own

    def _local_address(self, peer: Peer) -> tuple[int, SockAddr] | None:
        """Return an address of ``peer`` in its own network, for local discovery."""
        edges = self._node.topology.graph.edges_from(peer.name)
        return self._choose([target for edge in edges if (target := self._target(edge.local_address))])

    def _choose(self, targets: list[tuple[int, SockAddr]]) -> tuple[int, SockAddr] | None:
        return targets[int(self._node.random_float() * len(targets)) % len(targets)] if targets else None

    # -- sessions --

    def forget_session(self, peer: Peer) -> None:
        """Drop all keys with ``peer``."""
        peer.session = peer.collision = peer.slot.session = None
        peer.slot.assembly = None
        peer.waiting_for_key = False
        peer.last_req_key = NEVER
        peer.key_attempts = 0
        peer.failed_since = NEVER
        peer.slot.upkeep_due = NEVER

    def forget_peer(self, peer: Peer) -> None:
        """Drop everything about a node that is being deleted."""
        self.forget_session(peer)
        self.set_address(peer, None)

    def _request_key(self, peer: Peer, now: float) -> None:
        """Start a session unless one is being started (tinc: try_sptps())."""
        if not peer.sptps:
            return
        if peer.waiting_for_key:
            attempt = peer.key_attempts - 1
            patience = FIRST_RETRIES[attempt] if attempt < len(FIRST_RETRIES) else SESSION_RETRY
            if now - peer.last_req_key < patience:
                return
            self._node.log(
                3, "debug", f"No key from {peer.name} after {patience:.0f} seconds, restarting SPTPS"
            )
        self.start_session(peer, now)

    def start_session(self, peer: Peer, now: float) -> None:
        """Start a new session as initiator: REQ_KEY with the first handshake record."""
        node = self._node
        key = self._key_of(peer, now)
        if key is None:
            return
        self._begin(peer, now)
        peer.key_attempts += 1
        session = peer.session = self._make_session(Role.INITIATOR, peer, key)
        (first,) = session.start()
        request = ReqKey(node.me.name, peer.name, Number.REQ_KEY, b64.encode(first))
        self.send_to_next_hop(peer, request.format())

    def _begin(self, peer: Peer, now: float) -> None:
        peer.collision = peer.slot.session = None
        peer.waiting_for_key = True
        peer.last_req_key = now
        peer.failed_since = NEVER

    def _make_session(self, role: Role, peer: Peer, key: PublicKey) -> DatagramSession:
        me = self._node.me.name
        label = udp_label(me, peer.name) if role is Role.INITIATOR else udp_label(peer.name, me)
        return DatagramSession(
            role,
            self._node.private_key,
            key,
            label,
            self._node.random_bytes,
            self._node.settings.replay_window,
        )

    def _key_of(self, peer: Peer, now: float) -> PublicKey | None:
        """Return the peer's public key; ask it for the key if we have none (meta.md 6.3).

        While an answer is awaited the host file is not read again for every frame.
        """
        if peer.learned_key is None and now - peer.key_asked < KEY_ASK_INTERVAL:
            return None
        key = self._node.public_key(peer.name)
        if key is None:
            peer.key_asked = now
            request = ReqKey(self._node.me.name, peer.name, Number.REQ_PUBKEY)
            self.send_to_next_hop(peer, request.format())
        return key

    def on_public_key_request(self, peer: Peer, now: float) -> None:
        """A node asks for our public key; ask for its key first if we lack it."""
        self._key_of(peer, now)
        me = self._node.me.name
        answer = ReqKey(me, peer.name, Number.ANS_PUBKEY, self._node.private_key.public.text)
        self.send_to_next_hop(peer, answer.format())

    def on_public_key(self, peer: Peer, text: str, now: float) -> None:
        """Learn a node's public key that we asked for; trust on first use, as tinc does."""
        from pytinc.crypto.keys import PublicKey

        node = self._node
        if node.public_key(peer.name) is not None or now - peer.key_asked > KEY_ANSWER_WINDOW:
            return
        try:
            PublicKey.from_text(text)
        except DecodeError:
            node.log(2, "error", f"Got bad public key from {peer.name}")
            return
        node.log(2, "info", f"Learned Ed25519 public key from {peer.name}")
        peer.learned_key = text
        node.act(AppendPublicKey(peer.name, text))

    def on_session_request(self, peer: Peer, record: bytes, now: float) -> None:
        """A node starts a session with us (REQ_KEY 15)."""
        node = self._node
        key = self._key_of(peer, now)
        if key is None:
            return
        ours = peer.session
        crossing = (
            ours is not None
            and ours.role is Role.INITIATOR
            and peer.waiting_for_key
            and now - peer.last_req_key < COLLISION_WINDOW
        )
        if crossing and node.me.name < peer.name:
            # The other side yields: a C node always does, a pytinc node by the order of names.
            node.log(3, "debug", f"Key requests crossed with {peer.name}, keeping ours")
            return
        session = self._make_session(Role.RESPONDER, peer, key)
        output = session.start()
        if not session.receive_handshake(record):
            node.log(5, "debug", f"Bad key request from {peer.name}")
            return
        if crossing:
            # We cannot know whether the other side yields (a C node) or keeps its own: hold both
            # sessions until the first answer tells by its sequence number.
            peer.collision = session
        else:
            self._begin(peer, now)
            peer.key_attempts = 1
            peer.session = session
        self._send_handshake(peer, output + session.take_output())
        self.send_mtu_info(node.me, peer, MTU_MAX, now)

    def on_handshake(
        self, peer: Peer, record: bytes, compression: int, reflexive: Address | None, now: float
    ) -> None:
        """A handshake record came over the mesh (ANS_KEY)."""
        node = self._node
        self._settle_collision(peer, record)
        session = peer.session
        if session is None:
            return
        peer.out_compression = compression
        peer.slot.compression = usable(compression)
        if not session.receive_handshake(record):
            self._restart_after_failure(peer, now)
            return
        self._send_handshake(peer, session.take_output())
        self._check_keys(peer, now)
        if peer.valid_key and reflexive is not None and reflexive.is_usable and reflexive != peer.address:
            self.set_address(peer, reflexive)
        self.send_mtu_info(node.me, peer, MTU_MAX, now)

    def _settle_collision(self, peer: Peer, record: bytes) -> None:
        """Tell by the first answer which of two crossing sessions goes on (sequence number 0: ours)."""
        if peer.collision is None:
            return
        if int.from_bytes(record[:4], "big") != 0:
            peer.session = peer.collision
        peer.collision = None

    def _check_keys(self, peer: Peer, now: float) -> None:
        peer.note_key(now)
        session = peer.session
        if session is not None and session.can_send and peer.slot.session is not session:
            peer.slot.session = session
            peer.waiting_for_key = False
            peer.key_attempts = 0
            peer.slot.upkeep_due = NEVER
            self._node.log(3, "info", f"SPTPS key exchange with {peer.name} successful")
            if session.role is Role.INITIATOR:
                # tinc waits for the next packet; a path that is proved now will not delay that one.
                # The responder's key arrives only after its last message, so it waits for our probe.
                self.upkeep(peer, now, search_mtu=True)

    def _send_handshake(self, peer: Peer, records: list[bytes]) -> None:
        me = self._node.me.name
        level = self._node.settings.compression
        for record in records:
            answer = AnsKey(me, peer.name, b64.encode(record), NO_LEGACY, NO_LEGACY, NO_LEGACY, level)
            self.send_to_next_hop(peer, answer.format())

    def _restart_after_failure(self, peer: Peer, now: float) -> None:
        if now - peer.last_req_key > SESSION_RETRY:
            self._node.log(3, "debug", f"Restarting SPTPS with {peer.name}")
            self.start_session(peer, now)

    def _renew_worn_key(self, peer: Peer, now: float) -> None:
        """Get a new key before the present one has sealed as many records as it may (sptps.md 3.11)."""
        session = peer.slot.session
        if session is None or not session.needs_rekey:
            return
        if not session.in_handshake:
            self._rekey(peer)
        elif not session.can_send:
            self._restart_after_failure(peer, now)

    def rekey_all(self, now: float) -> None:
        """Exchange new keys inside every running session, one after the other (KeyExpire)."""
        node = self._node
        self._rekeys = deque(name for name, peer in node.peers.items() if peer.slot.session is not None)
        if self._rekeys:
            self._rekey_step = min(REKEY_SPACING, REKEY_SHARE * node.settings.key_expire / len(self._rekeys))
            self._next_rekey = now

    def _rekey_due(self, now: float) -> None:
        while self._rekeys and now >= self._next_rekey:
            peer = self._node.peers.get(self._rekeys.popleft())
            if peer is not None:
                self._rekey(peer)
            self._next_rekey += self._rekey_step
        if not self._rekeys:
            self._next_rekey = math.inf

    def _rekey(self, peer: Peer) -> None:
        session = peer.slot.session
        if session is not None and peer.reachable and not session.in_handshake:
            session.force_rekey()
            self._send_handshake(peer, session.take_output())

    # -- the mesh --

    def send_to_next_hop(self, peer: Peer, line: str) -> None:
        """Send a request towards ``peer``; it is lost where no path leads there."""
        connection = self._next_hop(peer)
        if connection is not None:
            self._node.connections.send_line(connection, line)

    def _next_hop(self, peer: Peer) -> Connection | None:
        if peer.route is None:
            return None
        return self._node.peers[peer.route.nexthop].connection

    # -- packets by TCP --

    def sptps_packet(self, peer: Peer, data: bytes, now: float) -> None:
        """A sealed record came by TCP: for us, or to be passed on. ``data`` starts with both node ids."""
        table = self._node.table
        if len(data) > MAX_PACKET_SIZE:  # a neighbour can announce up to 32,767 bytes
            table.drops.oversized += 1
            return
        destination = table.by_id.get(data[:ID_SIZE])
        source = table.by_id.get(data[ID_SIZE : 2 * ID_SIZE])
        if destination is None or source is None or source.is_me:
            self._node.log(3, "debug", f"SPTPS_PACKET with unknown ids from {peer.name}")
            return
        sender, target = self._node.of_slot(source), self._node.of_slot(destination)
        if target is self._node.me or (target.route is not None and target.route.via == self._node.me.name):
            self.udp_info_to(sender, now)
        self._node.inbound.sptps_packet(data, now, self._node.output)
        if target is self._node.me:
            self.send_mtu_info(self._node.me, sender, MTU_MAX, now)

    def relay_record(self, source: Peer, target: Peer, record: bytes, now: float) -> None:
        """Pass on a record that came as REQ_KEY 21."""
        data = target.slot.id + source.slot.id + record
        self._node.inbound.sptps_packet(data, now, self._node.output)

    def _send_sptps_packet(self, target: Peer, source: Peer, record: bytes) -> None:
        connection = self._next_hop(target)
        if connection is None:
            return
        if connection.version >= SPTPS_PACKET_VERSION:
            self._node.connections.send_sptps_packet(connection, target.slot.id + source.slot.id + record)
        else:
            line = ReqKey(source.name, target.name, Number.SPTPS_PACKET, b64.encode(record)).format()
            # A line cannot hold the longest records (nor can tinc's).
            if len(line) <= MAX_LINE_LENGTH:
                self._node.connections.send_line(connection, line)

    # -- what the data path reports --

    def handle_output(self, now: float) -> None:
        """Act on everything the data path could not decide by itself, then forget it.

        Frames and datagrams stay in the output for the shell.
        """
        output = self._node.output
        while output.upcalls:
            upcalls = output.take_upcalls()
            self._send_by_tcp(upcalls)
            self._node.subnets.learn(upcalls.learn, now)
            self._node.guard.take(upcalls, now)
            for slot, (address, _) in upcalls.moved.items():
                self._on_moved(self._node.of_slot(slot), from_sockaddr(address), now)
            for probe in upcalls.probes:
                self._on_probe(probe, now)
            for slot in upcalls.handshakes:
                self._on_handshake_by_udp(self._node.of_slot(slot))
            for slot in upcalls.failed:
                self._on_failure(self._node.of_slot(slot), now)
            for slot in upcalls.incomplete:
                self._on_incomplete(self._node.of_slot(slot), now)
            for slot in upcalls.no_session:
                self._request_key(self._node.of_slot(slot), now)
            for sender, source, target in upcalls.relayed:
                peers = (self._node.of_slot(slot) for slot in (sender, source, target))
                self._on_relayed(*peers, now=now)
            for slot in upcalls.touched:
                self.upkeep(self._node.of_slot(slot), now, search_mtu=True)

    def _send_by_tcp(self, upcalls: Upcalls) -> None:
        node = self._node
        for slot, frame in upcalls.packets:
            connection = node.of_slot(slot).connection
            if connection is not None:
                node.connections.send_frame(connection, frame)
        for target, source, record in upcalls.sptps_packets:
            self._send_sptps_packet(node.of_slot(target), node.of_slot(source), record)

    def _on_handshake_by_udp(self, peer: Peer) -> None:
        session = peer.slot.session
        if session is not None:
            self._send_handshake(peer, session.take_output())

    def _on_failure(self, peer: Peer, now: float) -> None:
        """Records from a peer's proved address do not open: restart if nothing good comes either.

        A forger can make single records fail; only silence of the true peer makes us drop the keys.
        """
        if peer.failed_since == NEVER or peer.slot.in_packets != peer.failure_mark:
            peer.failed_since, peer.failure_mark = now, peer.slot.in_packets
        elif now - peer.failed_since > SILENCE:
            self._restart_after_failure(peer, now)

    def _on_incomplete(self, peer: Peer, now: float) -> None:
        """Pieces of super-frames were lost on the way: ask for none for a while (docs/protocol.md)."""
        if now < peer.incomplete_told + INCOMPLETE_INTERVAL:
            return
        peer.incomplete_told = now
        peer.path.withhold_super_frames(now)
        self._send_probe(peer, peer.path.make_request(self._node.random_bytes))

    def _on_moved(self, peer: Peer, address: Address, now: float) -> None:
        """Authentic data came from a new address: probe it first if the old one is proved, else take it."""
        if not peer.slot.confirmed:
            self.set_address(peer, address)
            return
        if now - peer.roaming_sent < ROAMING_INTERVAL:
            return
        target = self._target(address)
        if target is not None:
            peer.roaming, peer.roaming_sent = address, now
            self._send_probe_to(peer, peer.path.make_request(self._node.random_bytes), *target)

    def _on_probe(self, probe: Probe, now: float) -> None:
        node = self._node
        peer = node.of_slot(probe.source)
        peer.failed_since = NEVER
        if not probe.direct:
            return  # it says nothing about the path between us, and nobody sends such
        timed = True
        if probe.is_reply:
            self._take_proved_address(peer, from_sockaddr(probe.address))
            timed = not node.guard.probe_answered(peer, probe.payload[PROBE_NONCE], now)
        else:
            node.guard.heard(peer, now)
        result = peer.path.on_probe(probe.payload, now, peer.version, timed=timed)
        self._next_timeout = min(self._next_timeout, peer.path.next_deadline())
        if result.capabilities is not None:
            self._learn_capabilities(peer, result.capabilities, now)
        if result.reply is not None:
            self._send_probe_to(peer, result.reply, probe.socket, probe.address)
            if not peer.slot.confirmed:
                self.upkeep(peer, now, search_mtu=True)
        if result.confirmed:
            node.log(2, "info", f"UDP address of {peer.name} set to {peer.address}")
            self._confirm(peer)
            # Go on with the path MTU at once; tinc waits for the next packet.
            self.upkeep(peer, now, search_mtu=True)
        node.table.note_minmtu(peer.slot)

    def _learn_capabilities(self, peer: Peer, capabilities: Capability, now: float) -> None:
        """Note what a peer takes under the present key (docs/protocol.md)."""
        peer.is_guard = Capability.GUARD in capabilities
        session = peer.slot.session
        if session is None or session.state is State.REKEY_ACK:
            return  # we seal under the new key already, and the probe came under the old one
        settings = peer.path.settings
        interval = settings.keepalive_interval if settings.udp_discovery else settings.ping_interval
        peer.fast_until = now + FAST_TAG_PROBES * interval
        self._use_forms(peer, capabilities & settings.capabilities)

    def _use_forms(self, peer: Peer, allowed: Capability) -> None:
        """Send a peer data in these forms, besides tinc's own."""
        session = peer.slot.session
        if session is None:
            return
        fast, super_frames = Capability.FAST_TAG in allowed, Capability.SUPER_FRAMES in allowed
        if session.peer_accepts_fast is not fast:
            session.peer_accepts_fast = fast
            self._node.log(4, "debug", f"Data for {peer.name} gets the {'fast' if fast else 'usual'} tag")
        if session.peer_accepts_super_frames is not super_frames:
            session.peer_accepts_super_frames = super_frames
            how = "whole" if super_frames else "cut"
            self._node.log(4, "debug", f"Super-frames for {peer.name} are sent {how}")

    def _take_proved_address(self, peer: Peer, address: Address) -> None:
        """A probe reply came from ``address``: it is where the peer is, unless a proved one stands."""
        if address == peer.address:
            return
        if not peer.slot.confirmed or peer.roaming == address:
            self.set_address(peer, address)

    def _confirm(self, peer: Peer) -> None:
        self._node.table.note_confirmed(peer.slot)
        edge = self._node.topology.graph.edge(self._node.me.name, peer.name)
        if peer.is_neighbour and edge is not None and edge.address.is_usable:
            self._node.dialling.remember(peer, edge.address)
        if peer.connection is not None and peer.connection.outgoing is not None:
            peer.connection.outgoing.restart_addresses()

    # -- UDP_INFO and MTU_INFO --

    def _on_relayed(self, sender: Peer, source: Peer, target: Peer, *, now: float) -> None:
        """A datagram came by way of ``sender``: help both ends to a straight path (dataplane.md 2.5, 4.7)."""
        via = None if source.route is None else source.route.via
        target_via = None if target.route is None else target.route.via
        if sender.name != via and target_via == self._node.me.name:
            self.udp_info_to(source, now)
        if target is self._node.me:
            source.last_relay, source.relayed_at = sender.name, now
            source.relayed_packets = source.slot.in_packets
            self.send_mtu_info(self._node.me, sender, MTU_MAX, now)

    def udp_info_to(self, peer: Peer, now: float) -> None:
        """Tell the nodes on the way to ``peer`` where we can be reached."""
        self.send_udp_info(self._node.me, peer, now)

    def send_udp_info(self, source: Peer, target: Peer, now: float) -> None:
        """Send UDP_INFO about ``source`` towards ``target`` if the rules of meta.md 2.13 allow."""
        node = self._node
        if target.route is None or not target.reachable:
            return
        if target.slot.relay is None:
            return
        relay = node.of_slot(target.slot.relay)
        if relay is node.me or relay.route is None or not relay.reachable:
            return
        if node.settings.tcp_only or source.tcp_only or relay.tcp_only:
            return
        connection = self._next_hop(relay)
        if connection is None or connection.version < UDP_INFO_VERSION:
            return
        if source is node.me:
            if relay.is_neighbour or now - relay.udp_info_sent < node.settings.udp_info_interval:
                return
            relay.udp_info_sent = now
        address = source.address
        if source is node.me:
            # As in our edge: with the port of UDP, not of the TCP connection.
            address = None if connection.edge is None else connection.edge.local_address
        if address is not None and address.family:
            node.connections.send(connection, UdpInfo(source.name, relay.name, address))

    def send_mtu_info(self, source: Peer, target: Peer, mtu: int, now: float) -> None:
        """Send MTU_INFO about ``source`` towards ``target`` if the rules of meta.md 2.14 allow."""
        node = self._node
        if target is node.me or not target.reachable:
            return
        if source is node.me:
            if target.is_neighbour or now - target.mtu_info_sent < node.settings.mtu_info_interval:
                return
            target.mtu_info_sent = now
        self._send_mtu_info_line(source, target, self._known_mtu(source, mtu))

    def _known_mtu(self, source: Peer, mtu: int) -> int:
        """Return the MTU towards ``source`` after what we measured ourselves."""
        node = self._node
        if source is node.me or source.route is None or source.slot.relay is None:
            return mtu
        if source.path.is_fixed and source.route.via == node.me.name:
            return source.slot.minmtu
        relay = node.of_slot(source.slot.relay)
        for candidate in (relay, node.peers.get(relay.route.nexthop) if relay.route else None):
            if candidate is not None and candidate.path.is_fixed:
                return min(mtu, candidate.slot.minmtu)
        return mtu

    def _send_mtu_info_line(self, source: Peer, target: Peer, mtu: int) -> None:
        connection = self._next_hop(target)
        if connection is not None and connection.version >= MTU_INFO_VERSION:
            self._node.connections.send(connection, MtuInfo(source.name, target.name, mtu))

    def provisional_mtu(self, peer: Peer, mtu: int) -> None:
        """Take an MTU that a relay told, until our own search is final."""
        if not peer.path.is_fixed:
            peer.slot.mtu = mtu
