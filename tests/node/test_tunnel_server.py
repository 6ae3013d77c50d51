"""TunnelServer and StrictSubnets: what is told, what is taken, what is passed on (docs/protocol-meta.md)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytinc.wire.subnet import parse_subnet

if TYPE_CHECKING:
    from node.conftest import MakeStage, Scripted, Stage

LAN = parse_subnet("10.1.0.0/24")
OF_BETA = parse_subnet("10.2.0.0/24")


def with_subnets(stage: MakeStage, **changes: object) -> Stage:
    """Return alpha, whose host file of beta has a subnet (read at the reload, as at start)."""
    alpha = stage("beta", "gamma", subnets=(LAN,), **changes)
    alpha.hosts.files["beta"] = replace(alpha.hosts.files["beta"], subnets=(OF_BETA,))
    alpha.call(lambda node, now: node.reload(node.settings, now))
    return alpha


def server(stage: MakeStage) -> tuple[Stage, Scripted, Scripted]:
    alpha = with_subnets(stage, tunnel_server=True, strict_subnets=True)
    beta, gamma = alpha.neighbour("beta"), alpha.neighbour("gamma")
    beta.heard()
    return alpha, beta, gamma


def subnets_of(alpha: Stage, name: str) -> list[str]:
    return [str(subnet) for subnet in alpha.node.subnets.table.of(name)]


def test_a_tunnel_server_tells_a_neighbour_its_own_subnets_and_their_common_edge_only(
    stage: MakeStage,
) -> None:
    alpha = with_subnets(stage, tunnel_server=True, strict_subnets=True)
    beta = alpha.neighbour("beta")
    gamma = alpha.peer("gamma")
    assert gamma.heard() == [
        "10 * alpha 10.1.0.0/24",
        "12 * alpha gamma 10.99.0.3 655 700000c 3 10.99.0.1 655",
    ]
    assert beta.heard() == []


@pytest.mark.parametrize(
    "line",
    [
        "10 1 beta 10.2.0.0/24",
        "10 1 beta 10.9.0.0/24",
        "10 1 other 10.9.0.0/24",
        "11 1 beta 10.2.0.0/24",
        "11 1 gamma 10.9.0.0/24",
        "12 1 beta other 10.0.0.9 655 c 1",
        "12 1 other gamma 10.0.0.9 655 c 1",
        "13 1 gamma alpha",
        "15 beta gamma 19",
        "15 beta gamma 15 AAAAAAIA",
        "16 beta gamma AAAAAAIA -1 -1 -1 0",
    ],
)
def test_a_tunnel_server_passes_nothing_on(stage: MakeStage, line: str) -> None:
    _, beta, gamma = server(stage)
    beta.say(line)
    assert gamma.heard() == []
    assert not beta.closed


def test_a_tunnel_server_hears_of_a_peer_and_its_own_edges_only(stage: MakeStage) -> None:
    alpha, beta, gamma = server(stage)
    beta.say("10 1 beta 10.9.0.0/24", "10 2 other 10.9.0.0/24", "11 3 beta 10.2.0.0/24")
    assert subnets_of(alpha, "beta") == ["10.2.0.0/24"]
    beta.say("12 4 other more 10.0.0.9 655 c 1", "12 5 gamma other 10.0.0.9 655 c 1", "13 6 gamma omega")
    assert set(alpha.node.peers) == {"alpha", "beta", "gamma"}
    beta.say("13 7 beta alpha")  # its own: it may
    assert not alpha.node.peers["beta"].reachable
    assert alpha.node.peers["gamma"].reachable
    assert gamma.heard() == []


def test_a_tunnel_server_still_corrects_what_is_said_of_itself(stage: MakeStage) -> None:
    _, beta, _ = server(stage)
    assert beta.say("10 1 alpha 10.9.0.0/24") == ["11 * alpha 10.9.0.0/24"]
    assert beta.say("13 2 alpha beta") == ["12 * alpha beta 10.99.0.2 655 700000c 3 10.99.0.1 655"]


def test_a_tunnel_server_does_not_tell_the_others_of_an_end(stage: MakeStage) -> None:
    alpha, beta, gamma = server(stage)
    alpha.call(lambda node, now: node.meta_closed(beta.number, "EOF", now))
    assert not alpha.node.peers["beta"].reachable
    assert gamma.heard() == []


def test_with_strict_subnets_the_host_files_count_and_the_rest_is_only_passed_on(stage: MakeStage) -> None:
    alpha = with_subnets(stage, strict_subnets=True)
    beta, gamma = alpha.neighbour("beta"), alpha.neighbour("gamma")
    lines = ["10 1 beta 10.9.0.0/24", "11 2 beta 10.2.0.0/24", "11 3 beta 10.8.0.0/24"]
    beta.say(*lines)
    assert gamma.lines == lines
    assert subnets_of(alpha, "beta") == ["10.2.0.0/24"]
    beta.say("10 4 beta 10.2.0.0/24")  # known already
    assert gamma.lines == lines
    told = alpha.peer("gamma").heard()
    assert [line for line in told if line.startswith("10 ")] == [
        "10 * alpha 10.1.0.0/24",
        "10 * beta 10.2.0.0/24",
    ]


def test_with_strict_subnets_a_reload_tells_what_changed_in_the_host_files(stage: MakeStage) -> None:
    alpha = with_subnets(stage, strict_subnets=True)
    gamma = alpha.neighbour("gamma")
    alpha.hosts.files["beta"] = replace(alpha.hosts.files["beta"], subnets=(parse_subnet("10.3.0.0/24"),))
    alpha.call(lambda node, now: node.reload(node.settings, now))
    assert gamma.heard() == ["10 * beta 10.3.0.0/24", "11 * beta 10.2.0.0/24"]
    assert subnets_of(alpha, "beta") == ["10.3.0.0/24"]
