"""REQ_KEY, ANS_KEY and KEY_CHANGED (tinc: protocol_key.c).

See docs/protocol-meta.md, "Key requests" and "Sessions between nodes".

Requests between two nodes travel along next hops; a relay passes them on and may add what it knows.
`sessions` handles the keys.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from pytinc.config.settings import Forwarding
from pytinc.errors import DecodeError
from pytinc.node import half_edges
from pytinc.node.core import Core
from pytinc.node.flood import SeenCache
from pytinc.node.guard import NodeGuard
from pytinc.node.half_edges import HalfEdges
from pytinc.node.meta_output import MetaOutput
from pytinc.node.path_info import PathInfo
from pytinc.node.records import Connection, Peer
from pytinc.node.sessions import NO_LEGACY, Sessions
from pytinc.node.tcp_packets import TcpPackets
from pytinc.node.tunnels import Tunnels
from pytinc.wire import b64
from pytinc.wire.requests import MAX_LINE_LENGTH, AnsKey, KeyChanged, Number, ReqKey

MAX_COMPRESSION: Final = 12


class KeyRequests:
    """Acts on requests about keys, and passes on those between other nodes."""

    def __init__(
        self,
        core: Core,
        meta_output: MetaOutput,
        seen: SeenCache,
        half_edges: HalfEdges,
        path_info: PathInfo,
        sessions: Sessions,
        tunnels: Tunnels,
        tcp_packets: TcpPackets,
        guard: NodeGuard,
        update_graph: Callable[[float], None],
    ) -> None:
        self._core = core
        self._meta_output = meta_output
        self._seen = seen
        self._half_edges = half_edges
        self._path_info = path_info
        self._sessions = sessions
        self._tunnels = tunnels
        self._tcp_packets = tcp_packets
        self._guard = guard
        self._update_graph = update_graph

    def on_key_changed(self, connection: Connection, request: KeyChanged, line: str, now: float) -> None:
        """A node dropped its legacy keys. Nothing changes for SPTPS nodes, so it stops here for them."""
        if self._seen.seen(line, now):
            return
        peer = self._core.peers.get(request.name)
        if peer is not None and not peer.sptps:
            self._meta_output.forward(line, connection)

    def on_req_key(self, connection: Connection, request: ReqKey, line: str, now: float) -> None:
        """Pass a request for another node on, or act on one for us."""
        self._update_graph(now)
        source, target = self._core.peers.get(request.source), self._core.peers.get(request.target)
        if source is None or target is None or source is self._core.me:
            return
        if target is not self._core.me:
            self._relay_req_key(source, target, request, line, now)
            return
        if not source.reachable:
            return
        match request.sub:
            case Number.REQ_KEY:
                record = _record(request.data)
                if record is not None:
                    self._tunnels.session_request(source, record, now)
            case Number.REQ_PUBKEY:
                self._sessions.on_public_key_request(source, now)
            case Number.ANS_PUBKEY:
                self._guard.meta_answered(source, now)
                self._sessions.on_public_key(source, request.data, now)
            case Number.SPTPS_PACKET:
                record = _record(request.data)
                if record is not None:
                    self._tcp_packets.received(source, self._core.me.slot.id + source.slot.id + record, now)
            case half_edges.EDGE_QUESTION:
                self._half_edges.on_question(source, request.data)
            case half_edges.EDGE_ANSWER:
                self._half_edges.on_answer(source, connection, request.data, now)
            case _:
                self._core.log(2, "debug", f"Ignoring REQ_KEY {request.sub} from {source.name}")

    def _relay_req_key(self, source: Peer, target: Peer, request: ReqKey, line: str, now: float) -> None:
        if self._core.settings.tunnel_server or not target.reachable:
            return
        is_static_relay = target.route is not None and target.route.via == self._core.me.name
        if is_static_relay and request.sub in (Number.REQ_KEY, Number.SPTPS_PACKET):
            self._path_info.udp_info_to(source, now)
        if request.sub != Number.SPTPS_PACKET:
            self._meta_output.send_towards(target, line)
            return
        record = _record(request.data)
        if record is not None and self._core.settings.forwarding is Forwarding.INTERNAL:
            self._tcp_packets.relay(source, target, record, now)

    def on_ans_key(self, connection: Connection, request: AnsKey, line: str, now: float) -> None:
        """Pass an answer on, with the address of its sender as we see it; or feed it to our session."""
        self._update_graph(now)
        source, target = self._core.peers.get(request.source), self._core.peers.get(request.target)
        if source is None or target is None or source is self._core.me:
            return
        if target is not self._core.me:
            self._relay_ans_key(source, target, request, line)
            return
        is_sptps = (request.cipher, request.digest, request.mac_length) == (NO_LEGACY,) * 3
        if not source.reachable or not is_sptps or not 0 <= request.compression <= MAX_COMPRESSION:
            return
        record = _record(request.key)
        if record is not None:
            self._tunnels.handshake(source, record, request.compression, request.address, now)

    def _relay_ans_key(self, source: Peer, target: Peer, request: AnsKey, line: str) -> None:
        if self._core.settings.tunnel_server or not target.reachable:
            return
        if (
            request.address is None
            and source.address is not None
            and source.address.is_usable
            and target.slot.minmtu > 0
        ):
            with_address = replace(request, address=source.address).format()
            line = with_address if len(with_address) <= MAX_LINE_LENGTH else line
        self._meta_output.send_towards(target, line)


def _record(text: str) -> bytes | None:
    """Decode a datagram that came as text; like tinc, ignore one that cannot be decoded."""
    try:
        return b64.decode(text) or None
    except DecodeError:
        return None
