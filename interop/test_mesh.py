"""Five hosts, C and pytinc in every role: frames flow, faults are noticed, what comes back is used again.

    leaf_a ──> entry <── relay <── leaf_b        an arrow: who connects to whom
                 └─────> leaf_c

The two mixed casts colour this tree alternately, so each connection joins the two kinds, in both directions.
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

# In the order of ROLES. In the mixed ones entry and leaf_b are of one kind, relay, leaf_a and leaf_c of the
# other.
CASTS = ("CPCCP", "PCPPC", "PPPPP")
ROLES = ("leaf_c", "entry", "relay", "leaf_a", "leaf_b")
CONNECT_TO = {"entry": ["leaf_c"], "relay": ["entry"], "leaf_a": ["entry"], "leaf_b": ["relay"]}

PING_INTERVAL_S = 3
PING_TIMEOUT_S = 2
DEAD_AFTER_S = 30
"""Who does not answer is dead after the sum of both; with tinc's defaults it would take up to 65 s."""
ADAPTED_S = 2 * PATIENCE_S
"""tinc gives up UDP, and looks for another MTU, only half a minute after the last reply."""
PMTU_1500 = 1439  # what fits in a link MTU of 1500 over IPv4
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
    """A ping each half second from each host to each address: discovery works only where there is traffic."""
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


def test_every_node_is_answered_by_every_other(mesh: Network) -> None:
    with ThreadPoolExecutor(4) as workers:
        list(workers.map(lambda pair: wait_answers(*pair), pairs(mesh)))
    for one, other in pairs(mesh):
        if one.name < other.name:
            wait_steady(one.host, other.address, interval=0.02)


def test_all_pairs_find_udp_and_the_path_mtu_and_info_says_so(mesh: Network) -> None:
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


def test_all_nodes_draw_the_same_graph_and_learn_the_same_addresses(mesh: Network) -> None:
    drawings = {node.name: sorted((edge.start, edge.end) for edge in node.edges()) for node in mesh}
    expected = sorted(
        edge
        for name, peers in CONNECT_TO.items()
        for peer in peers
        for edge in ((name, peer), (peer, name))
    )  # fmt: skip
    assert drawings == dict.fromkeys(ROLES, expected)
    for node in mesh:
        for other in mesh:
            assert node.info(other.mac)["Owner"] == other.name


def test_a_leaf_reaches_another_through_the_relay_in_the_graph(mesh: Network) -> None:
    view = mesh["leaf_a"].nodes()["leaf_b"]
    assert (view.nexthop, view.distance) == ("entry", 3)


def is_without_udp(here: Node, there: Node) -> bool:
    return here.info(there.name)["Reachability"] != "directly with UDP"


def is_by_udp(here: Node, there: Node) -> bool:
    return here.nodes()[there.name].by_udp


def found_the_small_mtu(here: Node, there: Node) -> bool:
    return here.nodes()[there.name].pmtu == PMTU_1280


def sees_none_of(watcher: Node, names: list[str]) -> bool:
    views = watcher.nodes()
    return not any(name in views and views[name].reachable for name in names)


@pytest.mark.mixed
def test_blocked_udp_falls_back_and_comes_back(mesh: Network, lab: Lab) -> None:
    leaf, entry, far = mesh["leaf_a"], mesh["entry"], mesh["leaf_b"]
    blocked = [(leaf, entry), (leaf, far)]
    with traffic_between(leaf, entry, far):
        for one, other in blocked:
            lab.block_udp(one.host, other.host)
        for one, other in blocked:
            for here, there in ((one, other), (other, one)):
                what = f"{here.name} gives up UDP to {there.name}"
                wait_until(partial(is_without_udp, here, there), ADAPTED_S, what, interval=0.5)
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
def test_a_link_mtu_of_1280_is_found_from_both_ends(mesh: Network) -> None:
    leaf, entry = mesh["leaf_c"], mesh["entry"]
    leaf.host.set_link_mtu(1280)
    try:
        with traffic_between(leaf, entry):
            for here, there in ((leaf, entry), (entry, leaf)):
                wait_until(
                    partial(found_the_small_mtu, here, there),
                    ADAPTED_S, f"{here.name} finds the MTU to {there.name}", interval=0.5,
                )  # fmt: skip
            # Larger frames still arrive, in whatever way.
            wait_steady(entry.host, leaf.address, size=1400)
    finally:
        leaf.host.set_link_mtu(1500)


@pytest.mark.mixed
def test_a_node_cut_off_silently_is_dropped_in_time_and_used_again(mesh: Network, lab: Lab) -> None:
    # Each end of the tree once: leaf_b hangs on a node that it connected to, leaf_c on one that connected to
    # it.
    lost, watchers = [mesh["leaf_b"], mesh["leaf_c"]], [mesh["relay"], mesh["entry"], mesh["leaf_a"]]
    for node in lost:
        lab.cut_off(node.host)
    for watcher in watchers:
        views = [node.name for node in lost]
        wait_until(
            partial(sees_none_of, watcher, views),
            DEAD_AFTER_S, f"{watcher.name} drops the lost nodes", interval=0.1,
        )  # fmt: skip
    for node in lost:
        lab.reconnect(node.host)
    mesh.wait_converged()
    for node in lost:
        wait_answers(mesh["leaf_a"], node)
        wait_answers(node, mesh["leaf_a"])


@pytest.mark.mixed
def test_a_killed_relay_takes_its_leaf_along_and_both_come_back(mesh: Network) -> None:
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
def test_a_node_stopped_in_order_is_gone_at_once_and_its_tap_and_files_too(mesh: Network) -> None:
    node = mesh["leaf_a"]
    node.stop()
    assert not node.running()
    assert not node.pidfile.exists()
    assert not node.pidfile.with_name("pid.socket").exists()
    assert node.host.run("ip", "link", "show", node.interface, check=False).returncode != 0
    wait_until(lambda: not mesh["entry"].sees([node]), PATIENCE_S, "the entry sees it go")
    node.start()
    mesh.wait_converged()
    wait_answers(node, mesh["leaf_b"])
