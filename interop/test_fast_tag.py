"""FastTag beside a real tincd: pytinc nodes agree on it, and the real one never sees such a record."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import combinations, permutations

import pytest

from pytinc.lab.echo import EchoReport, answers, ping
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until

CASTS = ("PCP",)
ROLES = ("hub", "real", "spoke")
KEY_EXPIRE_S = 15
"""Each key begins with tinc's tag; the next probe, after 10 seconds at most, brings the other one."""
DURATION_S = int(os.environ.get("PYTINC_INTEROP_FAST_TAG_S", "40"))
PING_INTERVAL_S = 0.05
BAD_RECORD = "Failed to decrypt and verify packet"
"""What the real daemon logs at level 5 for a record whose tag is not right, whoever sent it."""
OVERTAKING = 50
"""Some records under a new key reach the real daemon before the last message of the key exchange; on a busy
machine these are more. With the fast tag hundreds would fail."""


@pytest.fixture(scope="module")
def trio(new_network: Callable[..., Network], cast: tuple[Kind, ...]) -> Network:
    network = new_network(("KeyExpire", str(KEY_EXPIRE_S)))
    for role, kind in zip(ROLES, cast, strict=True):
        network.add(role, kind, connect_to=() if role == "hub" else ("hub",))
        network[role].debug = 5  # where every node logs records that do not open
    network.exchange_keys()
    network.start()
    network.wait_converged()
    for one, other in combinations(network, 2):
        wait_until(partial(answers, one.host, other.address), PATIENCE_S, "all answer")
    return network


def fast_peers(node: Node) -> set[str]:
    """To whom a pytinc node has ever sent records with the fast tag."""
    return set(re.findall(r"Data for (\w+) gets the fast tag", node.log()))


def found(one: Node, other: Node) -> bool:
    """Whether a node knows its path MTU to another; it looks for it only while there is traffic."""
    return answers(one.host, other.address) and one.nodes()[other.name].mtu_known


@pytest.mark.slow
def test_the_real_node_never_gets_the_fast_tag_and_loses_nothing(trio: Network) -> None:
    count = int(DURATION_S / PING_INTERVAL_S)
    few = count // 100

    def steadily(one: Node, other: Node) -> EchoReport:
        return ping(one.host, other.address, count, interval=PING_INTERVAL_S, size=1200, may_lose=few)

    pairs = list(combinations(trio, 2))
    with ThreadPoolExecutor(len(pairs)) as workers:
        reports = list(workers.map(steadily, *zip(*pairs, strict=True)))
    for pair, report in zip(pairs, reports, strict=True):
        assert report.lost <= few, pair
    for name, other in (("hub", "spoke"), ("spoke", "hub")):
        assert fast_peers(trio[name]) == ({other} if trio[name].kind is Kind.PY else set())
    assert trio["real"].log().count(BAD_RECORD) <= OVERTAKING


@pytest.mark.parametrize("name", ["hub", "spoke"])
def test_info_tells_towards_whom_it_is_in_use(trio: Network, name: str) -> None:
    node = trio[name]
    if node.kind is not Kind.PY:
        pytest.skip("tincd knows no fast tag")
    (other,) = {"hub", "spoke"} - {name}

    def agreed() -> bool:
        # A key is renewed every few seconds, and it is agreed on anew each time.
        return answers(node.host, trio[other].address) and told(node, other) == (True, True)

    wait_until(agreed, PATIENCE_S, "it is agreed")
    assert told(node, "real") == (False, True)
    own = json.loads(node.tinc("info", "--json", name).stdout)["daemon"]
    assert {"TSO4", "checksum"} <= set(own["device_offloads"])


def told(node: Node, peer: str) -> tuple[bool | None, bool | None]:
    """What ``info`` tells of the fast tag: in sending, and in accepting."""
    stats = json.loads(node.tinc("info", "--json", peer).stdout)["stats"]
    return stats["fast_tag_sending"], stats["fast_tag_accepting"]


@pytest.mark.slow
def test_the_path_mtu_is_found_from_both_sides_in_spite_of_the_block(trio: Network) -> None:
    for one, other in permutations(trio, 2):
        wait_until(partial(found, one, other), PATIENCE_S, f"{one.name}'s MTU to {other.name}")
