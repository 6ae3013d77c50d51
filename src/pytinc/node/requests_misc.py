"""TERMREQ, PING, PONG, UDP_INFO and MTU_INFO (tinc: protocol_misc.c)."""

from __future__ import annotations

from collections.abc import Callable

from pytinc.node.addresses import Addresses
from pytinc.node.connections import Connections
from pytinc.node.core import Core
from pytinc.node.dialling import Dialling
from pytinc.node.guard import NodeGuard
from pytinc.node.meta_output import MetaOutput
from pytinc.node.path_info import PathInfo
from pytinc.node.records import Connection
from pytinc.wire.datagram import MTU_MAX
from pytinc.wire.requests import MtuInfo, Ping, Pong, TermReq, UdpInfo


class MiscRequests:
    """Acts on requests about a connection, and about the UDP paths of others."""

    def __init__(
        self,
        core: Core,
        meta_output: MetaOutput,
        connections: Connections,
        dialling: Dialling,
        addresses: Addresses,
        path_info: PathInfo,
        guard: NodeGuard,
        update_graph: Callable[[float], None],
    ) -> None:
        self._core = core
        self._meta_output = meta_output
        self._connections = connections
        self._dialling = dialling
        self._addresses = addresses
        self._path_info = path_info
        self._guard = guard
        self._update_graph = update_graph

    def on_termreq(self, connection: Connection, request: TermReq, line: str, now: float) -> None:
        """The peer says goodbye."""
        self._connections.terminate(connection, tarpit=True)

    def on_ping(self, connection: Connection, request: Ping, line: str, now: float) -> None:
        """Answer at once."""
        self._meta_output.send(connection, Pong())

    def on_pong(self, connection: Connection, request: Pong, line: str, now: float) -> None:
        """The connection works, and its address is worth remembering."""
        connection.pinged = False
        if connection.peer is not None:
            self._guard.meta_answered(connection.peer, now)
        if connection.outgoing is not None and connection.peer is not None:
            self._dialling.proved(connection.outgoing, connection.peer, connection.remote)

    def on_udp_info(self, connection: Connection, request: UdpInfo, line: str, now: float) -> None:
        """A relay sends the UDP address of FROM: use it unless we know a better one; pass it on."""
        self._update_graph(now)
        source = self._core.peers.get(request.source)
        if source is None or source.route is None or source.route.via != source.name:
            return
        if (
            source is not self._core.me
            and not source.is_neighbour
            and not source.slot.confirmed
            and request.address.is_usable
            and source.address != request.address
        ):
            self._addresses.set_address(source, request.address)
        target = self._core.peers.get(request.target)
        if target is not None:
            self._path_info.send_udp_info(source, target, now)

    def on_mtu_info(self, connection: Connection, request: MtuInfo, line: str, now: float) -> None:
        """A relay sends the MTU towards FROM: use it until our own search is final; pass it on.

        See docs/protocol-meta.md, "MTU_INFO".
        """
        self._update_graph(now)
        source = self._core.peers.get(request.source)
        if source is None:
            return
        mtu = min(request.mtu, MTU_MAX)
        if source is not self._core.me:
            self._path_info.provisional_mtu(source, mtu)
        target = self._core.peers.get(request.target)
        if target is not None:
            self._path_info.send_mtu_info(source, target, mtu, now)
