"""`PeerSlot`: what the data path knows of one node of the mesh (docs/architecture.md).

The slot of a node holds exactly what a frame needs on its way, and counts what passes. It is a record: it
knows neither the table that holds it (`pytinc.datapath.table`) nor the code that writes and reads it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from pytinc.datapath.flood_meter import FloodMeter
from pytinc.protocol.sptps.datagram import DatagramSession
from pytinc.wire.address import SockAddr
from pytinc.wire.datagram import MTU_MAX, NodeId, node_id

if TYPE_CHECKING:
    from pytinc.datapath.doubt import Doubt
    from pytinc.datapath.super_frames import Assembly


class UdpPath(NamedTuple):
    """One way to send a sealed record by UDP: through which socket, to whom, under which id prefix."""

    limit: int
    """Longest record payload that a probe has proved for this path."""
    socket: int
    address: SockAddr
    prefix: bytes
    """12 bytes: destination id (zeros when sent straight to the destination) and own id."""
    relay: PeerSlot
    """The node the datagram is addressed to; its path MTU is the one an EMSGSIZE speaks of."""


class PeerSlot:
    """One node of the mesh as the data path sees it. Attributes are plain on purpose (hot path)."""

    __slots__ = (
        "address",
        "assembly",
        "clamp_mss",
        "compression",
        "confirmed",
        "connection",
        "doubt",
        "drops",
        "flooding",
        "held",
        "id",
        "in_bytes",
        "in_packets",
        "is_me",
        "maxrecentlen",
        "minmtu",
        "mtu",
        "name",
        "nexthop",
        "out_bytes",
        "out_packets",
        "paths",
        "reachable",
        "rejected",
        "rejected_since",
        "relay",
        "routed_minmtu",
        "session",
        "silent",
        "socket",
        "tcp_only",
        "upkeep_due",
    )

    def __init__(self, name: str, *, is_me: bool = False) -> None:
        self.name = name
        self.id: NodeId = node_id(name)
        self.is_me = is_me
        self.reachable = is_me
        self.silent = False
        """The guard hears nothing of it: another owner of the same subnet is preferred, if there is one."""
        # Tunnel.
        self.session: DatagramSession | None = None
        """The datagram session, from its first key on (``validkey``); None before that."""
        self.held: list[tuple[float, bytes]] = []
        """Frames that wait for a key, and since when (`pytinc.datapath.held`)."""
        self.assembly: Assembly | None = None
        """The pieces of its super-frames; None before the first one."""
        self.rejected = 0
        self.rejected_since = 0.0
        """How many of its datagrams did not open in the second that began then."""
        self.doubt: Doubt | None = None
        """What chooses the datagrams to be opened while too many do not; None at other times."""
        self.connection: int | None = None
        """The activated meta connection with this node, if it is a neighbour."""
        # Route (`ForwardingTable.set_route`): both None while unreachable.
        self.relay: PeerSlot | None = None
        """Whom datagrams for this node are sent to first: the node itself if it is reached straight."""
        self.nexthop: PeerSlot | None = None
        """The neighbour that its meta requests go to."""
        self.tcp_only = False
        """TCPONLY in this node's options or in ours: no UDP with it."""
        self.clamp_mss = False
        """CLAMP_MSS in the options of this node (for the own node: ours)."""
        self.compression = 0
        """The level at which the peer wants its packets compressed, as far as we can; 0: not at all."""
        # UDP.
        self.address: SockAddr | None = None
        self.socket = 0
        # What probes proved about UDP straight to it (`pytinc.protocol.pmtu.UdpFacts`, set by `PathMtu`).
        self.confirmed = False
        self.minmtu = 0
        self.mtu = MTU_MAX
        self.maxrecentlen = 0
        self.routed_minmtu = 0
        """What ``minmtu`` was when the UDP paths were worked out."""
        self.paths: tuple[UdpPath, ...] = ()
        """At most two, tried in order: via the static relay or straight, then via the next hop."""
        self.upkeep_due = 0.0
        """No call of the node's tunnel upkeep is needed before this time."""
        # Counters since start, frame lengths (docs/protocol-data.md, "Counters").
        self.in_packets = 0
        self.in_bytes = 0
        self.out_packets = 0
        self.out_bytes = 0
        self.drops = Drops()
        """Frames and datagrams to or from this node that went nowhere."""
        self.flooding = FloodMeter()
        """What it has sent to all in this second."""

    def __repr__(self) -> str:
        """Name only: a slot refers to other slots and to keys."""
        return f"<PeerSlot {self.name}>"


@dataclass(slots=True)
class Drops:
    """Frames and datagrams that went nowhere, by reason. The data path counts and never logs."""

    short: int = 0
    looped: int = 0
    unreachable: int = 0
    no_key: int = 0
    no_path: int = 0
    not_for_us: int = 0
    unknown_source: int = 0
    unknown_destination: int = 0
    not_authentic: int = 0
    bad_record: int = 0
    oversized: int = 0
    incomplete: int = 0
    """Super-frames of which some pieces are missing."""
    ttl_exceeded: int = 0
    storm: int = 0
    """For all, and more than the node may send to all in a second (``BroadcastLimit``)."""

    def add(self, other: Drops) -> None:
        """Count what ``other`` has counted."""
        counts = _counts_of(other)
        if counts != _NO_COUNTS:  # true of few nodes, and all are asked every second
            for reason, count in zip(REASONS, counts, strict=True):
                setattr(self, reason, getattr(self, reason) + count)


REASONS: Final = tuple(each.name for each in fields(Drops))
"""Why something goes nowhere: the names of the counters."""
_counts_of: Final = attrgetter(*REASONS)
_NO_COUNTS: Final = _counts_of(Drops())
