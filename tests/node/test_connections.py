"""Meta connections from beginning to end: PING, timeouts, the end, the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytinc.node import views
from pytinc.node.actions import CloseMeta
from pytinc.wire.address import Address
from pytinc.wire.bits import ConnectionStatus

if TYPE_CHECKING:
    from node.conftest import MakeStage, Scripted, Stage

BETA = "beta (10.99.0.2 port 40000)"
KEY = "c2VjcmV0"


def accept(alpha: Stage, host: str = "10.7.0.1") -> int:
    """Have somebody connect; return the connection's number."""
    numbers: list[int] = []
    remote, local = Address(host, "4000"), Address("10.99.0.1", "655")
    alpha.call(lambda node, now: numbers.append(node.meta_accepted(remote, local, now)))
    return numbers[0]


def closed(alpha: Stage) -> dict[int, bool]:
    """Return the connections that were closed, and whether each went to the tarpit."""
    return {action.connection: action.tarpit for action in alpha.asked(CloseMeta)}


def pings(peer: Scripted) -> int:
    """Return how many PINGs a peer got since the last time."""
    return peer.heard().count("8")


# -- silence --


def test_a_silent_client_is_cut_off_after_ping_timeout_and_a_dial_without_tarpit(stage: MakeStage) -> None:
    alpha = stage("beta", connect_to=("beta",), ping_timeout=5)
    number = accept(alpha)
    dial = alpha.dialled[0].connection
    alpha.run(4)
    assert closed(alpha) == {}
    alpha.run(3)
    assert closed(alpha) == {number: True, dial: False}
    assert any(line.startswith("Timeout while connecting to beta ") for line in alpha.logged(1))
    assert any(line.startswith("Timeout from <unknown> ") for line in alpha.logged(1))


def test_an_idle_neighbour_is_pinged_and_given_up_without_an_answer(stage: MakeStage) -> None:
    alpha = stage("beta", ping_interval=10, ping_timeout=5)
    beta = alpha.neighbour("beta")
    alpha.run(9)
    assert pings(beta) == 0
    alpha.run(3)
    assert pings(beta) == 1
    beta.say("9")
    alpha.run(9)
    assert not beta.closed
    alpha.run(4)
    assert pings(beta) == 1
    alpha.run(7)
    assert beta.closed
    assert closed(alpha) == {beta.number: False}
    assert any("didn't respond to PING in time" in line for line in alpha.logged(1))


def test_a_ping_is_answered(stage: MakeStage) -> None:
    assert stage("beta").neighbour("beta").say("8") == ["9"]


def test_after_a_sleep_all_connections_end_and_we_dial_at_once(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma", connect_to=("beta",), udp_discovery_timeout=30)
    beta, gamma = alpha.answer_dial(), alpha.neighbour("gamma")
    alpha.run(1)
    alpha.now += 59
    alpha.call(lambda node, now: node.tick(now))
    assert not beta.closed
    alpha.now += 62
    alpha.call(lambda node, now: node.tick(now))
    assert beta.closed
    assert gamma.closed
    assert [dial.peer for dial in alpha.dialled] == ["beta", "beta"]
    assert any(line.startswith("Awaking from dead after 62 seconds") for line in alpha.logged(0))


def test_retry_gives_up_only_what_we_are_dialling(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma", connect_to=("beta", "gamma"))
    hanging = alpha.dialled[0].connection
    gamma, number = alpha.answer_dial(), accept(alpha)
    alpha.call(lambda node, now: node.retry(now))
    assert closed(alpha) == {hanging: False}
    assert not gamma.closed
    assert number in alpha.node.core.connections


# -- the end --


def test_the_end_of_a_neighbour_is_told_with_both_edges(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma")
    beta, gamma = alpha.neighbour("beta"), alpha.neighbour("gamma")
    gamma.heard()
    alpha.call(lambda node, now: node.meta_closed(beta.number, "EOF", now))
    assert gamma.heard() == ["13 * alpha beta", "13 * beta alpha"]


def test_the_daemons_end_says_nothing_to_the_peers(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    alpha.call(lambda node, now: node.stop(now))
    assert beta.closed
    assert beta.heard() == []


def test_a_tunnel_server_does_not_tell_the_others_of_an_end(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma", tunnel_server=True)
    beta, gamma = alpha.neighbour("beta"), alpha.neighbour("gamma")
    gamma.heard()
    beta.hang_up()
    assert not alpha.node.peers["beta"].reachable
    assert alpha.node.peers["beta"].connection is None
    assert gamma.heard() == []


def test_the_end_of_a_node_that_others_lead_to_takes_our_edge_alone(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma")
    beta, gamma = alpha.neighbour("beta"), alpha.neighbour("gamma")
    gamma.link("beta", "gamma")
    gamma.heard()
    beta.hang_up()
    assert gamma.heard() == ["13 * alpha beta"]
    assert alpha.node.peers["beta"].reachable
    assert alpha.node.peers["beta"].slot.connection is None


def test_disconnect_closes_every_connection_of_that_name(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma")
    beta, gamma = alpha.neighbour("beta"), alpha.neighbour("gamma")
    found: list[bool] = []
    alpha.call(lambda node, now: found.append(node.disconnect("beta", now)))
    alpha.call(lambda node, now: found.append(node.disconnect("beta", now)))
    assert found == [True, False]
    assert (beta.closed, gamma.closed) == (True, False)


def test_a_reload_closes_connections_that_another_host_file_authenticated(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma", "delta")
    beta, gamma, delta = (alpha.neighbour(name) for name in ("beta", "gamma", "delta"))
    alpha.hosts.mtimes["beta"] = 5.0
    del alpha.hosts.files["gamma"]
    alpha.reload()
    assert (beta.closed, gamma.closed, delta.closed) == (True, True, False)
    assert any("Host config file of beta has been changed" in line for line in alpha.logged(1))


def test_a_dial_that_fails_and_a_peer_that_hangs_up_are_logged_differently(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma", connect_to=("beta",))
    dial = alpha.dialled[0].connection
    alpha.neighbour("gamma").hang_up()
    alpha.call(lambda node, now: node.meta_closed(dial, "Connection refused", now))
    alpha.call(lambda node, now: node.meta_closed(dial, "once more", now))
    lines = alpha.logged(1)
    assert "Could not connect to beta (10.99.0.2 port 655): Connection refused" in lines
    assert "Connection closed by gamma (10.99.0.3 port 40000): EOF" in lines
    assert not any("once more" in line for line in lines)


def test_a_dial_that_succeeds_too_late_is_ignored(stage: MakeStage) -> None:
    alpha = stage("beta", connect_to=("beta",))
    dial = alpha.dialled[0].connection
    alpha.call(lambda node, now: node.meta_closed(dial, "gone", now))
    alpha.actions.clear()
    alpha.call(lambda node, now: node.meta_connected(dial, Address("10.99.0.1", "41000"), now))
    assert alpha.actions == []


def test_the_status_tells_what_a_connection_is_doing(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma", connect_to=("gamma",), ping_interval=10)
    beta = alpha.neighbour("beta")

    def status(number: int) -> int:
        return {view.number: view.status for view in views.connections(alpha.node)}[number]

    assert status(alpha.dialled[0].connection) == ConnectionStatus.CONNECTING
    assert status(beta.number) == ConnectionStatus.MST
    alpha.run(11)
    assert status(beta.number) == ConnectionStatus.MST | ConnectionStatus.PINGED
