"""How a node is reached, judged from one row of the daemon's list."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytinc.cli.reach import Reach, reach_of
from pytinc.control.messages import NodeRow
from pytinc.wire.bits import NodeStatus

KNOWN = NodeStatus.REACHABLE | NodeStatus.VALIDKEY
ROW = NodeRow.parse(
    f"18 3 beta 0 192.0.2.1 port 655 0 0 0 0 0 {KNOWN:x} beta beta 1 1439 1439 1439 0 -1 0 0 0 0"
)
OWN = NodeRow.parse("18 3 alpha 0 MYSELF port 655 0 0 0 0 0 10 alpha alpha 0 1518 0 1518 0 -1 0 0 0 0")


def test_a_node_with_a_key_and_a_path_is_reached_by_udp() -> None:
    assert reach_of(ROW) is Reach.UDP


@pytest.mark.parametrize(
    ("nexthop", "reach"), [("beta", Reach.TCP), ("gamma", Reach.FORWARDED)], ids=["itself", "another"]
)
def test_without_a_path_packets_go_through_the_meta_connection_with_the_next_hop(
    nexthop: str, reach: Reach
) -> None:
    assert reach_of(replace(ROW, min_mtu=0, nexthop=nexthop)) is reach


def test_without_a_key_nothing_is_known_whatever_the_mtu() -> None:
    for min_mtu in (0, 1400):
        assert reach_of(replace(ROW, status=NodeStatus.REACHABLE, min_mtu=min_mtu)) is Reach.UNKNOWN


def test_a_relay_counts_before_key_and_mtu() -> None:
    for status in (NodeStatus.REACHABLE, KNOWN):
        assert reach_of(replace(ROW, via="gamma", status=status)) is Reach.RELAYED


def test_an_unreachable_node_is_unreachable_whatever_was_known_of_it() -> None:
    for via in ("beta", "gamma"):
        assert reach_of(replace(ROW, status=NodeStatus.VALIDKEY, via=via)) is Reach.UNREACHABLE


def test_the_own_node_is_reached_as_self() -> None:
    assert reach_of(OWN) is Reach.SELF
    assert reach_of(replace(OWN, status=0)) is Reach.SELF
