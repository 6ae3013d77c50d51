"""The guard as a whole, through its front door: shared addresses, false alarms, floods and settings."""

from __future__ import annotations

import math

import pytest

from pytinc.vip.actions import Changed, Gone, KeepWarm, SetSilent
from pytinc.vip.addresses import MAX_ADDRESSES, MAX_ALL_CLIENTS
from pytinc.wire.neighbour import GUARD_MAC, Kind, Message
from vip.world import (
    ALPHA,
    BETA,
    BROADCAST,
    GAMMA,
    LOCAL,
    OTHER,
    VIP,
    World,
    announces,
    answers,
    asks,
    ip6_of,
    ip_of,
    lone,
    member,
)

# -- which addresses are shared --


def test_an_address_that_a_local_station_asks_for_and_two_nodes_answer_is_shared() -> None:
    world = World().local_client()
    view = world.view()
    assert view.shared
    assert [holder.node for holder in view.holders] == ["alpha", "beta", "gamma"]
    assert [client.address for client in view.clients] == ["10.1.2.4"]
    (notice,) = world.notices()
    assert notice.startswith("10.1.1.10 is held by alpha (02:00:00:00:00:01) and beta")


def test_one_mac_that_answers_for_many_addresses_does_not_make_them_shared() -> None:
    """Proxy ARP."""
    world = World()
    addresses = [bytes((10, 1, 3, last)) for last in range(30)]
    world.servers = dict.fromkeys(addresses, (ALPHA,))
    for address in addresses:
        world.hear(asks(LOCAL, address))
        world.hear(answers(ALPHA, LOCAL, address))
    world.until(30.0)
    assert not any(view.shared for view in world.guard.view(30.0).addresses)
    assert world.notices() == []


def test_one_host_with_two_macs_does_not_make_an_address_shared() -> None:
    world = World()
    world.mesh.owners[BETA] = "alpha"
    world.servers[VIP] = (ALPHA, BETA)
    world.local_client(until=40.0)
    assert not world.view().shared
    assert world.notices() == []
    assert world.probed(after=0.0) == set()


def test_an_address_that_moves_is_not_shared() -> None:
    world = World()
    world.servers[VIP] = (ALPHA,)
    world.local_client(until=300.0)
    world.servers[VIP] = (BETA,)
    world.hear(announces(BETA))
    world.streams[LOCAL] = BETA
    world.until(1200.0)
    assert not world.view().shared
    assert world.notices() == []
    assert world.in_names() == []


def test_link_local_addresses_are_not_asked_for() -> None:
    world = World()
    world.hear(asks(LOCAL, bytes.fromhex("fe80") + bytes(13) + b"\x07", address=ip6_of(LOCAL)))
    world.until(5.0)
    assert all(s.message.target[:2] != b"\xfe\x80" for s in world.sent)


# -- what the mesh tells --


def test_a_closed_connection_hurries_the_verdict_about_a_dead_node_only() -> None:
    world = World().local_client(ALPHA)
    world.guard.connection_closed("alpha", world.now)
    world.take()
    world.until(6.0)
    assert world.in_names() == []
    world.kill("alpha")
    world.guard.connection_closed("alpha", world.now)
    world.take()
    world.until(8.0)
    (sent,) = world.in_names()
    assert sent.at <= 6.35


# -- false alarms --


def test_a_false_suspicion_is_counted_and_harmless() -> None:
    world = World().local_client(ALPHA)
    world.kill("alpha")
    while not world.counters["suspicions"]:
        assert world.now < 6.0
        world.until(world.now + 0.01)
    world.dead.clear()
    world.until(20.0)
    assert world.counters["false_suspicions"] == 1
    assert world.in_names() == []
    assert world.counters["failovers"] == 0
    assert world.all(Changed) == []


@pytest.mark.parametrize("seconds", [0.4, 2.0, 30.0])
def test_no_client_is_moved_after_a_stall_of_the_own_node(seconds: float) -> None:
    world = World().local_client(ALPHA)
    world.sleep(seconds)
    world.until(5.0 + seconds + 10.0)
    assert world.in_names() == []
    assert world.counters["stalls"] == 1
    assert world.counters["failovers"] == 0


def test_a_member_ticks_often_so_that_a_pause_is_noticed() -> None:
    world = member()
    assert world.guard.next_deadline() - world.now <= 0.2


# -- floods --


