"""Odd cases of shared addresses: mistakes, addresses that only look shared, clients that are hard to reach.

    bystander, one, two, branch ──> entry;  client ──> one        an arrow points from the node that connects

one and two hold the address. The client's only neighbour is one of them. Behind branch's node there is a
bridge with another client.
"""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address
from typing import Any

import pytest

from faults import cut_off, send_signal
from pytinc.lab.echo import answers
from pytinc.lab.frames import Port
from pytinc.lab.namespaces import Host, LabError
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until
from pytinc.lab.traffic import neighbour
from pytinc.wire.neighbour import Kind as What
from pytinc.wire.neighbour import parse, question
from shared_address import (
    HEALED_S,
    VIP4,
    VIPS,
    addresses,
    gather,
    guards,
    own,
    patience,
    pinging,
    sysctls,
    wait_guarded,
    wait_served,
)

# entry, bystander, one, two, client, branch
CASTS = ("CPCCCC", "CCPCPP")
ROLES = ("entry", "bystander", "one", "two", "client", "branch")
HOLDERS = ("one", "two")
SURELY_NOT_HEALED_S = 5
QUESTIONS_END_S = 3.5
"""The guard asks for the last time 3 s after it has declared a holder dead."""
LONE_QUESTION_S = 2.5
"""Within this time a guard asks who has an address that is new to it, and decides whether it is shared."""
VIP_BYTES = ip_address(VIP4).packed
VIRTUAL_MAC = "00:00:5e:00:01:45"
MISTAKE, ON_LO, MOVING, BEHIND = "10.1.1.66", "10.1.1.67", "10.1.1.69", "10.77.0.1"


@pytest.fixture(scope="module")
def network(new_network: Callable[..., Network], cast: tuple[Kind, ...]) -> Iterator[Network]:
    network = new_network()
    for number, (role, kind) in enumerate(zip(ROLES, cast, strict=True), 1):
        shared = VIPS if role in HOLDERS else ()
        to = {"entry": (), "client": ("one",)}.get(role, ("entry",))
        network.add(role, kind, addresses(number, *shared), to)
    network.exchange_keys()
    network.start()
    network.wait_converged()
    with pinging(network["client"].host):
        wait_served(network["client"].host, holders(network), PATIENCE_S)
        wait_guarded(network)
        yield network


def holders(network: Network) -> list[Node]:
    return [network[name] for name in HOLDERS]


def shared(node: Node) -> dict[str, Any]:
    """Return what ``dump shared --json`` says about each shared address that a guard knows, by address."""
    dump = json.loads(node.tinc("dump", "shared", "--json").stdout)
    return {each["address"]: each for each in dump["addresses"] if each["shared"]}


def wrongly_shared(network: Network) -> dict[str, set[str]]:
    """Return the addresses that guards take for shared although they are not, by node."""
    return {node.name: found for node in guards(network) if (found := set(shared(node)) - set(VIPS))}


def ask_again(host: Host, address: str, times: int = 3) -> None:
    """Make a host forget an address and ask for it, and give guards the time to ask as well."""
    for _ in range(times):
        host.run("ip", "neigh", "flush", "to", address)
        answers(host, address, wait=0.5)
        time.sleep(LONE_QUESTION_S / times)


def wait_neighbour(host: Host, address: str, mac: str) -> None:
    """Wait until a host's neighbour entry for an address has this MAC address."""

    def known() -> bool:
        answers(host, address, wait=0.5)
        return neighbour(host, address)[0] == mac

    wait_until(known, PATIENCE_S, f"{host.name} has {mac} for {address}")


@contextmanager
def address_on(host: Host, interface: str, address: str) -> Iterator[None]:
    host.run("ip", "address", "add", address, "dev", interface)
    try:
        yield
    finally:
        host.run("ip", "address", "del", address, "dev", interface)


# -- clients that are hard to reach --


