"""Paths through less friendly networks: from behind NAT, over IPv6 only, through a relay with a small MTU.

All hosts are connected to one switch. To put a host behind a router, the other end of its veth pair is moved
into the router's namespace. The router masquerades (nftables).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pytinc.lab.echo import answers, wait_steady
from pytinc.lab.namespaces import Host, Lab, run
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until
from pytinc.lab.traffic import iperf

CASTS = ("PCP", "CPC")
ROLES = ("hub", "left", "right")
PMTU_1280 = 1219
MASQUERADE = """
table ip lab {
  chain out { type nat hook postrouting priority 100; oifname "eth0" masquerade; }
}
"""


def make_router(lab: Lab, name: str) -> Host:
    """Return a host that routes and masquerades, with a bridge for the hosts behind it."""
    router = lab.host(name)
    router.run("ip", "link", "add", "lan", "type", "bridge")
    router.run("ip", "address", "add", "192.168.7.1/24", "dev", "lan")
    router.run("ip", "link", "set", "dev", "lan", "up")
    router.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    router.run("nft", "-f", "-", stdin=MASQUERADE)
    return router


def put_behind(node: Node, router: Host, number: int) -> None:
    """Move a node's host from the switch to the network behind a router; no host file has its new address."""
    host, switch = node.host, node.host.lab.switch
    run("ip", "-n", switch, "link", "set", "dev", host.name, "netns", router.namespace)
    router.run("ip", "link", "set", "dev", host.name, "master", "lan", "up")
    host.run("ip", "address", "flush", "dev", "eth0")
    host.run("ip", "address", "add", f"192.168.7.{number}/24", "dev", "eth0")
    host.run("ip", "route", "add", "default", "via", "192.168.7.1")
    node.tinc("del", f"{node.name}.Address")


def add_nodes(network: Network, cast: tuple[Kind, ...]) -> None:
    for role, kind in zip(ROLES, cast, strict=True):
        network.add(role, kind, connect_to=() if role == "hub" else ("hub",))


def start(network: Network) -> None:
    network.exchange_keys()
    network.start()
    network.wait_converged()


def reaches_by_udp(one: Node, other: Node) -> bool:
    """Ping, and return whether ``info`` says that the other node is reached straight by UDP."""
    answers(one.host, other.address)
    return one.info(other.name)["Reachability"] == "directly with UDP"


def wait_by_udp(one: Node, other: Node) -> None:
    what = f"{one.name} reaches {other.name} directly with UDP"
    wait_until(partial(reaches_by_udp, one, other), PATIENCE_S, what, interval=0.5)


def assert_steady(one: Node, other: Node) -> None:
    """Wait for two seconds of pings without a loss."""
    wait_steady(one.host, other.address, 40)


def knows_narrow_link(one: Node, other: Node) -> bool:
    """Ping, and return whether a node has found the MTU of the narrow link."""
    answers(one.host, other.address)
    view = one.nodes()[other.name]
    return view.min_mtu == view.pmtu == PMTU_1280


def test_a_node_behind_a_router_and_a_public_node_use_udp(
    own_network: Callable[..., Network], own_lab: Lab, cast: tuple[Kind, ...]
) -> None:
    network = own_network()
    add_nodes(network, cast)
    hub, left = network["hub"], network["left"]
    router = make_router(own_lab, "router")
    put_behind(left, router, 2)
    start(network)
    wait_by_udp(hub, left)
    wait_by_udp(left, hub)
    assert hub.nodes()["left"].address == router.address
    assert_steady(hub, left)


def test_two_nodes_behind_two_routers_reach_each_other_through_the_hub(
    own_network: Callable[..., Network], own_lab: Lab, cast: tuple[Kind, ...]
) -> None:
    network = own_network()
    add_nodes(network, cast)
    hub, left, right = (network[role] for role in ROLES)
    for number, node in enumerate((left, right), 1):
        put_behind(node, make_router(own_lab, f"router{number}"), 2)
    start(network)
    wait_by_udp(left, hub)
    wait_by_udp(right, hub)
    # They use the hub as relay: such a router lets packets in only from a host and port that something was
    # sent to (two C nodes find no straight path there, either).
    wait_until(
        lambda: answers(left.host, right.address), PATIENCE_S, "an answer from behind the other router"
    )
    assert_steady(left, right)


def test_two_nodes_behind_one_router_find_their_local_addresses(
    own_network: Callable[..., Network], own_lab: Lab, cast: tuple[Kind, ...]
) -> None:
    network = own_network()
    add_nodes(network, cast)
    left, right = network["left"], network["right"]
    router = make_router(own_lab, "router")
    put_behind(left, router, 2)
    put_behind(right, router, 3)
    start(network)
    wait_by_udp(left, right)
    wait_by_udp(right, left)
    assert left.nodes()["right"].address == "192.168.7.3"
    assert right.nodes()["left"].address == "192.168.7.2"
    assert_steady(left, right)


def test_nodes_reach_each_other_over_ipv6_only(
    own_network: Callable[..., Network], cast: tuple[Kind, ...]
) -> None:
    network = own_network()
    add_nodes(network, cast)
    for number, node in enumerate(network, 1):
        node.host.run("ip", "address", "flush", "dev", "eth0")
        node.host.run("ip", "address", "add", f"fd00:7::{number}/64", "dev", "eth0", "nodad")
        node.tinc("set", f"{node.name}.Address", f"fd00:7::{number}")
        node.tinc("set", "AddressFamily", "ipv6")
    start(network)
    for one in network:
        for other in network:
            if one is not other:
                wait_by_udp(one, other)
    assert network["hub"].nodes()["left"].address == "fd00:7::2"
    assert_steady(network["left"], network["right"])


def test_frames_of_all_sizes_pass_a_relay_behind_a_narrow_link(
    own_network: Callable[..., Network], own_lab: Lab, cast: tuple[Kind, ...]
) -> None:
    network = own_network()
    add_nodes(network, cast)
    hub, left, right = (network[role] for role in ROLES)
    own_lab.block_udp(left.host, right.host)
    hub.host.set_link_mtu(1280)
    start(network)
    wait_by_udp(left, hub)
    wait_by_udp(right, hub)
    wait_until(lambda: answers(left.host, right.address), PATIENCE_S, "an answer through the relay")
    wait_until(
        lambda: knows_narrow_link(left, hub), 2 * PATIENCE_S, "the narrow link is measured", interval=0.5
    )
    for size in (56, 1000, 1400):
        wait_steady(left.host, right.address, 10, size=size)
    assert iperf(left.host, right.host, right.address, 2).megabits > 1
