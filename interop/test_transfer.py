"""Random bytes arrive unchanged between pytinc nodes, and between pytinc and C; digests check this.

The data path cuts and joins packets and computes headers anew on both ends; a single wrong byte shows here.
The network below is good, or loses and reorders packets. The bytes go by IPv4, by IPv6, with a VLAN tag on
top of the tap, and with the tap as the trunk between two VLAN switches.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import pytest

from pytinc.lab.access_port import MEANS
from pytinc.lab.echo import answers
from pytinc.lab.namespaces import Host, LabError
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until

CASTS = ("PP", "PC", "CP")
MEGABYTES = int(os.environ.get("PYTINC_INTEROP_TRANSFER_MB", "128"))
LOSSY_MEGABYTES = max(MEGABYTES // 16, 1)
REORDERED_MEGABYTES = max(MEGABYTES // 2, 1)
BLOCK_MEGABYTES = 4
TRANSFER_S = 600
"""A transfer that stalls fails after this time. Speed is measured by the benchmarks."""
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
        # Send pieces of random lengths, so that frames of all lengths occur.
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
# Datagrams of 8 KiB leave as six fragments each, which the nodes must neither join nor reorder.
RECEIVE_UDP = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
    here.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    here.bind((sys.argv[1], 5998))
    here.settimeout(60)
    print("listening", flush=True)
    while (got := here.recvfrom(65535))[0] != b"end":
        here.sendto(*got)
"""
SEND_UDP = """
import os, socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
    here.settimeout(5)
    here.connect((sys.argv[1], 5998))
    lost = wrong = 0
    for number in range(200):
        data = number.to_bytes(4, "big") + os.urandom(8192 - number)
        here.send(data)
        try:
            while (answer := here.recv(65535))[:4] != data[:4]:
                pass  # a late answer
            wrong += answer != data
        except TimeoutError:
            lost += 1
    here.send(b"end")
sys.exit(wrong > 0 or lost > 2)
"""
# Blocks of 8 KiB by UDP, up to eight of them unanswered, like a file server that reads ahead. Lost blocks are
# sent again.
RECEIVE_BLOCKS = """
import hashlib, socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
    here.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    here.bind((sys.argv[1], 5997))
    here.settimeout(60)
    print("listening", flush=True)
    blocks, digest = {}, b""
    while True:
        data, sender = here.recvfrom(65535)
        number = int.from_bytes(data[:4], "big")
        if number == 0xffffffff:
            digest = digest or hashlib.sha256(b"".join(blocks[n] for n in sorted(blocks))).digest()
            here.sendto(digest, sender)
        elif number == 0xfffffffe:
            break
        else:
            blocks[number] = data[4:]
            here.sendto(data[:4], sender)
"""
SEND_BLOCKS = """
import contextlib, hashlib, os, socket, sys
count = int(sys.argv[2]) << 7
blocks = [os.urandom(8192 - n % 100) for n in range(count)]
left, waiting = list(range(count))[::-1], set()
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
    here.settimeout(0.05)
    here.connect((sys.argv[1], 5997))
    while left or waiting:
        while left and len(waiting) < 8:
            number = left.pop()
            waiting.add(number)
            here.send(number.to_bytes(4, "big") + blocks[number])
        try:
            waiting.discard(int.from_bytes(here.recv(64), "big"))
        except TimeoutError:
            left += waiting
            waiting.clear()
    wanted = hashlib.sha256(b"".join(blocks)).digest()
    here.settimeout(0.5)
    answer = b""
    for _ in range(120):
        here.send(b"\\xff" * 4)
        try:
            while len(answer := here.recv(64)) != 32:
                pass
            break
        except TimeoutError:
            pass
    with contextlib.suppress(OSError):
        for _ in range(3):  # some may be lost
            here.send(b"\\xff\\xff\\xff\\xfe")
sys.exit(answer != wanted)
"""
# Watch an interface until it has carried a megabyte for one MAC address; print the VLANs and the longest
# frame.
WATCH = """
import json, socket, sys
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as here:
    here.bind((sys.argv[1], 3))
    here.setsockopt(263, 8, 1)  # PACKET_AUXDATA: the kernel hands over the tag apart from the frame
    here.setsockopt(socket.SOL_SOCKET, 33, 32 << 20)  # SO_RCVBUFFORCE
    here.settimeout(60)
    mac = bytes.fromhex(sys.argv[2].replace(":", ""))
    print("watching", flush=True)
    vlans, longest, total = set(), 0, 0
    while total < 1 << 20:
        data, others, _, address = here.recvmsg(70000, 256)
        if address[1] == 0x0800 and data[:6] == mac:
            tag = int.from_bytes(others[0][2][16:18], sys.byteorder)
            vlans.add(tag & 0xfff)
            longest = max(longest, len(data))
            total += len(data)
    print(json.dumps({"vlans": sorted(vlans), "longest": longest}))
"""


