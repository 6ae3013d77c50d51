"""What all parts of the node share.

The core knows no part. It holds the facts that all parts read (settings, peers, connections, the forwarding
table), what the node was given at its construction (keys, host files, randomness, the wall clock), and the
three things that any part may do: ask the shell for an action, write a log line, and note a change for the
others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pytinc.config.settings import Settings
from pytinc.crypto.keys import PrivateKey
from pytinc.datapath.output import Output
from pytinc.datapath.peer_slot import PeerSlot
from pytinc.datapath.table import ForwardingTable
from pytinc.node.actions import Action, Log
from pytinc.node.changes import Changes
from pytinc.node.hosts import HostSource
from pytinc.node.records import Connection, Peer
from pytinc.node.rules import own_options, path_settings, switch_rules
from pytinc.protocol.meta import RequestCounts
from pytinc.protocol.pmtu import PathMtu
from pytinc.wire.address import Address, SockAddr
from pytinc.wire.version import PROTOCOL_MINOR

COMPLAINT_INTERVAL: Final = 600.0
MAX_COMPLAINTS: Final = 64
"""Most different complaints logged at level 0 within `COMPLAINT_INTERVAL`; more would only fill the log."""
MAX_COMPLAINT_LENGTH: Final = 300
"""Most characters of a complaint, because names and errors in it come from the peer."""
SMALL_MESH: Final = 50
"""Most nodes with which each change of the mesh is processed at once, in a millisecond or less."""
MAX_JITTER: Final = 0.131071
"""Seconds; tinc spreads its timers by a random 0 to 131,071 microseconds."""


class Core:
    """Facts and services that all parts of a node share."""

    def __init__(
        self,
        settings: Settings,
        private_key: PrivateKey,
        hosts: HostSource,
        *,
        random_bytes: Callable[[int], bytes],
        random_float: Callable[[], float],
        path_mtu: Callable[[SockAddr], int | None],
        queued: Callable[[int], int],
        wall_clock: Callable[[], float],
        insecure: bool,
        takes_super_frames: bool,
        prefers_aes: bool,
    ) -> None:
        self.settings = settings
        self.private_key = private_key
        self.hosts = hosts
        self.random_bytes = random_bytes
        self.random_float = random_float
        self.path_mtu = path_mtu
        """Returns the IP MTU that the kernel knows for a destination, or None."""
        self.queued = queued
        """Returns how many bytes wait in the output of a meta connection."""
        self.wall_clock = wall_clock
        self.insecure = insecure
        """``--bypass-security``: meta connections in plain text."""
        self._takes_super_frames = takes_super_frames
        self._prefers_aes = prefers_aes
        self._path_settings = path_settings(settings, takes_super_frames, prefers_aes)
        self.sockets: tuple[tuple[int, Address], ...] = ()
        """Family (4 or 6) and bound address of each listening socket."""
        self.output = Output()
        """The packets that the data path wants to send, and its reports."""
        self.table = ForwardingTable(PeerSlot(settings.name, is_me=True), switch_rules(settings))
        self.me = self.new_peer(self.table.me)
        self.peers: dict[str, Peer] = {settings.name: self.me}
        """All nodes of the mesh by name, the own one among them. `Topology` adds and removes them."""
        self.connections: dict[int, Connection] = {}
        """All meta connections by number, oldest first. `Connections` adds and removes them."""
        self.request_counts = RequestCounts()
        """The requests on all meta connections since the start."""
        self.changes = Changes()
        self._actions: list[Action] = []
        self._complaints: dict[str, float] = {}

    def new_peer(self, slot: PeerSlot) -> Peer:
        """Return the record of a node whose slot is new."""
        return Peer(slot.name, slot, PathMtu(self._path_settings, slot))

    def apply_settings(self) -> None:
        """Apply the settings in force: to the switch, to the own node, and to the paths to all others."""
        self.table.rules = switch_rules(self.settings)
        self.me.options = own_options(self.settings) | PROTOCOL_MINOR << 24
        self.me.slot.clamp_mss = self.settings.clamp_mss
        self._path_settings = path_settings(self.settings, self._takes_super_frames, self._prefers_aes)
        for peer in self.peers.values():
            peer.path.settings = self._path_settings

    def of_slot(self, slot: PeerSlot) -> Peer:
        """Return the node behind a slot of the forwarding table."""
        return self.peers[slot.name]

    @property
    def is_large(self) -> bool:
        """The mesh has so many nodes that its changes are gathered for some milliseconds."""
        return len(self.peers) > SMALL_MESH

    @property
    def activated(self) -> list[Connection]:
        """The connections whose login is complete, oldest first."""
        return [connection for connection in self.connections.values() if connection.activated]

    # -- what any part may do --

    def act(self, action: Action) -> None:
        """Ask the shell for something."""
        self._actions.append(action)

    def take_actions(self) -> list[Action]:
        """Return what the shell has to do, in order, and forget it."""
        actions, self._actions = self._actions, []
        return actions

    def log(self, level: int, priority: str, message: str) -> None:
        """Write a log line at tinc's debug ``level``."""
        self._actions.append(Log(level, priority, message))

    def complain(self, message: str, now: float) -> None:
        """Log a complaint about a peer at level 0 the first time, and repeats within ten minutes at level 2.

        A peer must not be able to fill our log, not even with a different complaint each time: once
        `MAX_COMPLAINTS` were logged within that time, all others count as repeats.
        """
        message = message[:MAX_COMPLAINT_LENGTH]
        complaints = self._complaints
        while complaints and now - complaints[oldest := next(iter(complaints))] >= COMPLAINT_INTERVAL:
            del complaints[oldest]
        repeated = message in complaints or len(complaints) >= MAX_COMPLAINTS
        if not repeated:
            complaints[message] = now
        self.log(2 if repeated else 0, "error", message)

    # -- chance --

    def nonce(self) -> int:
        """Return 32 random bits: no two announcements may be equal."""
        return int.from_bytes(self.random_bytes(4), "big")

    def jitter(self) -> float:
        """Return the random seconds that spread a timer."""
        return self.random_float() * MAX_JITTER