def test_a_client_whose_only_neighbour_is_the_dead_holder_is_served_again(network: Network) -> None:
    if not guards(network):
        pytest.skip("with tinc alone the client needs its neighbour back")
    client, two = network["client"].host, network["two"]

    def knows_the_way() -> bool:
        return answers(client, own(two)) and network["client"].nodes()["two"].mtu_known

    # Once its node has given the connection up (PingTimeout), nobody reaches the client: a busy machine may
    # be too late, and tries again.
    for is_last in (False, False, True):
        gather(client, network["one"])
        # Requests for a key pass the neighbour: without it nobody gets one.
        wait_until(knows_the_way, PATIENCE_S, "the client's node reaches the other holder by UDP")
        try:
            with cut_off(network["one"]):
                wait_served(client, [two], patience(network))
            break
        except LabError:
            if is_last:
                raise
        network.wait_converged()
    network.wait_converged()


def test_the_commands_show_holders_clients_and_the_failover(network: Network) -> None:
    client, two = network["client"], network["two"]
    if not guards(network):
        pytest.skip("tinc has no such commands")
    guard = client if client.kind is Kind.PY else guards(network)[0]
    gather(client.host, two)
    with cut_off(two):
        wait_served(client.host, [network["one"]], patience(network))

        def shows_all() -> bool:
            now = shared(guard)[VIP4]
            # The guard may begin to watch the new holder only at its next check, a second later.
            alive = any((each["node"], each["state"]) == ("one", "alive") for each in now["holders"])
            return alive and (now["failover"] or {}).get("from_node") == "two"

        wait_until(shows_all, PATIENCE_S, "the guard shows the failover and watches the new holder")
        dump = shared(guard)[VIP4]
        lines = guard.tinc("dump", "shared").stdout
        info = guard.tinc("info", VIP4).stdout
    network.wait_converged()
    shown = {each["node"]: each for each in dump["holders"]}
    assert set(shown) == set(HOLDERS)
    assert {node: each["mac"] for node, each in shown.items()} == {
        name: network[name].mac for name in HOLDERS
    }
    assert shown["two"]["state"] == "silent"
    assert shown["one"]["state"] == "alive"
    (mine,) = [each for each in dump["clients"] if each["mac"] == client.mac]
    assert (mine["address"], mine["node"], mine["holder"]) == (own(client), "client", network["one"].mac)
    failover = dump["failover"]
    assert (failover["reason"], failover["to_node"], failover["clients"]) == ("silent", "one", 1)
    assert 200 <= failover["silent_ms"] <= 1000 * HEALED_S
    for pattern in (
        r"shared yes holders 2 clients \d+$",
        r"failover silent from two to one silent \S+ took \S+ clients 1 ago \S+$",
        rf"holder {two.mac} node two state silent ",
        rf"client {client.mac} at {own(client)} node client holder {network['one'].mac} of one ",
    ):
        assert re.search(rf"^{VIP4} {pattern}", lines, re.MULTILINE), pattern
    for pattern in (
        rf"Address: +{VIP4}$",
        "Shared: +yes$",
        rf"Held by: +two \({two.mac}\), silent",
        rf"Client: +{own(client)} \({client.mac}\) behind client, answered by one",
        r"Failover: .* two silent for \S+ s, 1 client asked, one (answered after|was asked for)",
    ):
        assert re.search(f"^{pattern}", info, re.MULTILINE), pattern


def test_a_client_behind_a_bridge_is_served_again(network: Network) -> None:
    branch, pc = network["branch"].host, network.lab.host("pc")
    branch.run("ip", "link", "add", "br0", "type", "bridge")
    branch.run("ip", "link", "add", "lan", "type", "veth", "peer", "name", "vpn", "netns", pc.namespace)
    for port in (network["branch"].interface, "lan"):
        branch.run("ip", "link", "set", "dev", port, "master", "br0", "up")
    branch.run("ip", "link", "set", "dev", "br0", "up")
    pc.run("ip", "link", "set", "dev", "vpn", "up")
    for address in addresses(200 - 100):
        pc.run("ip", "address", "add", *address.split(), "dev", "vpn")
    wait_until(lambda: all(answers(pc, vip) for vip in VIPS), PATIENCE_S, "the bridge works")
    time.sleep(LONE_QUESTION_S)
    with pinging(pc):
        for holder, other in (("one", "two"), ("two", "one")):
            gather(pc, network[holder])
            with cut_off(network[holder]):
                wait_served(pc, [network[other]], patience(network))
            network.wait_converged()
            time.sleep(QUESTIONS_END_S)


