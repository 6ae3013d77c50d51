"""The statistics of the running daemon: those of the node, and those that only the shell knows.

`pytinc.net.shell` collects them on request; the control socket sends them as rows (`rows`), the listener for
Prometheus as its text (`pytinc.net.metrics`).
"""

from __future__ import annotations

from dataclasses import dataclass

from pytinc.control.statistics import DAEMON, NODE, format_row
from pytinc.net.timers import Lag
from pytinc.node.stats import NodeStats, PeerStats
from pytinc.vip.views import GuardSummary, PolicyView


@dataclass(frozen=True, slots=True)
class DaemonStats:
    """All statistics."""

    node: NodeStats
    uptime_s: float
    lag: Lag
    """The delay of the loop's timer in the last minute."""
    device_offloads: tuple[str, ...]
    """The offloads in use at the device (`pytinc.net.tap.TapDevice.offloads`)."""
    udp_offloads: tuple[str, ...]
    """The offloads in use at the sockets (`pytinc.net.udp.UdpSockets.offloads`)."""
    guard: GuardSummary
    """The guard of shared addresses; only the metrics contain it, because DUMP_SHARED says more."""
    policy: PolicyView
    """The virtual IPs by policy; only the metrics contain them, because DUMP_VIPS says more."""


def rows(stats: DaemonStats) -> list[str]:
    """Return the rows of DUMP_STATISTICS: the daemon, then each node."""
    return [_daemon_row(stats), *(_node_row(peer) for peer in stats.node.peers)]


def _daemon_row(stats: DaemonStats) -> str:
    node, lag = stats.node, stats.lag
    values = {
        "uptime_s": int(stats.uptime_s),
        "connections": node.connections,
        "macs": node.macs,
        "own_macs": node.own_macs,
        "macs_learned": node.macs_learned,
        "macs_moved": node.macs_moved,
        "macs_claimed": node.macs_claimed,
        "frames_returned": node.frames_returned,
        "lag_max_us": None if lag.samples == 0 else round(lag.maximum * 1e6),
        "lag_mean_us": None if lag.samples == 0 else round(lag.mean * 1e6),
        "device_offloads": stats.device_offloads,
        "udp_offloads": stats.udp_offloads,
        "drops": node.drops,
        "requests_in": node.requests_in,
        "requests_out": node.requests_out,
        "graph_runs": node.graph_runs,
    }
    return format_row(DAEMON, values)


def _node_row(peer: PeerStats) -> str:
    values = {
        "name": peer.name,
        "path": peer.path.value,
        "relay": peer.relay,
        "pmtu": peer.pmtu,
        "rtt_us": peer.rtt_us,
        "key_age_s": None if peer.key_age_s is None else int(peer.key_age_s),
        "fast_tag_sending": peer.fast_tag_sending,
        "fast_tag_accepting": peer.fast_tag_accepting,
        "super_frames_sending": peer.super_frames_sending,
        "super_frames_accepting": peer.super_frames_accepting,
        "cipher": None if peer.cipher is None else peer.cipher.value,
        "super_frames_cipher": None if peer.super_frames_cipher is None else peer.super_frames_cipher.value,
        "runs_pytinc": peer.runs_pytinc,
        "macs": peer.macs,
        "rx_packets": peer.rx_packets,
        "rx_bytes": peer.rx_bytes,
        "tx_packets": peer.tx_packets,
        "tx_bytes": peer.tx_bytes,
        "drops": peer.drops,
    }
    return format_row(NODE, values)
