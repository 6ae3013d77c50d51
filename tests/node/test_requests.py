"""Each request reaches its handler; unexpected requests end the connection, excess ones are ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytinc.errors import UnexpectedRequest
from pytinc.node.actions import Log
from pytinc.wire.requests import Ack, Id, Packet

if TYPE_CHECKING:
    from node.conftest import MakeStage
    from pytinc.wire.requests import Request


@pytest.mark.parametrize("request_", [Id("beta", 17, 7), Ack("655", 1, 0), Packet(20)])
def test_a_request_of_the_login_is_refused_after_it(stage: MakeStage, request_: Request) -> None:
    alpha = stage("beta")
    alpha.neighbour("beta")
    (connection,) = alpha.node.core.activated
    with pytest.raises(UnexpectedRequest, match=type(request_).__name__):
        alpha.node._meta_events._requests.handle(connection, request_, request_.format(), alpha.now)


@pytest.mark.parametrize(
    ("line", "to_gamma"),
    [
        ("10 1 beta 10.2.0.0/16", "10 * beta 10.2.0.0/16"),
        ("11 1 beta 10.3.0.0/16", "11 * beta 10.3.0.0/16"),
        ("12 1 beta delta 10.0.0.9 655 c 1", "12 * beta delta 10.0.0.9 655 c 1"),
        ("13 1 beta alpha", "13 * beta alpha"),
        ("14 1 legacy", "14 * legacy"),
        ("15 beta gamma 19", "15 beta gamma 19"),
        ("16 beta gamma AAAA -1 -1 -1 0", "16 beta gamma AAAA -1 -1 -1 0"),
    ],
)
def test_requests_about_others_are_passed_on(stage: MakeStage, line: str, to_gamma: str) -> None:
    alpha = stage("beta", "gamma")
    beta, gamma = alpha.neighbour("beta"), alpha.neighbour("gamma")
    beta.say(
        "10 9 beta 10.3.0.0/16", "12 8 beta legacy 10.0.0.9 655 c 1", "12 7 legacy beta 10.0.0.9 655 c 1"
    )
    gamma.heard()
    beta.say(line)
    heard = gamma.heard()
    assert not beta.closed
    assert heard[0] == to_gamma


def test_what_does_not_fit_costs_no_connection_and_is_complained_of_once_without_the_peers_words(
    stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    monkeypatch.setattr("pytinc.protocol.graph.MAX_NODES", len(alpha.node.peers))
    for number in range(5):
        beta.say(f"10 {number:x} ghost{number} 10.0.{number}.0/24")
    assert not beta.closed
    complaints = [action for action in alpha.asked(Log) if action.priority == "error"]
    assert [line.level for line in complaints] == [0, 2, 2, 2, 2]
    assert all("beta announces too much" in line.message for line in complaints)
    assert not any("ghost" in line.message for line in complaints)
    assert set(alpha.node.peers) == {"alpha", "beta"}
