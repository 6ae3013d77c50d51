"""PriorityInheritance: pytinc's datagrams have the traffic class of the IPv4 and IPv6 packets inside."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from pytinc.lab.echo import answers
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until

# sender, receiver
CASTS = ("PC", "PP")


@pytest.fixture(scope="module")
def network(new_network: Callable[..., Network], cast: tuple[Kind, ...]) -> Network:
    network = new_network(("PriorityInheritance", "yes"))
    network.add("sender", cast[0], ["10.1.1.1/24", "fd00:1::1/64"])
    network.add("receiver", cast[1], ["10.1.1.2/24", "fd00:1::2/64"], ["sender"])
    network.exchange_keys()
    network.start()
    network.wait_converged()
    sender, _ = network

    def ready() -> bool:
        answering = all(answers(sender.host, address) for address in ("10.1.1.2", "fd00:1::2"))
        return answering and sender.nodes()["receiver"].mtu_known

    wait_until(ready, PATIENCE_S, "both addresses answer by UDP")
    return network


def outer_tos(node: Node, count: int, *ping: str) -> list[str]:
    """Return the TOS bytes that tcpdump shows for the next datagrams of this node while it pings."""
    # Select the datagrams with our echoes by their length, because there are probes as well.
    these = "udp and src port 655 and greater 550 and less 650"
    watch = node.host.spawn("tcpdump", "-vnlt", "-i", "eth0", "-c", str(count), "-Q", "out", these)
    assert watch.stdout is not None
    assert "listening on" in watch.stdout.readline()
    pings = node.host.spawn("ping", "-n", "-q", "-i", "0.1", "-s", "500", *ping, output=subprocess.DEVNULL)
    lines = [line for line in watch.stdout if "(tos " in line]
    pings.kill()
    pings.wait()
    return [line.split("(tos ")[1].split(",")[0] for line in lines]


@pytest.mark.parametrize("address", ["10.1.1.2", "fd00:1::2"])
@pytest.mark.parametrize(("inner", "outer"), [("0xb8", "0xb8"), ("0x28", "0x28"), ("0", "0x0")])
def test_a_datagram_has_the_class_of_its_packet(
    network: Network, address: str, inner: str, outer: str
) -> None:
    assert outer_tos(network["sender"], 4, "-Q", inner, address) == [outer] * 4


def test_the_congestion_bits_are_not_copied(network: Network) -> None:
    assert outer_tos(network["sender"], 4, "-Q", "0xba", "10.1.1.2") == ["0xb8"] * 4
