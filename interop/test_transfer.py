"""What goes in comes out: random bytes through every pair of programs, by digest.

The fast path cuts, joins and re-computes headers on both ends; a single wrong byte shows here. Over a good
network and over one that loses packets, in plain IPv4, IPv6, and with a VLAN tag on top of the tap.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from pytinc.lab.namespaces import Host, LabError
from pytinc.lab.network import Network
from pytinc.lab.node import Kind, wait_until
from pytinc.lab.traffic import answers

CASTS = ("PP", "PC", "CP")
MEGABYTES = int(os.environ.get("PYTINC_INTEROP_TRANSFER_MB", "128"))
LOSSY_MEGABYTES = max(MEGABYTES // 16, 1)
REORDERED_MEGABYTES = max(MEGABYTES // 2, 1)
LOSS_PERCENT = 1
REORDER_PERCENT = 3

RECEIVE_TCP = """
import hashlib, socket, sys
with socket.create_server((sys.argv[1], 5999), family=int(sys.argv[2])) as server:
    print("listening", flush=True)
    connection, _ = server.accept()
    digest, count = hashlib.sha256(), 0
    while data := connection.recv(1 << 16):
        digest.update(data)
        count += len(data)
    connection.sendall(digest.digest())
"""
SEND_TCP = """
import hashlib, os, socket, sys
digest, left = hashlib.sha256(), int(sys.argv[3]) << 20
with socket.socket(int(sys.argv[2])) as connection:
    connection.connect((sys.argv[1], 5999))
    while left:
        # Odd pieces, so that frames of all lengths occur.
        data = os.urandom(min(left, 1 + int.from_bytes(os.urandom(2), "big")))
        digest.update(data)
        connection.sendall(data)
        left -= len(data)
    connection.shutdown(socket.SHUT_WR)
    answer = b""
    while piece := connection.recv(64):
        answer += piece
sys.exit(answer != digest.digest())
"""
# Datagrams of 8 KiB leave as six fragments each, which nothing may join or reorder.
RECEIVE_UDP = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
    here.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    here.bind((sys.argv[1], 5998))
    here.settimeout(20)
    print("listening", flush=True)
    for _ in range(200):
        data, sender = here.recvfrom(65535)
        here.sendto(data, sender)
"""
SEND_UDP = """
import os, socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
    here.settimeout(2)
    lost = 0
    for number in range(200):
        data = os.urandom(8192 - number)
        here.sendto(data, (sys.argv[1], 5998))
        try:
            lost += here.recv(65535) != data
        except TimeoutError:
            lost += 1
sys.exit(lost > 2)
"""


@dataclass(frozen=True)
class Way:
    """How the two hosts speak to each other on top of the VPN."""

    receiver: str
    family: int


WAYS = {"ipv4": Way("10.1.1.2", 2), "ipv6": Way("fd00::2", 10), "vlan": Way("10.7.7.2", 2)}


@pytest.fixture(scope="module")
def network(new_network: Callable[..., Network], cast: tuple[Kind, ...]) -> Network:
    network = new_network()
    network.add("left", cast[0])
    network.add("right", cast[1], connect_to=["left"])
    network.exchange_keys()
    network.start()
    network.wait_converged()
    for number, node in enumerate(network, 1):
        tap = node.interface
        node.host.run("ip", "address", "add", f"fd00::{number}/64", "dev", tap, "nodad")
        words = ("link", tap, "name", "vlan7", "type", "vlan", "id", "7")
        if node.host.run("ip", "link", "add", *words, check=False).returncode == 0:
            node.host.run("ip", "address", "add", f"10.7.7.{number}/24", "dev", "vlan7")
            node.host.run("ip", "link", "set", "vlan7", "up")
    left, right = network["left"], network["right"]
    wait_until(lambda: answers(left.host, right.address), 20, "they answer")
    for here, there in ((left, "right"), (right, "left")):
        wait_until(lambda here=here, there=there: here.nodes()[there].mtu_known, 30, "the MTU is known")
    return network


@pytest.fixture
def no_loss(network: Network) -> Iterator[None]:
    yield
    network.lab.clear_faults()


def exchange(
    sender: Host,
    receiver: Host,
    scripts: tuple[str, str],
    words: tuple[str, ...],
    address: str,
    timeout: float,
) -> None:
    """Run both ends; LabError when the sender is not content."""
    listening = receiver.spawn(sys.executable, "-c", scripts[0], address, *words)
    assert listening.stdout is not None
    line = listening.stdout.readline()
    if line != "listening\n":
        raise LabError(f"no receiver: {line}{listening.stdout.read()}")
    sender.run(sys.executable, "-c", scripts[1], address, *words, timeout=timeout)
    assert listening.wait(20) == 0


@pytest.mark.parametrize("way", WAYS)
def test_random_bytes_arrive_as_they_were(network: Network, way: str) -> None:
    if way == "vlan" and "vlan7" not in network["left"].host.run("ip", "link", "show").stdout:
        pytest.skip("this kernel has no VLAN interfaces")
    words = str(WAYS[way].family), str(MEGABYTES)
    left, right = network["left"].host, network["right"].host
    exchange(left, right, (RECEIVE_TCP, SEND_TCP), words, WAYS[way].receiver, 120)


@pytest.mark.usefixtures("no_loss")
def test_random_bytes_arrive_as_they_were_over_a_lossy_network(network: Network) -> None:
    left, right = network["left"].host, network["right"].host
    for host in (left, right):
        network.lab.set_loss(host, LOSS_PERCENT)
    words = str(WAYS["ipv4"].family), str(LOSSY_MEGABYTES)
    exchange(left, right, (RECEIVE_TCP, SEND_TCP), words, WAYS["ipv4"].receiver, 120)


def test_random_bytes_arrive_as_they_were_over_a_lossy_and_reordering_network(network: Network) -> None:
    left, right = network["left"].host, network["right"].host
    words = str(WAYS["ipv4"].family), str(REORDERED_MEGABYTES)
    with network.lab.impair(right, loss=LOSS_PERCENT, reorder=REORDER_PERCENT) as report:
        exchange(left, right, (RECEIVE_TCP, SEND_TCP), words, WAYS["ipv4"].receiver, 250)
    assert report["lost"] > 0
    assert report["delayed"] > 0
    assert report["overruns"] == 0
    print(report)


def test_fragmented_datagrams_arrive_whole(network: Network) -> None:
    left, right = network["left"].host, network["right"].host
    exchange(left, right, (RECEIVE_UDP, SEND_UDP), (), WAYS["ipv4"].receiver, 120)
