"""The plain records of the control plane: one node of the mesh, one meta connection, one outgoing entry.

They hold facts and answer simple questions about themselves; the parts of the node act on them (tinc: node_t,
connection_t, outgoing_t).
"""

from __future__ import annotations

import enum
import math
from typing import Final

from pytinc.config.settings import HostPort
from pytinc.datapath.peer_slot import PeerSlot
from pytinc.protocol.graph import Edge, Route
from pytinc.protocol.meta import MetaConnection, State
from pytinc.protocol.outgoing import Outgoing
from pytinc.protocol.pmtu import PathMtu
from pytinc.protocol.sptps.datagram import DatagramSession
from pytinc.vip.allowance import Allowance
from pytinc.wire.address import Address
from pytinc.wire.bits import OptionBits, options_version

NEVER: Final = -math.inf
"""The time of something that has not happened yet."""
SPTPS_VERSION: Final = 2
"""Protocol minor from which on nodes have SPTPS sessions with each other."""
RELAY_VERSION: Final = 4
"""Protocol minor from which on datagrams carry node ids and can be relayed."""
ANSWER_BURST: Final = 10
ANSWER_RATE: Final = 10
"""Requests for a session that are answered in a burst, and per second, for one node."""


class Peer:
    """One node of the mesh, the own one included: its place in the graph, its session, its addresses.

    Its `PeerSlot` holds the facts that the data path needs; its `PathMtu` holds path MTU and UDP discovery.
    """

    __slots__ = (
        "address",
        "answering",
        "answers",
        "asking",
        "connection",
        "exchange_seen",
        "failed_since",
        "failure_mark",
        "fast_until",
        "host_addresses",
        "incomplete_told",
        "is_guard",
        "keeps_session",
        "key_asked",
        "key_attempts",
        "key_since",
        "keys_noted",
        "last_relay",
        "last_req_key",
        "last_state_change",
        "learned_key",
        "mtu_info_sent",
        "name",
        "options",
        "other_mode_said",
        "out_compression",
        "path",
        "relayed_at",
        "relayed_packets",
        "roaming",
        "roaming_sent",
        "route",
        "slot",
        "takes_records",
        "udp_info_sent",
        "virtual_ips",
    )

    def __init__(self, name: str, slot: PeerSlot, path: PathMtu) -> None:
        self.name = name
        self.slot = slot
        self.path = path
        self.route: Route | None = None
        self.options = 0
        self.address: Address | None = None
        """Its UDP address as text; the slot holds the form for sockets."""
        self.host_addresses: tuple[HostPort, ...] = ()
        """The Address lines of its host file: AutoConnect may dial it."""
        self.virtual_ips: tuple[bytes, ...] = ()
        """The virtual IPs that its host file lets it serve."""
        self.connection: Connection | None = None
        self.last_state_change = 0
        """Wall-clock second in which it last became reachable or unreachable."""
        # Datagram session.
        self.asking: DatagramSession | None = None
        """The session that this node last started, until it has keys; the session in use is in the slot."""
        self.answering: DatagramSession | None = None
        """The session that the peer last started, until it has keys; until then nothing proves who started
        it."""
        self.answers = Allowance(ANSWER_BURST, ANSWER_RATE)
        """Limits how often its requests for a session are answered."""
        self.keeps_session = False
        """Its probes show that it is a pytinc node: it drops no session before the next one is signed."""
        self.last_req_key = NEVER
        """When this node last asked for a session, or got a new one."""
        self.key_attempts = 0
        self.key_since = NEVER
        """When the present key of the session in the slot came into force, as far as handshakes told."""
        self.keys_noted = 0
        """`DatagramSession.key_changes` at that time."""
        self.exchange_seen = (0, NEVER)
        """``key_changes`` and the time at which the present key exchange was first seen."""
        self.key_asked = NEVER
        """When REQ_PUBKEY was last sent."""
        self.learned_key: str | None = None
        self.out_compression = 0
        self.failed_since = NEVER
        """When the present series of bad records from its confirmed address began."""
        self.failure_mark = 0
        """``slot.in_packets`` at that time."""
        self.fast_until = NEVER
        """When its last announcement of the fast tag (or super-frames) expires."""
        self.incomplete_told = NEVER
        """When this node last reported lost pieces of super-frames to it."""
        self.other_mode_said = NEVER
        """When the log last said that its Mode differs from ours."""
        self.is_guard = False
        """Its probes say that it takes care of its own stations (`pytinc.vip`)."""
        self.takes_records = False
        """Its probes say that it takes member records of virtual IPs."""
        # Addresses.
        self.roaming: Address | None = None
        """An address from which authentic data came, not yet proved by a probe."""
        self.roaming_sent = NEVER
        self.last_relay: str | None = None
        """The relay that brought its last indirect datagram, ..."""
        self.relayed_at = NEVER
        """... and when."""
        self.relayed_packets = 0
        """``slot.in_packets`` at that time: packets counted later came directly."""
        self.udp_info_sent = NEVER
        self.mtu_info_sent = NEVER

    def __repr__(self) -> str:
        """Show only the name, because a peer refers to sessions and keys."""
        return f"<Peer {self.name}>"

    @property
    def has_address(self) -> bool:
        """Its host file has an Address."""
        return bool(self.host_addresses)

    @property
    def reachable(self) -> bool:
        """A path of edges, each with its reverse, leads to it."""
        return self.slot.reachable

    @property
    def version(self) -> int:
        """Protocol minor it announced; 0 while unreachable."""
        return options_version(self.options)

    @property
    def sptps(self) -> bool:
        """It has (or can have) an SPTPS session with us."""
        return self.version >= SPTPS_VERSION

    @property
    def valid_key(self) -> bool:
        """We have a key to send to it."""
        return self.slot.session is not None

    @property
    def waiting_for_key(self) -> bool:
        """A handshake is under way that this node started, or that will give the first key."""
        return self.asking is not None or (self.answering is not None and not self.valid_key)

    def note_key(self, session: DatagramSession, now: float) -> None:
        """Remember when a key came into force: after each message of a handshake, for statistics."""
        if session is not self.slot.session or session.key_changes != self.keys_noted:
            self.key_since, self.keys_noted = now, session.key_changes

    @property
    def tcp_only(self) -> bool:
        """It announced TCPONLY."""
        return bool(self.options & OptionBits.TCPONLY)

    @property
    def is_neighbour(self) -> bool:
        """An activated meta connection leads to it."""
        return self.connection is not None


