"""Compression between the programs: packets arrive, and fewer bytes go over the network below.

Debian's tincd knows zlib and LZO; LZ4 came after it.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytinc.lab.network import Network
from pytinc.lab.node import Kind, Node, wait_until
from pytinc.lab.traffic import answers, ping

CASTS = ("CP", "PC", "PP")
COUNT, SIZE = 20, 1200


@pytest.fixture(
    scope="module",
    params=[("switch", 6), ("router", 6), ("switch", 10), ("router", 11), ("switch", 12)],
    ids=lambda mode_and_level: "-".join(map(str, mode_and_level)),
)
def network(
    request: pytest.FixtureRequest, new_network: Callable[..., Network], cast: tuple[Kind, ...]
) -> Network:
    mode, level = request.param
    if level == 12 and Kind.C in cast:
        pytest.skip("this tincd has no LZ4")
    network = new_network(("Compression", str(level)))
    names = ("left", "right") if mode == "switch" else ("west", "east")
    left, right = network.add(names[0], cast[0]), network.add(names[1], cast[1], connect_to=names[:1])
    if mode == "router":
        for node in network:
            file = node.confbase / "tinc.conf"
            file.write_text(file.read_text().replace("Mode = switch", "Mode = router"))
            node.add_lines(f"hosts/{node.name}", [("Subnet", f"{node.address}/32")])
    network.exchange_keys()
    network.start()
    network.wait_converged()
    wait_until(lambda: answers(left.host, right.address), 20, "they answer")
    for here, there in ((left, right), (right, left)):
        wait_until(lambda here=here, there=there: here.nodes()[there.name].mtu_known, 30, "the MTU is known")
    return network


def sent(node: Node) -> int:
    """Bytes that the host has sent on the network below."""
    return int(node.host.run("cat", "/sys/class/net/eth0/statistics/tx_bytes").stdout)


@pytest.mark.parametrize("sender", [0, 1])
def test_packets_arrive_and_take_less_room(network: Network, sender: int) -> None:
    nodes = list(network)
    here, there = nodes[sender], nodes[1 - sender]
    before = sent(here)
    report = ping(here.host, there.address, COUNT, size=SIZE)
    assert report.received == COUNT
    # What ping sends is the same few bytes over and over.
    assert sent(here) - before < COUNT * SIZE / 2
