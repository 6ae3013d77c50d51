"""UDP_INFO and MTU_INFO: when they are sent, to which nodes, and when our own knowledge takes precedence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from node.conftest import FarEnd
from pytinc.protocol.pmtu import Search
from pytinc.wire.datagram import MTU_MAX
from pytinc.wire.requests import Ack

if TYPE_CHECKING:
    from node.conftest import MakeStage, Scripted, Stage


def mesh(stage: MakeStage, version: int = 7, **changes: object) -> tuple[Stage, Scripted, Scripted]:
    """Alpha with two neighbours; behind beta are gamma, and delta, which is reached by beta only."""
    alpha = stage("beta", "gamma", "delta", "epsilon", **changes)
    beta = alpha.peer("beta", ack=Ack("655", 7, version << 24 | 0xC))
    beta.link("beta", "alpha")
    epsilon = alpha.neighbour("epsilon")
    beta.link("beta", "gamma")
    beta.say("12 1 beta delta 10.99.0.4 655 700000d 1", "12 2 delta beta 10.99.0.2 655 700000d 1")
    for peer in (beta, epsilon):
        peer.heard()
    return alpha, beta, epsilon


def udp_info(alpha: Stage, source: str, target: str) -> None:
    peers = alpha.node.peers
    alpha.call(lambda node, now: node.path_info.send_udp_info(peers[source], peers[target], now))
    alpha.call(lambda node, now: node.meta_output.flush(now))


def mtu_info(alpha: Stage, source: str, target: str, mtu: int = MTU_MAX) -> None:
    peers = alpha.node.peers
    alpha.call(lambda node, now: node.path_info.send_mtu_info(peers[source], peers[target], mtu, now))
    alpha.call(lambda node, now: node.meta_output.flush(now))


def fix(alpha: Stage, name: str, mtu: int) -> None:
    """Have the path MTU of a node found."""
    peer = alpha.node.peers[name]
    peer.slot.minmtu = peer.path.maxmtu = mtu
    peer.path.search = Search.FIXED


# -- UDP_INFO --


def test_a_node_that_is_no_neighbour_is_told_our_address_once_per_interval(stage: MakeStage) -> None:
    alpha, beta, _ = mesh(stage, udp_info_interval=5)
    heard = []
    for wait in (0.0, 4.9, 0.2, 1.0):
        alpha.now += wait
        udp_info(alpha, "alpha", "gamma")
        heard.append(beta.heard())
    line = "22 alpha gamma 10.99.0.1 655"
    assert heard == [[line], [], [line], []]


@pytest.mark.parametrize("target", ["beta", "delta"])
def test_a_neighbour_needs_no_word_about_us_nor_does_who_is_behind_it(stage: MakeStage, target: str) -> None:
    alpha, beta, epsilon = mesh(stage)
    udp_info(alpha, "alpha", target)
    assert beta.heard() == epsilon.heard() == []


def test_about_others_a_neighbour_is_told_each_time_and_of_the_relay_on_the_way(stage: MakeStage) -> None:
    alpha, beta, _ = mesh(stage)
    for target in ("beta", "delta", "delta"):
        udp_info(alpha, "epsilon", target)
    assert beta.heard() == ["22 epsilon beta 10.99.0.5 655"] * 3


@pytest.mark.parametrize("who", ["settings", "source", "relay"])
def test_nobody_is_told_where_one_side_takes_no_udp(stage: MakeStage, who: str) -> None:
    alpha, beta, _ = mesh(stage, tcp_only=who == "settings")
    if who != "settings":
        alpha.node.peers["epsilon" if who == "source" else "gamma"].options |= 2
    udp_info(alpha, "epsilon", "gamma")
    assert beta.heard() == []


def test_a_node_without_a_known_address_is_not_announced(stage: MakeStage) -> None:
    alpha, beta, _ = mesh(stage)
    alpha.call(lambda node, now: node.addresses.set_address(node.peers["epsilon"], None))
    udp_info(alpha, "epsilon", "gamma")
    assert beta.heard() == []


def test_nobody_is_told_on_the_way_to_an_unreachable_node(stage: MakeStage) -> None:
    alpha, beta, epsilon = mesh(stage)
    beta.hang_up()
    epsilon.heard()
    udp_info(alpha, "epsilon", "gamma")
    mtu_info(alpha, "epsilon", "gamma")
    assert epsilon.heard() == []


@pytest.mark.parametrize(
    ("version", "told"),
    [(4, []), (5, ["22 epsilon gamma 10.99.0.5 655"]), (7, ["22 epsilon gamma 10.99.0.5 655"])],
)
def test_an_older_neighbour_gets_no_udp_info(stage: MakeStage, version: int, told: list[str]) -> None:
    alpha, beta, _ = mesh(stage, version)
    udp_info(alpha, "epsilon", "gamma")
    assert beta.heard() == told


def test_our_own_udp_info_names_the_udp_port_and_not_that_of_the_connection(stage: MakeStage) -> None:
    alpha = stage("beta", "delta", connect_to=("beta",))
    beta = alpha.answer_dial()
    beta.say(
        "12 1 beta alpha 10.99.0.1 655 700000c 1",
        "12 2 beta delta 10.99.0.3 655 700000c 1",
        "12 3 delta beta 10.99.0.2 655 700000c 1",
    )
    beta.heard()
    FarEnd(beta, "delta").open()
    # Our connection comes from port 41000.
    assert [line for line in beta.heard() if line.startswith("22 ")] == ["22 alpha delta 10.99.0.1 655"]


# -- MTU_INFO --


def test_a_node_that_is_no_neighbour_is_told_an_mtu_once_per_interval(stage: MakeStage) -> None:
    alpha, beta, _ = mesh(stage, mtu_info_interval=5)
    heard = []
    for wait in (0.0, 4.9, 0.2):
        alpha.now += wait
        mtu_info(alpha, "alpha", "gamma")
        heard.append(beta.heard())
    assert heard == [["23 alpha gamma 1518"], [], ["23 alpha gamma 1518"]]
    alpha.now += 10
    mtu_info(alpha, "alpha", "beta")
    mtu_info(alpha, "alpha", "alpha")
    assert beta.heard() == []


@pytest.mark.parametrize(("version", "told"), [(5, []), (6, ["23 alpha gamma 1518"])])
def test_an_older_neighbour_gets_no_mtu_info(stage: MakeStage, version: int, told: list[str]) -> None:
    alpha, beta, _ = mesh(stage, version)
    mtu_info(alpha, "alpha", "gamma")
    assert beta.heard() == told


def test_about_others_the_mtu_is_that_of_the_way_as_far_as_we_know_it(stage: MakeStage) -> None:
    alpha, _, epsilon = mesh(stage)
    mtu_info(alpha, "delta", "epsilon", 1400)
    fix(alpha, "beta", 1300)  # the relay
    mtu_info(alpha, "delta", "epsilon", 1400)
    mtu_info(alpha, "delta", "epsilon", 1200)
    mtu_info(alpha, "gamma", "epsilon", 1400)  # the next hop, as long as the straight way is not known
    fix(alpha, "gamma", 1350)
    mtu_info(alpha, "gamma", "epsilon", 1400)
    told = [line.removeprefix("23 ") for line in epsilon.heard()]
    assert told == [
        "delta epsilon 1400",
        "delta epsilon 1300",
        "delta epsilon 1200",
        "gamma epsilon 1300",
        "gamma epsilon 1350",
    ]


def test_a_told_mtu_counts_until_we_found_our_own(stage: MakeStage) -> None:
    alpha, _, _ = mesh(stage)
    gamma = alpha.node.peers["gamma"]
    alpha.node.path_info.provisional_mtu(gamma, 1400)
    assert gamma.slot.mtu == 1400
    fix(alpha, "gamma", 1300)
    gamma.slot.mtu = 1300
    alpha.node.path_info.provisional_mtu(gamma, 1400)
    assert gamma.slot.mtu == 1300


# -- datagrams that came by way of a relay --


def test_a_relay_is_noted_and_the_sender_is_told_our_address(stage: MakeStage) -> None:
    alpha, beta, _ = mesh(stage)
    relay, far = FarEnd(beta).open(), FarEnd(beta, "gamma").open()
    alpha.call(lambda node, now: node.tunnels.upkeep(node.peers["beta"], now, search_mtu=False))
    relay.reply()
    alpha.now += 10
    beta.heard()
    gamma = alpha.node.peers["gamma"]
    far.send_frame(bytes(60), by="beta")
    assert (gamma.last_relay, gamma.relayed_at) == ("beta", 10.0)
    assert gamma.relayed_packets == gamma.slot.in_packets
    assert "22 alpha gamma 10.99.0.1 655" in beta.heard()
