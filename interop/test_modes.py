"""Settings of the data path in switch mode, with C and pytinc: which nodes get a frame, and over which path.

    left ──> relay <── right        an arrow points from the node that connects

All tests use one network; each starts it again with its own settings.
"""

from __future__ import annotations

import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from files_kept import files_kept
from pytinc.lab.echo import answers, wait_steady
from pytinc.lab.frames import Port
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until

# left, relay, right
CASTS = ("CPC", "PCP")
ROLES = ("left", "relay", "right")
QUIET_S = 0.3
"""How long a test waits for a frame that must not come."""
EXPERIMENT = "88b5"
"""An ethertype that no protocol uses (IEEE 802, for local experiments)."""
EVERYONE = "ff" * 6
NOBODY = "0200000000ee"
"""A MAC address that no host has: frames to it are flooded like broadcasts."""

Configure = Callable[..., Network]


@pytest.fixture(scope="module")
def plain(new_network: Callable[..., Network], cast: tuple[Kind, ...]) -> Network:
    network = new_network(
        ("PingInterval", "3"),
        ("PingTimeout", "2"),
        ("MaxTimeout", "1"),
        ("UDPDiscoveryKeepaliveInterval", "2"),
        ("UDPDiscoveryTimeout", "5"),
    )
    for role, kind in zip(ROLES, cast, strict=True):
        network.add(role, kind, connect_to=() if role == "relay" else ("relay",))
        network[role].host.run("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
    network.exchange_keys()
    return network


@pytest.fixture
def configured(plain: Network) -> Iterator[Configure]:
    """A function that starts the network with variables for some roles, or for "all".

    After the test the network is stopped, and its files are as before.
    """

    def start(**settings: tuple[tuple[str, str], ...]) -> Network:
        for node in plain:
            own = settings.get(node.name, ()) + settings.get("all", ())
            node.add_lines("tinc.conf", own)
        # Start the node that the others connect to first, so that none has to try again.
        plain["relay"].start()
        with ThreadPoolExecutor(2) as workers:
            list(workers.map(Node.start, (plain["left"], plain["right"])))
        plain.wait_converged()
        return plain

    with files_kept(plain):
        yield start
    plain.lab.clear_faults()


def frame(to: str, sender: Node, payload: bytes) -> bytes:
    return bytes.fromhex(to + sender.mac.replace(":", "") + EXPERIMENT) + payload


def who_gets(
    network: Network, sender: Node, to: str = EVERYONE, wanted: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Send a frame, and return how often each other node gets it.

    ``wanted`` says how many frames to wait for at each node. Others count only if they come within `QUIET_S`.
    """
    others = [node for node in network if node is not sender]
    sent = frame(to, sender, b"who gets this?".ljust(46, b"."))
    with ExitStack() as ports:
        taps = {node.name: ports.enter_context(Port(node.host, node.interface)) for node in others}
        ports.enter_context(Port(sender.host, sender.interface)).send(sent)
        counts = Counter(dict.fromkeys(taps, 0))
        for name, number in (wanted or {}).items():
            for _ in range(number):
                counts[name] += taps[name].until(lambda came: came == sent, PATIENCE_S) is not None
        time.sleep(QUIET_S)
        for name, tap in taps.items():
            counts[name] += list(tap.frames(0.02)).count(sent)
        return dict(counts)


def assert_gets(network: Network, sender: Node, to: str, wanted: dict[str, int]) -> None:
    """Send a frame, and check that each other node gets it as often as wanted."""
    assert who_gets(network, sender, to, wanted) == wanted


def wait_answers(one: Node, other: Node) -> None:
    what = f"{one.name} is answered by {other.name}"
    wait_until(lambda: answers(one.host, other.address), PATIENCE_S, what, interval=0.05)


def knows(one: Node, other: Node) -> bool:
    return f"{other.mac} owner {other.name}" in re.sub(
        r"\b(\w):", r"0\1:", one.tinc("dump", "subnets").stdout
    )


def datagrams(port: Port, seconds: float, peer: Node | None = None) -> int:
    """Return how many UDP packets from tinc's port (of ``peer``, if given) come within this time."""
    return sum(
        data[12:14] == b"\x08\0"
        and data[23] == 17
        and data[34:36] == b"\x02\x8f"
        and (peer is None or data[26:30] == socket.inet_aton(peer.host.address))
        for data in port.frames(seconds)
    )


@pytest.mark.parametrize("role", ["left", "relay"])
def test_with_tcp_only_no_datagrams_are_sent_and_frames_of_full_length_pass(
    configured: Configure, role: str
) -> None:
    network = configured(**{role: (("TCPOnly", "yes"),)})
    node = network[role]
    neighbour = network["relay" if role == "left" else "left"]
    with Port(node.host, "eth0") as wire:
        wait_answers(node, neighbour)
        for one, other in ((node, neighbour), (neighbour, node)):
            wait_steady(one.host, other.address, interval=0.1, size=1472)
        assert datagrams(wire, 0.5) == 0
    for one, other in ((node, neighbour), (neighbour, node)):
        # TCPOnly implies IndirectData.
        assert one.info(other.name)["Reachability"] == f"indirectly via {one.name}"
    left, relay, right = network
    # A C relay loses what a C node sends to a node with TCPOnly.
    if role == "left" and Kind.PY in (relay.kind, right.kind):
        wait_answers(right, left)
        # The first large one may be answered with the MTU of a datagram to the relay.
        wait_steady(right.host, left.address, interval=0.1, size=1472)


@pytest.mark.parametrize(
    ("broadcast", "indirect", "receivers"),
    [
        ("mst", "no", {"left": "relay right", "relay": "left right", "right": "left relay"}),
        ("direct", "yes", {"left": "relay", "relay": "left right", "right": "relay"}),
        ("no", "no", {"left": "", "relay": "", "right": ""}),
    ],
)
def test_the_broadcast_setting_decides_who_gets_a_broadcast(
    configured: Configure, broadcast: str, indirect: str, receivers: dict[str, str]
) -> None:
    network = configured(all=(("Broadcast", broadcast),), left=(("IndirectData", indirect),))
    for name, wanted in receivers.items():
        expected = {other: int(other in wanted.split()) for other in ROLES if other != name}
        for to in (EVERYONE, NOBODY):
            assert_gets(network, network[name], to, expected)
    # Frames to one node reach it with every setting of Broadcast.
    left, _, right = network
    for one, other in ((left, right), (right, left)):
        one.host.run("ip", "neigh", "replace", other.address, "lladdr", other.mac, "dev", one.interface)
    wait_answers(left, right)


def test_a_node_with_indirect_data_uses_the_relay_and_one_with_direct_only_sends_it_no_frames(
    configured: Configure,
) -> None:
    network = configured(left=(("IndirectData", "yes"),), right=(("DirectOnly", "yes"),))
    left, relay, right = network
    to_left, to_right = left.mac.replace(":", ""), right.mac.replace(":", "")
    with Port(left.host, "eth0") as here, Port(right.host, "eth0") as there:
        wait_answers(left, relay)
        wait_answers(right, relay)
        reached = {"relay": 0, "right": 1}
        wait_until(lambda: who_gets(network, left, to_right) == reached, PATIENCE_S, "left reaches right")
        assert_gets(network, right, to_left, {"left": 0, "relay": 0})
        assert_gets(
            network, right, EVERYONE, {"left": 1, "relay": 1}
        )  # DirectOnly does not concern broadcasts
        assert datagrams(here, 0.05, right) == datagrams(there, 0.05, left) == 0
    assert left.info("right")["Reachability"] == "indirectly via left"
    assert right.info("left")["Reachability"] == "indirectly via relay"
    assert right.nodes()["left"].via == "relay"


@pytest.mark.parametrize(
    ("forwarding", "counts"),
    [
        ("internal", {"relay": 0, "right": 1}),
        ("off", {"relay": 0, "right": 0}),
        ("kernel", {"relay": 1, "right": 0}),
    ],
)
def test_the_forwarding_setting_decides_who_gets_a_frame_for_a_third_node(
    configured: Configure, cast: tuple[Kind, ...], forwarding: str, counts: dict[str, int]
) -> None:
    if cast[1] is Kind.C and Kind.PY in cast:
        pytest.skip("the node that forwards is a C node")
    # With StrictSubnets left knows no MAC addresses and floods, but relay knows their owners.
    network = configured(left=(("StrictSubnets", "yes"),), relay=(("Forwarding", forwarding),))
    left, relay, right = network
    who_gets(network, right)
    wait_until(lambda: knows(relay, right), PATIENCE_S, "relay has learned of right")
    assert not knows(left, right)
    assert_gets(network, left, right.mac.replace(":", ""), counts)