@dataclass(frozen=True)
class Target:
    """The receiver's address inside the VPN, and the address family of the socket."""

    receiver: str
    family: int


TARGETS = {"ipv4": Target("10.1.1.2", 2), "ipv6": Target("fd00::2", 10), "vlan": Target("10.7.7.2", 2)}


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
            node.host.run("ip", "link", "set", "dev", "vlan7", "up")
    left, right = network["left"], network["right"]
    wait_until(lambda: answers(left.host, right.address), PATIENCE_S, "they answer")
    for here, there in ((left, "right"), (right, "left")):
        wait_until(partial(knows_mtu, here, there), PATIENCE_S, "the MTU is known")
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
    """Run both ends of a transfer. Raises LabError if the sender finds an error."""
    listening = receiver.spawn(sys.executable, "-c", scripts[0], address, *words)
    assert listening.stdout is not None
    line = listening.stdout.readline()
    if line != "listening\n":
        raise LabError(f"no receiver: {line}{listening.stdout.read()}")
    sender.run(sys.executable, "-c", scripts[1], address, *words, timeout=timeout)
    assert listening.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("target", TARGETS)
def test_random_bytes_arrive_unchanged(network: Network, target: str) -> None:
    if target == "vlan" and "vlan7" not in network["left"].host.run("ip", "link", "show").stdout:
        pytest.skip("this kernel has no VLAN interfaces")
    words = str(TARGETS[target].family), str(MEGABYTES)
    left, right = network["left"].host, network["right"].host
    exchange(left, right, (RECEIVE_TCP, SEND_TCP), words, TARGETS[target].receiver, TRANSFER_S)


@pytest.mark.usefixtures("no_loss")
def test_random_bytes_arrive_unchanged_over_a_lossy_network(network: Network) -> None:
    left, right = network["left"].host, network["right"].host
    for host in (left, right):
        network.lab.set_loss(host, LOSS_PERCENT)
    words = str(TARGETS["ipv4"].family), str(LOSSY_MEGABYTES)
    exchange(left, right, (RECEIVE_TCP, SEND_TCP), words, TARGETS["ipv4"].receiver, TRANSFER_S)


def test_random_bytes_arrive_unchanged_over_a_lossy_and_reordering_network(network: Network) -> None:
    left, right = network["left"].host, network["right"].host
    words = str(TARGETS["ipv4"].family), str(REORDERED_MEGABYTES)
    with network.lab.impair(right, loss=LOSS_PERCENT, reorder=REORDER_PERCENT) as report:
        exchange(left, right, (RECEIVE_TCP, SEND_TCP), words, TARGETS["ipv4"].receiver, TRANSFER_S)
    assert report["lost"] > 0
    assert report["delayed"] > 0


def test_fragmented_datagrams_arrive_whole(network: Network) -> None:
    left, right = network["left"].host, network["right"].host
    exchange(left, right, (RECEIVE_UDP, SEND_UDP), (), TARGETS["ipv4"].receiver, TRANSFER_S)


def test_blocks_in_fragments_arrive_unchanged(network: Network) -> None:
    left, right = network["left"].host, network["right"].host
    exchange(
        left,
        right,
        (RECEIVE_BLOCKS, SEND_BLOCKS),
        (str(BLOCK_MEGABYTES),),
        TARGETS["ipv4"].receiver,
        TRANSFER_S,
    )


def test_blocks_in_fragments_arrive_unchanged_over_a_lossy_and_reordering_network(
    network: Network,
) -> None:
    left, right = network["left"].host, network["right"].host
    words = (str(BLOCK_MEGABYTES),)
    with network.lab.impair(right, loss=LOSS_PERCENT, reorder=REORDER_PERCENT) as report:
        exchange(left, right, (RECEIVE_BLOCKS, SEND_BLOCKS), words, TARGETS["ipv4"].receiver, TRANSFER_S)
    assert report["delayed"] > 0


@dataclass(frozen=True)
class Trunk:
    """Hosts on access ports of two VLAN switches, by VLAN; each node's tap is the trunk of its switch."""

    left: dict[int, Host]
    right: dict[int, Host]


VLANS = (10, 20)
# Both VLANs have the same addresses, so that a leaked packet reaches a wrong host.
LEFT_ADDRESS, RIGHT_ADDRESS = "10.8.8.1", "10.8.8.2"
ONLY_IN_20 = "10.8.8.20"


def knows_mtu(here: Node, there: str) -> bool:
    return here.nodes()[there].mtu_known


def host_on_access_port(network: Network, node: Node, vlan: int, address: str) -> Host:
    """Add a host to a VLAN of the switch behind a node."""
    host = network.lab.host(f"{node.name}{vlan}")
    port = f"port{vlan}"
    words = ("link", "add", "name", "lan", "type", "veth", "peer", "name", port, "netns", node.host.namespace)
    host.run("ip", *words)
    node.host.run("ip", "link", "set", "dev", port, "master", "lan")
    attached = node.host.spawn(sys.executable, "-m", "pytinc.lab.access_port", port, str(vlan))
    assert attached.stdout is not None
    line = attached.stdout.readline()
    if MEANS in line:
        pytest.skip(line)
    assert line == "attached\n"
    node.host.run("ip", "link", "set", "dev", port, "up")
    host.run("ip", "address", "add", f"{address}/24", "dev", "lan")
    host.run("ip", "link", "set", "dev", "lan", "up")
    return host


