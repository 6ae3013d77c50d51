"""Virtual IPs by policy: three pytinc members serve two addresses to a client, with a C node in the middle.

    one, two, three, client ──> entry        all others connect to entry

All members have both addresses on their interfaces. The IPv4 one belongs to ``one`` first, then to ``two``;
the IPv6 one to ``two`` first, then to ``three``. The client pings both all the time: its kernel would believe
an old entry for 30 s and more, and no timer of tinc helps, because a node that is cut off stays in the graph
for longer than a test lasts.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address
from typing import Any, NamedTuple

import pytest

from faults import cut_off, stopped
from pytinc.lab.echo import ping
from pytinc.lab.frames import Port
from pytinc.lab.namespaces import Host
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until
from pytinc.wire.neighbour import Kind as What
from pytinc.wire.neighbour import parse
from shared_address import (
    HEALED_S,
    VIP4,
    VIP6,
    VIPS,
    WATCH_S,
    Moves,
    pinged,
    pinging,
    virtual_network,
    wait_served,
)

# entry, one, two, three, client
CASTS = ("CPPPC", "CPPPP")
ROLES = ("entry", "one", "two", "three", "client")
MEMBERS = ("one", "two", "three")
PRIORITIES = {"one": (150, 130), "two": (140, 150), "three": (130, 140)}
"""For the IPv4 and the IPv6 address."""
FIRST = {VIP4: "one", VIP6: "two"}
"""Who serves as long as all members are well."""
PORT = 7007
INTERVAL_S = 0.2
PLANNED = 2
"""How many pings, one every 10 ms, a client may lose when the owner changes on purpose."""
ASKED = 5
READ_S = 0.05
SCRIPT = """#!/bin/sh
echo "${0##*/}|$NAME|$INTERFACE|$VIP|$STATE|$OWNER|$TERM|$REASON" >>"${0%/*}/events"
"""


class Told(NamedTuple):
    """What a script vip-up or vip-down wrote."""

    script: str
    name: str
    interface: str
    vip: str
    state: str
    owner: str
    term: str
    reason: str


Services = dict[str, subprocess.Popen[str]]


# -- building --


@pytest.fixture(scope="module")
def network(new_network: Callable[..., Network], cast: tuple[Kind, ...]) -> Iterator[Network]:
    if cast[1] is Kind.C:
        pytest.skip("tincd has no virtual IPs by policy")
    network = virtual_network(new_network, dict(zip(ROLES, cast, strict=True)), MEMBERS)
    for member in members(network):
        lines = [
            f"{vip} priority={priority} check=tcp:{PORT} interval={INTERVAL_S} rise=1 fall=2"
            for vip, priority in zip(VIPS, PRIORITIES[member.name], strict=True)
        ]
        member.add_lines("tinc.conf", [("VirtualIP", line) for line in lines])
        for name in ("vip-up", "vip-down"):
            script = member.confbase / name
            script.write_text(SCRIPT)
            script.chmod(0o755)
    network.start()
    network.wait_converged()
    with pinging(network["client"].host):
        yield network


@pytest.fixture(scope="module")
def services(network: Network) -> Services:
    """The services that the checks look at. The end of the lab ends them."""
    return {member.name: serve(member.host) for member in members(network)}


@pytest.fixture
def served(network: Network, services: Services) -> Network:
    """The network, with both addresses at the members with the highest priority."""

    def in_place() -> bool:
        found = owners(members(network))
        for vip, name in FIRST.items():
            if found[vip] != name:
                network[name].tinc("vip", "move", vip, name)
        return found == FIRST

    wait_until(in_place, PATIENCE_S, "the members with the highest priority serve")
    for vip, name in FIRST.items():
        wait_served(network["client"].host, [network[name]], PATIENCE_S, [vip])
    return network


@pytest.fixture
def _ipv6_once(cast: tuple[Kind, ...], vip: str) -> None:
    """Skip the IPv6 case of a test with all casts but the first."""
    if vip == VIP6 and cast[-1] is not Kind.C:
        pytest.skip("tested with another cast")


@pytest.fixture
def _once(cast: tuple[Kind, ...]) -> None:
    """Skip a test that does not depend on the kind of the client with all casts but the first."""
    if cast[-1] is not Kind.C:
        pytest.skip("tested with another cast")


def serve(host: Host) -> subprocess.Popen[str]:
    process = host.spawn(sys.executable, "-m", "pytinc.lab.probe", "serve", str(PORT))
    assert process.stdout is not None
    assert process.stdout.readline() == "listening\n"
    return process


def members(network: Network, *but: str) -> list[Node]:
    return [network[name] for name in MEMBERS if name not in but]


# -- what members say --


def views(node: Node) -> dict[str, Any]:
    """Return what ``vip --json`` says, by address."""
    found = json.loads(node.tinc("vip", "--json").stdout)
    return {each["address"]: each for each in found["addresses"]}


def view(node: Node, vip: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(node.tinc("vip", vip, "--json").stdout)
    return found


def owners(nodes: Iterable[Node]) -> dict[str, str | None]:
    """Return who serves each address, if these nodes agree on it and exactly this one is active."""
    found = {node.name: views(node) for node in nodes}
    result: dict[str, str | None] = {}
    for vip in VIPS:
        named = {each[vip]["owner"] for each in found.values()}
        active = {name for name, each in found.items() if each[vip]["state"] == "active"}
        result[vip] = named.pop() if len(named) == 1 and active == named else None
    return result


def wait_owner(network: Network, vip: str, owner: Node, *, among: Iterable[Node] | None = None) -> None:
    """Wait until the client uses this member, and all members know that it serves."""
    wait_served(network["client"].host, [owner], HEALED_S, [vip])
    nodes = members(network) if among is None else list(among)
    what = f"all know that {owner.name} serves {vip}"
    wait_until(lambda: owners(nodes)[vip] == owner.name, PATIENCE_S, what)


def events(member: Node, vip: str) -> list[Told]:
    """Return what the scripts of a member wrote about an address."""
    path = member.confbase / "events"
    lines = path.read_text().splitlines() if path.exists() else []
    return [event for line in lines if (event := Told(*line.split("|"))).vip == vip]


# -- what people and services do --


@contextmanager
def drained(node: Node) -> Iterator[str]:
    said = node.tinc("vip", "drain").stderr
    try:
        yield said
    finally:
        node.tinc("vip", "undrain")


@contextmanager
def frozen_address(node: Node, vip: str, *, until: Node) -> Iterator[None]:
    """Freeze an address at one member, and thaw it at another when the block ends."""
    node.tinc("vip", "freeze", vip)
    try:
        wait_until(lambda: view(until, vip)["frozen"], PATIENCE_S, "others know that the address is frozen")
        yield
    finally:
        until.tinc("vip", "thaw", vip)


@contextmanager
def service_down(services: Services, node: Node) -> Iterator[None]:
    services[node.name].kill()
    services[node.name].wait()
    try:
        yield
    finally:
        services[node.name] = serve(node.host)


# -- the tests --


@pytest.mark.usefixtures("services")
def test_one_member_serves_each_address_after_the_start(network: Network) -> None:
    # On a busy machine the first member to be well need not be the one with the highest priority.
    wait_until(
        lambda: None not in owners(members(network)).values(), PATIENCE_S, "the members agree on who serves"
    )
    for vip, owner in owners(members(network)).items():
        assert owner is not None
        wait_owner(network, vip, network[owner])


@pytest.mark.usefixtures("_ipv6_once")
@pytest.mark.parametrize("vip", VIPS)
def test_only_the_host_of_the_owner_answers(served: Network, vip: str) -> None:
    owner = served[FIRST[vip]]
    packed = ip_address(vip).packed
    askers = (served["entry"], served["client"])
    with ExitStack() as stack:
        ports = [stack.enter_context(Port(node.host, node.interface)) for node in (*askers, *members(served))]
        for asker in askers:
            for _ in range(ASKED):
                asker.host.run("ip", "neigh", "flush", "to", vip, "dev", asker.interface)
                assert ping(asker.host, vip).received == 1
        time.sleep(WATCH_S)
        heard = [[found for frame in port.frames(READ_S) if (found := parse(frame))] for port in ports]
    said = [
        [
            found
            for found in each
            if found.address == packed and found.kind in (What.ANSWER, What.ANNOUNCEMENT)
        ]
        for each in heard
    ]
    for each in said[: len(askers)]:
        assert len([found for found in each if found.kind is What.ANSWER]) >= ASKED
    assert {found.mac.hex(":") for each in said for found in each} == {owner.mac}
    # All hosts have the address, and were asked for it.
    for each in heard[len(askers) :]:
        assert [found for found in each if found.target == packed and found.kind is What.QUESTION]


@pytest.mark.usefixtures("_ipv6_once")
@pytest.mark.parametrize(("vip", "owner", "heir"), [(VIP4, "one", "two"), (VIP6, "two", "three")])
def test_the_next_priority_serves_when_the_owner_is_cut_off_and_one_serves_after_the_merge(
    served: Network, vip: str, owner: str, heir: str
) -> None:
    before = view(served["three"], vip)["term"]
    with cut_off(served[owner]):
        wait_owner(served, vip, served[heir], among=members(served, owner))
        # The other part has its own owner, which nobody here can see.
        assert view(served[owner], vip)["owner"] == owner
    with Moves(served["client"].host, [vip]) as moves:
        wait_owner(served, vip, served[heir])
    assert moves.count(vip) == 0
    assert {view(member, vip)["term"] for member in members(served)} == {before + 1}


def test_a_client_does_not_notice_that_the_owner_is_stopped_and_comes_back(served: Network) -> None:
    with pinged(served["client"].host, VIP4, may_lose=PLANNED), stopped(served["one"]):
        wait_served(served["client"].host, [served["two"]], HEALED_S, [VIP4])
    # preempt=no is the default: the node that comes back does not take the address.
    wait_owner(served, VIP4, served["two"])


@pytest.mark.usefixtures("_once")
def test_a_drained_member_serves_nothing_until_the_drain_ends(served: Network) -> None:
    one, two = served["one"], served["two"]
    with ExitStack() as stack:
        with pinged(served["client"].host, VIP4, may_lose=PLANNED):
            said = stack.enter_context(drained(one))
        assert f"{VIP4}: two serves now." in said
        wait_owner(served, VIP4, two)
        assert view(one, VIP4)["state"] == "drain"
        assert json.loads(one.tinc("vip", "--json").stdout)["draining"] is True
        # It is not chosen, although its priority is the highest.
        stack.enter_context(drained(two))
        wait_owner(served, VIP4, served["three"])
    wait_until(lambda: view(one, VIP4)["state"] == "backup", PATIENCE_S, "the drain is over")
    assert json.loads(one.tinc("vip", "--json").stdout)["draining"] is False


def test_an_address_moves_on_order(served: Network) -> None:
    with pinged(served["client"].host, VIP4, may_lose=PLANNED):
        assert f"{VIP4}: three serves now." in served["two"].tinc("vip", "move", VIP4, "three").stderr
    wait_owner(served, VIP4, served["three"])
    refused = served["two"].tinc("vip", "move", VIP4, "client", check=False)
    assert refused.returncode == 1
    assert "client is not a member" in refused.stderr


@pytest.mark.usefixtures("_once")
def test_another_member_serves_while_a_check_fails_but_a_frozen_address_stays(
    served: Network, services: Services
) -> None:
    one, two, three = members(served)
    with ExitStack() as stack:
        with frozen_address(three, VIP4, until=two):
            stack.enter_context(service_down(services, one))
            wait_until(lambda: view(one, VIP4)["checks"][0]["well"] is False, PATIENCE_S, "the check fails")
            time.sleep(WATCH_S)
            assert {view(member, VIP4)["owner"] for member in (one, two, three)} == {"one"}
            wait_served(served["client"].host, [one], HEALED_S, [VIP4])
        wait_owner(served, VIP4, two)
        assert view(one, VIP4)["state"] == "fault"
    wait_until(lambda: view(one, VIP4)["state"] == "backup", PATIENCE_S, "the member is well again")
    assert owners(members(served)) == {VIP4: "two", VIP6: "two"}


@pytest.mark.usefixtures("_ipv6_once")
@pytest.mark.parametrize(("vip", "owner", "heir"), [(VIP4, "one", "two"), (VIP6, "two", "three")])
def test_another_member_serves_when_the_host_of_the_owner_loses_the_address(
    served: Network, vip: str, owner: str, heir: str
) -> None:
    node = served[owner]
    length = 32 if vip == VIP4 else 128
    node.host.run("ip", "address", "del", f"{vip}/{length}", "dev", node.interface)
    try:
        wait_owner(served, vip, served[heir])
        assert view(node, vip)["state"] == "absent"
    finally:
        nodad = () if vip == VIP4 else ("nodad", "preferred_lft", "0")
        node.host.run("ip", "address", "add", f"{vip}/{length}", "dev", node.interface, *nodad)
    wait_until(lambda: view(node, vip)["state"] == "backup", PATIENCE_S, "the address is back")


@pytest.mark.usefixtures("_once")
def test_scripts_are_told_in_order(served: Network) -> None:
    one, two = served["one"], served["two"]
    before = {member.name: len(events(member, VIP4)) for member in (one, two)}
    term = view(one, VIP4)["term"]
    for target in ("two", "one", "two"):
        one.tinc("vip", "move", VIP4, target)
    wait_owner(served, VIP4, two)

    def told(member: Node) -> list[Told]:
        return events(member, VIP4)[before[member.name] :]

    wait_until(lambda: len(told(one)) == len(told(two)) == 3, PATIENCE_S, "all scripts have run")
    assert [(event.script, event.owner, event.term) for event in told(one)] == [
        ("vip-down", "two", str(term + 1)),
        ("vip-up", "one", str(term + 2)),
        ("vip-down", "two", str(term + 3)),
    ]
    assert [(event.script, event.owner, event.term) for event in told(two)] == [
        ("vip-up", "two", str(term + 1)),
        ("vip-down", "one", str(term + 2)),
        ("vip-up", "two", str(term + 3)),
    ]
    for member in (one, two):
        for event in told(member):
            assert event.state == ("active" if event.script == "vip-up" else "backup")
            assert (event.name, event.interface) == (member.name, member.interface)
            assert event.reason
        # Since the start of the node, one script follows the other.
        scripts = [event.script for event in events(member, VIP4)]
        assert scripts == ["vip-up", "vip-down"] * (len(scripts) // 2) + ["vip-up"] * (len(scripts) % 2)


def test_the_command_shows_the_addresses_to_programs(served: Network) -> None:
    for node in [*members(served), *([served["client"]] if served["client"].kind is Kind.PY else [])]:
        found = json.loads(node.tinc("vip", "--json").stdout)
        assert [each["address"] for each in found["addresses"]] == [VIP4, VIP6]
        for number, each in enumerate(found["addresses"]):
            assert each["owner"] == FIRST[each["address"]]
            assert {member["node"]: member["priority"] for member in each["members"] if member["alive"]} == {
                name: priorities[number] for name, priorities in PRIORITIES.items()
            }
            checks = {check["check"]: check["well"] for check in each["checks"]}
            assert checks == ({f"tcp:{PORT}": True} if node.name in MEMBERS else {})
    refused = served["entry"].tinc("vip", check=False)
    assert refused.returncode != 0
