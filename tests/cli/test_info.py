"""info: reports about nodes, subnets and addresses."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cli.conftest import Result, Run, ScriptedDaemon

SUBNETS = """\
18 5 ff:ff:ff:ff:ff:ff (broadcast)
18 5 02:00:00:00:00:01 beta
18 5 10.21.1.1 beta
18 5 10.21.0.0/16#20 beta
18 5 10.0.0.0/8 alpha
18 5 fd00:1::/64 alpha
18 5
"""
EDGES = """\
18 4 alpha beta 192.168.77.2 port 655 192.168.77.1 port 655 700000c 1
18 4 beta alpha 192.168.77.1 port 655 unspec port unspec 700000c 1
18 4 beta gamma 192.168.77.1 port 655 unspec port unspec 700000c 1
18 4
"""


@pytest.fixture
def info(run: Run, daemon: ScriptedDaemon, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    daemon.answers |= {"4": EDGES, "5": SUBNETS}

    def invoke(item: str, node: str = "") -> Result:
        daemon.answers["3"] = f"18 3 beta 560c72de72c0 {node}\n18 3\n" if node else "18 3\n"
        return run("-c", "conf", "--pidfile", daemon.pidfile, "info", item)

    return invoke


def test_a_node_is_described(info: Run) -> None:
    row = "192.168.77.2 port 655 0 0 0 0 700000c da beta beta 1 1439 1439 1439 1795377436 176 7 454 5 418"
    assert info("beta", row).out == (
        "Node:         beta\n"
        "Node ID:      560c72de72c0\n"
        "Address:      192.168.77.2 port 655\n"
        "Online since: 2026-11-22 19:57:16\n"
        "Status:       validkey visited reachable sptps udp_confirmed\n"
        "Options:      pmtu_discovery clamp_mss\n"
        "Protocol:     17.7\n"
        "Reachability: directly with UDP\n"
        "PMTU:         1439\n"
        "RTT:          0.176\n"
        "RX:           7 packets  454 bytes\n"
        "TX:           5 packets  418 bytes\n"
        "Edges:        alpha gamma\n"
        "Subnets:      02:00:00:00:00:01 10.21.1.1 10.21.0.0/16#20\n"
    )


def test_empty_lists_leave_the_bare_label(info: Run) -> None:
    row = "unknown port unknown 0 0 0 0 0 0 - - -1 1518 0 1518 0 -1 0 0 0 0"
    lines = info("beta", row).out.splitlines()
    assert lines[3:7] == ["Last seen:    never", "Status:      ", "Options:     ", "Protocol:     17.0"]


@pytest.mark.parametrize(
    ("row", "reachability"),
    [
        ("MYSELF port 655 0 0 0 0 c 10 beta beta 0 1518 0 1518 9 -1", "can reach itself"),
        ("1.1.1.1 port 1 0 0 0 0 c 0 - - -1 1518 0 1518 9 -1", "unreachable"),
        ("1.1.1.1 port 1 0 0 0 0 c 12 alpha alpha 2 1518 0 1518 9 -1", "indirectly via alpha"),
        ("1.1.1.1 port 1 0 0 0 0 c 10 beta beta 1 1518 0 1518 9 -1", "unknown"),
        ("1.1.1.1 port 1 0 0 0 0 c 12 beta beta 1 1518 0 1518 9 -1", "directly with TCP"),
        ("1.1.1.1 port 1 0 0 0 0 c 12 gamma beta 2 1518 0 1518 9 -1", "none, forwarded via gamma"),
    ],
)
def test_how_a_node_is_reached(info: Run, row: str, reachability: str) -> None:
    assert f"\nReachability: {reachability}\nRX:" in info("beta", row + " 0 0 0 0").out


def test_an_unknown_round_trip_time_is_left_out(info: Run) -> None:
    row = "1.1.1.1 port 1 0 0 0 0 c 12 beta beta 1 1400 1400 1518 9 -1 0 0 0 0"
    assert "directly with UDP\nPMTU:         1400\nRX:" in info("beta", row).out


@pytest.mark.parametrize(
    ("item", "owners"),
    [
        ("10.21.1.1", [("10.21.1.1", "beta"), ("10.21.0.0/16#20", "beta"), ("10.0.0.0/8", "alpha")]),
        ("10.21.1.1#20", [("10.21.0.0/16#20", "beta")]),
        ("10.21.0.0/16", [("10.21.0.0/16#20", "beta")]),
        ("10.21.0.0/16#20", [("10.21.0.0/16#20", "beta")]),
        ("10.21.1.1/32", [("10.21.1.1", "beta")]),
        ("fd00:1::5", [("fd00:1::/64", "alpha")]),
        ("FF:ff:FF:ff:FF:ff", [("ff:ff:ff:ff:ff:ff", "(broadcast)")]),
        ("2:0:0:0:0:1", [("02:00:00:00:00:01", "beta")]),
    ],
)
def test_who_owns_an_address(info: Run, item: str, owners: list[tuple[str, str]]) -> None:
    expected = "".join(f"Subnet: {subnet}\nOwner:  {owner}\n" for subnet, owner in owners)
    assert info(item) == (0, expected, "")


@pytest.mark.parametrize(
    ("item", "complaint"),
    [
        ("nosuch", "Unknown node nosuch."),
        ("11.0.0.1", "Unknown address 11.0.0.1."),
        ("2:0:0:0:0:2", "Unknown address 2:0:0:0:0:2."),
        ("10.21.0.0/17", "Unknown subnet 10.21.0.0/17."),
        ("10.21.0.0/16#9", "Unknown subnet 10.21.0.0/16#9."),
        ("1.2.3", "Could not parse subnet or address '1.2.3'."),
        ("a-b", "Argument is not a node name, subnet or address."),
    ],
)
def test_an_unknown_node_or_subnet_is_an_error(info: Run, item: str, complaint: str) -> None:
    status, out, err = info(item)
    # A hint may follow (test_owners.py).
    assert (status, out, err.splitlines()[0]) == (1, "", complaint)