INTRODUCTION: Final = 10.0
"""Seconds after the activation of a connection within which the peer introduces the mesh."""


class Connection:
    """One meta connection and what the node keeps about it."""

    __slots__ = (
        "activated_at",
        "edge",
        "endings",
        "host_mtime",
        "last_ping",
        "local",
        "meta",
        "news",
        "news_free",
        "number",
        "options",
        "outgoing",
        "peer",
        "pinged",
        "remote",
        "started",
        "weight",
    )

    def __init__(
        self, number: int, meta: MetaConnection, remote: Address, local: Address, now: float
    ) -> None:
        self.number = number
        self.meta = meta
        self.remote = remote
        self.local = local
        self.peer: Peer | None = None
        """The node at the other end, from activation on."""
        self.outgoing: Entry | None = None
        """The outgoing entry this connection serves."""
        self.host_mtime: float | None = None
        """The modification time of the host file that authenticated the peer; None while it is unknown."""
        self.options = 0
        self.weight = 0
        self.edge: Edge | None = None
        self.pinged = False
        self.last_ping = now
        self.started = now
        self.activated_at = NEVER
        self.endings = (0, 0)
        """How many edges and subnets had ended by then: this node has not told the peer of these ends."""
        self.news: dict[str, bool] = {}
        """Announcements that wait to be sent (`pytinc.node.meta_output`); true if they introduce the mesh."""
        self.news_free = NEVER
        """The time from which on announcements may be sent."""

    @property
    def name(self) -> str:
        """The name of the peer, if known; it may be unproved."""
        return self.meta.name or "<unknown>"

    @property
    def activated(self) -> bool:
        """The login is complete; an edge exists."""
        return self.meta.state is State.ACTIVE

    def is_introducing(self, now: float) -> bool:
        """Tell whether the peer may still be introducing the mesh, as each peer does at first."""
        return now < self.activated_at + INTRODUCTION

    @property
    def dialled(self) -> bool:
        """We opened this connection."""
        return self.meta.dialled is not None

    @property
    def version(self) -> int:
        """Protocol minor of the peer."""
        return options_version(self.options)

    def describe(self) -> str:
        """Return name and address as log lines show them."""
        return f"{self.name} ({self.remote})"


class Sign(enum.Enum):
    """Whether a sign has come that an awaited node may be back, and what followed from it."""

    NONE = "none since the last round that was due"
    SEEN = "the next round is an early one"
    USED = "the last round was an early one"


class Entry:
    """One outgoing entry: a node we want to be connected to (tinc: outgoing_t)."""

    def __init__(self, name: str, state: Outgoing) -> None:
        self.name = name
        self.state = state
        self.connection: Connection | None = None
        self.retry_at = math.inf
        self.waits_since = NEVER
        self.resolving = False
        self.sign = Sign.NONE

    @property
    def is_connected(self) -> bool:
        """The node has logged in on the connection of this entry."""
        return self.connection is not None and self.connection.activated

    def restart_addresses(self) -> None:
        """Start again with the most recent cached address."""
        self.state.restart()
