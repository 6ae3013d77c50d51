"""The facts that all parts of the guard ask for: clients of holders, and holders that serve."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.vip.actions import Notice, SendFrame
from pytinc.vip.addresses import AddressRecord, Client
from pytinc.vip.core import (
    GRACE,
    IDLE_LIFE,
    LOCAL_USE,
    RECENT_USE,
    STEADY_AFTER,
    Core,
    Silenced,
    address_text,
    mac_text,
)
from pytinc.vip.detector import State
from vip.world import ALPHA, BETA, LOCAL, OTHER, REMOTE, VIP, Mesh, ip_of


def make(*holders: bytes, seed: float = 0.5) -> tuple[Core, Mesh, AddressRecord]:
    """Return a core, its mesh, and the record of an address with these holders."""
    mesh = Mesh()
    core = Core("me", b"me----", mesh, lambda: seed)
    record = core.table.use(VIP, 0.0)
    for mac in holders:
        record.answer(mac, 0.0)
    return core, mesh, record


def client_of(core: Core, record: AddressRecord, mac: bytes, now: float = 0.0) -> Client:
    return core.table.client(record, mac, ip_of(mac), now)


# -- which holder a client uses --


def test_the_frames_of_a_client_show_which_holder_it_uses() -> None:
    core, mesh, record = make(ALPHA, BETA)
    client = client_of(core, record, LOCAL)
    mesh.uses[ALPHA, LOCAL, VIP] = 1.0
    mesh.uses[BETA, LOCAL, VIP] = 2.0
    assert core.last_use(record, client) == (2.0, BETA)
    assert core.holder_of(record, client, 3.0) == BETA


def test_a_message_after_the_last_frame_of_a_client_counts_more_than_the_frame() -> None:
    core, mesh, record = make(ALPHA, BETA)
    client = client_of(core, record, LOCAL)
    mesh.uses[ALPHA, LOCAL, VIP] = 1.0
    client.believe(BETA, 2.0)
    assert core.holder_of(record, client, 3.0) == BETA
    mesh.uses[ALPHA, LOCAL, VIP] = 2.5
    assert core.holder_of(record, client, 3.0) == ALPHA


def test_old_frames_do_not_count() -> None:
    core, mesh, record = make(ALPHA)
    client = client_of(core, record, LOCAL)
    mesh.uses[ALPHA, LOCAL, VIP] = 1.0
    assert core.holder_of(record, client, 1.0 + RECENT_USE) is None


def test_a_client_without_frames_has_no_last_use() -> None:
    core, _, record = make(ALPHA)
    client = client_of(core, record, LOCAL)
    assert core.last_use(record, client)[0] == -math.inf
    assert core.holder_of(record, client, 0.0) is None
    empty, _, without_holders = make()
    assert empty.last_use(without_holders, client_of(empty, without_holders, LOCAL)) == (-math.inf, None)


# -- whether an address is used --


def test_a_station_behind_the_own_device_uses_an_address_while_it_sends() -> None:
    core, mesh, record = make(ALPHA)
    client = client_of(core, record, LOCAL, now=0.0)
    assert core.uses(record, client, LOCAL_USE - 1)
    assert not core.uses(record, client, LOCAL_USE + 1)
    mesh.uses[ALPHA, LOCAL, VIP] = LOCAL_USE
    assert core.uses(record, client, LOCAL_USE + 1)


def test_a_station_elsewhere_counts_as_long_as_its_mac_is_in_the_mesh() -> None:
    core, mesh, record = make(ALPHA)
    client = client_of(core, record, REMOTE, now=0.0)
    assert core.uses(record, client, 10 * GRACE)
    del mesh.owners[REMOTE]
    assert core.uses(record, client, GRACE - 1)
    assert not core.uses(record, client, GRACE + 1)


def test_an_address_is_used_by_its_clients_and_by_the_host_behind_the_own_device() -> None:
    core, _, record = make(ALPHA)
    assert not core.is_used(record, 1.0)
    record.own_seen = 0.0
    assert core.is_used(record, IDLE_LIFE - 1)
    assert not core.is_used(record, IDLE_LIFE + 1)
    client_of(core, record, REMOTE)
    assert core.is_used(record, IDLE_LIFE + 1)


# -- which holders serve --


def test_a_holder_serves_while_its_node_is_in_the_mesh_and_answers() -> None:
    core, mesh, record = make(ALPHA, BETA)
    assert core.serves(record, ALPHA)
    mesh.unreachable.add("alpha")
    assert not core.serves(record, ALPHA)
    assert core.serves(record, BETA)
    core.left["beta"] = 1.0
    assert not core.serves(record, BETA)


def test_a_mac_that_is_not_a_holder_or_has_no_owner_does_not_serve() -> None:
    core, mesh, record = make(ALPHA)
    assert not core.serves(record, BETA)
    del mesh.owners[ALPHA]
    assert not core.serves(record, ALPHA)


@pytest.mark.parametrize("hop", ["alpha", "relay"])
def test_a_holder_does_not_serve_while_its_node_or_the_relay_to_it_is_suspect(hop: str) -> None:
    core, mesh, record = make(ALPHA)
    mesh.hops["alpha"] = hop
    core.watch.set_wanted([hop], 0.0)
    core.watch.tick(0.0)
    core.watch.heard(hop, 0.01)
    assert core.serves(record, ALPHA)
    while core.watch.state(hop) is State.ALIVE:
        core.watch.tick(core.watch.next_deadline())
    assert not core.serves(record, ALPHA)


def test_an_own_holder_serves_until_the_node_withdraws() -> None:
    core, mesh, record = make(ALPHA)
    mesh.owners[ALPHA] = "me"
    assert core.own_holders(record) == {ALPHA}
    assert core.serves(record, ALPHA)
    core.withdrawing = True
    assert not core.serves(record, ALPHA)


def test_only_an_own_holder_or_one_whose_node_was_heard_is_known_to_be_well() -> None:
    core, mesh, _ = make(ALPHA)
    assert not core.is_well(ALPHA)
    core.watch.set_wanted(["alpha"], 0.0)
    core.watch.tick(0.0)
    core.watch.heard("alpha", 0.01)
    assert core.is_well(ALPHA)
    mesh.owners[BETA] = "me"
    assert core.is_well(BETA)
    assert not core.is_well(b"\x06" + bytes(5))


def test_a_node_that_is_just_back_is_new_for_a_few_seconds() -> None:
    core, _, _ = make(ALPHA)
    core.came_back("alpha", 5.0)
    assert not core.is_new(ALPHA, 5.0), "nobody was led away from it"
    core.left["alpha"] = 1.0
    core.came_back("alpha", 5.0)
    assert "alpha" not in core.left
    assert core.is_new(ALPHA, 5.0 + STEADY_AFTER - 0.1)
    assert not core.is_new(ALPHA, 5.0 + STEADY_AFTER)
    assert not core.is_new(BETA, 5.0)


# -- where things are --


def test_hops_are_the_peers_on_the_way_to_a_node_and_back() -> None:
    core, mesh, _ = make()
    assert core.hops("alpha", 0.0) == {"alpha"}
    mesh.hops["alpha"] = "there"
    mesh.relayed["alpha"] = ("back", 5.0)
    assert core.hops("alpha", 4.0) == {"there", "back"}
    assert core.hops("alpha", 6.0) == {"there"}
    mesh.unreachable.add("alpha")
    assert core.hops("alpha", 6.0) == set()


def test_clients_are_local_guarded_or_neither() -> None:
    core, mesh, record = make(ALPHA)
    local, remote, stray = (client_of(core, record, mac) for mac in (LOCAL, REMOTE, b"\x06" + bytes(5)))
    mesh.guards = {"cee", "me"}
    assert [core.is_local(client) for client in (local, remote, stray)] == [True, False, False]
    assert [core.is_guarded(client) for client in (local, remote, stray)] == [False, True, False]
    mesh.guards.clear()
    assert not core.is_guarded(client_of(core, record, OTHER))


def test_a_node_is_silenced_as_long_as_any_peer_silences_it() -> None:
    core, _, _ = make()
    core.silenced = {"relay": {"alpha": Silenced(0.0, 0)}, "beta": {"beta": Silenced(0.0, 0)}}
    assert core.is_silenced("alpha")
    assert core.is_silenced("beta")
    assert not core.is_silenced("gamma")
    del core.silenced["relay"]
    assert not core.is_silenced("alpha")


# -- services --


@given(
    low=st.floats(0, 100), width=st.floats(0, 100), chance=st.floats(0, 1, exclude_max=True, allow_nan=False)
)
def test_random_numbers_lie_between_their_ends(low: float, width: float, chance: float) -> None:
    core, _, _ = make(seed=chance)
    assert low <= core.between((low, low + width)) <= (low + width) * (1 + 1e-12)


def test_counters_add_up_and_actions_keep_their_order() -> None:
    core, _, _ = make()
    core.count(questions=2, failovers=1)
    core.count(questions=3)
    assert (core.counters.questions, core.counters.failovers, core.counters.notices) == (5, 1, 0)
    core.send(b"frame")
    core.log(2, "info", "text")
    assert core.actions == [SendFrame(b"frame"), Notice(2, "info", "text")]


def test_addresses_are_formatted_in_their_usual_form() -> None:
    assert address_text(VIP) == "10.1.1.10"
    assert address_text(bytes.fromhex("fd00") + bytes(13) + b"\x10") == "fd00::10"
    assert mac_text(ALPHA) == "02:00:00:00:00:01"
