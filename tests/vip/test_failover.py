"""A holder goes, silently or after an announcement: clients are led to other holders, and it is reported."""

from __future__ import annotations

import math

import pytest

from pytinc.vip.actions import Changed, Gone, NewRules, SetSilent
from pytinc.vip.asking import CLAIM_TIME
from pytinc.vip.failover import FORGET_HEALING
from pytinc.vip.healing import choose
from pytinc.wire.neighbour import GUARD_MAC, NO_NOTE, NOBODY, Kind, Message
from vip.world import (
    ALPHA,
    BETA,
    BROADCAST,
    GAMMA,
    LOCAL,
    OTHER,
    OWNERS,
    REMOTE,
    SERVERS,
    VIP,
    VIP6,
    World,
    answers,
    asks,
    ip6_of,
    ip_of,
    lone,
    member,
)

# -- clients behind the own device --


def test_the_guard_asks_another_holder_for_a_local_client_which_moves_there() -> None:
    world = World().local_client(ALPHA)
    world.kill("alpha")
    world.until(10.0)
    (sent,) = world.in_names()
    assert 5.0 < sent.at <= 5.4
    assert sent.message[:4] == (Kind.QUESTION, LOCAL, ip_of(LOCAL), VIP)
    assert sent.message.to in (BETA, GAMMA)
    assert sent.source == GUARD_MAC
    assert sent.message.note == NO_NOTE
    assert world.streams[LOCAL] == sent.message.to
    assert world.counters["failovers"] == world.counters["questions"] == 1


def test_a_person_and_the_script_are_told_who_fell_silent_and_who_answers() -> None:
    world = World().local_client(ALPHA)
    world.kill("alpha")
    world.until(10.0)
    to = OWNERS[world.streams[LOCAL]]
    notice = world.notices()[-1]
    assert notice.startswith("10.1.1.10: alpha is silent for 0.2")
    assert "1 client" in notice
    assert notice.endswith(f"{to} answers")
    (changed,) = world.all(Changed)
    assert changed.environment["VIP"] == "10.1.1.10"
    assert (changed.environment["OLDNODE"], changed.environment["NODE"]) == ("alpha", to)
    assert (changed.environment["REASON"], changed.environment["CLIENTS"]) == ("silent", "1")
    failover = world.view().failover
    assert failover is not None
    assert failover.seconds is not None
    assert 0.2 <= failover.seconds <= 0.4
    assert world.guard.view(world.now).last_failover_s == failover.seconds


def test_the_guard_repeats_its_question_to_one_holder_for_three_seconds_if_a_client_does_not_move() -> None:
    world = World()
    world.deaf.add(LOCAL)
    world.local_client(ALPHA)
    world.kill("alpha")
    world.until(30.0)
    asked = world.in_names()
    begin = asked[0].at
    times = [round(sent.at - begin, 2) for sent in asked]
    assert {0, 0.1, 0.3, 1.1, 3.0} <= set(times)
    assert len(times) <= 12
    assert times[-1] == 3.0
    assert len({sent.message.to for sent in asked}) == 1


def test_the_new_holders_death_moves_the_client_again() -> None:
    world = World().local_client(ALPHA)
    world.kill("alpha")
    world.until(20.0)
    second = world.streams[LOCAL]
    world.kill(OWNERS[second])
    world.until(30.0)
    assert {world.streams[LOCAL], second, ALPHA} == set(SERVERS)
    assert len(world.in_names()) == 2


def test_all_holders_are_asked_if_no_other_holder_is_left() -> None:
    world = World().local_client(ALPHA)
    world.mesh.unreachable |= {"beta", "gamma"}
    world.dead |= {"alpha", "beta", "gamma"}
    world.until(6.0)
    assert {sent.message.to for sent in world.in_names()} == {BROADCAST}
    assert world.streams[LOCAL] == ALPHA


def test_the_client_is_not_led_to_a_holder_that_died_at_the_same_time() -> None:
    world = World().local_client(ALPHA)
    world.kill("alpha")
    world.kill("beta")
    world.until(12.0)
    assert world.streams[LOCAL] == GAMMA


