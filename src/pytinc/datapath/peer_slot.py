"""`PeerSlot`: the facts that the data path knows about one node of the mesh (docs/architecture.md).

The slot of a node holds exactly the facts that forwarding a frame needs, and counters. It is a record: it
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
    """One path for sealed records by UDP: the socket, the destination and the id prefix."""

    limit: int
    """Longest record payload that a probe has proved for this path."""
    socket: int
    address: SockAddr
    prefix: bytes
    """12 bytes: destination id (zeros when sent directly to the destination) and own id."""
    relay: PeerSlot
    """The node that the datagram is addressed to; an EMSGSIZE is about the path MTU to this node."""


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
        """The guard found it silent: another owner of the same subnet is preferred, if there is one."""
        # Tunnel.
        self.session: DatagramSession | None = None
        """The datagram session, from its first key on (``validkey``); None before that."""
        self.held: list[tuple[float, bytes]] = []
        """Frames that wait for a key, each with its time of arrival (`pytinc.datapath.held`)."""
        self.assembly: Assembly | None = None
        """Assembles the pieces of its super-frames; None before the first one."""
        self.rejected = 0
        self.rejected_since = 0.0
        """How many of its datagrams could not be opened in the second that began then."""
        self.doubt: Doubt | None = None
        """Chooses the datagrams to open while too many fail; None at other times."""
        self.connection: int | None = None
        """The activated meta connection with this node, if it is a neighbour."""
        # Route (`ForwardingTable.set_route`): both None while unreachable.
        self.relay: PeerSlot | None = None
        """The node that datagrams for this node are sent to first: the node itself if it is reached
        directly."""
        self.nexthop: PeerSlot | None = None
        """The neighbour that its meta requests go to."""
        self.tcp_only = False
        """TCPONLY in this node's options or in ours: no UDP with it."""
        self.clamp_mss = False
        """CLAMP_MSS in the options of this node (for the own node: ours)."""
        self.compression = 0
        """The compression level that the peer wants, if it is available here; 0: none."""
        # UDP.
        self.address: SockAddr | None = None
        self.socket = 0
        # The facts that probes proved about direct UDP to it (`pytinc.protocol.pmtu.UdpFacts`, set by
        # `PathMtu`).
        self.confirmed = False
        self.minmtu = 0
        self.mtu = MTU_MAX
        self.maxrecentlen = 0
        self.routed_minmtu = 0
        """The value of ``minmtu`` when the UDP paths were last computed."""
        self.paths: tuple[UdpPath, ...] = ()
        """At most two, tried in order: direct or via the static relay, then via the next hop."""
        self.upkeep_due = 0.0
        """The node's tunnel upkeep need not be called before this time."""
        # Counters since start, frame lengths (docs/protocol-data.md, "Counters").
        self.in_packets = 0
        self.in_bytes = 0
        self.out_packets = 0
        self.out_bytes = 0
        self.drops = Drops()
        """Frames and datagrams to or from this node that went nowhere."""
        self.flooding = FloodMeter()
        """Counts the frames that it has sent to all in this second."""

    def __repr__(self) -> str:
        """Show only the name, because a slot refers to other slots and to keys."""
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
    """Flooded frames beyond the limit per second (``BroadcastLimit``)."""

    def add(self, other: Drops) -> None:
        """Add the counts of ``other``."""
        counts = _counts_of(other)
        if counts != _NO_COUNTS:  # true for few nodes, and all nodes are asked every second
            for reason, count in zip(REASONS, counts, strict=True):
                setattr(self, reason, getattr(self, reason) + count)


REASONS: Final = tuple(each.name for each in fields(Drops))
"""The reasons for drops: the names of the counters."""
_counts_of: Final = attrgetter(*REASONS)
_NO_COUNTS: Final = _counts_of(Drops())
