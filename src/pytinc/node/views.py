"""The content of dumps: plain tuples with the fields of docs/protocol-control.md, "Dumps", in its order.

`pytinc.net.shell` turns them into the rows of `pytinc.control.messages`, and those into lines. They contain
only numbers and names, and no references to live state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pytinc.protocol.meta import State
from pytinc.wire.address import UNKNOWN, UNSPEC, Address
from pytinc.wire.bits import ConnectionStatus, NodeStatus

if TYPE_CHECKING:
    from pytinc.node.node import Node
    from pytinc.node.records import Connection, Peer


class NodeView(NamedTuple):
    """One node."""

    name: str
    id: bytes
    address: Address
    compression: int
    options: int
    status: int
    nexthop: str
    via: str
    distance: int
    mtu: int
    minmtu: int
    maxmtu: int
    last_state_change: int
    udp_ping_rtt: int
    in_packets: int
    in_bytes: int
    out_packets: int
    out_bytes: int


class EdgeView(NamedTuple):
    """One edge."""

    source: str
    target: str
    address: Address
    local_address: Address
    options: int
    weight: int


class SubnetView(NamedTuple):
    """One subnet; the owner of a broadcast subnet is ``(broadcast)``."""

    subnet: str
    owner: str


class ConnectionView(NamedTuple):
    """One meta connection; the shell adds the descriptor of its socket by ``number``."""

    number: int
    name: str
    address: Address
    options: int
    status: int


class TrafficView(NamedTuple):
    """Counters of one node."""

    name: str
    in_packets: int
    in_bytes: int
    out_packets: int
    out_bytes: int


def nodes(node: Node) -> list[NodeView]:
    """Return all nodes in the order of their names."""
    return [_node_view(node, node.peers[name]) for name in sorted(node.peers)]


def _node_view(node: Node, peer: Peer) -> NodeView:
    slot, path, route = peer.slot, peer.path, peer.route
    if peer is node.me:
        port = node.core.sockets[0][1].port if node.core.sockets else node.settings.port
        address = Address("MYSELF", port)
    else:
        address = peer.address or UNKNOWN
    return NodeView(
        peer.name,
        slot.id,
        address,
        peer.out_compression,
        peer.options,
        node_status(node, peer),
        route.nexthop if route else "-",
        route.via if route else "-",
        route.distance if route else -1,
        slot.mtu,
        slot.minmtu,
        path.maxmtu,
        peer.last_state_change,
        path.udp_ping_rtt,
        slot.in_packets,
        slot.in_bytes,
        slot.out_packets,
        slot.out_bytes,
    )


def node_status(node: Node, peer: Peer) -> int:
    """Return the status bits of a node."""
    is_me = peer is node.me
    indirect = peer.route is None or peer.route.indirect
    bits = 0
    for flag, bit in (
        (peer.valid_key, NodeStatus.VALIDKEY),
        (peer.waiting_for_key, NodeStatus.WAITING_FOR_KEY),
        (is_me or peer.reachable, NodeStatus.VISITED),
        (is_me or peer.reachable, NodeStatus.REACHABLE),
        (not is_me and indirect, NodeStatus.INDIRECT),
        (is_me or peer.sptps, NodeStatus.SPTPS),
        (peer.slot.confirmed, NodeStatus.UDP_CONFIRMED),
        (peer.has_address, NodeStatus.HAS_ADDRESS),
        (peer.path.ping_sent, NodeStatus.PING_SENT),
    ):
        if flag:
            bits += bit  # |= would make it an IntFlag, and a dump five times as long
    return bits


def edges(node: Node) -> list[EdgeView]:
    """Return all edges, by "from" name, then "to" name."""
    return [
        EdgeView(
            edge.source,
            edge.target,
            edge.address,
            edge.local_address or UNSPEC,
            edge.options,
            edge.weight,
        )
        for edge in node.topology.graph.edges()
    ]


def subnets(node: Node) -> list[SubnetView]:
    """Return all subnets in tinc's order."""
    return [SubnetView(str(subnet), owner or "(broadcast)") for owner, subnet in node.subnets.table.all()]


def connections(node: Node) -> list[ConnectionView]:
    """Return the meta connections, oldest first."""
    return [
        ConnectionView(
            connection.number,
            connection.name,
            connection.remote,
            connection.options,
            _connection_status(node, connection),
        )
        for connection in node.core.connections.values()
    ]


def _connection_status(node: Node, connection: Connection) -> int:
    bits = 0
    if connection.pinged:
        bits += ConnectionStatus.PINGED
    if connection.meta.state is State.CONNECTING:
        bits += ConnectionStatus.CONNECTING
    if connection.peer is not None and connection.peer.slot in node.table.tree:
        bits += ConnectionStatus.MST
    return bits


def traffic(node: Node) -> list[TrafficView]:
    """Return the counters of all nodes in the order of their names."""
    return [
        TrafficView(name, slot.in_packets, slot.in_bytes, slot.out_packets, slot.out_bytes)
        for name, slot in sorted(node.table.slots.items())
    ]