def test_a_node_that_leaves_the_graph_counts_as_gone_at_once() -> None:
    world = World().local_client(ALPHA)
    world.kill("alpha")
    world.mesh.unreachable.add("alpha")
    world.guard.reachability("alpha", world.now, reachable=False)
    world.take()
    world.until(5.05)
    (sent,) = world.in_names()
    assert sent.at <= 5.03
    world.until(10.0)
    assert "alpha has left the mesh" in world.notices()[-1]


def test_clients_of_other_holders_stay_where_they_are() -> None:
    world = World()
    world.mesh.owners[OTHER] = "me"
    world.hear(asks(OTHER))
    world.until(0.5)
    world.local_client(ALPHA, until=1.0)
    world.streams[OTHER] = BETA
    world.until(5.0)
    world.kill("alpha")
    world.until(10.0)
    assert [sent.message.mac for sent in world.in_names()] == [LOCAL]
    assert world.streams[OTHER] == BETA


def test_clients_of_an_ipv6_holder_are_moved_as_well() -> None:
    world = World()
    world.servers = {VIP6: SERVERS}
    world.hear(asks(LOCAL, VIP6, to=b"\x33\x33\xff\0\0\x10"))
    for server in SERVERS:
        world.later(0.003, answers(server, LOCAL, VIP6))
    world.until(1.0)
    world.mesh.uses[ALPHA, LOCAL, VIP6] = 1.0
    world.guard.used(ALPHA, LOCAL, ip6_of(LOCAL), VIP6, 1.0)
    world.until(3.0)
    world.kill("alpha")
    world.until(4.0)
    first = world.in_names()[0]
    assert first.message[:4] == (Kind.QUESTION, LOCAL, ip6_of(LOCAL), VIP6)
    assert first.message.to in (BETA, GAMMA)


def test_a_holder_that_no_longer_answers_is_not_asked_forever() -> None:
    """Its host lost the address, or stopped to answer, and nobody has noticed."""
    world = World().local_client(ALPHA)
    world.kill("alpha")
    chosen = choose(VIP, LOCAL, (BETA, GAMMA))
    world.servers[VIP] = tuple(mac for mac in SERVERS if mac != chosen)
    world.until(8.0)
    assert world.streams[LOCAL] == next(mac for mac in (BETA, GAMMA) if mac != chosen)


# -- clients behind C nodes --


@pytest.mark.parametrize("seed", range(5))
def test_a_caller_asks_for_a_client_elsewhere_after_a_short_random_wait(seed: int) -> None:
    world = World(seed=seed).remote_client(ALPHA)
    world.until(8.0)
    assert world.probed(after=2.0) == {"alpha", "beta", "gamma"}
    world.kill("alpha")
    world.until(9.0)
    silent = next(at for at, action in world.actions if action == SetSilent("alpha", silent=True))
    (first, *_) = world.in_names()
    assert 0.01 <= first.at - silent <= 0.051
    assert first.message[:4] == (Kind.QUESTION, REMOTE, ip_of(REMOTE), VIP)
    assert first.message.to in (BETA, GAMMA)
    # Everybody hears that somebody has asked.
    assert [sent.at for sent in world.lone()][-1] == first.at


def test_a_client_of_a_guarded_node_is_left_to_itself_and_one_of_another_holder_stays_there() -> None:
    world = World()
    world.mesh.guards.add("cee")
    world.remote_client(ALPHA)
    world.kill("alpha")
    world.until(10.0)
    assert world.in_names() == []
    assert world.probed(after=0.0) == set()
    second = World().remote_client(BETA)
    second.until(8.0)
    second.kill("alpha")
    second.until(12.0)
    assert {sent.message.to for sent in second.in_names()} == {BETA}


def test_another_guards_question_in_that_wait_leaves_the_first_rounds_to_it() -> None:
    world = World().remote_client(ALPHA, until=8.0)
    world.kill("alpha")
    while not any(action == SetSilent("alpha", silent=True) for _, action in world.actions):
        world.until(world.now + 0.001)
    verdict = world.now
    world.mesh.ids[b"other-"] = "other"
    world.hear(lone(b"other-"))
    world.until(verdict + 1.0)
    assert world.in_names() == []
    world.until(verdict + 10.0)
    assert len(world.in_names()) == 2


