"""The guard's view: holders, clients and the last failover."""

from __future__ import annotations

import pytest

from pytinc.vip.actions import SendProbe
from pytinc.vip.picture import MAX_CLIENTS, PROBE_SIZE
from pytinc.vip.views import HolderState
from vip.world import (
    ALPHA,
    BETA,
    GAMMA,
    LOCAL,
    World,
    asks,
)


def test_the_picture_shows_holders_and_whether_they_are_silent() -> None:
    world = World().local_client(ALPHA)
    states = {holder.node: holder.state for holder in world.view().holders}
    assert states == {
        "alpha": HolderState.ALIVE,
        "beta": HolderState.UNWATCHED,
        "gamma": HolderState.UNWATCHED,
    }
    world.mesh.unreachable.add("gamma")
    world.kill("alpha")
    world.until(5.8)
    states = {holder.node: holder.state for holder in world.view().holders}
    assert (states["alpha"], states["gamma"]) == (HolderState.SILENT, HolderState.UNREACHABLE)
    (client,) = world.view().clients
    assert client.node == "me"
    assert client.holder == BETA.hex(":")


def test_the_picture_shows_own_suspect_and_unowned_holders() -> None:
    world = World()
    world.mesh.owners[ALPHA] = "me"
    world.local_client(BETA)
    del world.mesh.owners[GAMMA]
    world.kill("beta")
    while not world.counters["suspicions"]:
        assert world.now < 10.0
        world.until(world.now + 0.01)
    holders = {holder.mac: holder for holder in world.view().holders}
    assert [holders[mac.hex(":")].state for mac in (ALPHA, BETA, GAMMA)] == [
        HolderState.OWN,
        HolderState.SUSPECT,
        HolderState.UNREACHABLE,
    ]
    assert holders[GAMMA.hex(":")].node is None
    assert holders[ALPHA.hex(":")].rtt_s is None
    rtt = holders[BETA.hex(":")].rtt_s
    assert rtt is not None
    assert 0.001 <= rtt <= 0.003, "the world's peers answer after 2 ms"


def test_the_picture_shows_how_long_ago_things_were_seen() -> None:
    world = World().local_client(ALPHA)
    world.streams.clear()
    world.until(9.0)
    (client,) = world.view().clients
    assert client.idle_s == pytest.approx(4.0, abs=0.05)
    world.kill("alpha")
    world.guard.reachability("alpha", world.now, reachable=False)
    world.take()
    world.until(19.0)
    failover = world.view().failover
    assert failover is not None
    assert failover.ago_s == pytest.approx(10.0, abs=0.05)
    assert failover.reason == "unreachable"


def test_shared_addresses_come_first_and_the_others_in_order() -> None:
    world = World()
    for last in (9, 1):
        world.hear(asks(LOCAL, bytes((10, 1, 1, last))))
    world.local_client()
    views = world.guard.view(world.now).addresses
    # The last one is that of the station itself.
    assert [view.address for view in views] == ["10.1.1.10", "10.1.1.1", "10.1.1.9", "10.1.2.4"]
    assert [view.shared for view in views] == [True, False, False, False]


def test_the_picture_shows_the_latest_of_many_clients_and_counts_all() -> None:
    world = World()
    for number in range(MAX_CLIENTS + 50):
        world.hear(asks(b"\x06" + number.to_bytes(5, "big")))
    view = world.view()
    assert view.clients_total == MAX_CLIENTS + 50
    numbers = [int(client.mac[3:].replace(":", ""), 16) for client in view.clients]
    assert numbers == list(range(MAX_CLIENTS + 49, 49, -1))


def test_the_summary_has_the_numbers_of_the_whole_picture() -> None:
    world = World().local_client(ALPHA)
    world.hear(asks(LOCAL, bytes((10, 1, 1, 9))))
    world.kill("alpha")
    world.until(10.0)
    view, summary = world.guard.view(world.now), world.guard.summary()
    assert summary.shared == 1
    assert (summary.watched, summary.last_failover_s) == (view.watched, view.last_failover_s)
    assert summary.counters == view.counters
    probes = len(world.all(SendProbe))
    assert (summary.counters.probes, summary.counters.probe_bytes) == (probes, probes * PROBE_SIZE)
