"""TERMREQ, UDP_INFO and MTU_INFO: what a relay tells is used unless we know better, and passed on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytinc.node.actions import CloseMeta
from pytinc.wire.address import Address
from pytinc.wire.datagram import MTU_MAX

if TYPE_CHECKING:
    from node.conftest import MakeStage, Scripted, Stage

TOLD = Address("10.0.0.33", "4000")


def behind_beta(stage: MakeStage) -> tuple[Stage, Scripted, Scripted]:
    """Alpha with two neighbours; behind beta are gamma and delta, which is reached by beta only."""
    alpha = stage("beta", "gamma", "delta", "epsilon")
    beta, epsilon = alpha.neighbour("beta"), alpha.neighbour("epsilon")
    beta.link("beta", "gamma")
    beta.say("12 1 beta delta 10.99.0.4 655 700000d 1", "12 2 delta beta 10.99.0.2 655 700000d 1")
    for peer in (beta, epsilon):
        peer.heard()
    return alpha, beta, epsilon


def test_a_peer_that_says_goodbye_is_hung_up_on(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    beta.say("7")
    assert alpha.asked(CloseMeta) == [CloseMeta(beta.number, tarpit=True)]
    assert not alpha.node.peers["beta"].reachable


def test_a_told_address_is_taken_and_passed_on(stage: MakeStage) -> None:
    alpha, beta, epsilon = behind_beta(stage)
    beta.say("22 gamma epsilon 10.0.0.33 4000")
    assert alpha.node.peers["gamma"].address == TOLD
    assert epsilon.heard() == ["22 gamma epsilon 10.0.0.33 4000"]


@pytest.mark.parametrize("line", ["22 gamma alpha 10.0.0.33 0", "22 gamma alpha somewhere 4000"])
def test_an_address_that_nothing_can_be_sent_to_is_not_taken(stage: MakeStage, line: str) -> None:
    alpha, beta, _ = behind_beta(stage)
    beta.say(line)
    assert alpha.node.peers["gamma"].address == Address("10.99.0.3", "655")
    assert not beta.closed


@pytest.mark.parametrize("name", ["beta", "delta", "alpha", "nobody"])
def test_the_address_of_a_neighbour_or_a_node_that_is_reached_by_a_relay_is_not_taken(
    stage: MakeStage, name: str
) -> None:
    alpha, beta, epsilon = behind_beta(stage)
    before = {one: peer.address for one, peer in alpha.node.peers.items()}
    beta.say(f"22 {name} epsilon 10.0.0.33 4000")
    assert {one: peer.address for one, peer in alpha.node.peers.items()} == before
    assert [line for line in epsilon.heard() if "10.0.0.33" in line] == []


def test_a_proved_address_stays_and_is_what_the_others_are_told(stage: MakeStage) -> None:
    alpha, beta, epsilon = behind_beta(stage)
    alpha.node.peers["gamma"].slot.confirmed = True
    beta.say("22 gamma epsilon 10.0.0.33 4000")
    assert alpha.node.peers["gamma"].address == Address("10.99.0.3", "655")
    assert epsilon.heard() == ["22 gamma epsilon 10.99.0.3 655"]


@pytest.mark.parametrize(("told", "used"), [(1400, 1400), (512, 512), (9000, MTU_MAX)])
def test_a_told_mtu_is_used_up_to_the_longest_there_is_and_passed_on(
    stage: MakeStage, told: int, used: int
) -> None:
    alpha, beta, epsilon = behind_beta(stage)
    alpha.node.peers["gamma"].slot.mtu = 1
    beta.say(f"23 gamma epsilon {told}")
    assert alpha.node.peers["gamma"].slot.mtu == used
    assert epsilon.heard() == [f"23 gamma epsilon {used}"]


def test_an_mtu_that_we_found_ourselves_stays(stage: MakeStage) -> None:
    alpha, beta, _ = behind_beta(stage)
    gamma = alpha.node.peers["gamma"]
    gamma.slot.mtu = gamma.slot.minmtu = gamma.path.maxmtu = 1300
    beta.say("23 gamma alpha 1400")
    assert gamma.slot.mtu == 1300


@pytest.mark.parametrize(
    ("line", "closes"),
    [
        ("23 alpha gamma 1400", False),
        ("23 nobody alpha 1400", False),
        ("23 gamma nobody 1400", False),
        ("23 gamma alpha 511", True),
    ],
)
def test_other_mtus_change_nothing_of_our_own(stage: MakeStage, line: str, closes: bool) -> None:
    alpha, beta, epsilon = behind_beta(stage)
    beta.say(line)
    assert alpha.node.me.slot.mtu == MTU_MAX
    assert epsilon.heard() == (["13 * alpha beta", "13 * beta alpha"] if closes else [])
    assert beta.closed is closes
