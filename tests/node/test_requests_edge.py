"""ADD_EDGE and DEL_EDGE of others: taken up, changed, passed on, and what may not be believed.

Claims about our own edges are in `test_corrections`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytinc.wire.address import Address
from pytinc.wire.requests import parse_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.conftest import MakeStage, Scripted, Stage
    from pytinc.wire.requests import Request

ADD = "12 {} gamma delta 10.0.0.4 655 c {}"


@pytest.fixture
def trio(stage: MakeStage) -> tuple[Stage, Scripted, Scripted]:
    """Alpha with two neighbours, who have been told everything."""
    alpha = stage("beta", "epsilon")
    beta, epsilon = alpha.neighbour("beta"), alpha.neighbour("epsilon")
    beta.heard()
    return alpha, beta, epsilon


def weight(alpha: Stage, source: str, target: str) -> int | None:
    edge = alpha.node.topology.graph.edge(source, target)
    return None if edge is None else edge.weight


def test_a_new_edge_is_taken_up_and_passed_on_once_in_the_same_words(
    trio: tuple[Stage, Scripted, Scripted],
) -> None:
    alpha, beta, epsilon = trio
    line = ADD.format("abc", 5)
    beta.say(line, line)
    epsilon.say(line)
    assert weight(alpha, "gamma", "delta") == 5
    assert epsilon.lines == [line]
    assert beta.lines == []
    edge = alpha.node.topology.graph.edge("gamma", "delta")
    assert edge is not None
    assert (edge.line, edge.origin, edge.address) == (line, beta.number, Address("10.0.0.4", "655"))


def test_a_known_edge_is_not_passed_on_and_a_change_is(
    trio: tuple[Stage, Scripted, Scripted],
) -> None:
    alpha, beta, epsilon = trio
    lines = [
        "12 1 gamma delta 10.0.0.4 655 c 5 10.0.0.3 655",
        "12 2 gamma delta 10.0.0.4 655 c 5 10.0.0.3 655",
        "12 3 gamma delta 10.0.0.4 655 c 5",  # without a local address
        "12 4 gamma delta 10.0.0.4 655 c 6",
        "12 5 gamma delta 10.0.0.9 655 c 6",
        "12 6 gamma delta 10.0.0.9 655 d 6",
        "12 7 gamma delta 10.0.0.9 655 d 6 10.0.0.8 655",
        "12 8 delta gamma 10.0.0.9 655 d 6",
    ]
    beta.say(*lines)
    assert epsilon.lines == [lines[0], *lines[3:]]
    assert weight(alpha, "gamma", "delta") == 6


def test_a_change_that_tells_no_local_address_leaves_it(trio: tuple[Stage, Scripted, Scripted]) -> None:
    alpha, beta, _ = trio
    beta.say("12 1 gamma delta 10.0.0.4 655 c 5 10.0.0.3 655", "12 2 gamma delta 10.0.0.4 655 c 7")
    edge = alpha.node.topology.graph.edge("gamma", "delta")
    assert edge is not None
    assert (edge.weight, edge.local_address) == (7, Address("10.0.0.3", "655"))


def test_a_deletion_is_carried_out_and_passed_on(trio: tuple[Stage, Scripted, Scripted]) -> None:
    alpha, beta, epsilon = trio
    beta.link("beta", "gamma")
    assert alpha.node.peers["gamma"].reachable
    epsilon.heard()
    beta.say("13 2 gamma beta")
    assert weight(alpha, "gamma", "beta") is None
    assert weight(alpha, "beta", "gamma") == 1
    assert not alpha.node.peers["gamma"].reachable
    assert epsilon.heard() == ["13 * gamma beta"]


def test_a_deletion_of_an_unknown_edge_is_passed_on_if_the_nodes_are_known(
    trio: tuple[Stage, Scripted, Scripted],
) -> None:
    _, beta, epsilon = trio
    beta.say("13 1 gamma delta")
    assert epsilon.lines == []
    beta.say("10 2 delta 10.0.0.0/8", "10 3 gamma 10.0.0.0/8")
    epsilon.heard()
    beta.say("13 4 gamma delta", "13 5 gamma stranger", "13 4 gamma delta")
    assert epsilon.lines == ["13 4 gamma delta"]


def test_the_announcer_of_an_edge_may_withdraw_it_with_a_line_that_came_before(
    trio: tuple[Stage, Scripted, Scripted],
) -> None:
    alpha, beta, epsilon = trio
    epsilon.say("13 1 gamma delta")
    beta.say(ADD.format(2, 5))
    epsilon.say("13 1 gamma delta")
    assert weight(alpha, "gamma", "delta") == 5
    epsilon.heard()
    beta.say("13 1 gamma delta")
    assert weight(alpha, "gamma", "delta") is None
    assert epsilon.lines == ["13 1 gamma delta"]


def test_a_node_that_a_deletion_cuts_off_loses_its_edge_to_us(
    trio: tuple[Stage, Scripted, Scripted],
) -> None:
    alpha, beta, epsilon = trio
    beta.link("beta", "gamma")
    beta.say("12 5 gamma alpha 10.99.0.1 655 c 1")
    epsilon.heard()
    beta.say("13 6 beta gamma")
    assert weight(alpha, "gamma", "alpha") is None
    assert beta.heard() == ["13 * gamma alpha"]
    assert epsilon.heard() == ["13 * beta gamma", "13 * gamma alpha"]


@pytest.mark.parametrize("port", ["0655359999", "99999", "655360", "0" * 200 + "655", "port", "-1"])
def test_an_absurd_port_in_an_edge_breaks_nothing(trio: tuple[Stage, Scripted, Scripted], port: str) -> None:
    alpha, beta, epsilon = trio
    beta.say(f"12 1 beta ghost 10.0.0.9 {port} c 10", f"12 2 ghost beta 10.0.0.9 {port} c 10")
    assert alpha.node.peers["ghost"].reachable
    assert alpha.node.peers["ghost"].slot.address is None
    assert len(epsilon.lines) == 2
    alpha.run(30)
    assert not beta.closed


def test_overlong_words_are_ignored_and_a_new_neighbour_is_told_everything_else(
    stage: MakeStage,
) -> None:
    alpha = stage("beta", "late")
    beta = alpha.neighbour("beta")
    beta.say(
        f"12 1 beta ghost {'h' * 256} 655 c 10",
        f"12 2 beta ghost 10.0.0.9 {'1' * 256} c 10",
        f"12 3 beta {'g' * 256} 10.0.0.9 655 c 10",
        f"12 4 beta ghost 10.0.0.9 655 c 10 {'h' * 256} 655",
    )
    assert set(alpha.node.peers) == {"alpha", "beta", "late"}
    assert not beta.closed
    beta.say(f"12 5 beta {'g' * 255} {'h' * 255} {'1' * 255} c 10 {'h' * 255} {'1' * 255}")
    told = alpha.peer("late").heard()
    assert any(line.startswith(f"12 * beta {'g' * 255} ") for line in told)


def test_invented_edges_do_not_keep_an_honest_node_out(
    stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytinc.protocol.graph.MAX_EDGES", 20)
    alpha = stage("beta", "late")
    beta = alpha.neighbour("beta")
    beta.say(*(f"12 {number:x} beta ghost{number} 10.0.0.9 655 c 1" for number in range(30)))
    assert not beta.closed
    alpha.neighbour("late")
    assert alpha.node.peers["late"].reachable
    assert sum(1 for _ in alpha.node.topology.graph.edges()) == 22


# -- TunnelServer --


@pytest.mark.parametrize(
    "line",
    [
        "12 1 beta other 10.0.0.9 655 c 1",
        "12 1 other gamma 10.0.0.9 655 c 1",
        "13 1 gamma alpha",
        "13 1 beta alpha",
    ],
)
def test_a_tunnel_server_passes_no_edge_on(stage: MakeStage, line: str) -> None:
    alpha = stage("beta", "gamma", tunnel_server=True)
    beta, gamma = alpha.neighbour("beta"), alpha.neighbour("gamma")
    gamma.heard()
    beta.say(line)
    assert gamma.heard() == []
    assert not beta.closed


def test_a_tunnel_server_takes_only_edges_that_touch_it_or_the_one_who_tells(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma", tunnel_server=True)
    beta = alpha.neighbour("beta")
    alpha.neighbour("gamma")
    beta.say("12 4 other more 10.0.0.9 655 c 1", "12 5 gamma other 10.0.0.9 655 c 1", "13 6 gamma omega")
    assert set(alpha.node.peers) == {"alpha", "beta", "gamma"}
    beta.say("12 7 beta other 10.0.0.9 655 c 1")
    assert "other" in alpha.node.peers
    beta.say("13 8 beta alpha")  # its own: it may
    assert not alpha.node.peers["beta"].reachable
    assert alpha.node.peers["gamma"].reachable


def test_an_old_line_in_the_words_that_are_known_does_not_revive_the_edge_later(
    trio: tuple[Stage, Scripted, Scripted], monkeypatch: pytest.MonkeyPatch
) -> None:
    alpha, beta, epsilon = trio
    beta.say(ADD.format("1", 5))
    parsed: list[str] = []

    def counted(line: str, parse: Callable[[str], Request] = parse_request) -> Request:
        parsed.append(line)
        return parse(line)

    monkeypatch.setattr("pytinc.protocol.meta.parse_request", counted)
    beta.say(ADD.format("2", 5))
    assert parsed == []
    beta.say("13 3 gamma delta")
    assert weight(alpha, "gamma", "delta") is None
    beta.say(ADD.format("2", 5))
    epsilon.say(ADD.format("2", 5))
    assert weight(alpha, "gamma", "delta") is None
    beta.say(ADD.format("4", 5))
    assert weight(alpha, "gamma", "delta") == 5
