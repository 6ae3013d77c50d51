"""Members of a virtual IP that run tinc's daemon: a pytinc node speaks for them, clients use the chosen one.

    one, two, guardian, client ──> entry        all others connect to entry

one and two have both addresses on their interfaces, and their kernels answer whoever asks. The IPv4 address
belongs to ``one`` first, the IPv6 one to ``two``. No timer of tinc helps: see `test_virtual_ips`.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from faults import cut_off, killed, stopped
from pytinc.lab.echo import ping
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until
from shared_address import (
    HEALED_S,
    VIP4,
    VIP6,
    VIPS,
    entries,
    own,
    pinged,
    pinging,
    virtual_network,
    wait_served,
)
from test_virtual_ips import PLANNED, PORT, serve, view

# entry, one, two, guardian, client
CASTS = ("CCCPC", "CCCPP", "PCCPC")
ROLES = ("entry", "one", "two", "guardian", "client")
WARDS = ("one", "two")
PRIORITIES = {"one": (150, 100), "two": (100, 150)}
"""For the IPv4 and the IPv6 address."""
FIRST = {VIP4: "one", VIP6: "two"}
ASKED = 5


@pytest.fixture(scope="module")
def network(new_network: Callable[..., Network], cast: tuple[Kind, ...]) -> Iterator[Network]:
    if cast[3] is Kind.C:
        pytest.skip("tincd has no virtual IPs by policy")
    network = virtual_network(new_network, dict(zip(ROLES, cast, strict=True)), WARDS)
    lines = [
        f"{vip} node={role} priority={priority} check=tcp:{own(network[role])}:{PORT} interval=0.2 fall=2"
        for role in WARDS
        for vip, priority in zip(VIPS, PRIORITIES[role], strict=True)
    ]
    network["guardian"].add_lines("tinc.conf", [("VirtualIP", line) for line in lines])
    network.start()
    network.wait_converged()
    with pinging(network["client"].host):
        yield network


@pytest.fixture(scope="module")
def services(network: Network) -> dict[str, subprocess.Popen[str]]:
    """The services that the checks look at. The end of the lab ends them."""
    return {role: serve(network[role].host) for role in WARDS}


@pytest.fixture
def served(network: Network, services: dict[str, subprocess.Popen[str]]) -> Network:
    """The network, with both addresses at the members with the highest priority."""
    guardian = network["guardian"]

    def in_place() -> bool:
        found = {vip: view(guardian, vip) for vip in VIPS}
        for vip, name in FIRST.items():
            states = {member["node"]: member["state"] for member in found[vip]["members"]}
            if found[vip]["owner"] != name and states[name] == "backup":
                guardian.tinc("vip", "move", vip, name)
        return {vip: each["owner"] for vip, each in found.items()} == FIRST

    wait_until(in_place, PATIENCE_S, "the members with the highest priority serve")
    for vip, name in FIRST.items():
        wait_served(network["client"].host, [network[name]], PATIENCE_S, [vip])
    return network


def member(network: Network, vip: str, name: str) -> dict[str, Any]:
    (found,) = (each for each in view(network["guardian"], vip)["members"] if each["node"] == name)
    return dict(found)


def wait_owner(network: Network, vip: str, owner: Node) -> None:
    """Wait until the client uses this member, and the guardian knows that it serves."""
    wait_served(network["client"].host, [owner], HEALED_S, [vip])
    assert view(network["guardian"], vip)["owner"] == owner.name


@pytest.mark.parametrize("vip", VIPS)
def test_a_client_that_asks_anew_uses_the_owner_soon_although_both_hosts_answer(
    served: Network, vip: str
) -> None:
    client, owner = served["client"], served[FIRST[vip]]
    for _ in range(ASKED):
        client.host.run("ip", "neigh", "flush", "to", vip, "dev", client.interface)
        assert ping(client.host, vip).received == 1
        wait_until(lambda: entries(client.host).get(vip) == owner.mac, HEALED_S, "the client uses the owner")


@pytest.mark.parametrize(("vip", "owner", "heir"), [(VIP4, "one", "two"), (VIP6, "two", "one")])
def test_the_other_member_serves_when_the_owner_is_cut_off(
    served: Network, vip: str, owner: str, heir: str
) -> None:
    with cut_off(served[owner]):
        wait_owner(served, vip, served[heir])
    wait_until(lambda: member(served, vip, owner)["alive"], PATIENCE_S, "the member is back")
    wait_owner(served, vip, served[heir])


@pytest.mark.parametrize("fault", [stopped, killed])
def test_the_other_member_serves_when_the_daemon_of_the_owner_ends(
    served: Network, fault: Callable[[Node], Any]
) -> None:
    with fault(served["one"]):
        wait_owner(served, VIP4, served["two"])
    wait_until(lambda: member(served, VIP4, "one")["state"] == "backup", PATIENCE_S, "the member is back")
    wait_owner(served, VIP4, served["two"])


def test_a_client_loses_nothing_when_the_service_of_the_owner_fails(
    served: Network, services: dict[str, subprocess.Popen[str]]
) -> None:
    with pinged(served["client"].host, VIP4, may_lose=PLANNED), _down(services, served["one"]):
        wait_owner(served, VIP4, served["two"])
        assert member(served, VIP4, "one")["state"] == "fault"
    wait_until(lambda: member(served, VIP4, "one")["state"] == "backup", PATIENCE_S, "it is well again")


@contextmanager
def _down(services: dict[str, subprocess.Popen[str]], node: Node) -> Iterator[None]:
    services[node.name].kill()
    services[node.name].wait()
    try:
        yield
    finally:
        services[node.name] = serve(node.host)


def test_a_client_loses_nothing_when_an_operator_moves_the_address(served: Network) -> None:
    guardian = served["guardian"]
    with pinged(served["client"].host, VIP4, may_lose=PLANNED):
        assert f"{VIP4}: two serves now." in guardian.tinc("vip", "move", VIP4, "two").stderr
    wait_owner(served, VIP4, served["two"])


def test_the_command_tells_who_speaks_for_a_member(served: Network) -> None:
    report = served["guardian"].tinc("vip", VIP4).stdout
    assert "one, active, priority 150, heard " in report
    assert " through guardian\n" in report
    assert f"tcp:{own(served['two'])}:{PORT} of two, good" in report
    if served["client"].kind is Kind.PY:
        found = json.loads(served["client"].tinc("vip", VIP4, "--json").stdout)
        assert (found["owner"], found["state"]) == ("one", None)
        assert {each["guardian"] for each in found["members"]} == {"guardian"}
