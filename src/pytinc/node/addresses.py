"""The UDP addresses at which other nodes are reached (tinc: update_node_udp(), choose_udp_address()).

See docs/protocol-data.md, "Remote address".
"""

from __future__ import annotations

from typing import Final

from pytinc.node.core import Core
from pytinc.node.records import Peer
from pytinc.node.topology import Topology
from pytinc.wire.address import Address, SockAddr

EDGE_ADDRESS_TURN: Final = 3
"""Every third packet to a node without a proved address goes to its own address, the others to addresses from
its edges."""


class Addresses:
    """The UDP addresses of all nodes."""

    def __init__(self, core: Core, topology: Topology) -> None:
        self._core = core
        self._topology = topology
        self._unproved_sends = 0

    def set_address(self, peer: Peer, address: Address | None) -> None:
        """Set the UDP address of a node; the path counts as unproved again (tinc: update_node_udp())."""
        core = self._core
        if peer is core.me:
            return
        peer.address = address
        peer.roaming = None
        peer.path.reset_path()
        usable = address is not None and address.is_usable and address.host != ""
        socket = self._socket_for(address.family) if address is not None and usable else None
        if address is None or not usable or socket is None:
            core.table.set_address(peer.slot, None, 0)
        else:
            core.table.set_address(peer.slot, address.sockaddr(), socket)
        # No path uses an unproved address, so paths change only if the former address was proved.
        core.table.note_minmtu(peer.slot)

    def follow_path(self, peer: Peer) -> None:
        """Update the forwarding table with the result of the probes: UDP works, or no longer works."""
        self._core.table.note_confirmed(peer.slot)
        self._core.table.note_minmtu(peer.slot)

    def take_proved(self, peer: Peer, address: Address) -> None:
        """A probe reply came from ``address``: make it the peer's address, unless another one is proved."""
        if address == peer.address:
            return
        if not peer.slot.confirmed or peer.roaming == address:
            self.set_address(peer, address)

    def target(self, address: Address | None) -> tuple[int, SockAddr] | None:
        """Return the socket and the address to send to; None if none of our sockets can send there."""
        if address is None or not address.is_usable:
            return None
        socket = self._socket_for(address.family)
        return None if socket is None else (socket, address.sockaddr())

    def remote_address(self, peer: Peer) -> tuple[int, SockAddr] | None:
        """Return the address that a probe for ``peer`` goes to (tinc: choose_udp_address()).

        See docs/protocol-data.md, "Remote address".
        """
        slot = peer.slot
        own = None if slot.address is None else (slot.socket, slot.address)
        if slot.confirmed:
            return own
        self._unproved_sends += 1
        if self._unproved_sends % EDGE_ADDRESS_TURN == 0:
            return own
        graph = self._topology.graph
        reverses = [graph.edge(edge.target, peer.name) for edge in graph.edges_from(peer.name)]
        targets = [target for edge in reverses if edge and (target := self.target(edge.address))]
        return self._choose(targets) or own

    def local_address(self, peer: Peer) -> tuple[int, SockAddr] | None:
        """Return an address of ``peer`` in its own network, for local discovery."""
        edges = self._topology.graph.edges_from(peer.name)
        return self._choose([target for edge in edges if (target := self.target(edge.local_address))])

    def has_local_address(self, peer: Peer) -> bool:
        """Tell whether there is an address for local discovery of ``peer``."""
        edges = self._topology.graph.edges_from(peer.name)
        return any(self.target(edge.local_address) is not None for edge in edges)

    def _choose(self, targets: list[tuple[int, SockAddr]]) -> tuple[int, SockAddr] | None:
        return targets[int(self._core.random_float() * len(targets)) % len(targets)] if targets else None

    def _socket_for(self, family: int) -> int | None:
        for index, (socket_family, _) in enumerate(self._core.sockets):
            if socket_family == family:
                return index
        return None
