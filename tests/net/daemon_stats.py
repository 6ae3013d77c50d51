"""Made-up statistics of a daemon."""

from __future__ import annotations

from typing import Any

from pytinc.net.statistics import DaemonStats
from pytinc.net.timers import Lag
from pytinc.node.path_kind import PathKind
from pytinc.node.stats import NodeStats, PeerStats
from pytinc.vip.views import GuardCounters, GuardSummary, PolicyView
from pytinc.wire.records import SptpsCipher


def peer(name: str, path: PathKind, **changes: Any) -> PeerStats:
    values: dict[str, Any] = {
        "name": name,
        "reachable": path is not PathKind.NONE,
        "path": path,
        "relay": None,
        "pmtu": None,
        "rtt_us": None,
        "key_age_s": None,
        "fast_tag_sending": None,
        "fast_tag_accepting": None,
        "super_frames_sending": None,
        "super_frames_accepting": None,
        "cipher": None,
        "super_frames_cipher": None,
        "runs_pytinc": None,
        "macs": 1,
        "rx_packets": 10,
        "rx_bytes": 1000,
        "tx_packets": 20,
        "tx_bytes": 2000,
        "drops": {},
    }
    return PeerStats(**(values | changes))


LATE = Lag(3, 0.001, 0.25)


IDLE = GuardSummary(0, 0, None, GuardCounters())


NO_VIPS = PolicyView(draining=False, addresses=())


def daemon(
    *peers: PeerStats, lag: Lag = LATE, guard: GuardSummary = IDLE, policy: PolicyView = NO_VIPS
) -> DaemonStats:
    node = NodeStats(
        name="alpha",
        peers=(peer("alpha", PathKind.SELF), *peers),
        connections=1,
        drops={"no_key": 4, "oversized": 0},
        macs=3,
        own_macs=1,
        macs_learned=5,
        macs_moved=2,
        macs_claimed=3,
        frames_returned=7,
        requests_in={"PING": 1, "ADD_EDGE": 12},
        requests_out={"PONG": 1},
        graph_runs=6,
    )
    return DaemonStats(node, 12.5, lag, ("checksum", "TSO4"), ("GSO",), guard, policy)


BETA = peer(
    "beta",
    PathKind.UDP,
    pmtu=1439,
    rtt_us=1500,
    key_age_s=60.0,
    fast_tag_sending=False,
    fast_tag_accepting=True,
    super_frames_sending=True,
    super_frames_accepting=False,
    cipher=SptpsCipher.CHACHA20_POLY1305,
    super_frames_cipher=SptpsCipher.AES_256_GCM,
    drops={"no_key": 3},
)
