"""``balance=client``: three pytinc members share the clients of two addresses, with a C node in the middle.

    one, two, three, client ──> entry        all others connect to entry

All members have both addresses on their interfaces. The client's kernel pings both all the time. Behind the
same node there are more stations of the IPv4 address, whose frames the test makes and reads itself.
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Any

import pytest

from faults import cut_off, stopped
from pytinc.lab.frames import Port
from pytinc.lab.namespaces import LabError
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until
from pytinc.lab.traffic import neighbour
from pytinc.vip.assignment import ROOM
from pytinc.wire.neighbour import GUARD_MAC, parse, question
from pytinc.wire.neighbour import Kind as What
from shared_address import VIP4, VIPS, WATCH_S, pinged, pinging, virtual_network

# entry, one, two, three, client
CASTS = ("CPPPC", "CPPPP")
ROLES = ("entry", "one", "two", "three", "client")
MEMBERS = ("one", "two", "three")
STATIONS = 24
PACKED = ip_address(VIP4).packed
SILENCE_S = 1.0
ATTEMPTS = 5
PLANNED = 2
"""How many pings, one every 10 ms, a client may lose when its member changes on purpose."""


def mac_of(number: int) -> bytes:
    return bytes((2, 0, 0, 1, 0, number))


def ip_of(number: int) -> bytes:
    return bytes((10, 1, 1, 150 + number))


class Stations:
    """Stations behind the client's node, and what they were told: MAC addresses by number."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self.told: dict[int, bytes] = {}
        self.answered: list[tuple[int, bytes]] = []
        """Who answered whom by itself."""

    def ask(self) -> None:
        for number in range(STATIONS):
            frame = question(mac_of(number), ip_of(number), PACKED)
            self._port.send(frame[:6] + mac_of(number) + frame[12:])

    def listen(self, seconds: float) -> dict[int, float]:
        """Take in what the stations are told; return when each was told something new."""
        numbers = {mac_of(number): number for number in range(STATIONS)}
        start, changed = time.monotonic(), dict[int, float]()
        for frame in self._port.frames(seconds):
            message = parse(frame)
            number = None if message is None else numbers.get(message.to)
            if message is None or number is None or message.address != PACKED:
                continue
            if message.kind is What.ANSWER:
                self.answered.append((number, message.mac))
            elif message.kind is What.QUESTION and frame[6:12] == GUARD_MAC:
                if self.told.get(number) != message.mac:
                    changed[number] = time.monotonic() - start
                self.told[number] = message.mac
        return changed


@pytest.fixture(scope="module")
def network(new_network: Callable[..., Network], cast: tuple[Kind, ...]) -> Iterator[Network]:
    if cast[1] is Kind.C:
        pytest.skip("tincd has no virtual IPs by policy")
    network = virtual_network(new_network, dict(zip(ROLES, cast, strict=True)), MEMBERS)
    for name in MEMBERS:
        network[name].add_lines("tinc.conf", [("VirtualIP", f"{vip} balance=client") for vip in VIPS])
    network.start()
    network.wait_converged()
    with pinging(network["client"].host):
        wait_until(lambda: agreed(network), PATIENCE_S, "all members agree on the clients")
        yield network


@pytest.fixture
def stations(network: Network) -> Iterator[Stations]:
    """The stations, each with a member."""
    with Port(network["client"].host, network["client"].interface) as port:
        found = Stations(port)

        def have_members() -> bool:
            found.ask()
            found.listen(WATCH_S)
            return len(found.told) == STATIONS and agreed(network, STATIONS)

        wait_until(have_members, PATIENCE_S, "every station has a member, on which all members agree")
        found.answered.clear()
        yield found


def mac_of_node(node: Node) -> bytes:
    return bytes.fromhex(node.mac.replace(":", ""))


def view(node: Node, vip: str = VIP4) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(node.tinc("vip", vip, "--json").stdout)
    return found


def views(node: Node) -> dict[str, dict[str, Any]]:
    """Return what a member says about all addresses. One call of the program is cheaper than one for each."""
    found = json.loads(node.tinc("vip", "--json").stdout)
    return {each["address"]: each for each in found["addresses"]}


def shares(node: Node, vip: str = VIP4) -> dict[str, int]:
    """Return how many clients each member has, as a member says."""
    return {each["node"]: each["clients"] for each in view(node, vip)["members"]}


def agreed(network: Network, clients: int = 0) -> bool:
    """Tell whether all members name the same owner, and so many clients or more for each member."""
    found_by = [views(network[name]) for name in MEMBERS]
    for vip in VIPS:
        found = [each[vip] for each in found_by]
        if len({each["owner"] for each in found}) != 1 or len(found[0]["members"]) != len(MEMBERS):
            return False
        told = [
            {member["node"]: (member["clients"], member["alive"]) for member in each["members"]}
            for each in found
        ]
        if any(each != told[0] for each in told) or any(not alive for _, alive in told[0].values()):
            return False
        counts = [count for count, _ in told[0].values()]
        if None in counts or sum(counts) < (max(clients, 1) if vip == VIP4 else 1):
            return False
    return True


def used(network: Network, vip: str) -> Node:
    """Return the member that the client's kernel uses."""

    found: list[Node] = []

    def is_known() -> bool:
        mac, _ = neighbour(network["client"].host, vip)
        found.extend(network[name] for name in MEMBERS if network[name].mac == mac)
        return bool(found)

    wait_until(is_known, PATIENCE_S, f"the client uses a member for {vip}")
    return found[0]


