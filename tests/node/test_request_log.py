"""The log of every request: in tinc's words, without secrets, and only while somebody wants it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytinc.wire.address import Address

if TYPE_CHECKING:
    from node.conftest import MakeStage

BETA = "beta (10.99.0.2 port 40000)"
KEY = "c2VjcmV0"


def test_nothing_is_logged_and_no_connection_is_traced_until_somebody_wants_it(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    beta.say("8")
    assert alpha.node.core.activated[0].meta.trace is None
    assert not [line for line in alpha.logged() if line.startswith(("Got ", "Sending "))]


def test_requests_are_logged_in_both_directions_with_tincs_words_at_level_4(stage: MakeStage) -> None:
    alpha = stage("beta")
    alpha.node.trace_requests(True)
    beta = alpha.neighbour("beta")
    beta.say("8")
    lines = [line for line in alpha.logged(4) if line.startswith(("Got ", "Sending "))]
    # Before the greeting nobody knows who it is.
    assert lines[0] == "Got ID from <unknown> (10.99.0.2 port 40000): 0 beta 17.7"
    assert lines[1] == f"Sending ID to {BETA}: 0 alpha 17.7"
    assert lines[2] == f"Sending ACK to {BETA}: 4 655 0 700000c"
    assert lines[3] == f"Got ACK from {BETA}: 4 655 7 700000c"
    assert lines[-2:] == [f"Got PING from {BETA}: 8", f"Sending PONG to {BETA}: 9"]
    assert not [line for line in alpha.logged(3) if line.startswith(("Got ", "Sending "))]


def test_an_announcement_that_came_before_is_logged_as_often_as_it_comes(stage: MakeStage) -> None:
    alpha = stage("beta")
    alpha.node.trace_requests(True)
    beta = alpha.neighbour("beta")
    line = "12 1f beta gamma 10.99.0.3 655 0 10"
    for nonce in ("1f", "1f", "20"):
        beta.say(line.replace("1f", nonce))
    got = [text.partition(": ")[2] for text in alpha.logged() if text.startswith("Got ADD_EDGE")]
    assert got[-3:] == [line, line, line.replace("1f", "20")]


def test_it_can_be_switched_while_connections_live(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    for wanted in (True, False):
        alpha.node.trace_requests(wanted)
        beta.say("8")
    assert alpha.logged().count(f"Got PING from {BETA}: 8") == 1


def test_the_key_in_an_answer_between_others_is_not_logged(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma")
    alpha.node.trace_requests(True)
    beta = alpha.neighbour("beta")
    alpha.neighbour("gamma")
    beta.say(f"16  beta  gamma {KEY} 91 64 4 0")
    answers = [line.partition(": ")[2] for line in alpha.logged() if " ANS_KEY " in line]
    assert answers
    assert all(line.startswith("16 beta gamma ... 91 64 4 0") for line in answers)
    assert not [line for line in alpha.logged() if KEY in line]


def test_a_cookie_that_lost_its_way_is_not_logged(stage: MakeStage) -> None:
    alpha = stage("beta")
    alpha.node.trace_requests(True)
    remote = Address("10.99.0.2", "40000")
    number = alpha.node.meta_accepted(remote, Address("10.99.0.1", "655"), alpha.now)
    alpha.call(lambda node, now: node.meta_data(number, f"0 ^{KEY} 0\n".encode(), now))
    assert not [line for line in alpha.logged() if KEY in line]


def test_a_request_that_is_refused_is_not_logged_with_its_contents(stage: MakeStage) -> None:
    alpha = stage("beta")
    alpha.node.trace_requests(True)
    beta = alpha.neighbour("beta")
    beta.say(f"2 94 64 0 0 {KEY}")
    assert beta.closed
    assert not [line for line in alpha.logged() if KEY in line]
