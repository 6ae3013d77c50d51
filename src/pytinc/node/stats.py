"""Views of the node for commands and metrics: plain values without references to live state.

The shell takes one when somebody asks (`pytinc.net.statistics`): a control client, or a scrape by Prometheus.
The counters are those that the data path and the tunnels keep anyway. Nothing is formatted here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from pytinc.datapath.peer_slot import REASONS
from pytinc.node.path_kind import PathKind, path_of
from pytinc.node.records import NEVER
from pytinc.wire.capabilities import Capability
from pytinc.wire.records import SptpsCipher
from pytinc.wire.requests import Number

if TYPE_CHECKING:
    from pytinc.node.node import Node
    from pytinc.node.records import Peer


@dataclass(frozen=True, slots=True)
class PeerStats:
    """One node of the mesh (the own node included: there ``rx`` is what came from the device)."""

    name: str
    reachable: bool
    path: PathKind
    relay: str | None
    """The node to which frames go first, where it is not the node itself."""
    pmtu: int | None
    """The longest frame that goes by UDP on this path; None where UDP is not used."""
    rtt_us: int | None
    """Round trip time of the last UDP probe, in microseconds."""
    key_age_s: float | None
    """Seconds since the present key came into force; None without a key."""
    fast_tag_sending: bool | None
    """Data for it that leaves by UDP gets the fast tag (docs/protocol.md); None without a key."""
    fast_tag_accepting: bool | None
    """It was told that we take the fast tag; None without a key."""
    super_frames_sending: bool | None
    """Super-frames for it go as they are (docs/protocol.md); None without a key."""
    super_frames_accepting: bool | None
    """Whether this node tells it that it takes them; None without a key."""
    cipher: SptpsCipher | None
    """Of the session; None without a key."""
    super_frames_cipher: SptpsCipher | None
    """Of the super-frames for it; None if none are sent."""
    runs_pytinc: bool | None
    """Whether its UDP probes say so (docs/protocol.md); None as long as it has answered none."""
    macs: int
    """MAC addresses that it owns."""
    rx_packets: int
    rx_bytes: int
    tx_packets: int
    tx_bytes: int
    drops: Mapping[str, int]
    """Frames to or from it that went nowhere, by reason: the fields of `pytinc.datapath.peer_slot.Drops`
    that are not 0. There may be thousands of nodes, and most lose nothing."""


@dataclass(frozen=True, slots=True)
class NodeStats:
    """The node as a whole."""

    name: str
    peers: tuple[PeerStats, ...]
    """All nodes it knows, by name."""
    connections: int
    """Meta connections, those that have not logged in yet among them."""
    drops: Mapping[str, int]
    """All frames and datagrams that went nowhere, whosever they were, by reason."""
    macs: int
    """MAC addresses known of all nodes."""
    own_macs: int
    """Those learned from the own device that have not aged."""
    macs_learned: int
    """How many were learned since the start; one that comes back after it aged counts again."""
    macs_moved: int
    """How often a MAC was announced or learned while another node owned it."""
    macs_claimed: int
    """How often a node was found to claim the MAC of another with a lower weight."""
    frames_returned: int
    """Flooded frames that came back (`pytinc.datapath.loops`)."""
    requests_in: Mapping[str, int]
    """Requests that came on meta connections after their greeting, by name; those that never came are left
    out."""
    requests_out: Mapping[str, int]
    """The same of requests that were sent: one that goes to all neighbours counts once for each."""
    graph_runs: int
    """How often the graph was run."""


def node_stats(node: Node, now: float) -> NodeStats:
    """Take the picture."""
    table = node.table
    owned = Counter(slot.name for slot in table.macs.values())
    return NodeStats(
        name=node.me.name,
        peers=tuple(_peer_stats(node.peers[name], owned[name], now) for name in sorted(node.peers)),
        connections=len(node.core.connections),
        drops=asdict(table.total_drops()),
        macs=len(table.macs),
        own_macs=len(table.own_macs),
        macs_learned=node.subnets.learned,
        macs_moved=node.subnets.moved,
        macs_claimed=node.subnets.claimed,
        frames_returned=table.floods.returned,
        requests_in=_by_name(node.core.request_counts.received),
        requests_out=_by_name(node.core.request_counts.sent),
        graph_runs=node.topology.runs,
    )


def _by_name(counts: Mapping[Number, int]) -> dict[str, int]:
    return {number.name: counts[number] for number in sorted(counts)}


def _peer_stats(peer: Peer, macs: int, now: float) -> PeerStats:
    slot = peer.slot
    session = slot.session
    path, relay = path_of(slot)
    by_udp = path in (PathKind.UDP, PathKind.RELAYED)
    return PeerStats(
        name=peer.name,
        reachable=peer.reachable,
        path=path,
        relay=relay,
        pmtu=slot.paths[0].limit if by_udp else None,
        rtt_us=None if peer.path.udp_ping_rtt < 0 else peer.path.udp_ping_rtt,
        key_age_s=None if session is None or peer.key_since == NEVER else now - peer.key_since,
        fast_tag_sending=None if session is None else session.peer_accepts_fast,
        fast_tag_accepting=None if session is None else session.accepts_fast,
        super_frames_sending=None if session is None else session.peer_accepts_super_frames,
        super_frames_accepting=None
        if session is None
        else session.accepts_super_frames and Capability.SUPER_FRAMES in peer.path.capabilities,
        cipher=None if session is None else session.cipher,
        super_frames_cipher=None if session is None else session.super_frames_cipher,
        runs_pytinc=_runs_pytinc(peer),
        macs=macs,
        rx_packets=slot.in_packets,
        rx_bytes=slot.in_bytes,
        tx_packets=slot.out_packets,
        tx_bytes=slot.out_bytes,
        drops={reason: count for reason in REASONS if (count := getattr(slot.drops, reason))},
    )


def _runs_pytinc(peer: Peer) -> bool | None:
    if peer.slot.is_me or peer.keeps_session:
        return True
    return None if peer.path.udp_ping_rtt < 0 else False