def test_a_silent_node_that_answers_over_meta_connections_has_not_gone() -> None:
    world = World().remote_client(ALPHA, until=8.0)
    world.kill("alpha")
    world.until(8.25)
    assert world.counters["suspicions"] == 1
    world.guard.meta_answered("alpha", world.now)
    world.until(15.0)
    assert world.in_names() == []


def test_a_local_client_of_such_a_node_is_still_moved() -> None:
    """Its own frames go by UDP, too."""
    world = World().local_client(ALPHA, until=8.0)
    world.kill("alpha")
    world.until(8.25)
    world.guard.meta_answered("alpha", world.now)
    world.until(9.0)
    assert len(world.in_names()) == 1


def test_a_client_that_was_led_away_stays_with_its_new_holder_whoever_else_dies() -> None:
    world = World().remote_client(ALPHA)
    world.kill("alpha")
    world.until(12.0)
    first = world.in_names()[0].message.to
    world.dead.remove("alpha")
    world.until(20.0)
    third = next(mac for mac in (BETA, GAMMA) if mac != first)
    world.kill(OWNERS[third])
    world.until(30.0)
    assert {sent.message.to for sent in world.in_names(after=20.0)} == {first}
    world.kill("alpha")
    world.until(35.0)
    assert {sent.message.to for sent in world.in_names(after=30.0)} == {first}


def test_a_client_is_told_of_the_holder_that_answered_from_the_second_question_on() -> None:
    world = World().remote_client(ALPHA)
    world.kill("alpha")
    world.until(12.0)
    asked = world.in_names()
    claims = world.claims()
    assert claims
    assert {claim.message.mac for claim in claims} == {asked[0].message.to}
    assert {claim.message.to for claim in claims} == {REMOTE}
    assert min(claim.at for claim in claims) == asked[1].at


def test_a_client_moves_when_the_relay_dies_that_brings_its_frames_to_our_host() -> None:
    world = World()
    world.mesh.owners[ALPHA] = "me"
    world.remote_client(ALPHA)
    world.mesh.relayed["cee"] = ("relay", math.inf)
    world.streams[REMOTE] = ALPHA
    world.until(10.0)
    assert "relay" in world.probed(after=5.0)
    world.kill("relay")
    world.until(11.0)
    (first, *_) = world.in_names()
    assert 10.0 < first.at < 10.5
    assert first.message.mac == REMOTE
    assert first.message.to in (BETA, GAMMA)


# -- wrong verdicts --


def test_a_wrong_verdict_ends_with_the_first_answer() -> None:
    world = World()
    world.deaf.add(LOCAL)
    world.local_client(ALPHA)
    world.kill("alpha")
    world.until(5.5)
    assert 1 <= len(world.in_names()) <= 4
    world.dead.clear()
    world.until(5.7)
    asked = len(world.in_names())
    world.until(20.0)
    assert len(world.in_names()) == asked
    assert world.streams[LOCAL] == ALPHA
    silent = [action.silent for action in world.all(SetSilent)]
    assert silent == [True, False]


def test_a_node_that_reaches_nobody_concludes_nothing() -> None:
    world = World().local_client(ALPHA)
    world.mesh.alone = True
    world.dead |= {"alpha", "beta", "gamma"}
    world.until(20.0)
    assert world.in_names() == []


def test_a_holder_that_returns_moves_nobody() -> None:
    world = World().local_client(ALPHA)
    world.kill("alpha")
    world.until(20.0)
    new = world.streams[LOCAL]
    asked, corrected = len(world.in_names()), len(world.claims())
    world.dead.clear()
    world.until(60.0)
    world.guard.reachability("alpha", 60.0, reachable=True)
    world.take()
    world.until(120.0)
    assert world.streams[LOCAL] == new
    assert len(world.in_names()) == asked
    assert len(world.claims()) == corrected


# -- withdrawal --


