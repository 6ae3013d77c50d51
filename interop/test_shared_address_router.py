"""Several nodes announce one subnet, and the owner in use becomes silent (the guard in router mode).

    one, two, client ──> entry        an arrow points from the node that connects

one and two both have 10.9.0.1 and 10.8.0.1. They own 10.9.0.0/24 with the same weight, so the first by name
is used; two is the backup of 10.8.0.0/24. A C backup keeps packets for the subnet only with Forwarding =
kernel; otherwise it sends them on to the other owner, as long as it believes it to be reachable.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from faults import cut_off
from pytinc.lab.echo import answers
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until
from shared_address import (
    logged,
    pinging,
)

# entry, one, two, client
CASTS = ("CCCP", "CCPP")
ROLES = ("entry", "one", "two", "client")
EQUAL, BACKED_UP = "10.9.0.1", "10.8.0.1"
SERVICES = (EQUAL, BACKED_UP)
TTL_OF_ONE = 99
"""The TTL of one's answers, which tells them from those of two."""
PASSED_OVER_S = 30
"""tinc alone waits until the owner is unreachable, which takes more than a minute."""
SURELY_CUT_S = 5


@pytest.fixture(scope="module")
def network(new_network: Callable[..., Network], cast: tuple[Kind, ...]) -> Iterator[Network]:
    if Kind.PY not in cast:
        pytest.skip("tinc alone waits until the owner is unreachable")
    network = new_network()
    network.settings = [("Mode", "router"), ("AutoConnect", "no"), ("AddressFamily", "ipv4")]
    for number, (role, kind) in enumerate(zip(ROLES, cast, strict=True), 1):
        node = network.add(role, kind, connect_to=() if role == "entry" else ("entry",))
        node.add_lines(f"hosts/{role}", [("Subnet", f"10.1.1.{number}")])
        write_tinc_up(node)
    for role, weight in (("one", 5), ("two", 20)):
        subnets = ("10.9.0.0/24", f"10.8.0.0/24#{weight}")
        network[role].add_lines(f"hosts/{role}", [("Subnet", subnet) for subnet in subnets])
        if network[role].kind is Kind.C:
            network[role].add_lines("tinc.conf", [("Forwarding", "kernel")])
    network["one"].host.run("sysctl", "-q", "-w", f"net.ipv4.ip_default_ttl={TTL_OF_ONE}")
    network.exchange_keys()
    network.start()
    network.wait_converged()
    with pinging(network["client"].host, SERVICES):
        yield network


def write_tinc_up(node: Node) -> None:
    lines = ["#!/bin/sh", f'ip link set dev "$INTERFACE" mtu {node.mtu} up']
    lines.append(f'ip address add {node.address}/24 dev "$INTERFACE"')
    if node.name in ("one", "two"):
        lines += [f'ip address add {service}/32 dev "$INTERFACE"' for service in SERVICES]
    lines += [f'ip route add {net} dev "$INTERFACE"' for net in ("10.8.0.0/24", "10.9.0.0/24")]
    (node.confbase / "tinc-up").write_text("\n".join(lines) + "\n")


def server(client: Node, service: str) -> str:
    """Ping, and return the name of the node that answers, or "" if none does."""
    done = client.host.run("ping", "-n", "-c", "1", "-W", "1", service, check=False)
    found = re.search(r"ttl=(\d+)", done.stdout)
    return "" if found is None else "one" if int(found[1]) == TTL_OF_ONE else "two"


def wait_server(client: Node, service: str, name: str, seconds: float) -> None:
    wait_until(lambda: server(client, service) == name, seconds, f"{service} is served by {name}")


def test_a_silent_owner_is_passed_over_and_used_again_when_it_is_back(network: Network) -> None:
    client, one = network["client"], network["one"]
    for service in SERVICES:
        wait_server(client, service, "one", PATIENCE_S)
    time.sleep(3)  # the guard checks once a second which owners are in use
    with logged(network, "one is silent for"), cut_off(one):
        for service in SERVICES:
            wait_server(client, service, "two", PASSED_OVER_S)
        assert client.nodes()["one"].reachable
    for service in SERVICES:
        wait_server(client, service, "one", PATIENCE_S)


def test_without_a_guard_a_silent_owner_is_not_passed_over(network: Network) -> None:
    client, one = network["client"], network["one"]
    client.tinc("set", "NeighbourGuard", "no")
    client.tinc("reload")
    wait_server(client, EQUAL, "one", PATIENCE_S)
    start = time.monotonic()
    with cut_off(one):
        while time.monotonic() < start + SURELY_CUT_S:
            assert not answers(client.host, EQUAL, wait=0.5)
    client.tinc("del", "NeighbourGuard")
    client.tinc("reload")
    wait_until(partial(server, client, EQUAL), PATIENCE_S, f"{EQUAL} answers")
