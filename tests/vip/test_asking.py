"""Questions in the guard's own name: when it asks for an address, and which guards keep asking."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.vip.addresses import CALLER_LIFE, AddressRecord
from pytinc.vip.asking import MAX_CLAIMS, QUESTION_BURST, QUESTIONS_PER_SECOND, STEP, Asking, inverted
from pytinc.vip.core import Core
from pytinc.wire.neighbour import GUARD_ADDRESS, GUARD_MAC, NOBODY, Kind, Message
from vip.world import (
    ALPHA,
    BETA,
    BROADCAST,
    OTHER,
    REMOTE,
    SERVERS,
    VIP,
    VIP6,
    Mesh,
    World,
    answers,
    asks,
    ip6_of,
    ip_of,
    lone,
)


def test_the_guard_asks_in_its_own_name_for_an_address_that_a_remote_station_uses() -> None:
    world = World().remote_client()
    sent = world.lone()[0]
    assert 0.2 <= sent.at <= 0.7
    assert sent.message.note == world.id
    assert sent.message.address == NOBODY
    assert sent.source == GUARD_MAC
    assert world.view().shared


def test_the_guard_stops_asking_for_an_unused_address() -> None:
    world = World().local_client()
    world.streams.clear()
    world.until(700.0)
    before = len(world.lone())
    world.until(3000.0)
    assert len(world.lone()) == before
    assert world.probed(after=100.0) == set()


def test_the_guard_asks_less_and_less_often_for_an_address_that_is_not_shared() -> None:
    world = World()
    world.servers[VIP] = (ALPHA,)
    world.local_client(until=3600.0)
    asked = world.lone()
    assert 8 <= len(asked) <= 16
    assert asked[-1].at - asked[-2].at > 400


def test_the_guard_asks_for_a_shared_address_every_half_minute() -> None:
    world = World().local_client(until=300.0)
    assert 8 <= len(world.lone()) <= 14


def test_a_lone_question_for_ipv6_comes_from_the_guards_address_which_then_answers() -> None:
    world = World()
    world.servers = {VIP6: SERVERS}
    world.hear(asks(REMOTE, VIP6))
    world.until(2.0)
    sent = world.lone(VIP6)[0]
    assert sent.message.address == GUARD_ADDRESS
    assert world.view("fd00::10").shared
    world.hear(asks(ALPHA, GUARD_ADDRESS, to=GUARD_MAC))
    assert world.sent[-1].message[:4] == (Kind.ANSWER, GUARD_MAC, GUARD_ADDRESS, ip6_of(ALPHA))


def test_three_of_many_guards_take_care_and_the_others_stand_by() -> None:
    worlds = {f"guard{number}": World(f"guard{number}", seed=number) for number in range(8)}
    for world in worlds.values():
        world.mesh.ids = {other.id: name for name, other in worlds.items()}
        assert len(world.mesh.ids) == 8
        world.hear(asks(REMOTE))
    # Every guard hears the lone questions of all others.
    heard = dict.fromkeys(worlds, 0)
    for step in range(1, 800):
        for name, world in worlds.items():
            world.until(step / 10)
            asked = world.lone()
            for sent in asked[heard[name] :]:
                for other in worlds.values():
                    if other is not world:
                        other.hear(sent.message)
                        for server in SERVERS:
                            other.later(0.005, answers(server, GUARD_MAC))
            heard[name] = len(asked)
    watching = {name for name, world in worlds.items() if world.probed(after=78.0)}
    assert len(watching) == 3
    for world in worlds.values():
        world.kill("alpha")
        world.until(85.0)
    # Without hearing each other now, the three ask, and nobody else.
    assert {name for name, world in worlds.items() if world.in_names(after=79.0)} == watching
    # And all of them lead the client to the same holder.
    assert len({s.message.to for world in worlds.values() for s in world.in_names(after=79.0)}) == 1


def test_a_host_that_checks_that_nobody_has_an_address_is_not_disturbed() -> None:
    world = World()
    world.hear(Message(Kind.PROBE, OTHER, NOBODY, VIP, BROADCAST))
    world.hear(asks(REMOTE))
    world.until(9.9)
    assert world.lone() == []
    world.until(12.0)
    assert 10.0 <= world.lone()[0].at <= 10.1


def test_made_up_claims_are_bounded() -> None:
    world = World()
    for number in range(100_000):
        world.hear(Message(Kind.PROBE, OTHER, NOBODY, number.to_bytes(4, "big"), BROADCAST))
    assert len(world.guard._asking._claims) <= MAX_CLAIMS


# -- by itself --


def make(my_id: bytes = b"me----") -> tuple[Asking, Core, Mesh, AddressRecord]:
    """Return a part that asks, and an address that two nodes share and somebody uses."""
    mesh = Mesh()
    core = Core("me", my_id, mesh, lambda: 0.5)
    record = core.table.use(VIP, 0.0)
    record.begin_round(0.0)
    for mac in (ALPHA, BETA):
        record.answer(mac, 0.0)
    core.table.client(record, REMOTE, ip_of(REMOTE), 0.0)
    assert core.is_shared(record)
    return Asking(core), core, mesh, record


def test_questions_are_limited_to_a_burst_and_then_a_rate() -> None:
    asking, _, _, record = make()
    at_once = sum(asking.may_ask_about(record, 100.0) for _ in range(1000))
    assert at_once == QUESTION_BURST
    later = sum(asking.may_ask_about(record, 100.0 + step / 1000) for step in range(1, 10_001))
    assert later == pytest.approx(10 * QUESTIONS_PER_SECOND, abs=1)


def test_many_due_addresses_do_not_cause_many_ticks() -> None:
    asking, core, _, _ = make()
    for number in range(500):
        record = core.table.use((0x0B000000 + number).to_bytes(4, "big"), 0.0)
        core.table.client(record, REMOTE, ip_of(REMOTE), 0.0)
        asking.used(record, number / 1000)
    ticks = 0
    while (due := asking.next_deadline()) < 2.0:
        ticks += 1
        asking.tick(due)
    assert ticks <= 2.0 / STEP


@given(
    ids=st.sets(st.binary(min_size=6, max_size=6), min_size=1, max_size=8),
    address=st.binary(min_size=4, max_size=4),
)
def test_all_guards_agree_on_their_order(ids: set[bytes], address: bytes) -> None:
    ranks = []
    for own in ids:
        asking, core, mesh, _ = make(own)
        mesh.ids = {node_id: node_id.hex() for node_id in ids}
        record = core.table.use(address, 0.0)
        for other in ids - {own}:
            record.heard_caller(other, 0.0)
        ranks.append(asking.rank(record, 1.0))
    assert sorted(ranks) == list(range(len(ids)))


@pytest.mark.parametrize("why", ["unknown", "unreachable", "left", "quiet"])
def test_an_absent_guard_does_not_count_in_the_order(why: str) -> None:
    asking, core, mesh, record = make()
    others = [bytes((number,)) * 6 for number in range(20)]
    mesh.ids = {node_id: f"guard{number}" for number, node_id in enumerate(others)}
    for node_id in others:
        record.heard_caller(node_id, 0.0)
    assert asking.rank(record, 1.0) > 0
    now = 1.0
    if why == "unknown":
        mesh.ids.clear()
    elif why == "unreachable":
        mesh.unreachable.update(mesh.ids.values())
    elif why == "left":
        core.left.update(dict.fromkeys(mesh.ids.values(), 0.0))
    else:
        now = CALLER_LIFE
    assert asking.rank(record, now) == 0


def test_only_a_guard_that_asked_lately_cares_for_clients_behind_c_nodes() -> None:
    asking, _, _, record = make()
    assert not asking.is_caller(record, 1.0)
    asking.ask(record, 1.0)
    assert asking.is_caller(record, CALLER_LIFE)
    assert not asking.is_caller(record, 1.0 + CALLER_LIFE)


def test_a_guard_that_asks_again_soon_is_not_reported_as_new() -> None:
    asking, _, mesh, record = make()
    mesh.ids[b"other-"] = "other"
    assert [asking.heard(record, lone(b"other-"), now) for now in (0.0, 30.0, 60.0)] == [True, False, False]
    assert asking.heard(record, lone(b"other-"), 60.0 + CALLER_LIFE)
    assert not asking.heard(record, lone(b"nobody"), 61.0)


def test_a_guard_that_says_its_holder_will_go_is_believed() -> None:
    asking, _, mesh, record = make()
    mesh.ids[b"alpha-"] = "alpha"
    assert not asking.heard(record, lone(inverted(b"alpha-")), 5.0)
    assert [holder.mac for holder in record.present()] == [BETA]
    assert record.withdrawn == {"alpha": 5.0}
    record.answer(ALPHA, 6.0)
    assert [holder.mac for holder in record.present()] == [ALPHA, BETA]


@given(node_id=st.binary(min_size=6, max_size=6))
def test_a_note_of_leaving_names_the_node_that_leaves(node_id: bytes) -> None:
    assert inverted(node_id) != node_id
    assert inverted(inverted(node_id)) == node_id


def test_another_guards_question_postpones_ours_for_an_address_that_is_not_shared() -> None:
    asking, core, mesh, _ = make()
    mesh.ids[b"other-"] = "other"
    record = core.table.use(ip_of(OTHER), 0.0)
    core.table.client(record, REMOTE, ip_of(REMOTE), 0.0)
    asking.used(record, 0.0)
    asking.heard(record, lone(b"other-", ip_of(OTHER)), 0.1)
    while (due := asking.next_deadline()) < 1.0:
        asking.tick(due)
    assert core.actions == []
    while (due := asking.next_deadline()) < 10.0:
        asking.tick(due)
    assert len(core.actions) >= 1


def test_a_host_that_looks_for_a_guard_that_has_not_asked_gets_no_answer() -> None:
    asking, core, _, record = make()
    looking = asks(ALPHA, GUARD_ADDRESS, to=GUARD_MAC)
    asking.looked_for(looking, 1.0)
    asking.ask(record, 1.0)
    assert len(core.actions) == 1, "a question for IPv4 comes from no address"
    asking.looked_for(looking, 2.0)
    assert len(core.actions) == 1
    asking.ask(core.table.use(VIP6, 3.0), 3.0)
    asking.looked_for(looking, 4.0)
    assert len(core.actions) == 3
    asking.looked_for(looking, 60.0)
    assert len(core.actions) == 3


def test_a_newcomer_is_asked_whether_it_has_an_address_that_is_not_shared() -> None:
    world = World()
    world.servers[VIP] = (ALPHA,)
    world.mesh.unreachable.add("beta")
    world.local_client(until=3600.0)
    before = len(world.lone())
    for _ in range(3):  # its connection is not steady
        world.mesh.unreachable.discard("beta")
        world.guard.reachability("beta", world.now, reachable=True)
        world.until(world.now + 11.0)
        world.mesh.unreachable.add("beta")
        world.guard.reachability("beta", world.now, reachable=False)
    assert len(world.lone()) == before + 1
    world.until(world.now + 60.0)
    assert not world.view().shared
    world.servers[VIP] = (ALPHA, BETA)
    world.mesh.unreachable.discard("beta")
    world.guard.reachability("beta", world.now, reachable=True)
    world.until(world.now + 11.0)
    assert world.view().shared


def test_an_address_that_nobody_uses_is_not_asked_for_when_a_node_comes() -> None:
    world = World().local_client()
    world.streams.clear()
    world.until(3000.0)
    before = len(world.lone())
    world.guard.reachability("beta", world.now, reachable=True)
    world.until(world.now + 60.0)
    assert len(world.lone()) == before
