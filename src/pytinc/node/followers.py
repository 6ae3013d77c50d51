"""Who is told of which change of the mesh, in the one order in which they must hear of it.

A part that changes the mesh knows nobody who follows it (`pytinc.node.changes`); a new part that does gets a
line here.
"""

from __future__ import annotations

from pytinc.node.address_caches import AddressCaches
from pytinc.node.addresses import Addresses
from pytinc.node.changes import (
    Change,
    ConnectionActivated,
    ConnectionEnded,
    Happened,
    MacMoved,
    PeerForgotten,
    RoutesChanged,
    Slept,
    SubnetAdded,
    SubnetDeleted,
)
from pytinc.node.core import Core
from pytinc.node.dialling import Dialling
from pytinc.node.forwarding import Forwarding
from pytinc.node.guard import NodeGuard
from pytinc.node.history import History
from pytinc.node.loops import Loops
from pytinc.node.records import Peer
from pytinc.node.scripts import Scripts
from pytinc.node.sessions import Sessions
from pytinc.node.storms import Storms
from pytinc.node.tunnels import Tunnels


class Followers:
    """The parts of a node that follow the mesh."""

    def __init__(
        self,
        core: Core,
        addresses: Addresses,
        sessions: Sessions,
        forwarding: Forwarding,
        scripts: Scripts,
        caches: AddressCaches,
        history: History,
        guard: NodeGuard,
        dialling: Dialling,
        tunnels: Tunnels,
        storms: Storms,
        loops: Loops,
    ) -> None:
        self._core = core
        self._addresses = addresses
        self._sessions = sessions
        self._forwarding = forwarding
        self._scripts = scripts
        self._caches = caches
        self._history = history
        self._guard = guard
        self._dialling = dialling
        self._tunnels = tunnels
        self._storms = storms
        self._loops = loops

    def tell(self, change: Change, now: float) -> None:
        """Tell the parts that a change concerns, in the order in which they must learn of it."""
        match change:
            case RoutesChanged(flipped, addresses):
                for peer, address in addresses:
                    self._addresses.set_address(peer, address)
                for peer in flipped:
                    self._sessions.forget(peer)
                    peer.path.reset()
                # Once for all nodes that changed: it takes as long for one node as for a thousand.
                self._forwarding.write_routes()
                for peer in sorted(flipped, key=lambda peer: peer.name):
                    self._tell_reachability(peer, now)
            case SubnetAdded(owner, subnet) | SubnetDeleted(owner, subnet):
                is_new = isinstance(change, SubnetAdded)
                self._forwarding.write_subnet(owner, subnet, exists=is_new)
                if owner is not None and (peer := self._core.peers[owner]).reachable:
                    self._scripts.subnet(peer, subnet, up=is_new)
            case MacMoved(mac, before, owner):
                self._history.mac_moved(mac, before, owner)
            case ConnectionActivated(connection):
                self._history.connection_up(connection)
            case ConnectionEnded(connection, neighbour):
                self._history.connection_down(connection, now)
                if neighbour is not None:
                    self._guard.connection_closed(neighbour, now)
                if connection.outgoing is not None:
                    self._dialling.connection_ended(connection.outgoing, connection, now)
            case Slept():
                self._dialling.begin_anew(now)
            case PeerForgotten(peer):
                self._tunnels.forget_peer(peer)
                self._storms.forget(peer.slot)
                self._loops.forget(peer.slot)
                self._history.forget(peer)
            case Happened(kind, fields):
                self._history.happened(kind, fields)

    def _tell_reachability(self, peer: Peer, now: float) -> None:
        peer.last_state_change = int(self._core.wall_clock())
        word = "reachable" if peer.reachable else "unreachable"
        where = peer.address or "unknown port unknown"
        self._core.log(1, "info", f"Node {peer.name} ({where}) became {word}")
        self._history.reachability(peer)
        if peer.reachable and peer.connection is not None and peer.connection.outgoing is not None:
            self._caches.remember(peer, peer.connection.remote)
        self._scripts.reachability(peer)
        if not peer.reachable:
            self._addresses.set_address(peer, None)
            peer.options = 0
        self._scripts.count_reachable(peer)
        if peer.reachable:
            self._dialling.reachable(peer, now)
        self._guard.reachability(peer, now)
