"""Which peers are watched and when a silent node counts as back; the rules that the data path gets."""

from __future__ import annotations

import math

import pytest

from pytinc.vip.actions import KeepWarm, Notice, SendProbe, SetSilent
from pytinc.vip.core import GRACE, IDLE_LIFE
from pytinc.vip.review import CLIENT_LIFE, IDLE_INTERVAL, MAX_REPORTS, MAX_WARM, PRUNE_INTERVAL, REPORT_TIME
from pytinc.vip.views import HolderState
from vip.world import (
    ALPHA,
    BETA,
    GAMMA,
    LOCAL,
    REMOTE,
    SERVERS,
    VIP,
    World,
    answers,
    asks,
    ip_of,
    lone,
)

# -- who is watched --


def test_only_the_node_of_the_holder_that_a_local_client_uses_is_watched() -> None:
    world = World().local_client(BETA, until=10.0)
    assert world.probed(after=1.0) == {"beta"}
    probes = [at for at, action in world.actions if isinstance(action, SendProbe) and at > 5.0]
    assert 45 <= len(probes) <= 55


def test_nobody_is_watched_when_the_client_is_idle() -> None:
    world = World().local_client(BETA, until=10.0)
    world.streams.clear()
    world.until(40.0)
    assert world.probed(after=25.0) == set()


def test_the_relay_is_probed_for_a_node_that_is_behind_it() -> None:
    world = World()
    world.mesh.hops["beta"] = "relay"
    world.local_client(BETA, until=10.0)
    assert world.probed(after=1.0) == {"relay"}
    world.kill("relay")
    world.until(11.0)
    (first, *_) = world.in_names()
    assert first.message.to in (ALPHA, GAMMA)


def test_the_relay_that_brings_a_holders_answers_is_probed_as_well() -> None:
    world = World().local_client(BETA, until=4.0)
    world.mesh.relayed["beta"] = ("relay", math.inf)
    world.until(10.0)
    assert world.probed(after=5.0) == {"beta", "relay"}
    world.kill("relay")
    world.until(11.0)
    (first, *_) = world.in_names()
    assert first.message.to in (ALPHA, GAMMA)
    assert world.streams[LOCAL] == first.message.to
    world.until(20.0)
    assert len(world.in_names()) == 1


def test_a_relay_that_forwarded_nothing_lately_silences_no_other_node() -> None:
    world = World().local_client(BETA, until=4.0)
    world.mesh.relayed["beta"] = ("relay", 4.0)
    world.until(15.0)
    assert world.probed(after=5.0) == {"beta", "relay"}
    world.kill("relay")
    world.until(25.0)
    assert world.in_names() == []
    assert world.all(SetSilent) == []


def silences(world: World, node: str) -> list[bool]:
    """What the node was told of one, in order."""
    return [action.silent for action in world.all(SetSilent) if action.node == node]


def test_a_silent_node_that_a_relay_reaches_is_there_again() -> None:
    world = World().local_client(ALPHA)
    world.kill("alpha")
    world.until(10.0)
    assert silences(world, "alpha") == [True]
    world.mesh.hops["alpha"] = "relay"
    world.until(20.0)
    assert silences(world, "alpha") == [True, False]
    states = {holder.node: holder.state for holder in world.view().holders}
    assert states["alpha"] is not HolderState.SILENT


def test_a_station_that_uses_such_a_node_again_is_not_moved_when_another_one_dies() -> None:
    world = World().local_client(ALPHA)
    world.kill("alpha")
    world.until(10.0)
    world.mesh.hops["alpha"] = "relay"
    world.until(20.0)
    world.streams[LOCAL] = ALPHA
    world.until(30.0)
    world.kill("beta")
    world.kill("gamma")
    world.until(40.0)
    assert world.in_names(after=30.0) == []
    assert world.streams[LOCAL] == ALPHA


