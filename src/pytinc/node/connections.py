"""The life of meta connections: accepting, dialling, PING, closing, and the end (tinc: net.c, meta.c).

Each TCP connection is a `Connection` here and a `MetaConnection` (its protocol) inside. `meta_events` acts on
what comes in, `activation` ends the login, and `dialling` decides whom to dial. The end of a connection comes
out as `ConnectionEnded`.
"""

from __future__ import annotations

import math
from functools import partial

from pytinc.node.actions import CloseMeta, Dial
from pytinc.node.admission import Admission
from pytinc.node.changes import ConnectionEnded, Slept
from pytinc.node.ciphers import cipher_with
from pytinc.node.core import Core
from pytinc.node.flood import SeenCache
from pytinc.node.invitations import Invitations
from pytinc.node.meta_output import MetaOutput
from pytinc.node.public_keys import PublicKeys
from pytinc.node.records import NEVER, Connection, Entry
from pytinc.node.request_log import RequestLog
from pytinc.node.topology import Topology
from pytinc.node.tunnels import Tunnels
from pytinc.protocol.meta import MetaConnection, State
from pytinc.wire.address import Address


class Connections:
    """Makes, checks and ends meta connections."""

    def __init__(
        self,
        core: Core,
        admission: Admission,
        meta_output: MetaOutput,
        public_keys: PublicKeys,
        seen: SeenCache,
        request_log: RequestLog,
        topology: Topology,
        tunnels: Tunnels,
        invitations: Invitations,
    ) -> None:
        self._core = core
        self._admission = admission
        self._meta_output = meta_output
        self._public_keys = public_keys
        self._seen = seen
        self._request_log = request_log
        self._topology = topology
        self._tunnels = tunnels
        self._invitations = invitations
        self._next_number = 0
        self._last_check = math.inf

    def start(self, now: float) -> None:
        """Begin to watch for a suspension of the machine."""
        self._last_check = now

    # -- beginnings --

    def accepted(self, remote: Address, local: Address, now: float) -> int:
        """Take in a TCP connection, or refuse it when there are too many at once.

        A refused connection is closed at once, without tinc's tarpit: a node that joins sees the refusal, and
        other nodes try their next address, instead of waiting in silence.
        """
        number = self._number()
        core = self._core
        if not self._admission.admits(remote, now):
            core.act(CloseMeta(number, tarpit=False))
            return number
        connection = self._make(number, None, remote, local, now)
        core.log(1, "notice", f"Connection from {connection.remote}")
        return number

    def dial(self, entry: Entry, address: Address, now: float) -> Connection:
        """Open a connection for an outgoing entry."""
        connection = self._make(self._number(), entry.name, address, Address("", "0"), now)
        connection.outgoing = entry
        connection.host_mtime = self._core.hosts.host_mtime(entry.name)
        self._core.log(1, "info", f"Trying to connect to {entry.name} ({address})")
        self._core.act(Dial(connection.number, entry.name, address))
        return connection

    def connected(self, number: int, local: Address, now: float) -> None:
        """Greet the peer: the connection we dialled is up."""
        connection = self._core.connections.get(number)
        if connection is None:
            return
        self._core.log(1, "info", f"Connected to {connection.describe()}")
        connection.local = local
        connection.last_ping = connection.started = now
        connection.meta.connected()
        self._meta_output.touch(connection)

    def _make(
        self, number: int, dialled: str | None, remote: Address, local: Address, now: float
    ) -> Connection:
        core = self._core
        meta = MetaConnection(
            core.me.name,
            dialled,
            core.private_key,
            self._public_keys.for_login,
            core.random_bytes,
            cipher_with=partial(cipher_with, core),
            invitation_key=self._invitations.key,
            insecure=core.insecure,
        )
        meta.counts = core.request_counts
        connection = Connection(number, meta, remote, local, now)
        meta.is_old_news = partial(self._is_old_news, connection)
        self._request_log.watch(connection)
        self._core.connections[number] = connection
        return connection

    def _is_old_news(self, connection: Connection, line: str) -> bool:
        """Tell whether an ADD_EDGE came before, or differs from one that is known only by its nonce.

        `EdgeRequests.on_add_edge` would ignore it as well, but only after parsing it.
        """
        if line in self._seen:
            self._meta_output.heard(connection, line)
            # The peer may have to learn that the edge has ended (`MetaOutput.tell_of_end`).
            return not connection.is_introducing(self._seen.now) or self._topology.has_edge_of(line)
        known = self._topology.line_like(line)
        if known is None:
            return False
        self._seen.seen(line, self._seen.now)
        self._meta_output.heard_as(connection, known)
        return True

    def _number(self) -> int:
        self._next_number += 1
        return self._next_number

    # -- the end --

    def closed(self, number: int, reason: str) -> None:
        """The shell says that a connection is over, or that a dial failed."""
        connection = self._core.connections.get(number)
        if connection is None:
            return
        if connection.meta.state is State.CONNECTING:
            self._core.log(1, "error", f"Could not connect to {connection.describe()}: {reason}")
        else:
            self._core.log(1, "notice", f"Connection closed by {connection.describe()}: {reason}")
        self.terminate(connection, tarpit=True)

    def terminate(self, connection: Connection, *, report: bool = True, tarpit: bool = False) -> None:
        """End a connection: withdraw its edge and tell the others.

        See docs/protocol-meta.md, "End of a connection".
        """
        core = self._core
        if self._core.connections.pop(connection.number, None) is None:
            return
        core.log(1, "notice", f"Closing connection with {connection.describe()}")
        self._meta_output.forget(connection)
        peer = connection.peer
        is_current = peer is not None and peer.connection is connection
        if peer is not None and is_current:
            peer.connection = None
            peer.slot.connection = None
        if connection.edge is not None and peer is not None:
            graph = self._topology.graph
            if report and not core.settings.tunnel_server:
                self._meta_output.broadcast(self._topology.withdraw(core.me.name, peer.name))
            if graph.edge(core.me.name, peer.name) is connection.edge:
                graph.delete_edge(core.me.name, peer.name)
            if report:
                self._topology.drop_when_unreachable(peer.name)
        core.act(CloseMeta(connection.number, tarpit))
        core.changes.note(ConnectionEnded(connection, peer if is_current else None))

    def close_all(self) -> None:
        """Close everything silently: neighbours notice the EOF (daemon exit)."""
        for connection in list(self._core.connections.values()):
            connection.outgoing = None
            self.terminate(connection, report=False)

    def close_named(self, name: str) -> bool:
        """Close every connection with ``name``."""
        found = [connection for connection in self._core.connections.values() if connection.name == name]
        for connection in found:
            self.terminate(connection)
        return bool(found)

    def close_changed(self) -> None:
        """Close connections whose host file was removed or changed after they were established.

        See docs/tinc-program.md, "Reload".

        Times of files are compared only with each other, because the wall clock may have been set meanwhile.
        """
        core = self._core
        for connection in list(self._core.connections.values()):
            modified = core.hosts.host_mtime(connection.name)
            if modified is None or modified != connection.host_mtime:
                core.log(1, "info", f"Host config file of {connection.name} has been changed")
                self.terminate(connection)

    # -- checks --

    def check_all(self, now: float) -> None:
        """Time out silent connections and ping each one every PingInterval (tinc: timeout_handler()).

        See docs/protocol-meta.md, "Pings".
        """
        core = self._core
        last, self._last_check = self._last_check, now
        if now - last > 2 * core.settings.udp_discovery_timeout:
            self._awake(now - last)
            return
        for connection in list(self._core.connections.values()):
            if connection.last_ping + core.settings.ping_timeout <= now:
                self._check(connection, now)

    def _awake(self, seconds: float) -> None:
        """Begin anew after the machine was suspended or the process stopped: the peers have given us up.

        tinc goes on with the next address and the back-off of before; we dial at once, as if just started.
        """
        self._core.log(0, "warning", f"Awaking from dead after {seconds:.0f} seconds of sleep")
        self._core.changes.note(Slept())
        for connection in list(self._core.connections.values()):
            self.terminate(connection)

    def _check(self, connection: Connection, now: float) -> None:
        core = self._core
        if not connection.activated:
            if connection.meta.state is State.CONNECTING:
                core.log(1, "warning", f"Timeout while connecting to {connection.describe()}")
            else:
                core.log(1, "warning", f"Timeout from {connection.describe()} during authentication")
            is_stranger = connection.meta.state not in (State.CONNECTING, State.INVITATION)
            self.terminate(connection, tarpit=is_stranger)
            return
        assert connection.peer is not None
        # tinc searches only while there is traffic. A search that has begun is finished here.
        self._tunnels.upkeep(connection.peer, now, search_mtu=connection.peer.path.is_searching)
        if connection.pinged:
            core.log(1, "info", f"{connection.describe()} didn't respond to PING in time")
            self.terminate(connection)
        elif connection.last_ping + core.settings.ping_interval <= now:
            self._meta_output.ping(connection, now)

    def time_out_dialled(self) -> None:
        """Give up connections still being set up (retry)."""
        for connection in list(self._core.connections.values()):
            if connection.dialled and not connection.activated:
                connection.last_ping = NEVER
