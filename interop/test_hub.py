"""Hub mode, with C and pytinc nodes: every frame goes to all nodes, and no node learns a MAC address."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import pytest

from pytinc.lab.echo import wait_steady
from pytinc.lab.network import Network
from pytinc.lab.node import Kind

CASTS = ("PCP", "CPC")


@pytest.fixture(scope="module")
def network(new_network: Callable[..., Network], cast: tuple[Kind, ...]) -> Network:
    network = new_network()
    network.settings = [(name, "hub" if name == "Mode" else value) for name, value in network.settings]
    for role, kind, connect_to in zip(
        ("left", "middle", "right"), cast, ([], ["left"], ["middle"]), strict=True
    ):
        network.add(role, kind, connect_to=connect_to)
    network.exchange_keys()
    network.start()
    network.wait_converged()
    return network


def test_every_node_answers_every_other_and_each_frame_comes_once(network: Network) -> None:
    for one, other in permutations(network, 2):
        assert wait_steady(one.host, other.address).duplicates == 0, f"{one.name} to {other.name}"


def test_no_node_learns_a_mac(network: Network) -> None:
    for node in network:
        assert not any(other.mac in node.tinc("dump", "subnets").stdout for other in network)