@pytest.mark.parametrize("end", ["leaves the mesh", "falls silent"])
def test_a_holder_that_announces_its_leaving_is_watched_until_it_has_left(end: str) -> None:
    """With two holders, too: its own questions may be lost."""
    world = World()
    world.servers[VIP] = (ALPHA, BETA)
    world.mesh.ids[b"alpha-"] = "alpha"
    world.local_client(ALPHA, until=10.0)
    world.kill("alpha")
    world.hear(lone(bytes(byte ^ 0xFF for byte in b"alpha-")))
    if end == "leaves the mesh":
        world.until(10.1)
        world.mesh.unreachable.add("alpha")
        world.guard.reachability("alpha", world.now, reachable=False)
        world.take()
    world.until(12.0)
    assert world.streams[LOCAL] == BETA


def test_a_node_that_is_silent_itself_stays_silent_when_the_relay_of_its_frames_answers_again() -> None:
    world = World().local_client(BETA, until=4.0)
    world.mesh.relayed["beta"] = ("relay", math.inf)
    world.until(10.0)
    world.kill("relay")
    world.kill("beta")
    world.until(12.0)
    world.dead.remove("relay")
    world.until(20.0)
    assert silences(world, "relay") == [True, False]
    assert silences(world, "beta") == [True]
    world.dead.remove("beta")
    world.until(30.0)
    assert silences(world, "beta") == [True, False]


def test_a_node_whose_frames_a_silent_relay_brought_stays_silent_until_it_comes_another_way() -> None:
    world = World().local_client(BETA, until=4.0)
    world.mesh.relayed["beta"] = ("relay", 9.9)
    world.until(10.0)
    world.kill("relay")
    world.until(60.0)
    assert silences(world, "beta") == [True]
    # A frame that came straight.
    world.mesh.frames["beta"] = 1
    world.until(65.0)
    assert silences(world, "beta") == [True, False]
    assert world.streams[LOCAL] in (ALPHA, GAMMA)


@pytest.mark.parametrize("end", ["answers again", "leaves the mesh"])
def test_a_node_behind_a_silent_relay_is_freed_by_the_relays_end(end: str) -> None:
    world = World().local_client(BETA, until=4.0)
    world.mesh.relayed["beta"] = ("relay", 9.9)
    world.until(10.0)
    world.kill("relay")
    world.until(20.0)
    assert silences(world, "beta") == [True]
    if end == "answers again":
        world.dead.remove("relay")
    else:
        world.mesh.unreachable.add("relay")
        world.guard.reachability("relay", world.now, reachable=False)
        world.take()
    world.until(30.0)
    assert silences(world, "beta") == [True, False]
    states = {holder.node: holder.state for holder in world.view().holders}
    assert states["beta"] is not HolderState.SILENT


# -- rules for the data path --


def test_a_member_asks_from_its_other_address_when_its_first_one_is_shared() -> None:
    world = World()
    world.servers |= {VIP: (LOCAL, ALPHA), ip_of(LOCAL): (LOCAL,)}
    world.hear(asks(LOCAL, bytes((10, 1, 2, 7)), address=VIP))
    world.hear(asks(LOCAL, bytes((10, 1, 2, 7)), address=ip_of(LOCAL)))
    world.hear(answers(LOCAL, REMOTE, VIP))
    world.hear(asks(REMOTE))
    world.until(5.0)
    assert world.guard.rules.senders == {VIP: ip_of(LOCAL)}
    assert VIP in world.guard.rules.own
    assert ip_of(LOCAL) in world.guard.rules.known
    assert VIP not in world.guard.rules.known


def test_an_address_of_a_host_is_known_when_nobody_else_answers_for_it() -> None:
    world = World()
    world.servers[ip_of(LOCAL)] = (LOCAL,)
    world.hear(asks(LOCAL, bytes((10, 1, 2, 7))))
    assert world.guard.rules.known == frozenset()
    world.until(3.0)
    assert world.guard.rules.known == {ip_of(LOCAL)}
    assert len(world.lone(ip_of(LOCAL))) <= 3


