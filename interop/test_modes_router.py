"""Settings of router mode, with C and pytinc: which subnets count, and which node forwards packets.

    left ──> relay <── right        an arrow points from the node that connects

All tests use one network; each starts it again with its own settings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from files_kept import files_kept
from pytinc.lab.echo import answers, wait_steady
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until

# left, relay, right
CASTS = ("CPC", "PCP")
ROLES = ("left", "relay", "right")
BEHIND_RIGHT = "10.77.0.1"
Lines = tuple[tuple[str, str], ...]
Configure = Callable[..., Network]


@pytest.fixture(scope="module")
def plain(new_network: Callable[..., Network], cast: tuple[Kind, ...]) -> Network:
    network = new_network(("PingInterval", "3"), ("PingTimeout", "2"), ("MaxTimeout", "1"))
    network.settings = [
        (name, {"Mode": "router", "DeviceType": "tun"}.get(name, value)) for name, value in network.settings
    ]
    for number, (role, kind) in enumerate(zip(ROLES, cast, strict=True), 1):
        node = network.add(
            role, kind, [f"10.1.1.{number}/16"], connect_to=() if role == "relay" else ("relay",)
        )
        node.add_lines(f"hosts/{role}", [("Subnet", f"10.1.1.{number}")])
        lines = ["#!/bin/sh", f'ip link set dev "$INTERFACE" mtu {node.mtu} up']
        lines += [f'ip address add {address} dev "$INTERFACE"' for address in node.addresses]
        if role == "right":
            lines.append(f'ip address add {BEHIND_RIGHT}/32 dev "$INTERFACE"')
        else:
            lines.append('ip route add 10.77.0.0/16 dev "$INTERFACE"')
        (node.confbase / "tinc-up").write_text("\n".join(lines) + "\n")
    network.exchange_keys()
    return network


@pytest.fixture
def configured(plain: Network) -> Iterator[Configure]:
    """A function that starts the network with more lines in host files, and in ``tinc.conf`` of some roles.

    After the test the network is stopped, and its files are as before.
    """

    def start(*, subnets: dict[str, Lines] | None = None, seen: bool = True, **settings: Lines) -> Network:
        """``subnets`` are pairs of owner and subnet by role: the node's host file of the owner gets a Subnet.

        With ``seen``, wait until all nodes see each other.
        """
        for node in plain:
            node.add_lines("tinc.conf", settings.get(node.name, ()))
        for role, lines in (subnets or {}).items():
            for owner, subnet in lines:
                plain[role].add_lines(f"hosts/{owner}", [("Subnet", subnet)])
        # Start the node that the others connect to first, so that none has to try again.
        plain["relay"].start()
        with ThreadPoolExecutor(2) as workers:
            list(workers.map(Node.start, (plain["left"], plain["right"])))
        if seen:
            plain.wait_converged()
        return plain

    with files_kept(plain):
        yield start


def wait_answer(node: Node, address: str) -> None:
    what = f"{node.name} is answered by {address}"
    wait_until(lambda: answers(node.host, address), PATIENCE_S, what, interval=0.05)


def wait_said(node: Node, pattern: str, address: str) -> None:
    """Ping until the output matches. A node sends at most three ICMP errors a second, so it may take some."""

    def said() -> object:
        text = node.host.run("ping", "-n", "-c", "1", "-W", "1", address, check=False).stdout
        return re.search(pattern, text)

    wait_until(said, PATIENCE_S, pattern, interval=0.1)


def owned(node: Node) -> set[tuple[str, str]]:
    """Return the subnets that a node knows as (owner, subnet), without broadcast subnets."""
    words = [line.split() for line in node.tinc("dump", "subnets").stdout.splitlines()]
    return {(line[2], line[0].partition("#")[0]) for line in words if line[2] != "(broadcast)"}


OWN = {(role, f"10.1.1.{number}") for number, role in enumerate(ROLES, 1)}
RIGHTS = ("right", BEHIND_RIGHT)


def test_with_strict_subnets_only_the_subnets_in_local_host_files_count(configured: Configure) -> None:
    # right announces a subnet that is not in left's host file of right.
    network = configured(subnets={"right": (RIGHTS,)}, left=(("StrictSubnets", "yes"),))
    left, relay, right = network
    wait_until(lambda: owned(relay) == OWN | {RIGHTS}, PATIENCE_S, "relay knows all subnets")
    assert owned(left) == OWN
    assert owned(right) == OWN | {RIGHTS}
    wait_answer(left, right.address)
    wait_answer(relay, BEHIND_RIGHT)
    wait_said(left, "Destination Net Unknown", BEHIND_RIGHT)


def test_clients_of_a_tunnel_server_do_not_learn_of_each_other(configured: Configure) -> None:
    # right announces a subnet that is not in the server's host file of right.
    network = configured(seen=False, subnets={"right": (RIGHTS,)}, relay=(("TunnelServer", "yes"),))
    left, relay, right = network
    wait_until(lambda: relay.sees(network), PATIENCE_S, "the server sees its clients")
    for client in (left, right):
        wait_until(partial(client.sees, [relay]), PATIENCE_S, "a client sees the server")
        wait_answer(client, relay.address)
        wait_answer(relay, client.address)
    for client, other in ((left, right), (right, left)):
        known = client.nodes()
        assert other.name not in known or not known[other.name].reachable
        assert {edge.start for edge in client.edges()} == {client.name, "relay"}
        assert owned(client) - {RIGHTS} == OWN - {(other.name, other.address)}
        assert not answers(client.host, other.address, wait=0.5)
    assert owned(relay) == OWN
    assert RIGHTS not in owned(left)
    assert {edge.start for edge in relay.edges()} == set(ROLES)


@pytest.mark.parametrize("forwarding", ["internal", "off", "kernel"])
def test_the_forwarding_setting_decides_who_forwards_between_two_others(
    configured: Configure, cast: tuple[Kind, ...], forwarding: str
) -> None:
    if cast[1] is Kind.C and Kind.PY in cast:
        pytest.skip("the node that forwards is a C node")
    # left believes that relay has the subnet that is right's, so that relay has to route between two others.
    network = configured(
        subnets={"left": (("relay", BEHIND_RIGHT),), "right": (RIGHTS,)},
        left=(("StrictSubnets", "yes"),),
        relay=(("Forwarding", forwarding),),
    )
    left, relay, right = network
    wait_until(lambda: RIGHTS in owned(relay), PATIENCE_S, "relay knows the owner")
    # Packets that left sends to right itself are not forwarded by the relay.
    wait_answer(left, right.address)
    if forwarding == "off":
        wait_said(
            left,
            "Packet filtered|rohibited",
            BEHIND_RIGHT,
        )
        return
    hop = relay.host
    for value in ("0", "1") if forwarding == "kernel" else ("0",):
        hop.run("sysctl", "-qw", f"net.ipv4.ip_forward={value}", "net.ipv4.conf.all.rp_filter=0")
        if forwarding == "kernel" and value == "0":
            wait_answer(left, relay.address)
            assert not answers(left.host, BEHIND_RIGHT, wait=0.5)
        else:
            wait_answer(left, BEHIND_RIGHT)
            wait_steady(left.host, BEHIND_RIGHT, size=1000)
    hop.run("sysctl", "-qw", "net.ipv4.ip_forward=0")


def test_a_node_with_direct_only_refuses_packets_that_would_be_relayed(configured: Configure) -> None:
    network = configured(left=(("IndirectData", "yes"),), right=(("DirectOnly", "yes"),))
    left, relay, right = network
    wait_answer(right, relay.address)
    wait_answer(left, relay.address)
    wait_said(right, "Packet filtered|rohibited", left.address)
    assert not answers(left.host, right.address, wait=0.5)
    assert right.nodes()["left"].via == "relay"
