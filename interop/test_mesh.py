"""Five hosts, C and pytinc in every role: frames flow, faults are noticed, recovered nodes are used again.

    leaf_a ──> entry <── relay <── leaf_b        an arrow points from the node that connects
                 └─────> leaf_c

In the two mixed casts, neighbours are always of different kinds. So each connection is between C and pytinc,
and each kind makes it in one of the casts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import permutations

import pytest

from pytinc.lab.echo import answers, wait_steady
from pytinc.lab.namespaces import Host, Lab
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until

# In the order of ROLES. In the mixed casts, entry and leaf_b are of one kind, and relay, leaf_a and leaf_c of
# the other.
CASTS = ("CPCCP", "PCPPC", "PPPPP")
ROLES = ("leaf_c", "entry", "relay", "leaf_a", "leaf_b")
CONNECT_TO = {"entry": ["leaf_c"], "relay": ["entry"], "leaf_a": ["entry"], "leaf_b": ["relay"]}

PING_INTERVAL_S = 3
PING_TIMEOUT_S = 2
DEAD_AFTER_S = 30
"""A silent node is dropped after the sum of the two above; with tinc's defaults it would take up to 65 s."""
ADAPTED_S = 2 * PATIENCE_S
"""tinc stops using UDP, and probes for another MTU, only half a minute after the last reply."""
PMTU_1500 = 1439  # the path MTU over IPv4 with a link MTU of 1500
PMTU_1280 = 1219


@pytest.fixture(scope="module")
def mesh(new_network: Callable[..., Network], cast: tuple[Kind, ...]) -> Network:
    network = new_network(
        ("PingInterval", str(PING_INTERVAL_S)), ("PingTimeout", str(PING_TIMEOUT_S)), ("MaxTimeout", "3")
    )
    for role, kind in zip(ROLES, cast, strict=True):
        network.add(role, kind, connect_to=CONNECT_TO.get(role, ()))
    network.exchange_keys()
    network.start()
    network.wait_converged()
    return network


def pairs(network: Network) -> list[tuple[Node, Node]]:
    return list(permutations(network, 2))


@contextmanager
def traffic(*flows: tuple[Host, str]) -> Iterator[None]:
    """Ping every half second on each flow (a host and an address): UDP is discovered only during traffic."""
    processes = [host.spawn("ping", "-n", "-q", "-i", "0.5", address) for host, address in flows]
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.communicate()


def traffic_between(*nodes: Node) -> AbstractContextManager[None]:
    return traffic(*((one.host, other.address) for one, other in permutations(nodes, 2)))


def wait_answers(one: Node, other: Node) -> float:
    return wait_until(
        lambda: answers(one.host, other.address),
        PATIENCE_S,
        f"{one.name} is answered by {other.name}",
        interval=0.05,
    )


def knows_all_mtus(node: Node) -> bool:
    return all(view.mtu_known for view in node.nodes().values() if view.name != node.name)


def test_every_node_answers_every_other(mesh: Network) -> None:
    with ThreadPoolExecutor(4) as workers:
        list(workers.map(lambda pair: wait_answers(*pair), pairs(mesh)))
    for one, other in pairs(mesh):
        if one.name < other.name:
            wait_steady(one.host, other.address, interval=0.02)


def test_all_pairs_find_udp_and_the_path_mtu_and_info_shows_it(mesh: Network) -> None:
    with traffic_between(*mesh):
        for node in mesh:
            wait_until(
                partial(knows_all_mtus, node),
                PATIENCE_S,
                f"{node.name} knows the path MTU to all",
                interval=0.5,
            )
        for one, other in pairs(mesh):
            info = one.info(other.name)
            assert info["Reachability"] == "directly with UDP", f"{one.name} to {other.name}"
            assert info["PMTU"] == str(PMTU_1500), f"{one.name} to {other.name}"
            assert info["Status"] == "validkey visited reachable sptps udp_confirmed"


def test_all_nodes_have_the_same_graph_and_learn_the_same_addresses(mesh: Network) -> None:
    edges = {node.name: sorted((edge.start, edge.end) for edge in node.edges()) for node in mesh}
    expected = sorted(
        edge
        for name, peers in CONNECT_TO.items()
        for peer in peers
        for edge in ((name, peer), (peer, name))
    )  # fmt: skip
    assert edges == dict.fromkeys(ROLES, expected)
    for node in mesh:
        for other in mesh:
            assert node.info(other.mac)["Owner"] == other.name


def test_the_graph_leads_from_a_leaf_to_a_distant_one_through_its_neighbour(mesh: Network) -> None:
    view = mesh["leaf_a"].nodes()["leaf_b"]
    assert (view.nexthop, view.distance) == ("entry", 3)


