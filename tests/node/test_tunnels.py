"""Tunnel upkeep: key, address, path and relays of a node, put in order when there is traffic for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from node.conftest import FarEnd
from pytinc.wire.address import Address

if TYPE_CHECKING:
    from node.conftest import MakeStage, Scripted, Stage


def mesh(stage: MakeStage, **changes: object) -> tuple[Stage, Scripted]:
    """Alpha and beta; behind beta are gamma, and delta, which is reached by beta only."""
    alpha = stage("beta", "gamma", "delta", **({"local_discovery": False} | changes))
    beta = alpha.neighbour("beta")
    beta.link("beta", "gamma")
    beta.say("12 1 beta delta 10.99.0.4 655 700000d 1", "12 2 delta beta 10.99.0.2 655 700000d 1")
    beta.heard()
    return alpha, beta


def upkeep(alpha: Stage, name: str) -> None:
    peer = alpha.node.peers[name]
    alpha.call(lambda node, now: node.tunnels.upkeep(peer, now, search_mtu=True))
    alpha.call(lambda node, now: node.meta_output.flush(now))


def asked(beta: Scripted) -> list[str]:
    """Return who was asked for a key since the last time."""
    return [line.split(" ")[2] for line in beta.heard() if line.startswith("15 ") and " 15 " in line[3:]]


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("beta", ["beta"]),
        ("gamma", ["gamma", "beta"]),  # until UDP to gamma works, its packets go by beta
        ("delta", ["delta", "beta"]),
        ("alpha", []),
    ],
)
def test_a_node_and_the_ones_that_its_packets_go_by_are_asked_for_keys(
    stage: MakeStage, name: str, keys: list[str]
) -> None:
    alpha, beta = mesh(stage)
    upkeep(alpha, name)
    assert asked(beta) == keys


def test_a_node_that_is_not_reachable_is_left_alone(stage: MakeStage) -> None:
    alpha, beta = mesh(stage)
    beta.say("13 5 gamma beta")
    upkeep(alpha, "gamma")
    assert asked(beta) == []


def test_a_neighbour_without_udp_needs_no_key_and_a_distant_node_does(stage: MakeStage) -> None:
    alpha, beta = mesh(stage, tcp_only=True)
    upkeep(alpha, "beta")
    assert asked(beta) == []
    upkeep(alpha, "gamma")
    assert "gamma" in asked(beta)


def test_without_a_key_upkeep_is_due_at_once_and_with_one_when_the_next_probe_is(stage: MakeStage) -> None:
    alpha, beta = mesh(stage)
    slot = alpha.node.peers["beta"].slot
    upkeep(alpha, "beta")
    assert slot.upkeep_due == alpha.now
    FarEnd(beta).answer()
    upkeep(alpha, "beta")
    assert slot.upkeep_due == alpha.now + alpha.node.settings.udp_discovery_interval


def test_a_node_that_is_reached_by_a_relay_is_not_probed_itself_and_is_looked_after_when_the_relay_is(
    stage: MakeStage,
) -> None:
    alpha, beta = mesh(stage)
    relay, far = FarEnd(beta).open(), FarEnd(beta, "delta").open()
    upkeep(alpha, "delta")
    assert len(relay.heard()) == 1
    assert far.heard() == []
    slots = alpha.node.table.slots
    assert slots["delta"].upkeep_due == slots["beta"].upkeep_due > alpha.now


def test_as_initiator_we_probe_as_soon_as_there_is_a_key_and_as_responder_we_wait(stage: MakeStage) -> None:
    for initiator, probes in ((True, 1), (False, 0)):
        alpha, beta = mesh(stage)
        far = FarEnd(beta)
        if initiator:
            upkeep(alpha, "beta")
            far.answer()
        else:
            far.open()
        assert len(far.heard()) == probes


def test_the_address_that_a_relay_sees_is_taken_with_the_answer(stage: MakeStage) -> None:
    alpha, beta = mesh(stage)
    far = FarEnd(beta, "gamma")
    upkeep(alpha, "gamma")
    far.seen = Address("10.0.0.33", "4000")
    far.answer()
    assert alpha.node.peers["gamma"].valid_key
    assert alpha.node.peers["gamma"].address == far.seen


def test_a_node_that_asks_for_a_key_is_told_our_address_and_an_mtu(stage: MakeStage) -> None:
    _, beta = mesh(stage)
    FarEnd(beta, "gamma").open()
    told = [line for line in beta.heard() if line[:3] in ("22 ", "23 ")]
    assert told == ["22 alpha gamma 10.99.0.1 655", "23 alpha gamma 1518"]


def test_udp_that_is_silent_for_too_long_counts_as_broken(stage: MakeStage) -> None:
    alpha, beta = mesh(stage, udp_discovery_timeout=30, ping_interval=1000)
    far = FarEnd(beta).open()
    upkeep(alpha, "beta")
    far.reply()
    slot = alpha.node.peers["beta"].slot
    assert slot.confirmed
    assert alpha.node.tunnels.next_deadline() <= 30.0
    alpha.run(29)
    assert slot.confirmed
    beta.heard()
    alpha.run(2)
    assert not slot.confirmed
    assert slot.paths == ()
    assert alpha.node.table.confirmed == {}
    assert "No UDP ping response from beta for too long" in alpha.logged(2)
    assert "23 alpha beta 1518" in beta.heard()  # our neighbour may think that nothing passes
    assert alpha.node.peers["beta"].valid_key


def test_a_distant_node_is_not_told_so(stage: MakeStage) -> None:
    alpha, beta = mesh(stage, udp_discovery_timeout=30, ping_interval=1000)
    far = FarEnd(beta, "gamma").open()
    upkeep(alpha, "gamma")
    far.reply()
    alpha.run(29)
    beta.heard()
    alpha.run(2)
    assert not alpha.node.peers["gamma"].slot.confirmed
    assert [line for line in beta.heard() if line.startswith("23 ")] == []


def test_no_key_or_address_of_a_forgotten_node_is_left(stage: MakeStage) -> None:
    alpha, beta = mesh(stage)
    far = FarEnd(beta).open()
    upkeep(alpha, "beta")
    far.reply()
    peer = alpha.node.peers["beta"]
    alpha.node.tunnels.forget_peer(peer)
    assert not peer.valid_key
    assert (peer.slot.session, peer.slot.address) == (None, None)
    assert alpha.node.table.confirmed == {}
