"""Super-frames between two pytinc nodes, beside a real tincd that never sees one (docs/protocol.md)."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from itertools import combinations

import pytest

from pytinc.lab.echo import answers
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until
from pytinc.lab.traffic import iperf

CASTS = ("PCP",)
ROLES = ("hub", "real", "spoke")
SECONDS = 3
BAD_RECORD = "Failed to decrypt and verify packet"
"""What the real daemon logs at level 5."""


@pytest.fixture(scope="module")
def trio(new_network: Callable[..., Network], cast: tuple[Kind, ...]) -> Network:
    network = new_network()
    for role, kind in zip(ROLES, cast, strict=True):
        network.add(role, kind, connect_to=() if role == "hub" else ("hub",))
        network[role].debug = 5
    network.exchange_keys()
    network.start()
    network.wait_converged()
    for one, other in combinations(network, 2):
        wait_until(partial(answers, one.host, other.address), PATIENCE_S, "all answer")
        wait_until(partial(found, one, other), PATIENCE_S, "the path MTU is known")
    return network


def found(one: Node, other: Node) -> bool:
    """Whether both ends know their path MTU; they look for it only while there is traffic."""
    alive = answers(one.host, other.address)
    return alive and one.nodes()[other.name].mtu_known and other.nodes()[one.name].mtu_known


def stats(node: Node, peer: str) -> dict[str, int]:
    """What a pytinc node tells of a peer."""
    told: dict[str, int] = json.loads(node.tinc("info", "--json", peer).stdout)["stats"]
    return told


def agreed(node: Node, other: Node) -> bool:
    """Whether super-frames may go both ways."""
    told = stats(node, other.name)
    return answers(node.host, other.address) and all(
        told[f"super_frames_{way}"] for way in ("sending", "accepting")
    )


def test_two_pytinc_nodes_agree_and_carry_tcp_both_ways(trio: Network) -> None:
    hub, spoke = trio["hub"], trio["spoke"]
    for one, other in ((hub, spoke), (spoke, hub)):
        wait_until(partial(agreed, one, other), PATIENCE_S, "super-frames are agreed on")
    for one, other in ((hub, spoke), (spoke, hub)):
        before = stats(other, one.name)["rx_packets"]
        report = iperf(one.host, other.host, other.address, SECONDS)
        assert report.megabits > 1
        # Counted as the frames they stand for.
        assert stats(other, one.name)["rx_packets"] - before > report.megabits * SECONDS * 1e6 / 8 / 1450


def test_the_real_one_gets_frames_as_ever(trio: Network) -> None:
    real = trio["real"]
    for name in ("hub", "spoke"):
        iperf(trio[name].host, real.host, real.address, SECONDS)
        iperf(real.host, trio[name].host, trio[name].address, SECONDS)
        assert stats(trio[name], "real")["super_frames_sending"] is False
    assert BAD_RECORD not in real.log()


@pytest.mark.slow
def test_where_pieces_are_lost_they_go_back_to_frames_and_tcp_goes_on(trio: Network) -> None:
    hub, spoke = trio["hub"], trio["spoke"]
    wait_until(lambda: agreed(hub, spoke) and agreed(spoke, hub), PATIENCE_S, "super-frames are agreed on")
    with trio.lab.impair(spoke.host, loss=0.3, reorder=0) as impaired:
        report = iperf(hub.host, spoke.host, spoke.address, 3 * SECONDS)
        told = stats(spoke, "hub")
    assert impaired["lost"] > 0
    assert told["drops"]["incomplete"] > 0  # type: ignore[index]
    # A record in 42 pieces would be lost with one in eight of them, and TCP would stand still.
    assert report.megabits > 1
    assert told["drops"]["incomplete"] < 40  # type: ignore[index]
