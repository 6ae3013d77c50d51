"""A shared address still answers when one of its holders fails (the neighbour guard of pytinc nodes).

    bystander, one, two, three, client ──> entry        all others connect to entry

one, two and three hold the address. No timer of tinc helps here: a node that is cut off stays in the graph
for longer than a test lasts. With C nodes alone the tests pass as well, but a failover takes longer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from ipaddress import ip_address

import pytest

from faults import FAULTS, cut_off, killed, stopped
from pytinc.lab.frames import Port
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node
from pytinc.wire.neighbour import Kind as What
from pytinc.wire.neighbour import parse
from shared_address import (
    HEALED_S,
    VIP4,
    VIPS,
    Moves,
    addresses,
    asking_all_the_time,
    entries,
    few_lost_pings,
    gather,
    logged,
    own,
    patience,
    pinging,
    sysctls,
    wait_guarded,
    wait_served,
)

# entry, bystander, one, two, three, client
CASTS = ("CPCCCC", "CCPPPC", "CCCCCP", "PPPPPP")
ROLES = ("entry", "bystander", "one", "two", "three", "client")
HOLDERS = ("one", "two", "three")
THOROUGH = CASTS[:2]
"""The casts that are tested with every fault. The others are only cut off, which is the hardest fault."""
VIP4_BYTES = ip_address(VIP4).packed
ASKING_S = 6
WATCH_S = 1.5
QUESTIONS_END_S = 3.5
"""The guard asks for the last time 3 s after it declared a holder dead; until then it may move clients."""


@pytest.fixture(scope="module")
def network(new_network: Callable[..., Network], cast: tuple[Kind, ...]) -> Iterator[Network]:
    network = new_network()
    for number, (role, kind) in enumerate(zip(ROLES, cast, strict=True), 1):
        shared = VIPS if role in HOLDERS else ()
        network.add(role, kind, addresses(number, *shared), () if role == "entry" else ("entry",))
    network.exchange_keys()
    network.start()
    network.wait_converged()
    with pinging(network["client"].host):
        wait_served(network["client"].host, holders(network), PATIENCE_S)
        wait_guarded(network)
        yield network


def holders(network: Network, *but: Node) -> list[Node]:
    return [network[name] for name in HOLDERS if network[name] not in but]


def is_thorough(cast: tuple[Kind, ...]) -> bool:
    return "".join("P" if kind is Kind.PY else "C" for kind in cast) in THOROUGH


@pytest.mark.parametrize(
    ("fault", "role"), list(zip(FAULTS, (*HOLDERS, "one"), strict=True)), ids=list(FAULTS)
)
def test_another_holder_serves_the_client_and_keeps_it_when_the_first_is_back(
    network: Network, cast: tuple[Kind, ...], fault: str, role: str
) -> None:
    if fault != "cut" and Kind.PY in cast and not is_thorough(cast):
        pytest.skip("tested with other casts")
    client, holder = network["client"].host, network[role]
    gather(client, holder)
    with logged(network, rf"{VIP4}: {role} (is silent for|has left|withdraws)"), ExitStack() as later:
        with FAULTS[fault](holder):
            wait_served(client, holders(network, holder), patience(network))
            moves = later.enter_context(Moves(client))
        network.wait_converged()
        time.sleep(QUESTIONS_END_S)
    # The client may move between the two other holders, because the kernels of C holders lead clients to
    # themselves. So may the host that is back, with a question to the client only; this is prevented only if
    # the holder or the client is a pytinc node.
    if Kind.PY in (holder.kind, network["client"].kind):
        assert not [vip for vip in VIPS if holder.mac in moves.of(vip)]


def test_a_client_does_not_notice_the_death_and_return_of_a_backup(network: Network) -> None:
    client = network["client"].host
    used = set(entries(client).values())
    backup = next(holder for holder in holders(network) if holder.mac not in used)
    with Moves(client) as moves, few_lost_pings(client):
        with killed(backup):
            time.sleep(WATCH_S)
        network.wait_converged()
        time.sleep(WATCH_S)
    assert [moves.count(vip) for vip in VIPS] == [0, 0]


@pytest.mark.parametrize("role", HOLDERS[:2])
def test_a_client_does_not_notice_a_planned_stop_of_a_pytinc_holder(network: Network, role: str) -> None:
    client, holder = network["client"].host, network[role]
    if holder.kind is Kind.C:
        pytest.skip("a C holder stops without telling anybody")
    gather(client, holder)
    with few_lost_pings(client):
        time.sleep(0.5)
        with stopped(holder):
            assert holder.mac not in entries(client).values()
            time.sleep(0.5)


@pytest.mark.parametrize("role", HOLDERS[:2])
def test_another_holder_serves_an_address_that_is_removed_from_a_pytinc_holder(
    network: Network, role: str
) -> None:
    client, holder = network["client"].host, network[role]
    if holder.kind is Kind.C:
        pytest.skip("a C holder does not notice that its address is removed")
    gather(client, holder)
    # Without this, the kernel removes all other addresses of the network together with the first one.
    promote = {"ipv4/conf/vpn/promote_secondaries": 1}
    with sysctls(holder.host, promote), few_lost_pings(client):
        time.sleep(0.5)
        for vip in addresses(0, *VIPS)[:2]:
            holder.host.run("ip", "address", "del", vip.split()[0], "dev", holder.interface)
        wait_served(client, holders(network, holder), HEALED_S)
        time.sleep(0.5)
        for vip in addresses(0, *VIPS)[:2]:
            holder.host.run("ip", "address", "add", *vip.split(), "dev", holder.interface)
        time.sleep(0.5)


def test_a_client_that_ignores_announcements_is_served_again_as_well(network: Network) -> None:
    client, holder = network["client"].host, network["two"]
    gather(client, holder)
    hardened = {"ipv4/conf/all/drop_gratuitous_arp": 1, "ipv6/conf/vpn/drop_unsolicited_na": 1}
    with sysctls(client, hardened), cut_off(holder):
        wait_served(client, holders(network, holder), patience(network))
        time.sleep(QUESTIONS_END_S)


def test_a_client_keeps_its_server_while_holders_ask_for_others_all_the_time(network: Network) -> None:
    """Kernels of holders ask with the shared address as the sender, which leads all who hear it to them."""
    client, entry = network["client"].host, network["entry"]
    gather(client, network["one"])
    with Moves(client) as moves, ExitStack() as asking, Port(entry.host, entry.interface) as port:
        for holder in holders(network):
            asking.enter_context(asking_all_the_time(holder, (own(entry), own(network["client"]))))
        asked = [
            message
            for frame in port.frames(ASKING_S)
            if (message := parse(frame)) is not None and message.kind in (What.QUESTION, What.PROBE)
        ]
    flips = moves.count(VIP4)
    print(f"{flips} flips of {VIP4} in {ASKING_S} s; {len(asked)} questions heard")
    for holder in holders(network):
        mine = [message for message in asked if message.mac.hex(":") == holder.mac]
        assert mine or holder.kind is Kind.C
        if holder.kind is Kind.PY:
            assert VIP4_BYTES not in {message.address for message in mine}
    if all(holder.kind is Kind.PY for holder in holders(network)) or network["client"].kind is Kind.PY:
        assert flips == 0