def test_the_clients_are_shared_and_only_their_own_member_answers(
    network: Network, stations: Stations
) -> None:
    def are_spread() -> bool:
        stations.ask()
        stations.listen(WATCH_S)
        if set(stations.told.values()) == {mac_of_node(network[name]) for name in MEMBERS}:
            # After a rebalance, a member that has not heard of it yet still answers the clients that it had.
            return agreed(network, STATIONS)
        # A member that serves late gets no clients by itself. On a busy machine it may be in time for some
        # that are no stations.
        owner = view(network["one"])["owner"]
        if owner is not None:
            network[owner].tinc("vip", "rebalance", VIP4, check=False)
        return False

    # The first answers may come before all members are known to serve; later ones correct them.
    wait_until(are_spread, PATIENCE_S, "each member has some of the stations")
    stations.answered.clear()
    counts = Counter(stations.told.values())
    known = sum(shares(network["one"]).values())
    print(sorted(counts.values()), "of", known)
    assert max(counts.values()) <= math.ceil(ROOM * known / len(MEMBERS))
    before = dict(stations.told)
    for _ in range(3):
        stations.ask()
        assert stations.listen(WATCH_S) == {}
    assert stations.told == before
    assert {(number, mac) for number, mac in stations.answered if before[number] != mac} == set()


def events(node: Node) -> list[dict[str, Any]]:
    return [json.loads(line) for line in node.tinc("events", "--json").stdout.splitlines()]


class Suspicions:
    """Who is suspected from now on, as the members tell. On a busy machine that may be one that lives."""

    def __init__(self, network: Network) -> None:
        self._members = [network[name] for name in MEMBERS]
        self._last = {
            node.name: max((event["seq"] for event in events(node)), default=0) for node in self._members
        }

    def names(self) -> set[str]:
        return {
            event["node"]
            for node in self._members
            for event in events(node)
            if event["kind"] == "suspect" and event["seq"] > self._last[node.name]
        }


@pytest.mark.parametrize("vip", VIPS)
def test_clients_of_a_member_that_is_cut_off_get_another_one_and_nobody_else_moves(
    network: Network, stations: Stations, vip: str
) -> None:
    for attempt in range(ATTEMPTS):
        lost, suspicions = used(network, vip), Suspicions(network)
        try:
            cut_off_moves_its_clients_only(network, stations, vip, lost)
        except (AssertionError, LabError):
            # Clients of a member that the starved machine kept from answering move as well, and rightly so.
            if attempt == ATTEMPTS - 1 or not suspicions.names() - {lost.name}:
                raise
            print("once more: suspected were", *sorted(suspicions.names()))
            wait_until(lambda: agreed(network, STATIONS), PATIENCE_S, "all members agree on the clients")
        else:
            return


def cut_off_moves_its_clients_only(network: Network, stations: Stations, vip: str, lost: Node) -> None:
    mac = mac_of_node(lost)
    before = dict(stations.told)
    with pinged(network["client"].host, vip, may_lose=int(SILENCE_S * 100)), cut_off(lost):
        changed = stations.listen(4 * SILENCE_S)
    print(
        f"{len(changed)} of {STATIONS} moved after "
        f"{min(changed.values()):.2f} to {max(changed.values()):.2f} s"
    )
    assert changed.keys() == {number for number, holder in before.items() if holder == mac}
    assert mac not in stations.told.values()
    assert max(changed.values()) < SILENCE_S
    after = dict(stations.told)
    wait_until(lambda: agreed(network, STATIONS), PATIENCE_S, "all members agree on the clients")
    stations.listen(2 * SILENCE_S)
    assert stations.told == after, "a member that comes back moves nobody"


@pytest.mark.parametrize("vip", VIPS)
def test_a_client_does_not_notice_that_its_member_is_drained_or_stopped(network: Network, vip: str) -> None:
    first = used(network, vip)
    with pinged(network["client"].host, vip, may_lose=PLANNED):
        first.tinc("vip", "drain")
        wait_until(lambda: used(network, vip) is not first, PATIENCE_S, "the client has another member")
    first.tinc("vip", "undrain")
    wait_until(lambda: agreed(network), PATIENCE_S, "all members agree on the clients")
    second = used(network, vip)
    with pinged(network["client"].host, vip, may_lose=PLANNED), stopped(second):
        wait_until(lambda: used(network, vip) is not second, PATIENCE_S, "the client has another member")
    wait_until(lambda: agreed(network), PATIENCE_S, "all members agree on the clients")


def test_an_order_moves_clients_to_a_member_that_has_too_few(network: Network, stations: Stations) -> None:
    owner = network[view(network["one"])["owner"]]
    other = next(network[name] for name in MEMBERS if name != owner.name)
    other.tinc("vip", "drain")
    wait_until(lambda: shares(owner)[other.name] == 0, PATIENCE_S, "the drained member has no clients")
    other.tinc("vip", "undrain")
    wait_until(lambda: view(other)["state"] == "backup", PATIENCE_S, "the member serves again")
    assert shares(owner)[other.name] == 0
    refused = other.tinc("vip", "rebalance", VIP4, check=False)
    assert f"{owner.name} gives the clients" in refused.stderr
    owner.tinc("vip", "rebalance", VIP4)
    counts = shares(owner)
    assert max(counts.values()) <= math.ceil(sum(counts.values()) / len(MEMBERS))
    stations.listen(WATCH_S)
    wait_until(lambda: agreed(network, STATIONS), PATIENCE_S, "all members agree on the clients")
