"""Ways through less friendly networks: behind NAT, over IPv6 alone, through a narrow relay.

The nodes' hosts stand on one switch. A host that is to be behind a router has the other end of its cable
moved into the router's namespace, which masquerades (nftables).
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
    """A host that routes and masquerades, with a bridge for those behind it."""
    router = lab.host(name)
    router.run("ip", "link", "add", "lan", "type", "bridge")
    router.run("ip", "address", "add", "192.168.7.1/24", "dev", "lan")
    router.run("ip", "link", "set", "lan", "up")
    router.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    router.run("nft", "-f", "-", stdin=MASQUERADE)
    return router


def put_behind(node: Node, router: Host, number: int) -> None:
    """Move a node's host from the switch to the network behind a router; nobody knows its new address."""
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


def reaches(one: Node, other: Node, way: str) -> bool:
    """Whether ``info`` says so, after a packet has asked for it."""
    answers(one.host, other.address)
    return one.info(other.name)["Reachability"] == way


def wait_way(one: Node, other: Node, way: str = "directly with UDP") -> None:
    wait_until(
        partial(reaches, one, other, way), PATIENCE_S, f"{one.name} reaches {other.name} {way}", interval=0.5
    )


def assert_steady(one: Node, other: Node) -> None:
    """Two seconds of pings without a loss."""
    wait_steady(one.host, other.address, 40)


def knows_narrow_link(one: Node, other: Node) -> bool:
    """Whether the largest datagram over the narrow link was found."""
    answers(one.host, other.address)
    view = one.nodes()[other.name]
    return view.min_mtu == view.pmtu == PMTU_1280


def test_a_node_behind_a_router_and_a_public_one(
    own_network: Callable[..., Network], own_lab: Lab, cast: tuple[Kind, ...]
) -> None:
    network = own_network()
    add_nodes(network, cast)
    hub, left = network["hub"], network["left"]
    router = make_router(own_lab, "router")
    put_behind(left, router, 2)
    start(network)
    wait_way(hub, left)
    wait_way(left, hub)
    assert hub.nodes()["left"].address == router.address
    assert_steady(hub, left)


def test_two_nodes_behind_two_routers(
    own_network: Callable[..., Network], own_lab: Lab, cast: tuple[Kind, ...]
) -> None:
    network = own_network()
    add_nodes(network, cast)
    hub, left, right = (network[role] for role in ROLES)
    for number, node in enumerate((left, right), 1):
        put_behind(node, make_router(own_lab, f"router{number}"), 2)
    start(network)
    wait_way(left, hub)
    wait_way(right, hub)
    # By way of the hub: such routers let nothing in from who was not sent anything at that port (two C nodes
    # find no straight way there, either).
    wait_until(
        lambda: answers(left.host, right.address), PATIENCE_S, "an answer from behind the other router"
    )
    assert_steady(left, right)


def test_two_nodes_behind_one_router_find_the_way_between_them(
    own_network: Callable[..., Network], own_lab: Lab, cast: tuple[Kind, ...]
) -> None:
    network = own_network()
    add_nodes(network, cast)
    left, right = network["left"], network["right"]
    router = make_router(own_lab, "router")
    put_behind(left, router, 2)
    put_behind(right, router, 3)
    start(network)
    wait_way(left, right)
    wait_way(right, left)
    assert left.nodes()["right"].address == "192.168.7.3"
    assert right.nodes()["left"].address == "192.168.7.2"
    assert_steady(left, right)


def test_an_underlay_of_ipv6_alone(own_network: Callable[..., Network], cast: tuple[Kind, ...]) -> None:
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
                wait_way(one, other)
    assert network["hub"].nodes()["left"].address == "fd00:7::2"
    assert_steady(network["left"], network["right"])


def test_a_relay_behind_a_narrow_link(
    own_network: Callable[..., Network], own_lab: Lab, cast: tuple[Kind, ...]
) -> None:
    network = own_network()
    add_nodes(network, cast)
    hub, left, right = (network[role] for role in ROLES)
    own_lab.block_udp(left.host, right.host)
    hub.host.set_link_mtu(1280)
    start(network)
    wait_way(left, hub)
    wait_way(right, hub)
    wait_until(lambda: answers(left.host, right.address), PATIENCE_S, "an answer by way of the relay")
    wait_until(
        lambda: knows_narrow_link(left, hub), 2 * PATIENCE_S, "the narrow link is measured", interval=0.5
    )
    for size in (56, 1000, 1400):
        wait_steady(left.host, right.address, 10, size=size)
    assert iperf(left.host, right.host, right.address, 2).megabits > 1
