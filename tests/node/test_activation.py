"""The end of the login: ACK, the introduction of a new neighbour, the choice between two connections.

See docs/protocol-meta.md, "ACK" and "Activation".
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from node.conftest import Stage
from pytinc.node.activation import SIMULTANEOUS
from pytinc.wire.address import Address
from pytinc.wire.requests import Ack
from pytinc.wire.subnet import parse_subnet

if TYPE_CHECKING:
    from node.conftest import MakeStage, Scripted

LAN = parse_subnet("10.1.0.0/24")


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
        ({}, {"clamp_mss": False}, "4 655 0 7000004"),
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


def test_an_edge_of_which_stale_news_was_just_corrected_is_told_in_other_words(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma")
    beta = alpha.neighbour("beta")
    beta.say("12 6 alpha gamma 10.99.0.3 655 700000c 3 10.99.0.1 655")
    beta.heard()
    alpha.peer("gamma")
    assert beta.heard() == ["12 * alpha gamma 10.99.0.3 655 700000c 4 10.99.0.1 655"]


def test_a_node_is_reachable_once_it_has_told_its_own_edge(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.peer("beta")
    assert not alpha.node.peers["beta"].reachable
    beta.say("12 1 beta alpha 10.99.0.1 655 700000c 1")
    assert alpha.node.peers["beta"].reachable


def test_a_tunnel_server_tells_a_neighbour_its_own_subnets_and_their_common_edge_only(
    stage: MakeStage,
) -> None:
    alpha = stage("beta", "gamma", subnets=(LAN,), tunnel_server=True, strict_subnets=True)
    beta = alpha.neighbour("beta")
    gamma = alpha.peer("gamma")
    assert gamma.heard() == [
        "10 * alpha 10.1.0.0/24",
        "12 * alpha gamma 10.99.0.3 655 700000c 3 10.99.0.1 655",
    ]
    assert beta.heard() == []


@pytest.mark.parametrize(
    ("own", "theirs", "together"),
    [
        ({}, 0x0700000C, "700000c"),
        ({}, 0x07000008, "7000008"),  # path MTU discovery takes both
        ({"pmtu_discovery": False}, 0x0700000C, "7000008"),
        ({"clamp_mss": False}, 0x07000004, "7000004"),
        ({"clamp_mss": False}, 0x0700000C, "700000c"),  # the others need one of them
        ({}, 0x0700000F, "700000f"),
        ({"indirect_data": True}, 0x0700000C, "700000d"),
    ],
)
def test_the_edge_has_the_options_of_both(
    stage: MakeStage, own: dict[str, object], theirs: int, together: str
) -> None:
    beta = stage("beta", **own).peer("beta", ack=Ack("655", 7, theirs))
    (edge,) = beta.heard()
    assert edge.split(" ")[6] == together


@pytest.mark.parametrize(("clamps", "options"), [(True, "700000c"), (False, "7000004")])
def test_the_host_file_has_the_last_word_about_clamp_mss(
    stage: MakeStage, clamps: bool, options: str
) -> None:
    alpha = stage("beta", clamp_mss=not clamps)
    alpha.hosts.files["beta"] = replace(alpha.hosts.files["beta"], clamp_mss=clamps)
    (edge,) = alpha.peer("beta", ack=Ack("655", 7, 0x07000004 if clamps else 0x0700000C)).heard()
    assert edge.split(" ")[6] == options


@pytest.mark.parametrize(
    ("of_host", "own", "mtu"), [(None, 1300, 1300), (1200, 1300, 1200), (1400, 1300, 1300)]
)
def test_the_mtu_is_bounded_by_both_pmtu_variables(
    stage: MakeStage, of_host: int | None, own: int, mtu: int
) -> None:
    alpha = stage("beta", pmtu=own)
    alpha.hosts.files["beta"] = replace(alpha.hosts.files["beta"], pmtu=of_host)
    alpha.neighbour("beta")
    assert alpha.node.peers["beta"].slot.mtu == mtu


def test_ack_tells_the_port_of_the_udp_socket_of_the_connection_s_family(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma")
    alpha.node.set_sockets([(6, Address("::", "7000")), (4, Address("0.0.0.0", "4000"))])
    assert alpha.peer("beta").lines[0].startswith("4 4000 ")
    alpha.node.set_sockets([(6, Address("::", "7000"))])
    assert alpha.peer("gamma").lines[0].startswith("4 7000 ")


# -- a second connection with one peer --


def of_beta(alpha: Stage) -> int:
    """Return the number of the connection with beta."""
    (connection,) = (one for one in alpha.node.core.activated if one.name == "beta")
    peer = alpha.node.peers["beta"]
    assert peer.connection is connection
    assert peer.slot.connection == connection.number
    return connection.number


def test_the_newest_connection_wins_and_nobody_is_told_of_an_end(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma")
    gamma = alpha.neighbour("gamma")
    first = alpha.neighbour("beta")
    gamma.heard()
    second = alpha.peer("beta")
    assert first.closed
    assert of_beta(alpha) == second.number
    assert gamma.heard() == ["12 * alpha beta 10.99.0.2 655 700000c 3 10.99.0.1 655"]
    assert alpha.node.peers["beta"].reachable
    # What the closed one still says or its end changes nothing.
    alpha.call(lambda node, now: node.meta_closed(first.number, "EOF", now))
    assert of_beta(alpha) == second.number
    assert alpha.node.peers["beta"].reachable


def test_two_machines_that_take_turns_as_one_node_are_named(stage: MakeStage) -> None:
    alpha = stage("beta")
    for seconds in (4, 20, 2):
        assert "two machines" not in "".join(alpha.logged())
        alpha.peer("beta")
        alpha.now += seconds
    assert "beta logs in again and again" in "".join(alpha.logged())


@pytest.mark.parametrize(("name", "keeps_dialled"), [("alpha", True), ("omega", False)])
@pytest.mark.parametrize("dials_first", [True, False])
def test_the_crossing_connection_dialled_by_the_first_name_stays(
    name: str, keeps_dialled: bool, dials_first: bool
) -> None:
    alpha = Stage(name, ("beta",), connect_to=("beta",))
    both: dict[bool, Scripted] = {}
    for dialled in (dials_first, not dials_first):
        both[dialled] = alpha.answer_dial() if dialled else alpha.peer("beta")
    assert not both[keeps_dialled].closed
    assert both[not keeps_dialled].closed
    assert of_beta(alpha) == both[keeps_dialled].number


def test_one_that_comes_later_wins_and_takes_over_the_outgoing_entry(stage: MakeStage) -> None:
    alpha = stage("beta", connect_to=("beta",))
    first = alpha.answer_dial()
    alpha.now += SIMULTANEOUS
    second = alpha.peer("beta")
    assert first.closed
    assert of_beta(alpha) == second.number
    assert len(alpha.dialled) == 1
    (connection,) = alpha.node.core.activated
    assert connection.outgoing is not None
    assert connection.outgoing.connection is connection
    alpha.run(60)
    assert len(alpha.dialled) == 1  # connected
    second.hang_up()
    alpha.run(10)
    assert len(alpha.dialled) > 1
