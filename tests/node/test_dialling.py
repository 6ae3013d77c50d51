"""Whom the node dials, at which address, when again, and what AutoConnect changes."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from node.conftest import FarEnd
from pytinc.config.settings import HostPort, ProxySettings
from pytinc.node.actions import Dial, Resolve, SaveAddressCache
from pytinc.node.dialling import SIGN_WAIT
from pytinc.protocol.outgoing import QUICK_ROUNDS
from pytinc.wire.address import Address
from pytinc.wire.datagram import TYPE_PROBE

if TYPE_CHECKING:
    from node.conftest import MakeStage, Stage
    from pytinc.node.node import Node


def dialled(alpha: Stage) -> list[tuple[str, str]]:
    """Return name and host of each attempt since the last time."""
    found = [(dial.peer, dial.address.host) for dial in alpha.dialled]
    alpha.dialled.clear()
    return found


def refuse(alpha: Stage, name: str | None = None) -> None:
    """Have the last attempt fail, or that at a node."""
    connections = alpha.node.core.connections
    number = max(
        number
        for number, connection in connections.items()
        if name is None or (connection.outgoing is not None and connection.outgoing.name == name)
    )
    alpha.call(lambda node, now: node.meta_closed(number, "Connection refused", now))


def waits(alpha: Stage) -> list[int]:
    """Return the seconds of every wait that was logged since the last time."""
    found = [re.search(r"outgoing connection in (\d+) seconds", line) for line in alpha.logged(1)]
    alpha.actions.clear()
    return [int(match[1]) for match in found if match]


def with_addresses(alpha: Stage, name: str, *addresses: HostPort) -> None:
    alpha.hosts.files[name] = replace(alpha.hosts.files[name], addresses=addresses)


def two_missing(stage: MakeStage, **changes: object) -> Stage:
    """Alpha has dialled gamma, which does not answer, and beta: beta is not its only way into the mesh."""
    alpha = stage("beta", "gamma", "delta", connect_to=("gamma", "beta"), ping_timeout=1000, **changes)
    assert [name for name, _ in dialled(alpha)] == ["gamma", "beta"]
    return alpha


def test_every_connect_to_is_dialled_once_and_the_own_name_never(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma", connect_to=("beta", "alpha", "gamma", "beta"))
    assert dialled(alpha) == [("beta", "10.99.0.2"), ("gamma", "10.99.0.3")]


def test_the_command_of_a_proxy_runs_also_for_port_0(stage: MakeStage) -> None:
    alpha = stage("beta")
    with_addresses(alpha, "beta", HostPort("10.99.0.2", "0"))
    alpha.reload(connect_to=("beta",))
    assert dialled(alpha) == []
    alpha.reload(connect_to=())
    alpha.reload(connect_to=("beta",), proxy=ProxySettings("exec", command="nc"))
    assert dialled(alpha) == [("beta", "10.99.0.2")]


def test_cached_addresses_come_first_then_those_that_others_tell_then_the_configured_ones(
    stage: MakeStage,
) -> None:
    alpha = stage("beta", "gamma")
    gamma = alpha.neighbour("gamma")
    gamma.say("12 1 beta gamma 10.0.0.3 655 c 1", "12 2 gamma beta 10.0.0.22 655 c 1")
    alpha.hosts.caches["beta"] = (Address("10.0.0.11", "655"), Address("10.0.0.12", "655"))
    alpha.reload(connect_to=("beta",))
    for _ in range(3):
        refuse(alpha)
    assert dialled(alpha) == [
        ("beta", "10.0.0.11"),
        ("beta", "10.0.0.12"),
        ("beta", "10.0.0.22"),
        ("beta", "10.99.0.2"),
    ]
    refuse(alpha)
    assert waits(alpha) == [4]


def test_rounds_without_success_are_ever_further_apart_up_to_max_timeout(stage: MakeStage) -> None:
    alpha = two_missing(stage, max_timeout=12)
    for number in range(4):
        assert (("beta", "10.99.0.2") in dialled(alpha)) is (number > 0)
        refuse(alpha)
        alpha.run(4.9)
        assert dialled(alpha) == []
        alpha.run(8)
    assert waits(alpha) == [5, 10, 12, 12]


def test_a_connection_that_ends_is_dialled_again_at_once_and_the_wait_has_not_grown(stage: MakeStage) -> None:
    alpha = stage("beta")
    with_addresses(alpha, "beta", HostPort("10.0.0.7"), HostPort("10.0.0.8"))
    alpha.reload(connect_to=("beta",))
    beta = alpha.answer_dial()
    beta.link("beta", "alpha")
    assert dialled(alpha) == [("beta", "10.0.0.7")]
    beta.hang_up()
    assert dialled(alpha) == [("beta", "10.0.0.8")]
    refuse(alpha)
    assert waits(alpha) == [4]


def test_while_the_only_way_into_the_mesh_is_missing_the_wait_grows_late(stage: MakeStage) -> None:
    alpha = stage("beta", connect_to=("beta",), max_timeout=12, ping_timeout=1000)
    for _ in range(QUICK_ROUNDS + 2):
        refuse(alpha)
        alpha.run(13)
    assert waits(alpha) == [4] * QUICK_ROUNDS + [10, 12]


def test_a_node_that_another_one_announces_is_dialled_soon(stage: MakeStage) -> None:
    alpha = two_missing(stage)
    for _ in range(3):
        refuse(alpha)
        alpha.run(16)
    refuse(alpha)
    dialled(alpha)
    alpha.run(3)
    delta = alpha.neighbour("delta")
    delta.link("beta", "delta")
    alpha.run(0)
    assert dialled(alpha) == [("beta", "10.99.0.2")]


def test_announcements_do_not_make_a_node_dial_more_often_than_once_a_second(stage: MakeStage) -> None:
    alpha = two_missing(stage)
    refuse(alpha)
    delta = alpha.neighbour("delta")
    for number in range(20):
        delta.link("beta", "delta")
        alpha.run(0)
        delta.say(f"13 {number:x}b beta delta", f"13 {number:x}d delta beta")
    assert dialled(alpha) == []
    delta.link("beta", "delta")
    alpha.run(1)
    assert dialled(alpha) == [("beta", "10.99.0.2")]


def waits_for_beta(stage: MakeStage) -> tuple[Stage, FarEnd]:
    """Alpha cannot connect to beta, but has a tunnel to it; gamma is missing, too."""
    alpha = two_missing(stage)
    delta = alpha.neighbour("delta")
    delta.link("beta", "delta", "alpha")
    far = FarEnd(delta, "beta").open()
    for wait in (5, 10, 15):
        refuse(alpha, "beta")
        alpha.run(wait + 5)
    refuse(alpha, "beta")
    alpha.run(SIGN_WAIT)
    dialled(alpha)
    return alpha, far


def test_a_node_that_sends_an_authentic_datagram_is_dialled_at_once(stage: MakeStage) -> None:
    alpha, far = waits_for_beta(stage)
    assert far.session is not None
    number = int.from_bytes(far.session.seal(TYPE_PROBE, bytes(18))[:4], "big") + 1
    forged = bytes(6) + alpha.node.peers["beta"].slot.id + number.to_bytes(4, "big") + bytes(40)
    alpha.call(lambda node, now: node.datagrams([forged], [far.address], 0, now))
    alpha.run(0)
    assert dialled(alpha) == []
    far.probe()
    alpha.run(0)
    assert dialled(alpha) == [("beta", "10.99.0.2")]


def test_any_number_of_datagrams_makes_one_early_attempt_for_each_that_is_due(stage: MakeStage) -> None:
    alpha, far = waits_for_beta(stage)
    begin, due = alpha.now, []
    while alpha.now < begin + 300:
        far.probe()
        alpha.run(0.5)
        if ("beta", "10.99.0.2") in dialled(alpha):
            due.append(alpha.now)
            refuse(alpha, "beta")
    gaps = [round(later - earlier) for earlier, later in pairwise(due)]
    assert min(gaps) >= SIGN_WAIT
    ordinary = [gap for gap in gaps if gap > SIGN_WAIT + 1]
    assert len(ordinary) >= len(gaps) // 2
    assert ordinary == sorted(ordinary), "the waits grow although datagrams come all the time"


def test_a_datagram_during_an_attempt_shortens_the_wait_after_it(stage: MakeStage) -> None:
    alpha, far = waits_for_beta(stage)
    alpha.run(20)
    assert ("beta", "10.99.0.2") in dialled(alpha)
    far.probe()
    assert dialled(alpha) == []
    refuse(alpha, "beta")
    alpha.run(SIGN_WAIT + 1)
    assert dialled(alpha) == [("beta", "10.99.0.2")]


def close(alpha: Stage, numbers: list[int]) -> None:
    def close_all(node: Node, now: float) -> None:
        for number in numbers:
            node.meta_closed(number, "Connection refused", now)

    alpha.call(close_all)


def test_when_the_network_comes_up_all_that_are_waited_for_are_dialled_early_and_once(
    stage: MakeStage,
) -> None:
    alpha = two_missing(stage, max_timeout=900)
    numbers = list(alpha.node.core.connections)
    for _ in range(4):
        close(alpha, numbers)
        dialled(alpha)
        alpha.run(30)
        numbers = list(alpha.node.core.connections)
    close(alpha, numbers)
    dialled(alpha)
    for _ in range(20):
        alpha.call(lambda node, now: node.network_came_up(now))
        alpha.run(0.1)
    alpha.run(SIGN_WAIT)
    assert sorted(name for name, _ in dialled(alpha)) == ["beta", "gamma"]


def test_while_one_node_is_missing_and_others_are_connected_the_wait_grows_late(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma", connect_to=("gamma", "beta"), max_timeout=12, ping_timeout=1000)
    alpha.answer_dial()
    for _ in range(QUICK_ROUNDS + 2):
        refuse(alpha, "gamma")
        alpha.run(13)
    assert waits(alpha) == [4] * QUICK_ROUNDS + [10, 12]


@pytest.mark.parametrize(("seconds", "begins_anew"), [(9, False), (11, True)])
def test_a_connection_that_has_served_for_a_while_ends_the_back_off(
    stage: MakeStage, seconds: float, begins_anew: bool
) -> None:
    alpha = two_missing(stage)
    for _ in range(3):
        refuse(alpha)
        alpha.run(16)
    beta = alpha.answer_dial()
    alpha.run(seconds)
    alpha.actions.clear()
    beta.hang_up()
    if begins_anew:
        refuse(alpha)  # the address is tried again at once
    assert waits(alpha) == [5 if begins_anew else 20]


def test_a_pong_ends_the_back_off_and_the_address_is_saved(stage: MakeStage) -> None:
    alpha = stage("beta", connect_to=("beta",), ping_timeout=1000)
    for _ in range(2):
        refuse(alpha)
        alpha.run(11)
    beta = alpha.answer_dial()
    alpha.actions.clear()
    beta.say("9")
    assert alpha.asked(SaveAddressCache) == [SaveAddressCache("beta", (Address("10.99.0.2", "655"),))]
    alpha.actions.clear()
    beta.say("9")
    assert alpha.asked(SaveAddressCache) == []
    beta.hang_up()
    refuse(alpha)
    assert waits(alpha) == [4]


def test_names_are_looked_up_and_their_addresses_tried(stage: MakeStage) -> None:
    alpha = stage("beta")
    with_addresses(alpha, "beta", HostPort("beta.example", "4000"), HostPort("10.0.0.8"))
    alpha.reload(connect_to=("beta",))
    assert alpha.asked(Resolve) == [Resolve("beta", "beta.example", "4000")]
    alpha.call(lambda node, now: node.retry(now))
    assert dialled(alpha) == []  # the look-up goes on
    found = [Address("10.0.1.1", "4000"), Address("10.0.1.2", "4000")]
    alpha.call(lambda node, now: node.resolved("beta", found, now))
    alpha.call(lambda node, now: node.resolved("beta", found, now))  # nobody asked
    refuse(alpha)
    refuse(alpha)
    assert dialled(alpha) == [("beta", "10.0.1.2"), ("beta", "10.0.1.1"), ("beta", "10.0.0.8")]


def test_a_name_that_is_not_found_is_passed_over(stage: MakeStage) -> None:
    alpha = stage("beta")
    with_addresses(alpha, "beta", HostPort("beta.example"), HostPort("10.0.0.8"))
    alpha.reload(connect_to=("beta",))
    alpha.call(lambda node, now: node.resolved("nobody", [], now))
    assert dialled(alpha) == []
    alpha.call(lambda node, now: node.resolved("beta", [], now))
    assert dialled(alpha) == [("beta", "10.0.0.8")]


def test_the_port_of_an_address_is_its_own_or_that_of_the_host_file(stage: MakeStage) -> None:
    alpha = stage("beta")
    with_addresses(alpha, "beta", HostPort("10.0.0.8"), HostPort("10.0.0.9", "4000"))
    alpha.hosts.files["beta"] = replace(alpha.hosts.files["beta"], port="7000")
    alpha.reload(connect_to=("beta",))
    refuse(alpha)
    assert [dial.address.port for dial in alpha.dialled] == ["7000", "4000"]


def test_a_node_that_is_connected_already_is_not_dialled_until_that_ends(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    alpha.reload(connect_to=("beta",))
    assert dialled(alpha) == []
    beta.hang_up()
    assert dialled(alpha)[0][0] == "beta"


def test_retry_tries_at_once_and_without_back_off(stage: MakeStage) -> None:
    alpha = stage("beta", connect_to=("beta",), ping_timeout=1000)
    for _ in range(2):
        refuse(alpha)
        alpha.run(11)
    refuse(alpha)
    dialled(alpha)
    waits(alpha)
    alpha.call(lambda node, now: node.retry(now))
    assert dialled(alpha) == [("beta", "10.99.0.2")]
    refuse(alpha)
    assert waits(alpha) == [4]


def test_retry_gives_up_hanging_attempts_and_not_its_own(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma", connect_to=("beta", "gamma"))
    refuse(alpha)  # gamma waits, beta hangs
    hanging = alpha.dialled[0].connection
    dialled(alpha)
    alpha.call(lambda node, now: node.retry(now))
    assert hanging not in alpha.node.core.connections
    assert "gamma" in [connection.name for connection in alpha.node.core.connections.values()]


def test_a_reload_dials_new_nodes_and_disconnects_removed_ones(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma", connect_to=("beta",))
    beta = alpha.answer_dial()
    alpha.reload(connect_to=("gamma",))
    assert beta.closed
    assert [name for name, _ in dialled(alpha)] == ["beta", "gamma"]
    alpha.run(60)
    assert "beta" not in [name for name, _ in dialled(alpha)]


def test_a_reload_takes_over_max_timeout(stage: MakeStage) -> None:
    alpha = two_missing(stage, max_timeout=900)
    for _ in range(3):
        refuse(alpha)
        alpha.run(16)
    assert waits(alpha) == [5, 10, 15]
    alpha.reload(max_timeout=7)
    for _ in range(3):
        refuse(alpha)
        alpha.run(16)
    assert waits(alpha) == [5, 7, 7]


def test_at_the_stop_nobody_is_dialled_again(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma", connect_to=("beta", "gamma"))
    alpha.dialled.pop()
    alpha.answer_dial()
    dialled(alpha)
    alpha.call(lambda node, now: node.stop(now))
    assert alpha.node.core.connections == {}
    assert dialled(alpha) == []
    assert alpha.node.dialling.next_deadline() == float("inf")


# -- AutoConnect --


def test_auto_connect_dials_one_node_at_a_time_until_there_are_three_connections(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma", "delta", "epsilon", auto_connect=True, ping_timeout=1000)
    alpha.chance = 0.0
    names = []
    for _ in range(5):
        alpha.run(5.2)
        names += [name for name, _ in dialled(alpha)]
        if len(alpha.node.core.activated) < len(names):
            number = max(alpha.node.core.connections)
            _answer(alpha, number, names[-1])
    assert names == ["beta", "delta", "epsilon"]
    assert any("Autoconnecting to beta" in line for line in alpha.logged(1))


def _answer(alpha: Stage, number: int, name: str) -> None:
    """Be a node that was dialled, and tell of the link."""
    alpha.dialled.append(Dial(number, name, Address(alpha.host(name), "655")))
    alpha.answer_dial().link(name, alpha.name)
    alpha.dialled.clear()


def test_without_auto_connect_nobody_is_dialled(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma")
    alpha.run(30)
    assert dialled(alpha) == []


def test_with_more_than_three_connections_one_that_the_peer_can_spare_is_ended(stage: MakeStage) -> None:
    names = ("beta", "gamma", "delta", "epsilon")
    alpha = stage(*names, connect_to=names, auto_connect=True, ping_interval=1000)
    numbers = {dial.peer: dial.connection for dial in alpha.dialled}
    for name, number in numbers.items():
        _answer(alpha, number, name)
    alpha.run(6)
    assert len(alpha.node.core.activated) == 4  # each has no other connection
    alpha.scripted[numbers["gamma"]].link("gamma", "delta")
    alpha.run(6)
    assert len(alpha.node.core.activated) == 3
    assert any(re.search("Autodisconnecting from (gamma|delta)", line) for line in alpha.logged(1))
    alpha.run(2)
    assert dialled(alpha) == []  # it is not wanted any more


def test_with_three_connections_no_node_is_awaited(stage: MakeStage) -> None:
    names = ("beta", "gamma", "delta", "epsilon")
    alpha = stage(*names, connect_to=("epsilon",), auto_connect=True, ping_interval=1000)
    alpha.chance = 0.0  # it would look for beta
    refuse(alpha)
    for name in names[:3]:
        alpha.neighbour(name)
    dialled(alpha)
    alpha.run(20)
    assert dialled(alpha) == []


def test_after_a_sleep_the_search_begins_anew_with_the_cached_address(stage: MakeStage) -> None:
    alpha = stage("beta", connect_to=("beta",), ping_interval=10_000)
    beta = alpha.answer_dial()
    beta.link("beta", "alpha")
    alpha.hosts.files["beta"] = replace(alpha.hosts.files["beta"], addresses=(HostPort("10.0.0.8"),))
    dialled(alpha)
    alpha.run(1)
    alpha.now += 200
    alpha.call(lambda node, now: node.tick(now))
    assert dialled(alpha) == [("beta", "10.99.0.2")]
