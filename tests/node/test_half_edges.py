"""Edges of which one direction is missing: their owners are asked, and tell (docs/protocol.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytinc.node.half_edges import EDGE_ANSWER, EDGE_QUESTION, MAX_QUESTIONS
from pytinc.node.node import AGEING_INTERVAL
from pytinc.wire import b64

if TYPE_CHECKING:
    from node.conftest import MakeStage, Scripted, Stage

LINKS = (("beta", "gamma"), ("beta", "delta"))
HALF = "12 99 gamma delta 10.0.0.4 655 c 5"
OTHER_HALF = "12 98 delta gamma 10.0.0.3 655 c 5"
QUESTIONS = [f"15 alpha delta {EDGE_QUESTION} gamma", f"15 alpha gamma {EDGE_QUESTION} delta"]


def tell_links(beta: Scripted, *links: tuple[str, str]) -> None:
    """Have beta tell of whole links."""
    for number, (one, other) in enumerate(links):
        beta.say(
            f"12 {number}a {one} {other} 10.0.0.3 655 c 1", f"12 {number}b {other} {one} 10.0.0.2 655 c 1"
        )


def rounds(stage: Stage, count: int) -> None:
    """Let the clock go on by so many rounds, each of which happens."""
    for _ in range(count):
        stage.now += AGEING_INTERVAL + 5
        stage.call(lambda node, now: node.half_edges.look(now))
        stage.call(lambda node, now: node.meta_output.flush(now))


def asked(beta: Scripted) -> list[str]:
    return [line for line in beta.heard() if f" {EDGE_QUESTION} " in line]


def answer(line: str) -> str:
    return f"15 {line.split()[2]} alpha {EDGE_ANSWER} {b64.encode(line.encode())}"


@pytest.fixture
def alpha(stage: MakeStage) -> Stage:
    """Alpha, which knows one direction of the link between gamma and delta."""
    alpha = stage("beta", "epsilon")
    beta = alpha.neighbour("beta")
    tell_links(beta, *LINKS)
    beta.say(HALF)
    beta.heard()
    return alpha


def neighbour(alpha: Stage, name: str) -> Scripted:
    return next(each for each in alpha.scripted.values() if each.name == name)


def test_the_owners_of_both_directions_are_asked_when_one_is_missing_for_a_round(alpha: Stage) -> None:
    beta = neighbour(alpha, "beta")
    rounds(alpha, 1)
    assert asked(beta) == []
    rounds(alpha, 1)
    assert sorted(asked(beta)) == QUESTIONS


def test_whole_edges_are_no_question(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    tell_links(beta, *LINKS)
    rounds(alpha, 5)
    assert asked(beta) == []


def test_a_question_without_effect_is_put_ever_more_seldom(alpha: Stage) -> None:
    beta = neighbour(alpha, "beta")
    found = []
    for number in range(70):
        rounds(alpha, 1)
        if asked(beta):
            found.append(number)
    assert found == [1, 4, 16, 64]


def test_the_missing_edge_is_taken_up_and_passed_on(alpha: Stage) -> None:
    beta, epsilon = neighbour(alpha, "beta"), alpha.neighbour("epsilon")
    rounds(alpha, 2)
    beta.say(answer(OTHER_HALF))
    edge = alpha.node.topology.graph.edge("delta", "gamma")
    assert edge is not None
    assert edge.weight == 5
    assert "12 * delta gamma 10.0.0.3 655 c 5" in epsilon.heard()
    rounds(alpha, 5)
    assert len(asked(beta)) == 2  # those from before


def test_half_an_edge_that_is_gone_goes_too(alpha: Stage) -> None:
    beta, epsilon = neighbour(alpha, "beta"), alpha.neighbour("epsilon")
    rounds(alpha, 2)
    beta.say(answer("13 77 gamma delta"))
    assert alpha.node.topology.graph.edge("gamma", "delta") is None
    assert "13 * gamma delta" in epsilon.heard()


def test_that_a_missing_edge_is_not_there_is_no_news_for_anybody(alpha: Stage) -> None:
    beta, epsilon = neighbour(alpha, "beta"), alpha.neighbour("epsilon")
    rounds(alpha, 2)
    epsilon.heard()
    beta.say(answer("13 78 delta gamma"))
    assert epsilon.heard() == []
    assert alpha.node.topology.graph.edge("gamma", "delta") is not None


@pytest.mark.parametrize(
    "line",
    [
        f"15 beta alpha {EDGE_ANSWER} {b64.encode(OTHER_HALF.encode())}",  # not beta's edge
        answer("13 77 delta gamma x").replace("15 delta", "15 beta"),
        f"15 delta alpha {EDGE_ANSWER} {b64.encode(b'10 5 delta 10.0.0.0/8')}",
        f"15 delta alpha {EDGE_ANSWER} {b64.encode(bytes(range(40)))}",
        f"15 delta alpha {EDGE_ANSWER} ====",
        f"15 delta alpha {EDGE_ANSWER}",
        f"15 delta alpha {EDGE_QUESTION}",
        f"15 delta alpha {EDGE_QUESTION} no/name",
    ],
)
def test_an_answer_that_is_not_from_an_owner_changes_nothing(alpha: Stage, line: str) -> None:
    beta = neighbour(alpha, "beta")
    before = [(edge.source, edge.target) for edge in alpha.node.topology.graph.edges()]
    assert beta.say(line) == []
    assert not beta.closed
    assert [(edge.source, edge.target) for edge in alpha.node.topology.graph.edges()] == before


def test_a_node_that_asks_gets_the_truth(alpha: Stage) -> None:
    beta = neighbour(alpha, "beta")
    (there,) = beta.say(f"15 delta alpha {EDGE_QUESTION} beta")
    (gone,) = beta.say(f"15 delta alpha {EDGE_QUESTION} gamma")
    for line, wanted in ((there, "12 * alpha beta "), (gone, "13 * alpha gamma")):
        number, source, target, sub, data = line.split(" ")
        assert (number, source, target, sub) == ("15", "alpha", "delta", str(EDGE_ANSWER))
        words = b64.decode(data).decode().split(" ")
        assert " ".join([words[0], "*", *words[2:]]).startswith(wanted)


def test_one_round_asks_about_a_few_edges_and_the_next_about_others(alpha: Stage) -> None:
    beta = neighbour(alpha, "beta")
    for number in range(3 * MAX_QUESTIONS):
        beta.say(f"12 f{number:x} gamma made_up_{number} 10.0.0.4 655 c 5")
    rounds(alpha, 2)
    first = asked(beta)
    rounds(alpha, 1)
    second = asked(beta)
    assert 0 < len(first) <= 2 * MAX_QUESTIONS
    assert 0 < len(second) <= 2 * MAX_QUESTIONS
    assert not set(first) & set(second)


def test_a_tunnel_server_neither_asks_nor_tells(stage: MakeStage) -> None:
    alpha = stage("beta", tunnel_server=True)
    beta = alpha.neighbour("beta")
    beta.say("12 5 beta alpha 10.0.0.3 655 c 1")
    rounds(alpha, 3)
    assert asked(beta) == []
    assert beta.say(f"15 beta alpha {EDGE_QUESTION} beta") == []


def test_a_neighbour_is_asked_on_its_own_connection_even_if_its_edge_to_us_is_the_missing_one(
    stage: MakeStage,
) -> None:
    alpha = stage("beta", "gamma")
    beta, gamma = alpha.neighbour("beta"), alpha.peer("gamma")
    beta.link("beta", "gamma")
    route = alpha.node.peers["gamma"].route
    assert route is not None
    assert route.nexthop == "beta"
    gamma.heard()
    rounds(alpha, 2)
    assert asked(gamma) == [f"15 alpha gamma {EDGE_QUESTION} alpha"]
    assert asked(beta) == []
