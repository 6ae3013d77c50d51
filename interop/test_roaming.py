"""A node whose address or UDP port changes suddenly.

One node moves, and connects to the other, which stays. Times are printed for comparison.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from pytinc.lab.echo import answers, ping, wait_steady
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, ConnectionView, Kind, Node, wait_until

CASTS = ("PC", "CP", "PP")
ROLES = ("moving", "staying")
PING_INTERVAL_S = 4
PING_TIMEOUT_S = 3
MAX_TIMEOUT_S = 2
NEW_ADDRESS = "192.0.2.222"
NEW_PORT = 30000
NEW_MAPPING = f"""
table ip rebound {{
  chain leaving {{
    type filter hook output priority raw
    oifname "eth0" udp sport 655 udp sport set {NEW_PORT}
  }}
  chain arriving {{
    type filter hook prerouting priority raw
    iifname "eth0" udp dport 655 drop
    iifname "eth0" udp dport {NEW_PORT} udp dport set 655
  }}
}}
"""
"""Datagrams leave from another port, and those to the old port are lost, as if a NAT had lost its state.

This needs no connection tracking: tracking may begin with a datagram in the moment before a NAT rule does,
and this flow would keep its port.
"""


@pytest.fixture(scope="module")
def pair(new_network: Callable[..., Network], cast: tuple[Kind, ...]) -> tuple[Node, Node]:
    """Two nodes, moving and staying, that reach each other by UDP."""
    network = new_network(
        ("PingInterval", str(PING_INTERVAL_S)),
        ("PingTimeout", str(PING_TIMEOUT_S)),
        ("MaxTimeout", str(MAX_TIMEOUT_S)),
    )
    staying = network.add(ROLES[1], cast[1])
    moving = network.add(ROLES[0], cast[0], connect_to=[ROLES[1]])
    network.exchange_keys()
    network.start()
    network.wait_converged()
    wait_until(lambda: both_by_udp(moving, staying), PATIENCE_S, "UDP both ways")
    return moving, staying


def both_by_udp(one: Node, other: Node) -> bool:
    answers(one.host, other.address)
    return one.nodes()[other.name].by_udp and other.nodes()[one.name].by_udp


def connection_of(node: Node, peer: Node) -> ConnectionView | None:
    return next((view for view in node.connections() if view.name == peer.name), None)


def is_remade(moving: Node, staying: Node) -> bool:
    """Whether the connection comes from the new address."""
    view = connection_of(staying, moving)
    return view is not None and view.address == NEW_ADDRESS


def assert_steady(moving: Node, staying: Node) -> None:
    for one, other in ((moving, staying), (staying, moving)):
        wait_steady(one.host, other.address, 15)


def test_a_new_udp_port_costs_less_than_a_second_of_traffic_and_not_the_connection(
    pair: tuple[Node, Node],
) -> None:
    moving, staying = pair
    before = connection_of(staying, moving)
    assert before is not None
    assert staying.nodes()[moving.name].port == "655"
    with ThreadPoolExecutor(1) as worker:
        pings = worker.submit(ping, moving.host, staying.address, 30, interval=0.1, may_lose=9)
        wait_until(lambda: answers(moving.host, staying.address), PATIENCE_S, "an answer")
        moving.host.run("nft", "-f", "-", stdin=NEW_MAPPING)
        report = pings.result()
    print(f"{moving.kind.title} to {staying.kind.title}: {report.lost} of {report.sent} pings lost")
    assert report.lost < 10
    assert_steady(moving, staying)
    assert staying.nodes()[moving.name].port == str(NEW_PORT)
    moving.host.run("nft", "delete", "table", "ip", "rebound")

    def moved_back() -> bool:
        return both_by_udp(moving, staying) and staying.nodes()[moving.name].port == "655"

    wait_until(moved_back, PATIENCE_S, "UDP from the old port")
    assert connection_of(staying, moving) == before


def test_after_a_change_of_address_traffic_and_connection_come_back(pair: tuple[Node, Node]) -> None:
    moving, staying = pair
    title = f"{moving.kind.title} to {staying.kind.title}"
    host, before = moving.host, len(staying.log())
    host.run("ip", "address", "flush", "dev", "eth0")
    host.run("ip", "address", "add", f"{NEW_ADDRESS}/24", "dev", "eth0")
    host.address = NEW_ADDRESS
    start = time.monotonic()
    seconds = wait_until(lambda: answers(host, staying.address), PATIENCE_S, "traffic", interval=0.05)
    print(f"{title}: an answer {seconds:.1f} s after the move")
    wait_until(lambda: is_remade(moving, staying), PATIENCE_S, "the moved node has connected again")
    if staying.kind is Kind.PY:
        # pytincd follows the source address of datagrams at once. tincd mostly keeps the old address until
        # there is a new connection.
        first, _, _ = staying.log()[before:].partition(f"Connection from {NEW_ADDRESS}")
        assert f"UDP address of moving set to {NEW_ADDRESS}" in first
    wait_until(lambda: moving.sees([staying]) and staying.sees([moving]), PATIENCE_S, "both see each other")
    print(f"{title}: connected {time.monotonic() - start:.1f} s after the move")
    wait_until(lambda: both_by_udp(moving, staying), PATIENCE_S, "UDP both ways")
    print(f"{title}: UDP both ways {time.monotonic() - start:.1f} s after the move")
    assert staying.nodes()[moving.name].address == NEW_ADDRESS
    assert_steady(moving, staying)
