"""TERMREQ, PING, PONG, UDP_INFO and MTU_INFO (tinc: protocol_misc.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytinc.wire.datagram import MTU_MAX
from pytinc.wire.requests import MtuInfo, Ping, Pong, TermReq, UdpInfo

if TYPE_CHECKING:
    from pytinc.node.connections import Connection
    from pytinc.node.node import Node


def on_termreq(node: Node, connection: Connection, request: TermReq, line: str, now: float) -> None:
    """The peer says goodbye."""
    node.connections.terminate(connection, now, tarpit=True)


def on_ping(node: Node, connection: Connection, request: Ping, line: str, now: float) -> None:
    """Answer at once."""
    node.connections.send(connection, Pong())


def on_pong(node: Node, connection: Connection, request: Pong, line: str, now: float) -> None:
    """The peer lives."""
    node.connections.pong(connection, now)


def on_udp_info(node: Node, connection: Connection, request: UdpInfo, line: str, now: float) -> None:
    """A relay tells where FROM is reached by UDP: use it unless we know better; pass it on (meta.md 2.13)."""
    node.topology.update(now)
    source = node.peers.get(request.source)
    if source is None or source.route is None or source.route.via != source.name:
        return
    if (
        source is not node.me
        and not source.is_neighbour
        and not source.slot.confirmed
        and request.address.is_usable
        and source.address != request.address
    ):
        node.tunnels.set_address(source, request.address)
    target = node.peers.get(request.target)
    if target is not None:
        node.tunnels.send_udp_info(source, target, now)


def on_mtu_info(node: Node, connection: Connection, request: MtuInfo, line: str, now: float) -> None:
    """A relay tells the MTU towards FROM: use it until our search is final; pass it on (meta.md 2.14)."""
    node.topology.update(now)
    source = node.peers.get(request.source)
    if source is None:
        return
    mtu = min(request.mtu, MTU_MAX)
    if source is not node.me:
        node.tunnels.provisional_mtu(source, mtu)
    target = node.peers.get(request.target)
    if target is not None:
        node.tunnels.send_mtu_info(source, target, mtu, now)
