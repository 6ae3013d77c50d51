"""False claims about our own edges and subnets: all neighbours are told, but not again and again.

See docs/protocol-meta.md, "Traces" and "Contradictions".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytinc.node.corrections import OTHERS_REST, OWN_REST
from pytinc.node.topology import CONTRADICTION_LIMIT
from pytinc.wire.subnet import parse_subnet

if TYPE_CHECKING:
    from node.conftest import MakeStage, Scripted, Stage

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
def test_all_are_told_when_something_false_is_claimed_and_only_once(
    stage: MakeStage, claim: str, answer: list[str]
) -> None:
    alpha = stage("beta", "delta", subnets=(LAN,))
    beta, delta = alpha.neighbour("beta"), alpha.neighbour("delta")
    beta.heard()
    delta.heard()
    assert beta.say(claim) == answer
    assert beta.say(claim) == []  # the same nonce
    assert delta.heard() == answer
    assert [str(subnet) for subnet in alpha.node.subnets.table.of("alpha")] == ["10.1.0.0/24#5"]
    edges = alpha.node.topology.graph.edges_from("alpha")
    assert [(edge.target, edge.weight) for edge in edges] == [("beta", 3), ("delta", 3)]


def test_a_tunnel_server_corrects_only_who_claims_something_false(stage: MakeStage) -> None:
    alpha = stage("beta", "delta", subnets=(LAN,), tunnel_server=True)
    beta, delta = alpha.neighbour("beta"), alpha.neighbour("delta")
    delta.heard()
    assert beta.say("12 7 alpha beta 10.0.0.1 655 c 1") == [EDGE]
    assert beta.say("10 3 alpha 10.9.0.0/16") == ["11 * alpha 10.9.0.0/16"]
    assert delta.heard() == []


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
    assert delta.heard() == [EDGE]
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


OMEGA = "12 {} omega psi 10.0.0.7 655 c 4"
ITS_END = "13 {} omega psi"


def withdraw_in_known_words(stage: MakeStage) -> tuple[Stage, Scripted, Scripted]:
    """Beta tells of an edge that is gone, and withdraws it as delta did before."""
    alpha = stage("beta", "delta")
    beta, delta = alpha.neighbour("beta"), alpha.neighbour("delta")
    delta.say(ITS_END.format("1"))
    beta.say(OMEGA.format("a"))
    delta.heard()
    beta.say(ITS_END.format("1"))
    assert alpha.node.topology.graph.edge("omega", "psi") is None
    assert delta.lines[-1] == ITS_END.format("1")  # delta believes it, if it has the edge from us
    beta.heard()
    delta.heard()
    return alpha, beta, delta


def withdrawn_later(alpha: Stage, beta: Scripted, delta: Scripted) -> list[str]:
    """Let time pass until known words are told in new ones; return the withdrawals that both hear."""
    beta.heard()
    delta.heard()
    alpha.now += 3 * OTHERS_REST
    alpha.call(lambda node, now: node.tick(now))
    assert ITS_END.format("1") not in delta.lines
    told = [[line for line in each.heard() if line.startswith("13 ")] for each in (beta, delta)]
    assert told[0] == told[1]
    return told[0]


def test_a_withdrawal_in_known_words_is_passed_on_and_later_told_in_new_ones(stage: MakeStage) -> None:
    parties = withdraw_in_known_words(stage)
    assert withdrawn_later(*parties) == [ITS_END.format("*")]
    assert withdrawn_later(*parties) == []


def test_a_withdrawal_by_another_node_is_not_repeated(stage: MakeStage) -> None:
    alpha, beta, delta = withdraw_in_known_words(stage)
    beta.say(ITS_END.format("2"))
    assert delta.heard() == [ITS_END.format("*")]
    assert withdrawn_later(alpha, beta, delta) == []


def test_nothing_is_withdrawn_for_a_node_that_can_do_it_itself(stage: MakeStage) -> None:
    alpha, beta, delta = withdraw_in_known_words(stage)
    beta.link("beta", "omega")
    assert withdrawn_later(alpha, beta, delta) == []


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


def test_a_true_announcement_is_passed_on_unchanged_to_all_others(stage: MakeStage) -> None:
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


def test_a_tunnel_server_still_corrects_announcements_about_itself(stage: MakeStage) -> None:
    alpha = stage("beta", subnets=(LAN,), tunnel_server=True)
    beta = alpha.neighbour("beta")
    assert beta.say("10 1 alpha 10.9.0.0/24") == ["11 * alpha 10.9.0.0/24"]
    assert beta.say("13 2 alpha beta") == [EDGE]
    assert beta.say("13 3 alpha beta") == [EDGE]  # it need not rest: the answer reaches nobody else
