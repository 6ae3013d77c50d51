"""False claims about our own edges and subnets: the sender is told, nobody else.

See docs/protocol-meta.md, "Traces" and "Contradictions".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytinc.node.corrections import OTHERS_REST, OWN_REST
from pytinc.node.topology import CONTRADICTION_LIMIT
from pytinc.wire.subnet import parse_subnet

if TYPE_CHECKING:
    from node.conftest import MakeStage

LAN = parse_subnet("10.1.0.0/24#5")
EDGE = "12 * alpha beta 10.99.0.2 655 700000c 3 10.99.0.1 655"


@pytest.mark.parametrize(
    ("claim", "answer"),
    [
        ("10 3 alpha 10.9.0.0/16", ["11 * alpha 10.9.0.0/16"]),
        ("10 3 alpha 10.1.0.0/24#6", ["11 * alpha 10.1.0.0/24#6"]),
        ("11 1 alpha 10.1.0.0/24#5", ["10 * alpha 10.1.0.0/24#5"]),
        ("12 6 alpha gamma 10.0.0.1 655 c 1", ["13 * alpha gamma"]),
        ("12 6 alpha nobody 10.0.0.1 655 c 1", ["13 * alpha nobody"]),
        ("12 7 alpha beta 10.0.0.1 655 c 1", [EDGE]),
        ("13 3 alpha beta", [EDGE]),
        # True, or about something we never had: no answer.
        ("10 3 alpha 10.1.0.0/24#5", []),
        ("11 1 alpha 10.9.0.0/16", []),
        ("11 1 alpha 10.1.0.0/24", []),
        ("12 7 alpha beta 10.99.0.2 655 700000c 3", []),
        ("12 7 alpha beta 10.99.0.2 655 700000c 3 10.99.0.1 655", []),
        ("13 3 alpha gamma", []),
        ("13 3 alpha nobody", []),
    ],
)
def test_only_who_claims_something_false_is_corrected_and_only_once(
    stage: MakeStage, claim: str, answer: list[str]
) -> None:
    alpha = stage("beta", "delta", subnets=(LAN,))
    beta, delta = alpha.neighbour("beta"), alpha.neighbour("delta")
    beta.heard()
    assert beta.say(claim) == answer
    assert beta.say(claim) == []  # the same nonce
    assert delta.heard() == []
    assert [str(subnet) for subnet in alpha.node.subnets.table.of("alpha")] == ["10.1.0.0/24#5"]
    edges = alpha.node.topology.graph.edges_from("alpha")
    assert [(edge.target, edge.weight) for edge in edges] == [("beta", 3), ("delta", 3)]


def test_corrections_have_nonces_of_their_own(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    beta.heard()
    beta.say("10 1 alpha 10.7.0.0/16", "10 2 alpha 10.8.0.0/16", "10 3 alpha 10.9.0.0/16")
    assert len({line.split(" ")[1] for line in beta.lines[-3:]}) == 3


def test_a_repeated_claim_is_answered_once_and_then_after_a_rest_to_all(stage: MakeStage) -> None:
    alpha = stage("beta", "delta")
    beta, delta = alpha.neighbour("beta"), alpha.neighbour("delta")
    beta.heard()
    delta.heard()
    assert beta.say("13 1 alpha beta") == [EDGE]
    assert beta.say("13 2 alpha beta", "12 3 alpha beta 10.0.0.1 655 c 1", "13 4 alpha beta") == []
    beta.heard()
    alpha.now += OWN_REST
    alpha.call(lambda node, now: node.tick(now))
    assert beta.heard() == delta.heard() == [EDGE]
    alpha.now += OWN_REST
    alpha.call(lambda node, now: node.tick(now))
    assert beta.heard() == delta.heard() == []
    assert beta.say("13 5 alpha beta") == [EDGE]


def test_a_subnet_is_not_fought_over_either(stage: MakeStage) -> None:
    alpha = stage("beta", "delta", subnets=(LAN,))
    beta, delta = alpha.neighbour("beta"), alpha.neighbour("delta")
    beta.heard()
    delta.heard()
    assert beta.say("10 1 alpha 10.9.0.0/16", "10 2 alpha 10.9.0.0/16") == ["11 * alpha 10.9.0.0/16"]
    assert beta.say("11 3 alpha 10.1.0.0/24#5") == ["10 * alpha 10.1.0.0/24#5"]
    assert delta.say("11 4 alpha 10.1.0.0/24#5") == []
    beta.heard()
    alpha.now += OWN_REST
    alpha.call(lambda node, now: node.tick(now))
    assert set(beta.heard()) == {"11 * alpha 10.9.0.0/16", "10 * alpha 10.1.0.0/24#5"}


def test_a_withdrawal_in_known_words_is_passed_on_in_new_ones_once_in_a_while(stage: MakeStage) -> None:
    alpha = stage("beta", "delta")
    beta, delta = alpha.neighbour("beta"), alpha.neighbour("delta")
    add, remove = "12 {} omega psi 10.0.0.7 655 c 4", "13 {} omega psi"
    delta.say(remove.format("1"), remove.format("2"))
    delta.heard()
    beta.say(add.format("a"))
    beta.say(remove.format("1"))
    beta.heard()
    assert delta.heard() == ["12 * omega psi 10.0.0.7 655 c 4", "13 * omega psi"]
    beta.say(add.format("b"))
    beta.say(remove.format("2"))
    assert delta.heard() == ["12 * omega psi 10.0.0.7 655 c 4"]
    assert alpha.node.topology.graph.edge("omega", "psi") is None
    alpha.now += OTHERS_REST
    alpha.call(lambda node, now: node.tick(now))
    assert delta.heard() == beta.heard() == ["13 * omega psi"]


def test_a_node_with_our_name_is_corrected_until_it_is_too_much_and_then_for_a_while_no_more(
    stage: MakeStage,
) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    beta.heard()
    for turn in range(CONTRADICTION_LIMIT + 1):
        told = beta.say(f"12 {turn:x} alpha ghost 10.0.0.1 655 c 1", f"13 {turn:x} alpha beta")
        assert told == ([] if turn else ["13 * alpha ghost", EDGE])
    alpha.now += 6
    alpha.call(lambda node, now: node.tick(now))
    assert any("same Name" in line for line in alpha.logged(0))
    assert (
        beta.say("13 a000 alpha beta", "12 a001 alpha ghost 10.0.0.1 655 c 1", "10 a002 alpha 10.9.0.0/16")
        == []
    )
    alpha.now += 11
    alpha.call(lambda node, now: node.tick(now))
    assert EDGE in beta.say("13 b000 alpha beta")


def test_what_is_true_is_passed_on_in_the_same_words_to_all_others(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma", "delta")
    beta, gamma, delta = (alpha.neighbour(name) for name in ("beta", "gamma", "delta"))
    lines = [
        "10 5 beta 10.2.0.0/16",
        "12 6 beta omega 10.0.0.7 655 c 4",
        "13 7 beta omega",
        "11 8 beta 10.2.0.0/16",
    ]
    for peer in (beta, gamma, delta):
        peer.heard()
    assert beta.say(*lines) == []
    assert gamma.lines == delta.lines == lines
    assert gamma.say(*lines) == []  # seen
    assert delta.lines == lines
    assert beta.lines == []


def test_a_tunnel_server_still_corrects_what_is_said_of_itself(stage: MakeStage) -> None:
    alpha = stage("beta", subnets=(LAN,), tunnel_server=True)
    beta = alpha.neighbour("beta")
    assert beta.say("10 1 alpha 10.9.0.0/24") == ["11 * alpha 10.9.0.0/24"]
    assert beta.say("13 2 alpha beta") == [EDGE]
    assert beta.say("13 3 alpha beta") == [EDGE]  # it need not rest: the answer reaches nobody else
