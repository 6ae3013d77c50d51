"""FastTag in a network with tincd: pytinc nodes agree on it, and tincd never gets a record with this tag."""

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
from trio_network import start_trio

CASTS = ("PCP",)
KEY_EXPIRE_S = 15
"""With each new key tinc's tag is used first; the fast tag follows the next probe, within 10 seconds."""
DURATION_S = int(os.environ.get("PYTINC_INTEROP_FAST_TAG_S", "40"))
PING_INTERVAL_S = 0.05
BAD_RECORD = "Failed to decrypt and verify packet"
"""tincd logs this at level 5 for a record with a wrong tag, whoever sent it."""
OVERTAKING = 50
"""How many wrong tags are allowed: some records under a new key reach tincd before the last message of the
key exchange, more of them on a busy machine. With the fast tag, hundreds would fail."""


@pytest.fixture(scope="module")
def trio(new_network: Callable[..., Network], cast: tuple[Kind, ...]) -> Network:
    return start_trio(partial(new_network, ("KeyExpire", str(KEY_EXPIRE_S))), cast)


def fast_peers(node: Node) -> set[str]:
    """Return the peers to which a pytinc node has sent records with the fast tag, at any time."""
    return set(re.findall(r"Data for (\w+) gets the fast tag", node.log()))


def knows_mtu(one: Node, other: Node) -> bool:
    """Whether a node knows its path MTU to another; it pings, because MTUs are only probed during traffic."""
    return answers(one.host, other.address) and one.nodes()[other.name].mtu_known


@pytest.mark.slow
def test_tincd_never_gets_the_fast_tag_and_hardly_any_ping_is_lost(trio: Network) -> None:
    count = int(DURATION_S / PING_INTERVAL_S)
    few = count // 100

    def ping_pair(one: Node, other: Node) -> EchoReport:
        return ping(one.host, other.address, count, interval=PING_INTERVAL_S, size=1200, may_lose=few)

    pairs = list(combinations(trio, 2))
    with ThreadPoolExecutor(len(pairs)) as workers:
        reports = list(workers.map(ping_pair, *zip(*pairs, strict=True)))
    for pair, report in zip(pairs, reports, strict=True):
        assert report.lost <= few, pair
    for name, other in (("hub", "spoke"), ("spoke", "hub")):
        assert fast_peers(trio[name]) == ({other} if trio[name].kind is Kind.PY else set())
    assert trio["real"].log().count(BAD_RECORD) <= OVERTAKING


@pytest.mark.parametrize("name", ["hub", "spoke"])
def test_info_shows_for_which_peers_the_fast_tag_is_in_use(trio: Network, name: str) -> None:
    node = trio[name]
    if node.kind is not Kind.PY:
        pytest.skip("tincd has no fast tag")
    (other,) = {"hub", "spoke"} - {name}

    def agreed() -> bool:
        # The key is renewed every few seconds, and each time the nodes agree on the fast tag again.
        return answers(node.host, trio[other].address) and fast_tag_of(node, other) == (True, True)

    wait_until(agreed, PATIENCE_S, "both nodes agree on the fast tag")
    assert fast_tag_of(node, "real") == (False, True)
    own = json.loads(node.tinc("info", "--json", name).stdout)["daemon"]
    assert {"TSO4", "checksum"} <= set(own["device_offloads"])


def fast_tag_of(node: Node, peer: str) -> tuple[bool | None, bool | None]:
    """Return whether ``info`` says that the fast tag is used in sending to a peer, and accepted from it."""
    stats = json.loads(node.tinc("info", "--json", peer).stdout)["stats"]
    return stats["fast_tag_sending"], stats["fast_tag_accepting"]


@pytest.mark.slow
def test_all_pairs_find_the_path_mtu_although_probes_have_a_capability_block(trio: Network) -> None:
    for one, other in permutations(trio, 2):
        what = f"{one.name} knows its MTU to {other.name}"
        wait_until(partial(knows_mtu, one, other), PATIENCE_S, what)
