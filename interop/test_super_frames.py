"""Super-frames between two pytinc nodes, in a network with a tincd that never gets one (docs/protocol.md)."""

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
from trio_network import start_trio

CASTS = ("PCP",)
SECONDS = 3
BAD_RECORD = "Failed to decrypt and verify packet"
"""tincd logs this at level 5 for a record that it cannot open."""


@pytest.fixture(scope="module")
def trio(new_network: Callable[..., Network], cast: tuple[Kind, ...]) -> Network:
    network = start_trio(new_network, cast)
    for one, other in combinations(network, 2):
        wait_until(partial(know_mtu, one, other), PATIENCE_S, "the path MTU is known")
    return network


def know_mtu(one: Node, other: Node) -> bool:
    """Whether both ends know their path MTU; it pings, because MTUs are only probed during traffic."""
    alive = answers(one.host, other.address)
    return alive and one.nodes()[other.name].mtu_known and other.nodes()[one.name].mtu_known


def stats(node: Node, peer: str) -> dict[str, int]:
    """Return the statistics that a pytinc node has of a peer."""
    values: dict[str, int] = json.loads(node.tinc("info", "--json", peer).stdout)["stats"]
    return values


def agreed(node: Node, other: Node) -> bool:
    """Whether a node may send super-frames to another, and accepts them from it."""
    values = stats(node, other.name)
    return answers(node.host, other.address) and all(
        values[f"super_frames_{way}"] for way in ("sending", "accepting")
    )


def test_two_pytinc_nodes_agree_and_carry_tcp_both_ways(trio: Network) -> None:
    hub, spoke = trio["hub"], trio["spoke"]
    for one, other in ((hub, spoke), (spoke, hub)):
        wait_until(partial(agreed, one, other), PATIENCE_S, "super-frames are agreed on")
    for one, other in ((hub, spoke), (spoke, hub)):
        before = stats(other, one.name)["rx_packets"]
        report = iperf(one.host, other.host, other.address, SECONDS)
        assert report.megabits > 1
        # A super-frame is counted as the frames it stands for.
        assert stats(other, one.name)["rx_packets"] - before > report.megabits * SECONDS * 1e6 / 8 / 1450


def test_tincd_gets_ordinary_frames(trio: Network) -> None:
    real = trio["real"]
    for name in ("hub", "spoke"):
        iperf(trio[name].host, real.host, real.address, SECONDS)
        iperf(real.host, trio[name].host, trio[name].address, SECONDS)
        assert stats(trio[name], "real")["super_frames_sending"] is False
    assert BAD_RECORD not in real.log()


@pytest.mark.slow
def test_nodes_go_back_to_frames_when_pieces_are_lost_and_tcp_goes_on(trio: Network) -> None:
    hub, spoke = trio["hub"], trio["spoke"]
    wait_until(lambda: agreed(hub, spoke) and agreed(spoke, hub), PATIENCE_S, "super-frames are agreed on")
    with trio.lab.impair(spoke.host, loss=0.3, reorder=0) as impaired:
        report = iperf(hub.host, spoke.host, spoke.address, 3 * SECONDS)
        drops = stats(spoke, "hub")["drops"]
    assert impaired["lost"] > 0
    assert drops["incomplete"] > 0  # type: ignore[index]
    # About one in eight records of 42 pieces would lose a piece, and TCP would stall.
    assert report.megabits > 1
    assert drops["incomplete"] < 40  # type: ignore[index]
