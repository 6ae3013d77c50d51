"""Handles input of meta connections: logins, requests, packets, invitations.

tinc: receive_meta(), receive_request().
"""

from __future__ import annotations

from pytinc.datapath.inbound import Inbound
from pytinc.errors import ProtocolError
from pytinc.node.activation import Activation
from pytinc.node.connections import Connections
from pytinc.node.core import Core
from pytinc.node.invitations import Invitations
from pytinc.node.meta_output import MetaOutput
from pytinc.node.records import Connection
from pytinc.node.requests import Requests
from pytinc.node.tcp_packets import TcpPackets
from pytinc.protocol.invitation import InvitationClaimed, InviteeKey
from pytinc.protocol.meta import (
    Authenticated,
    FrameReceived,
    Identified,
    MetaEvent,
    Received,
    SptpsPacketReceived,
    State,
)
from pytinc.wire.requests import Ack


class MetaEvents:
    """Feeds bytes to the protocol of a connection and acts on its events."""

    def __init__(
        self,
        core: Core,
        meta_output: MetaOutput,
        inbound: Inbound,
        tcp_packets: TcpPackets,
        connections: Connections,
        activation: Activation,
        invitations: Invitations,
        requests: Requests,
    ) -> None:
        self._core = core
        self._meta_output = meta_output
        self._inbound = inbound
        self._tcp_packets = tcp_packets
        self._connections = connections
        self._activation = activation
        self._invitations = invitations
        self._requests = requests

    def data(self, number: int, data: bytes, now: float) -> None:
        """Process bytes from a peer; input that breaks the protocol ends the connection."""
        core = self._core
        connection = core.connections.get(number)
        if connection is None:
            return
        try:
            connection.meta.feed(data)
            self._meta_output.touch(connection)
            while number in core.connections:
                event = connection.meta.next_event()
                if event is None:
                    break
                self._on_event(connection, event, now)
                core.changes.settle(now)  # the next request may depend on what this one changed
        except ProtocolError as error:
            core.complain(
                f"Error while processing data from {connection.name} ({connection.remote.host}): {error}", now
            )
            # A node that joins must learn of the failure at once; tinc 1.1pre18 waits for ever otherwise.
            self._connections.terminate(connection, tarpit=connection.meta.state is not State.INVITATION)

    def _on_event(self, connection: Connection, event: MetaEvent, now: float) -> None:
        match event:
            case Identified():
                connection.host_mtime = self._core.hosts.host_mtime(connection.name)
                if not connection.dialled:
                    connection.started = now  # our own ID has just gone out: the weight is measured from here
            case Authenticated():
                self._activation.send_ack(connection, now)
            case Received(Ack() as ack):
                self._activation.activate(connection, ack, now)
            case Received(request, line):
                self._requests.handle(connection, request, line, now)
            case FrameReceived(frame):
                assert connection.peer is not None
                self._inbound.frames_from_neighbour(connection.peer.slot, [frame], now, self._core.output)
            case SptpsPacketReceived(data):
                assert connection.peer is not None
                self._tcp_packets.received(connection.peer, data, now)
            case InvitationClaimed(file_name):
                self._invitations.claim(connection, file_name)
            case InviteeKey(key):
                self._invitations.register(connection, key)
