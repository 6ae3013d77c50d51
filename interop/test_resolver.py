"""A name server that does not answer for a while costs no connection and delays nothing else.

The leaf is a pytinc node, because tincd blocks while it looks up a name. Its host files give names instead of
addresses for two other nodes: one that runs, and one that starts late.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pytinc.lab.echo import answers, ping
from pytinc.lab.namespaces import Host, Lab
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until

CASTS = ("PCC",)
ROLES = ("leaf", "hub", "late")
LOOK_UP_S = 5
"""A look-up fails after this many seconds without an answer."""
MAX_TIMEOUT_S = 2
DARK_S = LOOK_UP_S + MAX_TIMEOUT_S + 1
"""How many seconds the test watches: long enough for a whole look-up."""
PAUSE_S = 0.1
SILENT = "table ip dark { chain in { type filter hook input priority 0; udp dport 53 drop; }; }\n"
OPTIONS = f"options timeout:{LOOK_UP_S} attempts:1\n"

NAME_SERVER = """
import socket, sys
names = dict(word.split("=") for word in sys.argv[1:])
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("", 53))
while True:
    query, client = server.recvfrom(512)
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    question = query[12 : at + 5]
    address = names.get(".".join(labels)) if question[-4:-2] == b"\\0\\1" else None
    header = query[:2] + b"\\x81\\x80\\0\\1" + bytes([0, address is not None]) + bytes(4)
    record = b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\x01\\0\\4" + socket.inet_aton(address) if address else b""
    server.sendto(header + question + record, client)
"""
"""Answers with the address (type A) of each NAME=ADDRESS, and with no records to all other questions."""


@pytest.fixture
def name_server(own_lab: Lab) -> Host:
    return own_lab.host("names")


@pytest.fixture
def network(
    own_network: Callable[..., Network], cast: tuple[Kind, ...], name_server: Host
) -> Iterator[Network]:
    """A network in which leaf and hub run, but late does not yet."""
    network = own_network(("MaxTimeout", str(MAX_TIMEOUT_S)))
    for role, kind in zip(ROLES, cast, strict=True):
        network.add(role, kind, connect_to=() if role != "leaf" else ("hub", "late"))
    network.exchange_keys()
    leaf = network["leaf"]
    for node in (network["hub"], network["late"]):
        file = leaf.confbase / "hosts" / node.name
        file.write_text(file.read_text().replace(node.host.address, name_of(node)))
    known = [f"{name_of(node)}={node.host.address}" for node in (network["hub"], network["late"])]
    name_server.spawn(sys.executable, "-c", NAME_SERVER, *known)
    # ip netns exec mounts these files over those in /etc.
    own_files = Path("/etc/netns") / leaf.host.namespace
    own_files.mkdir(parents=True)
    try:
        (own_files / "resolv.conf").write_text(f"nameserver {name_server.address}\n{OPTIONS}")
        network["hub"].start()
        leaf.start()
        network.wait_converged()
        yield network
    finally:
        shutil.rmtree(own_files)


def name_of(node: Node) -> str:
    return f"{node.name}.pytinc.test"


def test_a_name_server_that_does_not_answer_delays_nothing_else(network: Network, name_server: Host) -> None:
    leaf, hub, late = (network[role] for role in ROLES)
    wait_until(lambda: answers(leaf.host, hub.address), PATIENCE_S, "the hub answers")
    name_server.run("nft", "-f", "-", stdin=SILENT)
    wait_until(lambda: f"No address found for {name_of(late)}" in leaf.log(), PATIENCE_S, "a look-up failed")
    connections = leaf.connections()
    with ThreadPoolExecutor(1) as worker:
        pings = worker.submit(ping, leaf.host, hub.address, int(DARK_S / PAUSE_S), interval=PAUSE_S)
        slowest = 0.0
        while not pings.done():
            start = time.monotonic()
            assert leaf.nodes()["hub"].reachable
            slowest = max(slowest, time.monotonic() - start)
            time.sleep(PAUSE_S)
        report = pings.result()
    print(f"slowest ping {report.slowest_s:.2f} s, slowest dump of nodes {slowest:.2f} s")
    # A daemon that waited for the look-up would answer only after LOOK_UP_S.
    assert report.lost == 0
    assert max(report.slowest_s, slowest) < LOOK_UP_S * 0.9
    assert leaf.connections() == connections
    # A connection that is lost meanwhile is made again without a look-up, because the address is cached.
    late.start()
    hub.stop()
    wait_until(lambda: not leaf.sees([hub]), PATIENCE_S, "the leaf sees that the hub is gone")
    hub.start()
    wait_until(lambda: leaf.sees([hub]), PATIENCE_S, "the leaf is connected to the hub again")
    assert not leaf.sees([late])
    name_server.run("nft", "delete", "table", "ip", "dark")
    took = wait_until(lambda: leaf.sees([late]), PATIENCE_S, "the leaf is connected to the late node")
    print(f"connected {took:.1f} s after the name server answers again")