def test_a_member_that_stops_leads_its_clients_away_and_withholds_its_answers() -> None:
    world = member()
    world.mesh.uses[LOCAL, REMOTE, VIP] = world.now
    world.guard.withdraw(world.now)
    world.take()
    (sent,) = world.in_names()
    assert sent.at == 3.0
    assert sent.message.mac == REMOTE
    assert sent.message.to in (ALPHA, BETA)
    assert VIP in world.guard.rules.withheld
    assert world.all(NewRules)
    assert world.all(Gone) == []
    world.until(10.0)
    gone = [at for at, action in world.actions if isinstance(action, Gone)]
    assert len(gone) == 1
    assert 3.3 <= gone[0] <= 3.6
    assert "me withdraws" in world.notices()[-1]


def test_a_withdrawal_waits_for_clients_that_keep_sending_but_not_forever() -> None:
    world = member()
    world.guard.withdraw(world.now)
    world.take()
    for step in range(300):
        world.mesh.uses[LOCAL, REMOTE, VIP] = world.now
        world.until(3.0 + step / 100)
    gone = [at for at, action in world.actions if isinstance(action, Gone)]
    assert len(gone) == 1
    assert 4.0 < gone[0] < 4.5


def test_a_withdrawal_without_other_holders_ends_at_once_and_withholds_nothing() -> None:
    world = World()
    world.servers[VIP] = (LOCAL,)
    world.hear(asks(REMOTE))
    world.until(3.0)
    world.guard.withdraw(world.now)
    world.take()
    assert len(world.all(Gone)) == 1
    assert world.guard.rules.withheld == frozenset()
    assert world.in_names() == []


def test_a_withdrawal_with_only_dead_other_holders_ends_at_once_and_withholds_nothing() -> None:
    world = member()
    world.mesh.unreachable |= {"alpha", "beta"}
    world.guard.withdraw(world.now)
    world.take()
    assert len(world.all(Gone)) == 1
    assert world.guard.rules.withheld == frozenset()


def test_a_node_with_no_address_stops_at_once() -> None:
    world = World().local_client(ALPHA)
    world.guard.withdraw(world.now)
    world.guard.withdraw(world.now)
    world.take()
    assert len(world.all(Gone)) == 1


def test_a_member_without_clients_withholds_and_ends_at_once() -> None:
    world = member(clients=False)
    world.guard.withdraw(world.now)
    world.take()
    world.until(10.0)
    assert len(world.all(Gone)) == 1


# -- the host gives up the address --


def removed(world: World, *macs: bytes) -> None:
    """The host with these MAC addresses no longer has the virtual IP."""
    world.guard.address_removed(VIP, frozenset(macs), world.now)
    world.take()


def test_clients_are_led_elsewhere_at_once_when_the_host_gives_up_the_address() -> None:
    world = member()
    world.servers[VIP] = (ALPHA, BETA)
    removed(world, LOCAL)
    (sent,) = world.in_names()
    assert sent.at == 3.0
    assert (sent.message.mac, sent.message.to in (ALPHA, BETA)) == (REMOTE, True)
    assert world.lone()[-1].at == 3.0, "all guards hear that the holder goes"
    world.until(5.0)
    assert [holder.node for holder in world.view().holders] == ["alpha", "beta"]
    assert "me no longer has it" in world.notices()[-1]
    assert world.all(Gone) == [], "the node itself goes on"


def test_a_station_of_our_own_is_led_elsewhere_as_well() -> None:
    world = member(clients=False)
    world.mesh.owners[OTHER] = "me"
    world.hear(asks(OTHER))
    world.hear(asks(OTHER, to=LOCAL))
    removed(world, LOCAL)
    assert OTHER in {sent.message.mac for sent in world.in_names()}


def test_another_host_behind_the_same_device_that_keeps_the_address_keeps_its_clients() -> None:
    world = member()
    removed(world, OTHER)
    world.until(5.0)
    assert world.in_names() == []
    assert "me" in [holder.node for holder in world.view().holders]


def test_a_client_is_not_moved_if_there_is_no_other_holder() -> None:
    world = member()
    world.mesh.unreachable |= {"alpha", "beta"}
    removed(world, LOCAL)
    world.until(5.0)
    assert world.in_names() == []
    assert world.all(Changed) == []


