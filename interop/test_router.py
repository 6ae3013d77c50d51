"""Router mode: C and pytinc route IPv4 and IPv6 packets to each other, on tun and tap devices.

    left ──> middle <── right        an arrow: who connects to whom

Each node has its own addresses and a network behind it; left and right cannot speak UDP to each other in one of
the tests, so middle relays.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import pytest

from pytinc.lab.namespaces import Completed
from pytinc.lab.network import Network
from pytinc.lab.node import Kind, Node, wait_until
from pytinc.lab.traffic import answers, neighbour, ping

# left, middle, right; capital letters are pytinc and C, small ones the device of each.
CASTS = ("PCP", "CPC", "PPP")
ROLES = ("left", "middle", "right")
PMTU_1500 = 1439


@pytest.fixture(scope="module", params=["tun", "tap"])
def network(
    request: pytest.FixtureRequest, new_network: Callable[..., Network], cast: tuple[Kind, ...]
) -> Network:
    device: str = request.param
    network = new_network()
    network.settings = [
        ("Mode", "router"),
        ("DeviceType", device),
        ("AutoConnect", "no"),
        ("AddressFamily", "ipv4"),
        ("DecrementTTL", "yes"),
    ]
    for number, (role, kind) in enumerate(zip(ROLES, cast, strict=True), 1):
        name = f"{role}_{device}"
        connect_to = [] if role == "middle" else [f"middle_{device}"]
        addresses = [f"10.1.1.{number}/16", f"fd00:1::{number}/48"]
        node = network.add(name, kind, addresses, connect_to)
        subnets = (f"10.1.1.{number}/32", f"10.1.{number + 10}.0/24", f"fd00:1::{number}/128")
        node.add_lines(f"hosts/{name}", [("Subnet", subnet) for subnet in subnets])
        write_tinc_up(node)
    network.exchange_keys()
    network.start()
    network.wait_converged()
    return network


def write_tinc_up(node: Node) -> None:
    lines = ["#!/bin/sh", f'ip link set dev "$INTERFACE" mtu {node.mtu} up']
    lines += [f'ip address add {address} dev "$INTERFACE" nodad' for address in node.addresses]
    (node.confbase / "tinc-up").write_text("\n".join(lines) + "\n")


def of(network: Network, role: str) -> Node:
    return next(node for node in network if node.name.startswith(role))


def v6(node: Node) -> str:
    return node.addresses[1].partition("/")[0]


def ping_raw(node: Node, *words: str) -> Completed:
    return node.host.run("ping", "-n", "-c", "1", "-W", "2", *words, check=False, timeout=10)


def test_every_node_is_answered_by_every_other_by_ipv4_and_ipv6(network: Network) -> None:
    for one, other in permutations(network, 2):
        for address in (other.address, v6(other)):
            wait_until(lambda: answers(one.host, address), 20, f"{one.name} reaches {address}")  # noqa: B023
            assert ping(one.host, address, 5, interval=0.05).lost == 0