def test_the_holder_that_our_stations_use_and_all_holders_macs_are_in_the_rules() -> None:
    world = World().local_client(BETA)
    assert world.guard.rules.in_use == {VIP: BETA}
    assert world.guard.rules.macs == set(SERVERS)
    world.kill("beta")
    world.until(10.0)
    assert world.guard.rules.in_use == {VIP: world.streams[LOCAL]}


def test_at_the_verdict_the_data_path_lets_the_answers_through() -> None:
    world = World()
    world.deaf.add(LOCAL)
    world.local_client(BETA)
    world.kill("beta")
    while not world.in_names():
        world.until(world.now + 0.001)
    assert VIP not in world.guard.rules.in_use


# -- what is told, kept in order and forgotten --


def share(world: World, count: int) -> None:
    """Have this many addresses found to be shared."""
    addresses = [bytes((10, 3, number, 1)) for number in range(count)]
    world.servers = dict.fromkeys(addresses, SERVERS)
    for address in addresses:
        world.hear(asks(LOCAL, address))
        for server in SERVERS:
            world.later(0.003, answers(server, LOCAL, address))
    world.until(world.now + 3.0)


def test_the_number_of_shared_addresses_that_are_reported_is_bounded() -> None:
    """Whoever is in the network can make them up."""
    world = World()
    share(world, MAX_REPORTS + 10)
    assert len(world.notices()) == MAX_REPORTS
    told = [notice for notice in world.all(Notice) if "guarded as a shared address" in notice.message]
    assert len(told) == MAX_REPORTS + 10, "the others are in the log of who wants to know more"
    world.until(REPORT_TIME + 10.0)
    world.servers = {VIP: SERVERS}
    world.local_client(until=world.now + 3.0)
    assert world.notices()[-1].startswith("10.1.1.10 is held by")


def test_paths_to_nodes_that_may_have_to_be_asked_are_kept_up() -> None:
    world = World().local_client(ALPHA, until=20.0)
    warm = [action.node for action in world.all(KeepWarm)]
    assert set(warm) == {"alpha", "beta", "gamma"}
    assert warm.count("alpha") > 2 * warm.count("beta"), "the one that is used is watched all the time"
    assert warm.count("beta") >= 2


def test_the_number_of_unwatched_paths_that_are_kept_up_is_bounded() -> None:
    world = World()
    for number in range(MAX_WARM + 50):
        mac = b"\x06" + number.to_bytes(5, "big")
        world.mesh.owners[mac] = f"node{number}"
        world.hear(asks(mac))
    world.until(5.0)
    warm = {action.node for action in world.all(KeepWarm)} - {"alpha", "beta", "gamma"}
    assert len(warm) == MAX_WARM


def test_a_client_whose_node_is_gone_is_forgotten_after_a_while_and_then_its_address() -> None:
    world = World().remote_client(ALPHA)
    assert len(world.view().clients) == 1
    del world.mesh.owners[REMOTE]
    world.until(5.0 + GRACE + 2 * PRUNE_INTERVAL)
    assert world.view().clients == ()
    world.until(5.0 + IDLE_LIFE + 2 * PRUNE_INTERVAL)
    assert world.guard.view(world.now).addresses == ()


def test_a_client_that_is_still_in_the_mesh_is_remembered_for_a_day() -> None:
    world = World().remote_client(ALPHA)
    world.servers[VIP] = (ALPHA,)
    world.until(CLIENT_LIFE - 60.0)
    assert len(world.view().clients) == 1
    world.until(5.0 + CLIENT_LIFE + 2 * PRUNE_INTERVAL)
    assert all(view.clients == () for view in world.guard.view(world.now).addresses)


def test_a_guard_without_anything_to_guard_reviews_seldom() -> None:
    world = World().until(100.0)
    assert world.guard.next_deadline() - world.now <= IDLE_INTERVAL
    ticks = 0
    while (due := world.guard.next_deadline()) < 1000.0:
        ticks += 1
        world.until(due)
    assert ticks <= 900.0 / IDLE_INTERVAL + 1
    assert world.sent == []