@pytest.fixture(scope="class")
def trunk(network: Network) -> Iterator[Trunk]:
    trunk = Trunk({}, {})
    sides = ((network["left"], trunk.left, LEFT_ADDRESS), (network["right"], trunk.right, RIGHT_ADDRESS))
    for node, hosts, address in sides:
        node.host.run("ip", "link", "add", "name", "lan", "type", "bridge")
        node.host.run("ip", "link", "set", "dev", "lan", "up")
        node.host.run("ip", "link", "set", "dev", node.interface, "master", "lan")
        for vlan in VLANS:
            hosts[vlan] = host_on_access_port(network, node, vlan, address)
    trunk.right[20].run("ip", "address", "add", f"{ONLY_IN_20}/24", "dev", "lan")
    for vlan in VLANS:
        wait_until(
            partial(answers, trunk.left[vlan], RIGHT_ADDRESS),
            PATIENCE_S,
            f"VLAN {vlan} passes the trunk",
        )
    yield trunk
    for node, hosts, _ in sides:
        for vlan, host in hosts.items():
            host.end_processes()
            node.host.run("ip", "link", "del", f"port{vlan}")
        node.host.run("ip", "link", "del", "lan")


def transfer_in_both_vlans(trunk: Trunk, megabytes: int, *, forth: bool) -> None:
    """Send random bytes in both VLANs at the same time."""
    senders, receivers = (trunk.left, trunk.right) if forth else (trunk.right, trunk.left)
    address = RIGHT_ADDRESS if forth else LEFT_ADDRESS
    scripts, words = (RECEIVE_TCP, SEND_TCP), ("2", str(megabytes))
    with ThreadPoolExecutor() as threads:
        transfers = [
            threads.submit(exchange, senders[vlan], receivers[vlan], scripts, words, address, TRANSFER_S)
            for vlan in VLANS
        ]
    for transfer in transfers:
        transfer.result()


class TestTrunk:
    """Transfers between two VLAN switches.

    A switch is a bridge whose access ports are made with eBPF, because not every kernel has VLAN filtering.
    """

    @pytest.mark.parametrize("forth", [True, False], ids=["forth", "back"])
    def test_random_bytes_arrive_unchanged_in_two_vlans_at_once(self, trunk: Trunk, forth: bool) -> None:
        transfer_in_both_vlans(trunk, max(MEGABYTES // 2, 1), forth=forth)

    @pytest.mark.parametrize("forth", [True, False], ids=["forth", "back"])
    def test_random_bytes_arrive_unchanged_in_two_vlans_over_a_lossy_and_reordering_network(
        self, network: Network, trunk: Trunk, forth: bool
    ) -> None:
        host = network["right"].host
        with network.lab.impair(host, loss=LOSS_PERCENT, reorder=REORDER_PERCENT) as report:
            transfer_in_both_vlans(trunk, max(MEGABYTES // 8, 1), forth=forth)
        assert report["lost"] > 0

    def test_frames_pass_the_trunk_joined_and_with_their_tag(self, network: Network, trunk: Trunk) -> None:
        # Watch one MAC address only: in VLAN 20 a connection of another test may still be closing.
        mac = trunk.right[10].run("cat", "/sys/class/net/lan/address").stdout.strip()
        watchers = {}
        for node in network:
            watchers[node.name] = watcher = node.host.spawn(sys.executable, "-c", WATCH, node.interface, mac)
            assert watcher.stdout is not None
            assert watcher.stdout.readline() == "watching\n"
        words = "2", "4"
        exchange(trunk.left[10], trunk.right[10], (RECEIVE_TCP, SEND_TCP), words, RIGHT_ADDRESS, TRANSFER_S)
        for node in network:
            seen = json.loads(watchers[node.name].communicate(timeout=PATIENCE_S)[0])
            assert seen["vlans"] == [10]
            if node.kind is Kind.PY:
                assert seen["longest"] > 2 * 1518, node.name

    def test_blocks_in_fragments_arrive_unchanged(self, trunk: Trunk) -> None:
        words = (str(BLOCK_MEGABYTES),)
        exchange(
            trunk.left[20], trunk.right[20], (RECEIVE_BLOCKS, SEND_BLOCKS), words, RIGHT_ADDRESS, TRANSFER_S
        )

    def test_nothing_leaks_from_one_vlan_to_the_other(self, trunk: Trunk) -> None:
        wait_until(partial(answers, trunk.left[20], ONLY_IN_20), PATIENCE_S, "it answers in its own VLAN")
        assert not answers(trunk.left[10], ONLY_IN_20)
