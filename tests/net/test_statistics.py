"""The daemon's statistics as rows of the control socket: the client reads the counted values."""

from __future__ import annotations

import pytest

from net.daemon_stats import BETA, daemon, peer
from pytinc.control.statistics import DAEMON_FIELDS, DROPS, NODE_FIELDS, parse_rows
from pytinc.net.statistics import rows
from pytinc.net.timers import Lag
from pytinc.node.path_kind import PathKind


def test_the_daemon_comes_first_and_then_each_node() -> None:
    lines = rows(daemon(BETA, peer("gamma", PathKind.NONE)))
    assert [line.split()[2] for line in lines] == ["daemon", "node", "node", "node"]
    assert list(parse_rows(lines).nodes) == ["alpha", "beta", "gamma"]


def test_every_documented_field_is_written() -> None:
    found = parse_rows(rows(daemon(BETA)))
    assert set(found.daemon) == set(DAEMON_FIELDS)
    assert set(found.nodes["beta"]) == set(NODE_FIELDS)


def test_the_daemon_is_described() -> None:
    told = parse_rows(rows(daemon())).daemon
    assert told == {
        "uptime_s": 12,
        "connections": 1,
        "macs": 3,
        "own_macs": 1,
        "macs_learned": 5,
        "macs_moved": 2,
        "macs_claimed": 3,
        "frames_returned": 7,
        "requests_in": {"PING": 1, "ADD_EDGE": 12},
        "requests_out": {"PONG": 1},
        "graph_runs": 6,
        "lag_max_us": 250_000,
        "lag_mean_us": 1000,
        "device_offloads": ["checksum", "TSO4"],
        "udp_offloads": ["GSO"],
        "drops": {**dict.fromkeys(DROPS, 0), "no_key": 4},
    }


def test_a_node_is_described() -> None:
    told = parse_rows(rows(daemon(BETA))).nodes["beta"]
    assert told == {
        "path": "udp",
        "relay": None,
        "pmtu": 1439,
        "rtt_us": 1500,
        "key_age_s": 60,
        "fast_tag_sending": False,
        "fast_tag_accepting": True,
        "super_frames_sending": True,
        "super_frames_accepting": False,
        "cipher": "chacha20-poly1305",
        "super_frames_cipher": "aes-256-gcm",
        "runs_pytinc": None,
        "macs": 1,
        "rx_packets": 10,
        "rx_bytes": 1000,
        "tx_packets": 20,
        "tx_bytes": 2000,
        "drops": {**dict.fromkeys(DROPS, 0), "no_key": 3},
    }


def test_an_unknown_value_is_null() -> None:
    told = parse_rows(rows(daemon(peer("gamma", PathKind.RELAYED, relay="beta")))).nodes["gamma"]
    assert told["relay"] == "beta"
    for name in (
        "pmtu",
        "rtt_us",
        "key_age_s",
        "fast_tag_sending",
        "super_frames_accepting",
        "cipher",
        "super_frames_cipher",
    ):
        assert told[name] is None


@pytest.mark.parametrize(("samples", "told"), [(0, (None, None)), (1, (2000, 1000))])
def test_lag_is_reported_only_if_it_was_measured(samples: int, told: tuple[object, object]) -> None:
    found = parse_rows(rows(daemon(lag=Lag(samples, 0.001, 0.002)))).daemon
    assert (found["lag_max_us"], found["lag_mean_us"]) == told


def test_the_age_of_a_key_is_in_whole_seconds() -> None:
    told = parse_rows(rows(daemon(peer("beta", PathKind.UDP, key_age_s=59.99)))).nodes["beta"]
    assert told["key_age_s"] == 59
