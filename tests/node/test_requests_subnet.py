"""ADD_SUBNET and DEL_SUBNET of others: taken up, passed on, handed over, and what StrictSubnets refuses.

Claims about our own subnets are in `test_corrections`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytinc.wire.subnet import parse_subnet

if TYPE_CHECKING:
    from node.conftest import MakeStage, Scripted, Stage

LAN, OF_BETA = parse_subnet("10.1.0.0/24"), parse_subnet("10.2.0.0/24")
MAC = "02:00:00:00:00:0a"
FRAME = bytes.fromhex("ffffffffffff02000000000a88b5") + bytes(50)


def pair(stage: MakeStage, **changes: object) -> tuple[Stage, Scripted, Scripted]:
    """Alpha and two neighbours; beta's host file has a subnet (read at the reload, as at start)."""
    alpha = stage("beta", "gamma", subnets=(LAN,), **changes)
    alpha.hosts.files["beta"] = replace(alpha.hosts.files["beta"], subnets=(OF_BETA,))
    alpha.reload()
    beta, gamma = alpha.neighbour("beta"), alpha.neighbour("gamma")
    for peer in (beta, gamma):
        peer.heard()
    return alpha, beta, gamma


def subnets(alpha: Stage, name: str) -> list[str]:
    return [str(subnet) for subnet in alpha.node.subnets.table.of(name)]


def test_a_new_subnet_is_taken_up_and_passed_on_once_in_the_same_words(stage: MakeStage) -> None:
    alpha, beta, gamma = pair(stage)
    lines = ["10 a beta 10.2.0.0/24", "10 b beta 10.2.0.0/24#5", "10 c delta fd00::/64"]
    beta.say(*lines, *lines, "10 d beta 10.2.0.0/24")
    gamma.say(*lines)
    assert gamma.lines == lines
    assert beta.lines == []
    assert subnets(alpha, "beta") == ["10.2.0.0/24#5", "10.2.0.0/24"]
    assert subnets(alpha, "delta") == ["fd00::/64"]


def test_a_subnet_is_deleted_with_exactly_its_weight(stage: MakeStage) -> None:
    alpha, beta, gamma = pair(stage)
    beta.say("10 1 beta 10.2.0.0/24#5", "11 2 beta 10.2.0.0/24", "11 3 nobody 10.2.0.0/24#5")
    assert subnets(alpha, "beta") == ["10.2.0.0/24#5"]
    assert "nobody" not in alpha.node.peers
    gamma.heard()
    beta.say("11 4 beta 10.2.0.0/24#5")
    assert subnets(alpha, "beta") == []
    assert gamma.heard() == ["11 * beta 10.2.0.0/24#5"]


def test_a_deletion_of_an_unknown_subnet_is_passed_on_if_the_node_is_known(stage: MakeStage) -> None:
    _, beta, gamma = pair(stage)
    beta.say("11 3 beta 10.2.0.0/24", "11 4 stranger 10.2.0.0/24", "11 3 beta 10.2.0.0/24")
    assert gamma.heard() == ["11 * beta 10.2.0.0/24"]


def test_the_announcer_of_a_subnet_may_withdraw_it_with_a_line_that_came_before(
    stage: MakeStage,
) -> None:
    alpha, beta, gamma = pair(stage)
    gamma.say("11 1 delta 10.4.0.0/24")
    beta.say("10 2 delta 10.4.0.0/24")
    gamma.say("11 1 delta 10.4.0.0/24")
    assert subnets(alpha, "delta") == ["10.4.0.0/24"]
    gamma.heard()
    beta.say("11 1 delta 10.4.0.0/24")
    assert subnets(alpha, "delta") == []
    assert gamma.lines == ["11 1 delta 10.4.0.0/24"]


@pytest.mark.parametrize("seen", [False, True])
def test_a_mac_that_another_node_announces_is_given_up_at_the_next_ageing_unless_it_is_seen_here(
    stage: MakeStage, seen: bool
) -> None:
    alpha, beta, gamma = pair(stage)
    alpha.read(FRAME)
    assert MAC in subnets(alpha, "alpha")
    alpha.now += 1
    beta.say(f"10 1 beta {MAC}")
    gamma.heard()
    if seen:
        alpha.now += 1
        alpha.read(FRAME)
    alpha.call(lambda node, now: node.subnets.age(now))
    alpha.call(lambda node, now: node.meta_output.flush(now))
    assert (f"11 * alpha {MAC}" in gamma.heard()) is not seen
    assert (MAC in subnets(alpha, "alpha")) is seen


def test_an_overlong_owner_is_ignored_and_the_connection_goes_on(stage: MakeStage) -> None:
    alpha, beta, gamma = pair(stage)
    beta.say(f"10 1 {'g' * 256} 10.3.0.0/24", f"10 2 {'h' * 255} 10.3.0.0/24")
    assert not beta.closed
    assert len(gamma.lines) == 1
    assert [name for name in alpha.node.peers if len(name) > 250] == ["h" * 255]


# -- TunnelServer and StrictSubnets --


@pytest.mark.parametrize(
    "line",
    [
        "10 1 beta 10.2.0.0/24",
        "10 1 beta 10.9.0.0/24",
        "10 1 other 10.9.0.0/24",
        "11 1 beta 10.2.0.0/24",
        "11 1 gamma 10.9.0.0/24",
    ],
)
def test_a_tunnel_server_passes_nothing_on_and_takes_nothing(stage: MakeStage, line: str) -> None:
    alpha, beta, gamma = pair(stage, tunnel_server=True, strict_subnets=True)
    beta.say(line)
    assert gamma.heard() == []
    assert not beta.closed
    assert subnets(alpha, "beta") == ["10.2.0.0/24"]
    assert set(alpha.node.peers) == {"alpha", "beta", "gamma"}


def test_with_strict_subnets_the_host_files_count_and_the_rest_is_only_passed_on(stage: MakeStage) -> None:
    alpha, beta, gamma = pair(stage, strict_subnets=True)
    lines = ["10 1 beta 10.9.0.0/24", "11 2 beta 10.2.0.0/24", "11 3 beta 10.8.0.0/24"]
    beta.say(*lines)
    assert gamma.lines == lines
    assert subnets(alpha, "beta") == ["10.2.0.0/24"]
    beta.say("10 4 beta 10.2.0.0/24")  # known already
    assert gamma.lines == lines
    told = alpha.peer("gamma").heard()
    assert [line for line in told if line.startswith("10 ")] == [
        "10 * alpha 10.1.0.0/24",
        "10 * beta 10.2.0.0/24",
    ]
