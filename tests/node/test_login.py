"""The login as tinc does it: byte counts, ACK, what a new neighbour is told.

See docs/protocol-meta.md, "Traces".
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytinc.wire.requests import Ack
from pytinc.wire.subnet import parse_subnet

if TYPE_CHECKING:
    from node.conftest import MakeStage

LAN = parse_subnet("10.1.0.0/24")


def test_the_dialling_side_sends_what_the_trace_shows(stage: MakeStage) -> None:
    alpha = stage("beta", connect_to=("beta",), subnets=(LAN,))
    beta = alpha.answer_dial()
    assert beta.bursts[0] == b"0 alpha 17.7\n"
    assert beta.wrote[0].startswith(b"0 beta 17.7\n")
    assert [len(data) for data in beta.wrote] == [12 + 68, 67 + 35]
    # ACK, then at once everything else in the same piece.
    assert [len(data) for data in beta.bursts] == [13, 68 + 67, 35 + 49 + 80]


def test_the_accepting_side_sends_what_the_trace_shows(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.peer("beta")
    assert beta.wrote[0] == b"0 beta 17.7\n"
    assert beta.bursts[0].startswith(b"0 alpha 17.7\n")
    assert [len(data) for data in beta.bursts] == [13 + 68, 67 + 35, 80]
    assert [len(data) for data in beta.wrote] == [12, 68 + 67, 35]


def test_the_new_neighbour_hears_everything_in_order_of_names_and_the_new_edge_last(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma", subnets=(LAN, parse_subnet("10.0.0.1")))
    beta = alpha.neighbour("beta")
    beta.say("10 1 beta fd00:1::/64#5", "10 2 delta 10.4.0.0/16")
    gamma = alpha.peer("gamma")
    edge = "12 * alpha gamma 10.99.0.3 655 700000c 3 10.99.0.1 655"
    assert gamma.heard() == [
        "10 * alpha 10.0.0.1",
        "10 * alpha 10.1.0.0/24",
        "12 * alpha beta 10.99.0.2 655 700000c 3 10.99.0.1 655",
        "10 * beta fd00:1::/64#5",
        "12 * beta alpha 10.99.0.1 655 700000c 1",
        "10 * delta 10.4.0.0/16",
        edge,
    ]
    assert beta.heard() == [edge]


@pytest.mark.parametrize(
    ("changes", "host", "ack"),
    [
        ({}, {}, "4 655 0 700000c"),
        ({"weight": 30}, {}, "4 655 30 700000c"),
        ({"weight": 30}, {"weight": -5}, "4 655 -5 700000c"),
        ({"clamp_mss": False}, {}, "4 655 0 7000004"),
        ({"clamp_mss": False}, {"clamp_mss": True}, "4 655 0 700000c"),
        ({"pmtu_discovery": False}, {}, "4 655 0 7000008"),
        ({"indirect_data": True}, {}, "4 655 0 700000d"),
        ({}, {"tcp_only": True}, "4 655 0 700000b"),
        ({"tcp_only": True}, {}, "4 655 0 700000b"),
    ],
)
def test_ack_holds_port_weight_and_options(
    stage: MakeStage, changes: dict[str, object], host: dict[str, object], ack: str
) -> None:
    alpha = stage("beta", **changes)
    alpha.hosts.files["beta"] = replace(alpha.hosts.files["beta"], **host)  # type: ignore[arg-type]
    assert alpha.peer("beta").lines[0] == ack


@pytest.mark.parametrize(
    ("variable", "options"),
    [
        ("clamp_mss", "7000004"),
        ("indirect_data", "700000c"),
        ("pmtu_discovery", "7000008"),
        ("tcp_only", "700000c"),
    ],
)
def test_a_reload_also_switches_an_option_off_for_whoever_comes_next(
    stage: MakeStage, variable: str, options: str
) -> None:
    alpha = stage("beta", **{variable: True})
    off = replace(alpha.node.settings, **{variable: False})  # type: ignore[arg-type]
    alpha.call(lambda node, now: node.reload(off, now))
    assert alpha.peer("beta").lines[0] == f"4 655 0 {options}"


def test_the_weight_counts_from_our_own_greeting_not_from_the_tcp_connection(stage: MakeStage) -> None:
    assert stage("beta").peer("beta", slow=3.0).lines[0] == "4 655 0 700000c"


@pytest.mark.parametrize(
    ("port", "seen"),
    [("655", "655"), ("4242", "4242"), ("00655", "655"), ("0", "40000"), ("99999", "40000"), ("x", "40000")],
)
def test_an_edge_has_the_announced_port_if_a_packet_can_be_sent_there(
    stage: MakeStage, port: str, seen: str
) -> None:
    beta = stage("beta").peer("beta", ack=Ack(port, 7, 0x0700000C))
    assert beta.heard() == [f"12 * alpha beta 10.99.0.2 {seen} 700000c 3 10.99.0.1 655"]


def test_a_node_is_reachable_once_it_has_told_its_own_edge(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.peer("beta")
    assert not alpha.node.peers["beta"].reachable
    beta.say("12 1 beta alpha 10.99.0.1 655 700000c 1")
    assert alpha.node.peers["beta"].reachable


def test_the_daemons_end_says_nothing_to_the_peers(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    alpha.call(lambda node, now: node.stop(now))
    assert beta.closed
    assert beta.heard() == []


def test_the_end_of_a_neighbour_is_told_with_both_edges(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma")
    beta, gamma = alpha.neighbour("beta"), alpha.neighbour("gamma")
    gamma.heard()
    alpha.call(lambda node, now: node.meta_closed(beta.number, "EOF", now))
    assert gamma.heard() == ["13 * alpha beta", "13 * beta alpha"]