def test_an_insider_who_floods_announcements_and_questions_keeps_all_tables_bounded() -> None:
    world = World().local_client(ALPHA)
    for number in range(40_000):
        mac = b"\x06" + (number % 20_000).to_bytes(5, "big")
        address = (0x0B000000 + number).to_bytes(4, "big")
        world.guard.message(announces(mac, address), world.now, from_device=False)
        world.guard.message(
            Message(Kind.QUESTION, mac, address, address[:3] + b"\1", BROADCAST), world.now, from_device=False
        )
        world.guard.message(
            Message(Kind.QUESTION, mac, address, VIP, BROADCAST), world.now, from_device=False
        )
        world.guard.message(lone(mac), world.now, from_device=False)
    view = world.guard.view(world.now)
    assert len(view.addresses) <= MAX_ADDRESSES
    assert sum(len(address.clients) for address in view.addresses) <= MAX_ALL_CLIENTS
    assert world.view().shared
    # What it costs others is bounded, too.
    before = len(world.sent)
    world.until(15.0)
    assert len(world.sent) - before <= 20 + 10 * 10
    assert world.probed(after=0.0) <= {"alpha", "beta", "gamma"}


def test_a_flood_does_not_keep_a_client_from_being_moved() -> None:
    world = World().local_client(ALPHA)
    for number in range(20_000):
        mac = b"\x06" + number.to_bytes(5, "big")
        world.guard.message(announces(mac), world.now, from_device=False)
        scanned = (0x0B000000 + number % 60).to_bytes(4, "big")
        world.guard.message(asks(mac, scanned), world.now, from_device=False)
    world.until(10.0)
    world.kill("alpha")
    world.until(15.0)
    assert world.streams[LOCAL] in (BETA, GAMMA)


# -- settings --


def test_a_guard_that_is_switched_off_forgets_everything() -> None:
    world = World().local_client(ALPHA)
    world.guard.configure(world.now, enabled=False, addresses=False, interval=0.1)
    world.take()
    assert world.guard.next_deadline() == math.inf
    view = world.guard.view(world.now)
    assert not view.enabled
    assert view.addresses == ()
    assert view.watched == 0
    assert not world.guard.rules.macs
    before = len(world.actions)
    world.hear(asks(LOCAL))
    world.kill("alpha")
    world.guard.reachability("alpha", world.now, reachable=False)
    world.until(30.0)
    assert len(world.actions) == before
    world.guard.withdraw(world.now)
    world.take()
    assert len(world.all(Gone)) == 1


def test_a_guard_that_is_switched_on_again_starts_afresh() -> None:
    world = World().local_client(ALPHA)
    world.guard.configure(world.now, enabled=False, addresses=False, interval=0.1)
    world.guard.configure(world.now, enabled=True, addresses=True, interval=0.1)
    world.take()
    world.local_client(ALPHA, until=10.0)
    world.kill("alpha")
    world.until(15.0)
    assert world.streams[LOCAL] in (BETA, GAMMA)


def test_rivals_are_watched_in_router_mode_and_their_silence_is_reported() -> None:
    world = World(addresses=False)
    world.mesh.rival_nodes = {"alpha", "me"}
    world.hear(asks(LOCAL))
    world.until(5.0)
    assert world.probed(after=0.0) == {"alpha"}
    assert any(isinstance(action, KeepWarm) for _, action in world.actions)
    world.kill("alpha")
    world.until(6.0)
    world.dead.clear()
    world.until(8.0)
    assert world.all(SetSilent) == [SetSilent("alpha", silent=True), SetSilent("alpha", silent=False)]
    assert world.sent == []
    assert world.guard.view(world.now).addresses == ()


def test_a_rival_that_is_no_longer_used_does_not_count_as_silent() -> None:
    world = World(addresses=False)
    world.mesh.rival_nodes = {"alpha"}
    world.until(5.0)
    world.kill("alpha")
    world.until(6.0)
    world.mesh.rival_nodes = set()
    world.until(9.0)
    assert world.all(SetSilent) == [SetSilent("alpha", silent=True), SetSilent("alpha", silent=False)]
    assert world.probed(after=8.0) == set()


@pytest.mark.parametrize("pause", [0.1, 2.0])
def test_frames_that_waited_while_this_node_stood_still_tell_nothing(pause: float) -> None:
    """Their sender may use another holder by now."""
    world = member()
    world.sleep(pause)
    world.now += pause
    world.guard.used(LOCAL, OTHER, ip_of(OTHER), VIP, world.now)
    world.take()
    world.until(world.now + 0.5)
    notices = [sent for sent in world.sent if sent.message.to == GUARD_MAC and sent.message.mac == OTHER]
    assert len(notices) == (1 if pause < 1 else 0)
