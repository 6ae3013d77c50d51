"""Router mode: C and pytinc route IPv4 and IPv6 packets to each other, with tun and with tap devices.

    left ──> middle <── right        an arrow points from the node that connects

Each node has an address of its own. left has StrictSubnets, and believes that middle owns 10.77.0.0/16, which
is right's: so middle has to route between two others. All other packets are sealed from end to end. right
serves 10.88.0.1, and middle is its backup.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import permutations

import pytest

from faults import stopped
from pytinc.lab.echo import answers, wait_steady
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until
from pytinc.lab.traffic import neighbour

# left, middle, right
CASTS = ("PCP", "CPC", "PPP")
ROLES = ("left", "middle", "right")
PMTU_1500 = 1439
INNER_MTU = PMTU_1500 - 14
BEHIND_RIGHT = ("10.77.0.0/16", "fd00:77::/32")
SERVICE = "10.88.0.1"
RIGHTS_TTL = 99
"""The TTL of right's answers, which tells them from those of middle."""


@pytest.fixture(scope="module", params=["tun", "tap"])
def device(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


@pytest.fixture(scope="module")
def network(new_network: Callable[..., Network], cast: tuple[Kind, ...], device: str) -> Network:
    network = new_network()
    network.settings = [
        ("Mode", "router"),
        ("DeviceType", device),
        ("AutoConnect", "no"),
        ("AddressFamily", "ipv4"),
        ("DecrementTTL", "yes"),
        ("PingInterval", "3"),
        ("PingTimeout", "2"),
        ("UDPDiscoveryKeepaliveInterval", "3"),
        ("UDPDiscoveryTimeout", "10"),
        ("MaxTimeout", "3"),
    ]
    for number, (role, kind) in enumerate(zip(ROLES, cast, strict=True), 1):
        connect_to = [] if role == "middle" else [f"middle_{device}"]
        node = network.add(
            f"{role}_{device}", kind, [f"10.1.1.{number}/16", f"fd00:1::{number}/48"], connect_to
        )
        add_subnets(node, node.name, f"10.1.1.{number}", f"fd00:1::{number}")
    left, middle, right = network
    add_subnets(middle, middle.name, f"{SERVICE}#20")
    add_subnets(right, right.name, f"{SERVICE}#1")
    network.exchange_keys()
    add_subnets(left, middle.name, *BEHIND_RIGHT)
    add_subnets(right, right.name, *BEHIND_RIGHT)
    left.add_lines("tinc.conf", [("StrictSubnets", "yes")])
    # Nobody owns these networks. On a tap, nobody answers ARP for their addresses, so they need a gateway.
    unowned = (f"10.200.0.0/16 via {middle.address}", f"fd00:200::/32 via {v6(middle)}")
    write_tinc_up(left, routes=(*BEHIND_RIGHT, "10.88.0.0/16", *unowned))
    write_tinc_up(middle, f"{SERVICE}/32")
    write_tinc_up(right, "10.77.0.1/32", "fd00:77::1/128", f"{SERVICE}/32")
    right.host.run("sysctl", "-q", "-w", f"net.ipv4.ip_default_ttl={RIGHTS_TTL}")
    network.start()
    network.wait_converged()
    return network


def add_subnets(node: Node, owner: str, *subnets: str) -> None:
    """Write subnets into a node's host file of their owner, which may be the node itself."""
    node.add_lines(f"hosts/{owner}", [("Subnet", subnet) for subnet in subnets])


def write_tinc_up(node: Node, *more_addresses: str, routes: tuple[str, ...] = ()) -> None:
    """Write a tinc-up that works for a tun as well: the lab's own sets a MAC address, which a tun lacks."""
    lines = ["#!/bin/sh", f'ip link set dev "$INTERFACE" mtu {node.mtu} up']
    for address in (*node.addresses, *more_addresses):
        nodad = " nodad" if ":" in address else ""
        lines.append(f'ip address add {address} dev "$INTERFACE"{nodad}')
    lines += [f'ip route add {route} dev "$INTERFACE"' for route in routes]
    (node.confbase / "tinc-up").write_text("\n".join(lines) + "\n")


def v6(node: Node) -> str:
    return node.addresses[1].partition("/")[0]


def ping_text(node: Node, *words: str) -> str:
    """Ping once, and return what ping prints, errors included."""
    done = node.host.run("ping", "-n", "-c", "1", "-W", "2", *words, check=False)
    return done.stdout + done.stderr


def wait_answer(node: Node, address: str) -> None:
    wait_until(lambda: answers(node.host, address), PATIENCE_S, f"{node.name} is answered by {address}")


def wait_said(node: Node, pattern: str, *words: str) -> None:
    """Ping until the output matches. A node sends at most three ICMP errors a second, so it may take some."""
    wait_until(lambda: re.search(pattern, ping_text(node, *words)), PATIENCE_S, pattern)


def test_every_node_answers_every_other_by_ipv4_and_ipv6(network: Network) -> None:
    for one, other in permutations(network, 2):
        for address in (other.address, v6(other)):
            wait_steady(one.host, address)


def test_on_a_tap_all_other_addresses_have_the_same_made_up_mac(network: Network, device: str) -> None:
    left, middle, right = network
    for address in (middle.address, right.address, v6(right)):
        wait_answer(left, address)
        own = left.host.run("cat", f"/sys/class/net/{left.interface}/address").stdout.strip()
        expected = own[:-2] + f"{int(own[-2:], 16) ^ 0xFF:02x}" if device == "tap" else None
        assert neighbour(left.host, address)[0] == expected


@pytest.mark.parametrize(("target", "hop"), [("10.77.0.1", "10.1.1.2"), ("fd00:77::1", "fd00:1::2")])
def test_a_node_that_routes_between_two_others_is_a_hop(network: Network, target: str, hop: str) -> None:
    left, _, right = network
    wait_answer(left, target)
    wait_said(left, "ttl=", "-t", "2", target)
    wait_said(left, rf"From {hop} icmp_seq=1 Time (to live exceeded|exceeded: Hop limit)", "-t", "1", target)
    # Packets that are sealed from end to end pass no hop.
    wait_said(left, "ttl=", "-t", "1", right.address)


@pytest.mark.parametrize(
    ("target", "answer"),
    [
        ("10.200.0.1", "Destination Net Unknown"),
        ("fd00:200::1", "Destination unreachable: Address unreachable"),
    ],
)
def test_an_address_without_an_owner_is_answered_with_an_error(
    network: Network, target: str, answer: str
) -> None:
    left = next(iter(network))
    wait_said(left, f"From {target} icmp_seq=1 {answer}", target)


def test_a_packet_that_is_too_big_is_answered_with_the_mtu_that_fits(network: Network) -> None:
    left, _, right = network

    def mtu_known() -> bool:
        return answers(left.host, right.address) and left.nodes()[right.name].mtu_known

    wait_until(mtu_known, PATIENCE_S, "the path MTU is known")
    assert left.nodes()[right.name].pmtu == PMTU_1500
    for address, size in ((right.address, 1472), (v6(right), 1452)):
        wait_said(left, rf"mtu ?= ?{INNER_MTU}", "-M", "do", "-s", str(size), address)
    # Without DF, the node makes fragments. The host has no MTU for this address, so it does not make them
    # itself.
    wait_answer(left, "10.77.0.1")
    wait_said(left, "ttl=", "-M", "dont", "-s", "1472", "10.77.0.1")
    wait_steady(left.host, right.address, 3, size=INNER_MTU - 28)


def test_without_udp_between_them_left_and_right_reach_each_other_through_middle(network: Network) -> None:
    left, middle, right = network
    lab = network.lab
    lab.block_udp(left.host, right.host)
    try:
        for address in (right.address, v6(right)):
            wait_steady(left.host, address, interval=0.1)

        def both_know() -> bool:
            answers(left.host, right.address)
            return not (left.nodes()[right.name].by_udp or right.nodes()[left.name].by_udp)

        wait_until(both_know, 2 * PATIENCE_S, "left and right know that there is no UDP between them")
        assert left.nodes()[right.name].nexthop == middle.name
        wait_steady(left.host, right.address, 10, size=1300)
    finally:
        lab.clear_faults()


def test_while_the_owner_is_gone_the_backup_serves_and_the_owners_address_is_unreachable(
    network: Network,
) -> None:
    left, _, right = network

    def right_serves() -> bool:
        return f"ttl={RIGHTS_TTL} " in ping_text(left, SERVICE)

    # In the test before, left stopped hearing from right. It passes right over until it hears from it again.
    wait_until(right_serves, PATIENCE_S, "right serves")
    with stopped(right):
        wait_until(
            lambda: "ttl=64 " in ping_text(left, SERVICE), PATIENCE_S, "middle serves instead", interval=0.05
        )
        wait_said(left, f"From {right.address} icmp_seq=1 Destination Net Unreachable", right.address)
        wait_said(left, f"From {v6(right)} icmp_seq=1 Destination unreachable: No route", v6(right))
    wait_until(right_serves, PATIENCE_S, "right serves again")
