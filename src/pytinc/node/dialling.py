"""Outgoing connections: nodes to dial, their addresses and times (tinc: net_socket.c, autoconnect.c).

The order of addresses, the back-off and AutoConnect's choice are in `pytinc.protocol.outgoing`; here
they meet the graph, the host files and the connections.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from pytinc.node.actions import Resolve
from pytinc.node.address_caches import AddressCaches
from pytinc.node.connections import Connections
from pytinc.node.core import Core
from pytinc.node.records import Connection, Entry, Peer, Sign
from pytinc.node.topology import Topology
from pytinc.protocol.outgoing import (
    Candidate,
    Outgoing,
    Prospect,
    ResolveNext,
    Try,
    Wait,
    auto_connect,
)
from pytinc.wire.address import Address

PROVED_AFTER: Final = 10.0
"""Seconds of activity after which a connection proves that the address and the login are good."""
SHORTEST_WAIT: Final = 1.0
"""Least seconds between two rounds for one node, whatever other nodes announce."""
SIGN_WAIT: Final = 3.0
"""Least seconds between a round for one node and an early round after a sign that the node may be back."""


class Dialling:
    """All outgoing entries."""

    def __init__(
        self, core: Core, topology: Topology, caches: AddressCaches, connections: Connections
    ) -> None:
        self._core = core
        self._topology = topology
        self._caches = caches
        self._connections = connections
        self._entries: dict[str, Entry] = {}

    # -- life --

    def start(self, now: float) -> None:
        """Dial every ConnectTo."""
        for name in self._configured():
            self._start_entry(self._make(name), now)

    def stop(self) -> None:
        """Stop dialling."""
        self._entries.clear()

    def reload(self, now: float) -> None:
        """Start new entries of the configuration, and drop removed ones, AutoConnect's entries included."""
        wanted = self._configured()
        for name in [name for name in self._entries if name not in wanted]:
            self._drop(self._entries[name])
        for name in wanted:
            entry = self._entries.get(name)
            if entry is None:
                self._start_entry(self._make(name), now)
            else:
                entry.state.max_timeout = self._core.settings.max_timeout
                entry.state.reset_backoff()

    def retry(self, now: float) -> None:
        """Forget all back-offs and try what waits."""
        for entry in list(self._entries.values()):
            entry.state.reset_backoff()
            if entry.retry_at < math.inf:
                self._start_entry(entry, now)

    def begin_anew(self, now: float) -> None:
        """Start every search afresh, without back-off: the machine may be in another network now."""
        for entry in self._entries.values():
            entry.restart_addresses()
        self.retry(now)

    def _configured(self) -> list[str]:
        me = self._core.me.name
        return [name for name in dict.fromkeys(self._core.settings.connect_to) if name != me]

    def _make(self, name: str) -> Entry:
        self._topology.peer(name, limited=False)
        entry = Entry(name, Outgoing(name, self._core.settings.max_timeout))
        self._entries[name] = entry
        return entry

    def _drop(self, entry: Entry) -> None:
        self._entries.pop(entry.name, None)
        connection = entry.connection
        if connection is not None:
            connection.outgoing = None
            self._connections.terminate(connection)

    # -- dialling --

    def _start_entry(self, entry: Entry, now: float) -> None:
        """Begin a round of attempts, unless the node is connected already.

        See docs/protocol-meta.md, "Dialling".
        """
        entry.retry_at = math.inf
        peer = self._topology.peer(entry.name, limited=False)
        if peer.connection is not None:
            self._adopt(entry, peer.connection)
            return
        if entry.connection is None and not entry.resolving:
            self._try_next(entry, now)

    def _adopt(self, entry: Entry, connection: Connection) -> None:
        """Attach the entry to the connection that exists, so that its end starts the entry again."""
        if connection.outgoing is None:
            connection.outgoing = entry
            entry.connection = connection

    def _try_next(self, entry: Entry, now: float) -> None:
        match entry.state.next(self._candidate(entry.name)):
            case Try(address):
                entry.connection = self._connections.dial(entry, address, now)
            case ResolveNext(host, port):
                entry.resolving = True
                self._core.act(Resolve(entry.name, host, port))
            case Wait(seconds, spread):
                if spread:
                    seconds *= (1 + self._core.random_float()) / 2
                if entry.sign is Sign.SEEN:
                    seconds = min(seconds, SIGN_WAIT)
                entry.waits_since = now
                entry.retry_at = now + seconds + self._core.jitter()
                self._core.log(
                    1, "info", f"Trying to re-establish outgoing connection in {seconds:.0f} seconds"
                )

    def _candidate(self, name: str) -> Candidate:
        """Return the known addresses of ``name``."""
        graph = self._topology.graph
        reverses = [graph.edge(edge.target, name) for edge in graph.edges_from(name)]
        host = self._core.hosts.host_settings(name)
        configured: list[tuple[str, str]] = []
        if host is not None:
            default = host.port or "655"
            configured = [(address.host, address.port or default) for address in host.addresses]
        return Candidate(
            cached=self._caches.of(name).addresses,
            from_graph=tuple(edge.address for edge in reversed(reverses) if edge is not None),
            configured=tuple(configured),
            for_command=self._core.settings.proxy.kind == "exec",
            only_missing=sum(not entry.is_connected for entry in self._entries.values()) == 1,
        )

    def resolved(self, name: str, addresses: Sequence[Address], now: float) -> None:
        """Go on with the addresses a look-up gave."""
        entry = self._entries.get(name)
        if entry is None or not entry.resolving:
            return
        entry.resolving = False
        entry.state.resolved(addresses)
        if entry.connection is None and entry.retry_at == math.inf:
            self._start_entry(entry, now)

    def connection_ended(self, entry: Entry, ended: Connection, now: float) -> None:
        """A connection of this entry has ended or was never established: go on with the next address.

        After the end of a connection that lasted for a while, the addresses and the back-off start anew
        (tinc: only after a PONG).
        """
        entry.connection = None
        if ended.activated:
            entry.sign = Sign.NONE
        if ended.activated and now - ended.activated_at >= PROVED_AFTER:
            entry.state.reset_backoff()
            entry.state.restart()
        if self._entries.get(entry.name) is entry:
            self._start_entry(entry, now)

    def reachable(self, peer: Peer, now: float) -> None:
        """Other nodes announce that a node is reachable: dial it soon, if a round is awaited."""
        entry = self._entries.get(peer.name)
        if entry is not None and entry.retry_at < math.inf and peer.connection is None:
            entry.state.reset_backoff()
            entry.state.restart()
            # Announcements may be false: they must not make this node dial faster than this.
            entry.retry_at = min(entry.retry_at, max(now, entry.waits_since + SHORTEST_WAIT))

    def heard(self, peer: Peer, now: float) -> None:
        """An authentic datagram has come directly from a node: dial it early, if a round is awaited."""
        entry = self._entries.get(peer.name)
        if entry is not None:
            self._dial_early(entry, now)

    def network_came_up(self, now: float) -> None:
        """An interface of this host has got a link or an address: dial all awaited nodes early."""
        for entry in self._entries.values():
            self._dial_early(entry, now)

    def _dial_early(self, entry: Entry, now: float) -> None:
        """Shorten the present wait, or the next one; once per regular round.

        The limit matters because signs may keep coming without meaning: UDP to a node may work while TCP does
        not.
        """
        if entry.is_connected or entry.sign is not Sign.NONE:
            return
        entry.sign = Sign.SEEN
        if entry.retry_at < math.inf:
            entry.state.restart()
            entry.retry_at = min(entry.retry_at, max(now, entry.waits_since + SIGN_WAIT))

    def proved(self, entry: Entry, peer: Peer, address: Address) -> None:
        """A PONG came on the entry's connection: end the back-off and remember the address."""
        if entry.state.backoff:
            entry.state.reset_backoff()
            entry.state.restart()
            self._caches.remember(peer, address)

    # -- time --

    def next_deadline(self) -> float:
        """Return when the next entry wants to be tried again."""
        return min([entry.retry_at for entry in self._entries.values()], default=math.inf)

    def tick(self, now: float) -> None:
        """Try the entries whose wait is over."""
        for entry in list(self._entries.values()):
            if entry.retry_at <= now:
                entry.sign = Sign.USED if entry.sign is Sign.SEEN else Sign.NONE
                self._start_entry(entry, now)

    # -- AutoConnect --

    def auto_connect(self, now: float) -> None:
        """Keep about three connections (AutoConnect, docs/protocol-meta.md, "AutoConnect")."""
        core = self._core
        if not core.settings.auto_connect or len(core.peers) < 2:
            return
        prospects = [self._prospect(peer) for name, peer in sorted(core.peers.items()) if peer is not core.me]
        decision = auto_connect(prospects, core.random_float)
        if decision.disconnect is not None:
            entry = self._entries[decision.disconnect]
            core.log(1, "info", f"Autodisconnecting from {decision.disconnect}")
            self._drop(entry)
        if decision.drop_waiting:
            for name in [name for name, entry in self._entries.items() if entry.connection is None]:
                del self._entries[name]
        if decision.connect is not None:
            core.log(1, "info", f"Autoconnecting to {decision.connect}")
            self._start_entry(self._make(decision.connect), now)

    def _prospect(self, peer: Peer) -> Prospect:
        connection = peer.connection
        return Prospect(
            peer.name,
            connected=connection is not None,
            dialled=connection is not None and connection.outgoing is not None,
            has_entry=peer.name in self._entries,
            reachable=peer.reachable,
            has_address=peer.has_address,
            is_known=self._core.hosts.host_mtime(peer.name) is not None,
            edges=len(self._topology.graph.edges_from(peer.name)),
        )
