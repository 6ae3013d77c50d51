"""A node that was suspended closes all its connections, and the network is whole again at once.

The daemon is stopped with SIGSTOP. For the daemon this is the same as a suspended machine: the clock goes on.
One node dials the other, and each of them sleeps once: longer than the other waits for it, and longer than
two times UDPDiscoveryTimeout.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from pytinc.lab.echo import answers, wait_steady
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until

CASTS = ("PC", "CP")
ROLES = ("dialling", "dialled")
PING_INTERVAL_S = 2
PING_TIMEOUT_S = 1
MAX_TIMEOUT_S = 2
UDP_TIMEOUT_S = 1
SLEEP_S = 2 * UDP_TIMEOUT_S + PING_TIMEOUT_S + 1


@pytest.fixture(scope="module")
def network(new_network: Callable[..., Network], cast: tuple[Kind, ...]) -> Network:
    network = new_network(
        ("PingInterval", str(PING_INTERVAL_S)),
        ("PingTimeout", str(PING_TIMEOUT_S)),
        ("MaxTimeout", str(MAX_TIMEOUT_S)),
        ("UDPDiscoveryTimeout", str(UDP_TIMEOUT_S)),
        ("UDPDiscoveryKeepaliveInterval", "1"),
    )
    network.add("dialled", cast[1])
    network.add("dialling", cast[0], connect_to=["dialled"])
    network.exchange_keys()
    network.start()
    network.wait_converged()
    time.sleep(PING_TIMEOUT_S + 1)  # tincd looks at its clock for the first time after PingTimeout
    return network


@pytest.mark.parametrize("sleeper", ROLES)
def test_the_network_is_whole_again_soon_after_a_node_slept(network: Network, sleeper: str) -> None:
    node = network[sleeper]
    (other,) = (one for one in network if one is not node)
    wait_until(lambda: answers(node.host, other.address), PATIENCE_S, "an answer before the sleep")
    before = len(node.log())
    put_to_sleep(node, SLEEP_S)
    start = time.monotonic()
    wait_until(lambda: answers(node.host, other.address, wait=0.3), PATIENCE_S, "an answer", interval=0.05)
    print(
        f"{node.kind.title} slept ({sleeper}), {other.kind.title} did not: "
        f"an answer after {time.monotonic() - start:.1f} s"
    )
    wait_until(lambda: "Awaking from dead after" in node.log()[before:], PATIENCE_S, "it knows that it slept")
    wait_steady(other.host, node.address, interval=0.1)
    network.wait_converged()


def put_to_sleep(node: Node, seconds: float) -> None:
    pid = node.pid()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        os.kill(pid, signal.SIGCONT)
