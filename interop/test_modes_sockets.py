"""The addresses, interfaces and ports on which a node listens, and from which it sends to a C node.

    left ──> right        left connects to right, and its host has a second address

All tests use one network; each starts it again with its own settings for left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from files_kept import files_kept
from pytinc.lab.echo import answers, wait_steady
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until

# left, right
CASTS = ("PC",)
FIRST, SECOND = "192.0.2.1", "192.0.2.101"
MARK_COUNTERS = """
table inet marks {
  chain out {
    type filter hook output priority 0;
    oifname "eth0" meta mark 7 meta l4proto tcp counter comment "marked tcp"
    oifname "eth0" meta mark 7 meta l4proto udp counter comment "marked udp"
    oifname "eth0" meta mark 0 meta l4proto { tcp, udp } counter comment "unmarked"
  }
}
"""
Configure = Callable[..., tuple[Node, Node]]


@pytest.fixture(scope="module")
def plain(new_network: Callable[..., Network], cast: tuple[Kind, ...]) -> Network:
    network = new_network(("MaxTimeout", "1"))
    left = network.add("left", cast[0], connect_to=["right"])
    network.add("right", cast[1])
    assert left.host.address == FIRST
    left.host.run("ip", "address", "add", f"{SECOND}/24", "dev", "eth0")
    network.exchange_keys()
    return network


@pytest.fixture
def configured(plain: Network) -> Iterator[Configure]:
    """A function that starts the network with more lines in left's ``tinc.conf``, and returns left and right.

    After the test the network is stopped, and its files are as before.
    """

    def start(*lines: tuple[str, str], first: str = "right") -> tuple[Node, Node]:
        left, right = plain
        left.add_lines("tinc.conf", lines)
        for node in sorted(plain, key=lambda node: node.name != first):
            node.start()
        plain.wait_converged()
        return left, right

    with files_kept(plain):
        yield start
    # Without this, an address that worked before would be dialled first.
    for node in plain:
        for file in (node.confbase / "cache").iterdir():
            file.unlink()


def listening(node: Node) -> set[tuple[str, str]]:
    """Return the sockets on which the daemon listens, as (protocol, address and port)."""
    lines = node.host.run("ss", "-Hltunp").stdout.splitlines()
    words = [line.split() for line in lines if f"pid={node.pid()}," in line]
    return {(word[0], word[4]) for word in words}


def both(*addresses: str) -> set[tuple[str, str]]:
    return {(protocol, address) for protocol in ("tcp", "udp") for address in addresses}


def wait_udp(one: Node, other: Node) -> None:
    """Wait until there is an answer, and UDP works in both directions."""

    def works() -> bool:
        return answers(one.host, other.address) and all(
            here.nodes()[there.name].by_udp for here, there in ((one, other), (other, one))
        )

    wait_until(works, PATIENCE_S, "UDP works in both directions")
    wait_steady(one.host, other.address, size=1300)


@pytest.mark.parametrize(("address", "port"), [(FIRST, "655"), (SECOND, "700")])
def test_with_bind_to_address_everything_comes_from_that_address(
    configured: Configure, address: str, port: str
) -> None:
    left, right = configured(("BindToAddress", address if port == "655" else f"{address} {port}"))
    assert listening(left) == both(f"{address}:{port}")
    wait_udp(left, right)
    assert [view.address for view in right.connections()] == [address]
    view = right.nodes()["left"]
    assert (view.address, view.port) == (address, port)


def test_a_node_binds_to_several_addresses(configured: Configure) -> None:
    left, right = configured(("BindToAddress", FIRST), ("BindToAddress", f"{SECOND} 700"))
    assert listening(left) == both(f"{FIRST}:655", f"{SECOND}:700")
    wait_udp(left, right)
    # With two addresses, the kernel chooses the one to connect from.
    assert [view.address for view in right.connections()] == [FIRST]


def test_a_node_listens_on_several_addresses(configured: Configure) -> None:
    left, right = configured(
        ("ListenAddress", SECOND), ("ListenAddress", f"{SECOND} 700"), ("ListenAddress", "127.0.0.1 701")
    )
    assert listening(left) == both(f"{SECOND}:655", f"{SECOND}:700", "127.0.0.1:701")
    wait_udp(left, right)
    # ListenAddress does not set the address to connect from.
    assert [view.address for view in right.connections()] == [FIRST]
    assert right.nodes()["left"].address == SECOND


def test_a_peer_connects_to_another_address_and_port(configured: Configure, plain: Network) -> None:
    left, right = plain
    for node, other in ((left, "right"), (right, "left")):
        node.tinc("del", "ConnectTo", check=False)
        node.tinc("del", f"{other}.Address", check=False)
    right.add_lines("tinc.conf", [("ConnectTo", "left")])
    right.add_lines("hosts/left", [("Address", f"{SECOND} 700")])
    configured(("ListenAddress", "*"), ("ListenAddress", "* 700"), first="left")
    assert listening(left) == both("0.0.0.0:655", "0.0.0.0:700")
    wait_udp(left, right)
    (view,) = right.connections()
    assert (view.address, view.port) == (SECOND, "700")


def test_with_bind_to_interface_only_that_interface_is_used(configured: Configure) -> None:
    left, right = configured(("BindToInterface", "eth0"))
    assert listening(left) == both("0.0.0.0%eth0:655")
    wait_udp(left, right)
    connected = left.host.run("ss", "-Htn", "state", "established").stdout
    assert f"{FIRST}%eth0:" in connected


def test_a_node_without_its_interface_does_not_start_and_logs_its_name(plain: Network) -> None:
    left, _ = plain
    file = left.confbase / "tinc.conf"
    kept = file.read_text()
    left.add_lines("tinc.conf", [("BindToInterface", "nowhere0")])
    try:
        done = left.start(check=False)
    finally:
        file.write_text(kept)
    assert done.returncode != 0
    assert "nowhere0" in left.log()


def test_with_fwmark_all_packets_are_marked(configured: Configure, plain: Network) -> None:
    left, right = plain
    left.host.run("nft", "-f", "-", stdin=MARK_COUNTERS)
    try:
        configured(("FWMark", "7"))
        wait_udp(left, right)
        counters = left.host.run("nft", "list", "table", "inet", "marks").stdout
    finally:
        left.host.run("nft", "delete", "table", "inet", "marks")
    packets = {
        line.split('"')[-2]: int(line.split("packets ")[1].split()[0])
        for line in counters.splitlines()
        if "comment" in line
    }
    assert packets["marked tcp"] > 0
    assert packets["marked udp"] > 0
    assert packets["unmarked"] == 0
