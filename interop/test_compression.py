"""Compression between tincd and pytincd: packets arrive, and fewer bytes go over the network below.

Debian's tincd has zlib and LZO, but not LZ4, which a later version added.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from pytinc.lab.echo import answers, ping
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until

CASTS = ("CP", "PC", "PP")
COUNT, SIZE, INTERVAL = 20, 1200, 0.05


def sent(node: Node) -> int:
    """Return the number of bytes that the host has sent on the network below."""
    return int(node.host.run("cat", "/sys/class/net/eth0/statistics/tx_bytes").stdout)


def knows_mtu(here: Node, there: Node) -> bool:
    return here.nodes()[there.name].mtu_known


@pytest.mark.parametrize(("mode", "level"), [("switch", 6), ("router", 11), ("switch", 12)])
def test_packets_arrive_and_take_fewer_bytes(
    own_network: Callable[..., Network], cast: tuple[Kind, ...], mode: str, level: int
) -> None:
    if level == 12 and Kind.C in cast:
        pytest.skip("this tincd has no LZ4")
    network = own_network(("Compression", str(level)))
    left = network.add("left", cast[0])
    right = network.add("right", cast[1], connect_to=["left"])
    if mode == "router":
        for node in network:
            file = node.confbase / "tinc.conf"
            file.write_text(file.read_text().replace("Mode = switch", "Mode = router"))
            node.add_lines(f"hosts/{node.name}", [("Subnet", f"{node.address}/32")])
    network.exchange_keys()
    network.start()
    network.wait_converged()
    wait_until(lambda: answers(left.host, right.address), PATIENCE_S, "they answer")
    for here, there in ((left, right), (right, left)):
        wait_until(partial(knows_mtu, here, there), PATIENCE_S, "the MTU is known")
    for here, there in ((left, right), (right, left)):
        before = sent(here)
        assert ping(here.host, there.address, COUNT, interval=INTERVAL, size=SIZE).lost == 0
        # The payload of a ping repeats a few bytes, so it compresses well.
        assert sent(here) - before < COUNT * SIZE / 2
