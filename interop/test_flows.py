"""``balance=flow``: a pytinc client spreads its TCP connections over three pytinc members behind a C node.

    one, two, three, client ──> entry        all others connect to entry

Each member's host has both addresses and a service that says whose it is, each time it is asked. So a
connection shows which member has it, from its first byte to its last.
"""

from __future__ import annotations

import errno
import json
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from faults import cut_off
from pytinc.lab.namespaces import Host
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until
from shared_address import VIP4, VIP6, VIPS, virtual_network

# entry, one, two, three, client
CASTS = ("CPPPP",)
ROLES = ("entry", "one", "two", "three", "client")
MEMBERS = ("one", "two", "three")
PORT = 7009
CONNECTIONS = 90
LEAST = 10
"""Connections of each member, of so many. The kernel chooses their ports, so it is a matter of chance."""
WORKS_S = 0.5
"""How long a connection may take when a test looks whether connections work. Those that must get a minute."""
SERVICE = """
import asyncio, sys

async def serve(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(len(data) * sys.argv[1].encode())
    except OSError:
        pass

class Datagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.transport.sendto(sys.argv[1].encode(), address)

async def main():
    for address in sys.argv[3:]:
        where = (address, int(sys.argv[2]))
        await asyncio.get_running_loop().create_datagram_endpoint(Datagrams, local_addr=where)
    async with await asyncio.start_server(serve, sys.argv[3:], int(sys.argv[2]), backlog=128) as server:
        print("listening", flush=True)
        await server.serve_forever()

asyncio.run(main())
"""
"""Says the name of its member for each byte that comes in a connection, and for each datagram."""
LONG = 4000
"""Bytes of a datagram that goes in three fragments."""
ATTEMPTS = 5
SOCKETS = 30
"""That all of these get one member happens once in a hundred million million runs."""


@pytest.fixture(scope="module")
def network(new_network: Callable[..., Network], cast: tuple[Kind, ...]) -> Network:
    if cast[1] is Kind.C:
        pytest.skip("tincd has no virtual IPs by policy")
    network = virtual_network(new_network, dict(zip(ROLES, cast, strict=True)), MEMBERS)
    for name in MEMBERS:
        network[name].add_lines("tinc.conf", [("VirtualIP", f"{vip} balance=flow") for vip in VIPS])
    network.start()
    network.wait_converged()
    for name in MEMBERS:
        process = network[name].host.spawn(sys.executable, "-c", SERVICE, name, str(PORT), *VIPS)
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"
    wait_until(lambda: all_serve(network["client"]), PATIENCE_S, "the client's node knows all members")
    return network


def all_serve(node: Node) -> bool:
    """Tell whether a node has heard of both addresses that all members are well."""
    found = json.loads(node.tinc("vip", "--json").stdout)["addresses"]
    states = [[member["state"] for member in each["members"]] for each in found if each["owner"]]
    return len(states) == len(VIPS) and all(
        len(each) == len(MEMBERS) and set(each) <= {"active", "backup"} for each in states
    )


class Connections:
    """TCP connections of a host to an address, each with the member that has it."""

    def __init__(self, host: Host, vip: str) -> None:
        self._host, self._vip = host, vip
        self._made: list[tuple[socket.socket, str]] = []

    def close(self) -> None:
        for made, _ in self._made:
            made.close()

    def open(self, count: int, limit: float = PATIENCE_S) -> Counter[str]:
        """Make connections; return how many went to each member. OSError if one is not made in time.

        ``limit`` is how many seconds each connection and each first answer may take.
        """
        members = [self._open_one(limit) for _ in range(count)]
        return Counter(members)

    def _open_one(self, limit: float) -> str:
        made = self._host.open_socket(lambda: socket.create_connection((self._vip, PORT), timeout=limit))
        try:
            member = _ask(made)
        except OSError:
            made.close()
            raise
        made.settimeout(PATIENCE_S)
        self._made.append((made, member))
        return member

    def check(self, *, lost: str | None = None) -> None:
        """All connections are where they were, but for those of a member that is lost: they end."""
        left = []
        for made, member in self._made:
            if member != lost:
                assert _ask(made) == member
                left.append((made, member))
                continue
            with pytest.raises(ConnectionError):
                _ask(made)
            made.close()
        self._made = left


def _ask(connection: socket.socket) -> str:
    connection.sendall(b"?")
    said = connection.recv(16).decode()
    if not said:
        raise ConnectionResetError("the service has closed the connection")
    return said


def flows(node: Node, vip: str) -> dict[str, int]:
    """Return how many flows each member has, as the client's node says."""
    found = json.loads(node.tinc("vip", vip, "--json").stdout)
    return {member["node"]: member["flows"] for member in found["members"]}


@pytest.mark.parametrize(("vip", "victim"), [(VIP4, "two"), (VIP6, "three")])
def test_a_member_that_is_cut_off_takes_only_its_connections(network: Network, vip: str, victim: str) -> None:
    client = network["client"]
    connections = Connections(client.host, vip)
    with ExitStack() as stack:
        stack.callback(connections.close)
        counts = connections.open(CONNECTIONS)
        assert counts.keys() == set(MEMBERS)
        assert min(counts.values()) >= LEAST
        connections.check()
        known = flows(client, vip)
        assert all(known[name] >= counts[name] for name in MEMBERS)
        with cut_off(network[victim]):
            start = time.monotonic()

            def works() -> bool:
                try:
                    return victim not in connections.open(12, WORKS_S)
                except (TimeoutError, ConnectionError):
                    return False

            wait_until(works, PATIENCE_S, "new connections go to the others")
            print(f"{vip}: new connections work {time.monotonic() - start:.2f} s after the cut")
            connections.check(lost=victim)
        wait_until(lambda: all_serve(client), PATIENCE_S, f"{victim} is back")
        connections.check()
        wait_until(lambda: victim in connections.open(12), PATIENCE_S, f"{victim} gets new connections")


@pytest.mark.parametrize("vip", VIPS)
def test_the_fragments_of_a_datagram_go_to_the_member_that_has_its_flow(network: Network, vip: str) -> None:
    client, found = network["client"], set[bytes]()
    with ExitStack() as stack:
        for _ in range(SOCKETS):
            made = stack.enter_context(client.host.open_socket(lambda: _datagrams(vip)))
            members = {_exchange(made, size) for size in (LONG, 1, LONG)}
            assert len(members) == 1
            found |= members
    assert len(found) > 1


def _datagrams(vip: str) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in vip else socket.AF_INET, socket.SOCK_DGRAM)
    made.settimeout(PATIENCE_S)
    made.connect((vip, PORT))
    return made


def _exchange(made: socket.socket, size: int) -> bytes:
    """Send a datagram and return the answer; again where the path turns out to take shorter packets only."""
    for _ in range(ATTEMPTS):
        try:
            made.send(bytes(size))
            return made.recv(16)
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
    pytest.fail("packets that fit the path do not pass")


def test_one_stream_stays_whole(network: Network) -> None:
    """Super-frames and acknowledgements of one connection all go to one member."""
    client = network["client"]
    connections = Connections(client.host, VIP4)
    with ExitStack() as stack:
        stack.callback(connections.close)
        connections.open(1)
        ((made, member),) = connections._made
        made.sendall(b"x" * 300_000)
        said, expected = 0, 300_000 * len(member)
        while said < expected:
            part = made.recv(1 << 16)
            assert part
            said += len(part)
        connections.check()