def does_without_udp(here: Node, there: Node) -> bool:
    return here.info(there.name)["Reachability"] != "directly with UDP"


def is_by_udp(here: Node, there: Node) -> bool:
    return here.nodes()[there.name].by_udp


def knows_small_mtu(here: Node, there: Node) -> bool:
    return here.nodes()[there.name].pmtu == PMTU_1280


def sees_none_of(watcher: Node, names: list[str]) -> bool:
    views = watcher.nodes()
    return not any(name in views and views[name].reachable for name in names)


@pytest.mark.mixed
def test_nodes_do_without_blocked_udp_and_use_it_again_when_it_works(mesh: Network, lab: Lab) -> None:
    leaf, entry, far = mesh["leaf_a"], mesh["entry"], mesh["leaf_b"]
    blocked = [(leaf, entry), (leaf, far)]
    with traffic_between(leaf, entry, far):
        for one, other in blocked:
            lab.block_udp(one.host, other.host)
        for one, other in blocked:
            for here, there in ((one, other), (other, one)):
                what = f"{here.name} stops using UDP to {there.name}"
                wait_until(partial(does_without_udp, here, there), ADAPTED_S, what, interval=0.5)
                wait_answers(here, there)
        assert leaf.info(entry.name)["Reachability"] == "directly with TCP"
        for one, other in blocked:
            lab.unblock_udp(one.host, other.host)
        for one, other in blocked:
            for here, there in ((one, other), (other, one)):
                wait_until(
                    partial(is_by_udp, here, there),
                    ADAPTED_S, f"{here.name} finds UDP to {there.name} again", interval=0.5,
                )  # fmt: skip
                wait_answers(here, there)


@pytest.mark.mixed
def test_both_ends_find_a_link_mtu_of_1280(mesh: Network) -> None:
    leaf, entry = mesh["leaf_c"], mesh["entry"]
    leaf.host.set_link_mtu(1280)
    try:
        with traffic_between(leaf, entry):
            for here, there in ((leaf, entry), (entry, leaf)):
                wait_until(
                    partial(knows_small_mtu, here, there),
                    ADAPTED_S, f"{here.name} finds the MTU to {there.name}", interval=0.5,
                )  # fmt: skip
            # Larger frames still arrive, by UDP or not.
            wait_steady(entry.host, leaf.address, size=1400)
    finally:
        leaf.host.set_link_mtu(1500)


@pytest.mark.mixed
def test_a_node_that_is_cut_off_is_dropped_in_time_and_used_again(mesh: Network, lab: Lab) -> None:
    # Both directions of a connection are tested: leaf_b connected to its neighbour, and leaf_c's connected to
    # it.
    lost, watchers = [mesh["leaf_b"], mesh["leaf_c"]], [mesh["relay"], mesh["entry"], mesh["leaf_a"]]
    for node in lost:
        lab.cut_off(node.host)
    for watcher in watchers:
        names = [node.name for node in lost]
        wait_until(
            partial(sees_none_of, watcher, names),
            DEAD_AFTER_S, f"{watcher.name} drops the lost nodes", interval=0.1,
        )  # fmt: skip
    for node in lost:
        lab.reconnect(node.host)
    mesh.wait_converged()
    for node in lost:
        wait_answers(mesh["leaf_a"], node)
        wait_answers(node, mesh["leaf_a"])


@pytest.mark.mixed
def test_a_killed_relay_and_its_leaf_are_dropped_and_both_come_back(mesh: Network) -> None:
    relay, leaf, others = mesh["relay"], mesh["leaf_b"], [mesh["entry"], mesh["leaf_a"], mesh["leaf_c"]]
    relay.kill()
    for watcher in others:
        wait_until(
            partial(sees_none_of, watcher, [relay.name, leaf.name]),
            DEAD_AFTER_S, f"{watcher.name} drops the relay and its leaf",
        )  # fmt: skip
        assert watcher.sees(node for node in others if node is not watcher)
    relay.start()
    mesh.wait_converged()
    wait_answers(leaf, mesh["leaf_a"])
    wait_answers(mesh["leaf_c"], relay)


@pytest.mark.mixed
def test_a_node_that_stops_is_gone_at_once_with_its_tap_and_files(mesh: Network) -> None:
    node = mesh["leaf_a"]
    node.stop()
    assert not node.running()
    assert not node.pidfile.exists()
    assert not node.pidfile.with_name("pid.socket").exists()
    assert node.host.run("ip", "link", "show", node.interface, check=False).returncode != 0
    wait_until(lambda: not mesh["entry"].sees([node]), PATIENCE_S, "the entry sees that it is gone")
    node.start()
    mesh.wait_converged()
    wait_answers(node, mesh["leaf_b"])
