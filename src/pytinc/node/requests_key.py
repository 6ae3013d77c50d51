"""REQ_KEY, ANS_KEY and KEY_CHANGED (tinc: protocol_key.c, meta.md 2.8-2.10 and 6).

Requests between two nodes travel along next hops; a relay passes them on and may add what it knows.
What happens to the sessions is in `tunnels`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pytinc.config.settings import Forwarding
from pytinc.errors import DecodeError
from pytinc.node import half_edges
from pytinc.wire import b64
from pytinc.wire.requests import MAX_LINE_LENGTH, AnsKey, KeyChanged, Number, ReqKey

if TYPE_CHECKING:
    from pytinc.node.connections import Connection
    from pytinc.node.node import Node
    from pytinc.node.peer import Peer

SPTPS_ONLY: Final = -1
"""Cipher, digest and MAC length in an ANS_KEY that carries an SPTPS handshake record."""
MAX_COMPRESSION: Final = 12


def on_key_changed(node: Node, connection: Connection, request: KeyChanged, line: str, now: float) -> None:
    """A node dropped its legacy keys. Nothing changes for SPTPS nodes, so it stops here for them."""
    if node.seen.seen(line, now):
        return
    peer = node.peers.get(request.name)
    if peer is not None and not peer.sptps:
        node.connections.forward(line, connection)


def on_req_key(node: Node, connection: Connection, request: ReqKey, line: str, now: float) -> None:
    """Pass a request for another node on, or act on one for us."""
    node.topology.update(now)
    source, target = node.peers.get(request.source), node.peers.get(request.target)
    if source is None or target is None or source is node.me:
        return
    if target is not node.me:
        _relay_req_key(node, source, target, request, line, now)
        return
    if not source.reachable:
        return
    match request.sub:
        case Number.REQ_KEY:
            record = _record(request.data)
            if record is not None:
                node.tunnels.udp_info_to(source, now)
                node.tunnels.on_session_request(source, record, now)
        case Number.REQ_PUBKEY:
            node.tunnels.on_public_key_request(source, now)
        case Number.ANS_PUBKEY:
            node.guard.meta_answered(source, now)
            node.tunnels.on_public_key(source, request.data, now)
        case Number.SPTPS_PACKET:
            record = _record(request.data)
            if record is not None:
                node.tunnels.sptps_packet(source, node.me.slot.id + source.slot.id + record, now)
        case half_edges.EDGE_QUESTION:
            node.half_edges.on_question(source, request.data)
        case half_edges.EDGE_ANSWER:
            node.half_edges.on_answer(source, connection, request.data, now)
        case _:
            node.log(2, "debug", f"Ignoring REQ_KEY {request.sub} from {source.name}")


def _relay_req_key(node: Node, source: Peer, target: Peer, request: ReqKey, line: str, now: float) -> None:
    if node.settings.tunnel_server or not target.reachable:
        return
    is_static_relay = target.route is not None and target.route.via == node.me.name
    if is_static_relay and request.sub in (Number.REQ_KEY, Number.SPTPS_PACKET):
        node.tunnels.udp_info_to(source, now)
    if request.sub != Number.SPTPS_PACKET:
        node.tunnels.send_to_next_hop(target, line)
        return
    record = _record(request.data)
    if record is not None and node.settings.forwarding is Forwarding.INTERNAL:
        node.tunnels.relay_record(source, target, record, now)


def _record(text: str) -> bytes | None:
    """Decode a datagram that came as text; tinc ignores what cannot be decoded."""
    try:
        return b64.decode(text) or None
    except DecodeError:
        return None


def on_ans_key(node: Node, connection: Connection, request: AnsKey, line: str, now: float) -> None:
    """Pass an answer on, with the address of its sender as we see it; or feed it to our session."""
    node.topology.update(now)
    source, target = node.peers.get(request.source), node.peers.get(request.target)
    if source is None or target is None or source is node.me:
        return
    if target is not node.me:
        _relay_ans_key(node, source, target, request, line)
        return
    is_sptps = (request.cipher, request.digest, request.mac_length) == (SPTPS_ONLY,) * 3
    if not source.reachable or not is_sptps or not 0 <= request.compression <= MAX_COMPRESSION:
        return
    record = _record(request.key)
    if record is not None:
        node.tunnels.on_handshake(source, record, request.compression, request.address, now)


def _relay_ans_key(node: Node, source: Peer, target: Peer, request: AnsKey, line: str) -> None:
    if node.settings.tunnel_server or not target.reachable:
        return
    if (
        request.address is None
        and source.address is not None
        and source.address.is_usable
        and target.slot.minmtu > 0
    ):
        with_address = replace(request, address=source.address).format()
        line = with_address if len(with_address) <= MAX_LINE_LENGTH else line
    node.tunnels.send_to_next_hop(target, line)