# -- a planned stop --


def test_a_holder_stops_answering_before_it_ends(network: Network) -> None:
    client, one = network["client"], network["one"]
    if one.kind is Kind.C:
        pytest.skip("a C holder stops without telling anybody")
    gather(client.host, one)
    ask = question(bytes.fromhex(client.mac.replace(":", "")), ip_address(own(client)).packed, VIP_BYTES)
    ask = ask[:6] + bytes.fromhex(client.mac.replace(":", "")) + ask[12:]
    heard: dict[str, list[float]] = {node.mac: [] for node in holders(network)}
    asked: list[float] = []

    def ask_and_listen(port: Port) -> None:
        asked.append(time.monotonic())
        port.send(ask)
        listen(port, 0.03)

    def listen(port: Port, seconds: float) -> None:
        for frame in port.frames(seconds):
            message = parse(frame)
            if message is not None and message.kind is What.ANSWER and message.address == VIP_BYTES:
                heard[message.mac.hex(":")].append(time.monotonic())

    with Port(client.host, client.interface) as port:
        for _ in range(20):
            ask_and_listen(port)
        before = len(heard[one.mac])
        pid = one.pid()
        stop = time.monotonic()
        send_signal(one, signal.SIGTERM)
        while one.pid() == pid and one.running():
            assert time.monotonic() < stop + PATIENCE_S
            ask_and_listen(port)
        end = time.monotonic()
        listen(port, 0.3)
    one.started = False
    one.start()
    network.wait_converged()
    time.sleep(QUESTIONS_END_S)
    assert before > 0
    unanswered = [at for at in asked if heard[one.mac][-1] < at < end]
    print(f"stop took {end - stop:.2f} s; the last {len(unanswered)} questions were not answered by one")
    assert [at for at in heard[network["two"].mac] if at > stop]
    # A single question may come just when the holder ends, so more than one must stay without an answer.
    assert len(unanswered) > 1


# -- addresses that only look shared --


def test_a_host_can_claim_a_free_address_while_clients_ask_for_it(network: Network) -> None:
    claimer, client, entry = network["one"], network["client"].host, network["entry"].host
    for number in range(3):
        address = f"fd00:1::7{number}"
        with ExitStack() as stack:
            stack.enter_context(pinging(client, [address]))
            stack.enter_context(pinging(entry, [address]))
            time.sleep(0.4 * number)  # a guard asks for the first time after 0.2 to 0.7 s
            stack.enter_context(address_on(claimer.host, claimer.interface, f"{address}/64"))

            def state() -> str:
                show = ("ip", "-6", "address", "show", "dev", claimer.interface, "to", address)  # noqa: B023
                return claimer.host.run(*show).stdout

            wait_until(
                lambda: "tentative" not in state() or "dadfailed" in state(), PATIENCE_S, "DAD is over"
            )
            assert "dadfailed" not in state()
            wait_until(lambda: answers(client, address), PATIENCE_S, f"{address} answers")  # noqa: B023


def test_neither_an_address_on_lo_with_arp_ignore_nor_proxy_arp_is_taken_for_shared(network: Network) -> None:
    client, entry, two = network["client"].host, network["entry"], network["two"]
    client.run("ip", "route", "add", "10.77.0.0/24", "dev", "vpn")
    try:
        with ExitStack() as stack:
            enter = stack.enter_context
            enter(address_on(entry.host, entry.interface, f"{ON_LO}/24"))
            enter(sysctls(two.host, {"ipv4/conf/all/arp_ignore": 1}))
            enter(address_on(two.host, "lo", f"{ON_LO}/32"))
            ask_again(client, ON_LO)
            wait_neighbour(client, ON_LO, entry.mac)
        values = {f"ipv4/conf/{two.interface}/proxy_arp": 1, "ipv4/ip_forward": 1}
        with sysctls(two.host, values), address_on(two.host, "eth0", "10.77.0.254/24"):
            ask_again(client, BEHIND)
            wait_neighbour(client, BEHIND, two.mac)
            assert wrongly_shared(network) == {}
    finally:
        client.run("ip", "route", "del", "10.77.0.0/24", "dev", "vpn")


