"""Router mode: C and pytinc route IPv4 and IPv6 packets to each other, over tun and over tap devices.

    left ──> middle <── right        an arrow: who connects to whom

Each node has an address of its own. left has StrictSubnets, and believes that middle owns what in truth is
right's (10.77.0.0/16): so middle really routes between two others. Elsewhere all goes sealed from end to end.
right serves 10.88.0.1, and middle is its backup there.
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
"""By the TTL of its answers right is told from middle."""


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
    # Over a gateway, because the host's ARP for an address of nobody is not answered on a tap.
    nobodys = (f"10.200.0.0/16 via {middle.address}", f"fd00:200::/32 via {v6(middle)}")
    write_tinc_up(left, routes=(*BEHIND_RIGHT, "10.88.0.0/16", *nobodys))
    write_tinc_up(middle, f"{SERVICE}/32")
    write_tinc_up(right, "10.77.0.1/32", "fd00:77::1/128", f"{SERVICE}/32")
    right.host.run("sysctl", "-q", "-w", f"net.ipv4.ip_default_ttl={RIGHTS_TTL}")
    network.start()
    network.wait_converged()
    return network


def add_subnets(node: Node, owner: str, *subnets: str) -> None:
    """Write subnets into one node's host file of another (or of itself)."""
    node.add_lines(f"hosts/{owner}", [("Subnet", subnet) for subnet in subnets])


def write_tinc_up(node: Node, *more_addresses: str, routes: tuple[str, ...] = ()) -> None:
    """A tun has no MAC address, so that the lab's own script will not do."""
    lines = ["#!/bin/sh", f'ip link set dev "$INTERFACE" mtu {node.mtu} up']
    for address in (*node.addresses, *more_addresses):
        nodad = " nodad" if ":" in address else ""
        lines.append(f'ip address add {address} dev "$INTERFACE"{nodad}')
    lines += [f'ip route add {route} dev "$INTERFACE"' for route in routes]
    (node.confbase / "tinc-up").write_text("\n".join(lines) + "\n")


def v6(node: Node) -> str:
    return node.addresses[1].partition("/")[0]


def ping_text(node: Node, *words: str) -> str:
    """What one ping says, errors included."""
    done = node.host.run("ping", "-n", "-c", "1", "-W", "2", *words, check=False)
    return done.stdout + done.stderr


def wait_answer(node: Node, address: str) -> None:
    wait_until(lambda: answers(node.host, address), PATIENCE_S, f"{node.name} is answered by {address}")


def wait_said(node: Node, pattern: str, *words: str) -> None:
    """Ping until this is said: no node makes more than three ICMP errors in a second."""
    wait_until(lambda: re.search(pattern, ping_text(node, *words)), PATIENCE_S, pattern)


def test_every_node_is_answered_by_every_other_by_ipv4_and_ipv6(network: Network) -> None:
    for one, other in permutations(network, 2):
        for address in (other.address, v6(other)):
            wait_steady(one.host, address)


def test_on_a_tap_all_others_have_one_mac_that_does_not_exist(network: Network, device: str) -> None:
    left, middle, right = network
    for address in (middle.address, right.address, v6(right)):
        wait_answer(left, address)
        own = left.host.run("cat", f"/sys/class/net/{left.interface}/address").stdout.strip()
        expected = own[:-2] + f"{int(own[-2:], 16) ^ 0xFF:02x}" if device == "tap" else None
        assert neighbour(left.host, address)[0] == expected


@pytest.mark.parametrize(("target", "hop"), [("10.77.0.1", "10.1.1.2"), ("fd00:77::1", "fd00:1::2")])
def test_who_routes_between_two_others_is_a_hop(network: Network, target: str, hop: str) -> None:
    left, _, right = network
    wait_answer(left, target)
    wait_said(left, "ttl=", "-t", "2", target)
    wait_said(left, rf"From {hop} icmp_seq=1 Time (to live exceeded|exceeded: Hop limit)", "-t", "1", target)
    # From end to end there is no hop between.
    wait_said(left, "ttl=", "-t", "1", right.address)


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("10.200.0.1", "Destination Net Unknown"),
        ("fd00:200::1", "Destination unreachable: Address unreachable"),
    ],
)
def test_an_address_of_nobody_is_unknown(network: Network, target: str, told: str) -> None:
    left = next(iter(network))
    wait_said(left, f"From {target} icmp_seq=1 {told}", target)


def test_a_packet_that_is_too_big_is_answered_with_the_mtu_that_fits(network: Network) -> None:
    left, _, right = network

    def mtu_known() -> bool:
        return answers(left.host, right.address) and left.nodes()[right.name].mtu_known

    wait_until(mtu_known, PATIENCE_S, "the path MTU is known")
    assert left.nodes()[right.name].pmtu == PMTU_1500
    for address, size in ((right.address, 1472), (v6(right), 1452)):
        wait_said(left, rf"mtu ?= ?{INNER_MTU}", "-M", "do", "-s", str(size), address)
    # Without DF, fragments are made on the way, to an address for which the host keeps no MTU.
    wait_answer(left, "10.77.0.1")
    wait_said(left, "ttl=", "-M", "dont", "-s", "1472", "10.77.0.1")
    wait_steady(left.host, right.address, 3, size=INNER_MTU - 28)


def test_without_udp_between_them_left_and_right_talk_through_middle(network: Network) -> None:
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


def test_the_backup_serves_while_the_owner_is_gone_whose_own_address_is_unreachable(network: Network) -> None:
    left, _, right = network

    def right_serves() -> bool:
        return f"ttl={RIGHTS_TTL} " in ping_text(left, SERVICE)

    # The test before this one cut right off from left, which passes it over until it hears from it again.
    wait_until(right_serves, PATIENCE_S, "right serves")
    with stopped(right):
        wait_until(
            lambda: "ttl=64 " in ping_text(left, SERVICE), PATIENCE_S, "middle serves instead", interval=0.05
        )
        wait_said(left, f"From {right.address} icmp_seq=1 Destination Net Unreachable", right.address)
        wait_said(left, f"From {v6(right)} icmp_seq=1 Destination unreachable: No route", v6(right))
    wait_until(right_serves, PATIENCE_S, "right serves again")