def test_the_host_that_has_the_address_again_leads_nobody_away_any_more() -> None:
    world = member()
    world.servers[VIP] = (ALPHA, BETA)
    removed(world, LOCAL)
    world.until(3.15)
    assert world.in_names()
    world.servers[VIP] = (LOCAL, ALPHA, BETA)
    world.guard.address_added(VIP, world.now)
    world.take()
    assert world.lone()[-1].at == world.now, "all guards hear that there is one more holder"
    world.until(10.0)
    assert world.in_names(after=3.15) == []
    assert "me" in [holder.node for holder in world.view().holders]


def test_an_address_that_the_host_claims_first_is_asked_for_later() -> None:
    world = member()
    world.hear(Message(Kind.PROBE, LOCAL, NOBODY, VIP, BROADCAST))
    before = len(world.lone())
    world.guard.address_added(VIP, world.now)
    world.take()
    assert len(world.lone()) == before
    world.until(world.now + CLAIM_TIME + 0.5)
    assert len(world.lone()) == before + 1


def test_a_station_that_goes_back_to_a_silent_holder_is_led_away_again() -> None:
    world = World().local_client(ALPHA)
    world.kill("alpha")
    world.until(6.0)
    assert world.streams[LOCAL] != ALPHA
    told, failovers = len(world.notices()), world.counters["failovers"]
    world.streams[LOCAL] = ALPHA  # another node told it so
    world.until(7.2)
    assert world.streams[LOCAL] != ALPHA
    assert len(world.notices()) == told, "a person was told already"
    assert world.counters["failovers"] == failovers


def test_a_station_that_cannot_be_led_away_again_is_not_asked_for_all_the_time() -> None:
    world = World().local_client(ALPHA)
    world.kill("alpha")
    world.until(6.0)
    world.servers[VIP] = (ALPHA,)
    world.streams[LOCAL] = ALPHA
    world.until(10.0)
    assert world.in_names(after=6.0)
    world.until(60.0)
    assert world.in_names(after=11.0) == []


def test_a_station_that_goes_back_to_a_holder_that_is_there_again_stays_there() -> None:
    world = World().local_client(ALPHA)
    world.kill("alpha")
    world.until(6.0)
    world.dead.discard("alpha")
    world.until(8.0)
    world.streams[LOCAL] = ALPHA
    world.until(12.0)
    assert world.streams[LOCAL] == ALPHA
    assert world.in_names(after=8.0) == []


def test_who_is_told_to_use_a_silent_holder_does_not_believe_it() -> None:
    world = World().local_client(ALPHA)
    world.kill("alpha")
    world.until(6.0)
    assert world.guard.rules.absent == {ALPHA + VIP}
    holder = world.view().clients[0].holder
    world.hear(asks(ALPHA, ip_of(LOCAL), address=VIP, to=LOCAL))
    assert world.view().clients[0].holder == holder
    world.dead.discard("alpha")
    world.until(10.0)
    assert world.guard.rules.absent == frozenset()


def test_clients_that_should_use_another_holder_are_asked_for_as_well_but_later() -> None:
    """What was heard of them may be wrong."""
    world = World().remote_client(BETA)
    world.hear(asks(OTHER))
    world.until(world.now + 2.0)
    world.hear(asks(OTHER, to=ALPHA))
    world.until(world.now + 2.0)
    start = world.now
    world.kill("alpha")
    world.until(start + 2.0)
    asked = {sent.message.mac: sent for sent in reversed(world.in_names(after=start))}
    assert asked[OTHER].message.to in (BETA, GAMMA)
    assert asked[REMOTE].message.to == BETA, "nothing changes for it if it is there"
    assert asked[REMOTE].at - asked[OTHER].at >= 0.25
    lines = [line for line in world.notices() if "alpha is silent" in line]
    assert len(lines) == 1
    assert "1 client asked" in lines[0]


def test_an_old_holder_is_remembered_for_a_minute_as_it_may_still_send_old_answers() -> None:
    world = World().local_client(ALPHA)
    world.kill("alpha")
    world.until(8.0)
    assert world.guard.rules.left == {ALPHA}
    world.until(5.0 + FORGET_HEALING)
    assert world.guard.rules.left == {ALPHA}
    world.until(10.0 + FORGET_HEALING)
    assert world.guard.rules.left == frozenset()