@contextmanager
def virtual_router(node: Node) -> Iterator[None]:
    """Give a node's host an address with a MAC address of its own, and have it announced, as VRRP does."""
    host = node.host
    # As keepalived sets them, for as long as the address is there: only its own MAC address answers for it.
    with sysctls(host, {"ipv4/conf/all/arp_ignore": 1, "ipv4/conf/all/arp_announce": 2}):
        host.run("ip", "link", "add", "vrrp", "link", node.interface, "address", VIRTUAL_MAC,
                 "type", "macvlan", "mode", "bridge")  # fmt: skip
        try:
            host.run("sysctl", "-qw", "net.ipv4.conf.vrrp.arp_notify=1")
            host.run("ip", "address", "add", f"{MOVING}/24", "dev", "vrrp")
            host.run("ip", "link", "set", "dev", "vrrp", "up")
            yield
        finally:
            host.run("ip", "link", "del", "vrrp")


def test_a_mac_address_that_moves_with_its_address_is_left_alone(network: Network) -> None:
    client = network["client"].host
    with pinging(client, [MOVING]):
        for name in ("one", "two", "one"):
            with virtual_router(network[name]):
                wait_until(lambda: answers(client, MOVING), PATIENCE_S, f"{MOVING} answers from {name}")
                ask_again(client, MOVING)
                wait_neighbour(client, MOVING, VIRTUAL_MAC)
    assert wrongly_shared(network) == {}
    for node in guards(network):
        assert not re.search(rf" {MOVING}(:| is held)", node.log())


def test_an_address_on_two_hosts_by_mistake_is_logged_once(network: Network) -> None:
    client = network["client"].host
    with ExitStack() as stack:
        for name in ("entry", "branch"):
            # If branch has the bridge already, the address must be on it: the tap is only a port of the
            # bridge.
            interface = "br0" if "br0" in network[name].host.run("ip", "-br", "link").stdout else "vpn"
            stack.enter_context(address_on(network[name].host, interface, f"{MISTAKE}/24"))
        stack.enter_context(pinging(client, [MISTAKE]))

        def lines() -> Iterable[int]:
            return [len(re.findall(rf" {MISTAKE} is held by ", node.log())) for node in guards(network)]

        def logged() -> bool:
            ask_again(client, MISTAKE, 1)
            return all(lines())

        wait_until(logged, PATIENCE_S, "every guard logs the mistake")
        ask_again(client, MISTAKE)
        assert set(lines()) <= {1}


# -- no guard --


def test_without_a_guard_a_client_stays_without_server(network: Network) -> None:
    if len(guards(network)) > 1:
        pytest.skip("this cast has more than one guard")
    client, one = network["client"].host, network["one"]
    for guard in guards(network):
        guard.tinc("set", "NeighbourGuard", "no")
        guard.tinc("reload")
        wait_until(lambda: "is off" in guard.tinc("dump", "shared").stderr, PATIENCE_S, "the guard is off")  # noqa: B023
    # The kernel of a C holder may lead the client to itself with a question of its own, but not every time.
    assert any(stays_without_server(client, one) for _ in range(4))


def stays_without_server(client: Host, holder: Node) -> bool:
    """Cut off a client's server; return whether the client is without a server for `SURELY_NOT_HEALED_S`."""
    gather(client, holder)
    with cut_off(holder):
        end = time.monotonic() + SURELY_NOT_HEALED_S
        while time.monotonic() < end:
            if answers(client, VIP4, wait=0.5):
                return False
    return True
