"""What all parts of a node share: actions, log lines, complaints, records of nodes, chance."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytinc.node.actions import Log, Withdrawn
from pytinc.node.core import COMPLAINT_INTERVAL, MAX_COMPLAINT_LENGTH, MAX_COMPLAINTS, MAX_JITTER
from pytinc.wire.capabilities import Capability

if TYPE_CHECKING:
    from node.conftest import MakeCore, MakeStage
    from pytinc.node.core import Core


def levels(core: Core) -> list[int]:
    """Return the level of each log line since the last time."""
    return [action.level for action in core.take_actions() if isinstance(action, Log)]


def test_actions_are_handed_over_once_and_in_order(core: MakeCore) -> None:
    alpha = core()
    alpha.log(3, "info", "first")
    alpha.act(Withdrawn())
    alpha.log(0, "error", "last")
    assert alpha.take_actions() == [Log(3, "info", "first"), Withdrawn(), Log(0, "error", "last")]
    assert alpha.take_actions() == []


def test_a_complaint_is_loud_once_in_ten_minutes(core: MakeCore) -> None:
    alpha = core()
    for now in (0.0, 1.0, COMPLAINT_INTERVAL - 1, COMPLAINT_INTERVAL):
        alpha.complain("peer is bad", now)
    assert levels(alpha) == [0, 2, 2, 0]


def test_ever_new_complaints_do_not_fill_the_log(core: MakeCore) -> None:
    alpha = core()
    for number in range(1000):
        alpha.complain(f"{number} {'x' * 5000}", 0.0)
    lines = [action for action in alpha.take_actions() if isinstance(action, Log)]
    assert [line.level for line in lines].count(0) == MAX_COMPLAINTS
    assert max(len(line.message) for line in lines) == MAX_COMPLAINT_LENGTH
    alpha.complain("something new", COMPLAINT_INTERVAL)
    assert levels(alpha) == [0]


def test_a_new_node_is_probed_as_the_settings_say_and_a_change_reaches_all(core: MakeCore) -> None:
    alpha = core(udp_discovery_timeout=17)
    beta = alpha.peers["beta"] = alpha.new_peer(alpha.table.add("beta"))
    assert (beta.name, beta.slot, beta.path.facts) == ("beta", alpha.table.slots["beta"], beta.slot)
    assert beta.path.settings.timeout == 17
    assert Capability.FAST_TAG in beta.path.settings.capabilities
    alpha.settings = replace(alpha.settings, udp_discovery_timeout=18, fast_tag=False)
    alpha.apply_settings()
    for peer in (beta, alpha.me):
        assert peer.path.settings.timeout == 18
        assert Capability.FAST_TAG not in peer.path.settings.capabilities


def test_the_own_node_is_one_of_the_peers_and_is_found_by_its_slot(core: MakeCore) -> None:
    alpha = core()
    assert alpha.peers == {"alpha": alpha.me}
    assert alpha.of_slot(alpha.table.me) is alpha.me
    assert alpha.me.reachable


def test_only_connections_whose_login_is_complete_count_as_activated_oldest_first(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma", "delta", connect_to=("delta",))
    alpha.peer("gamma")
    alpha.peer("beta")
    assert [connection.name for connection in alpha.node.core.activated] == ["gamma", "beta"]
    assert len(alpha.node.core.connections) == 3  # that to delta is being made


def test_nonces_have_32_bits_and_differ(core: MakeCore) -> None:
    alpha = core()
    nonces = [alpha.nonce() for _ in range(100)]
    assert len(set(nonces)) == 100
    assert 2**31 < max(nonces) < 2**32


def test_timers_are_spread_by_a_random_part_of_131_milliseconds(core: MakeCore) -> None:
    alpha = core()
    chances = [0.0, 0.25, 1.0]
    alpha.random_float = iter(chances).__next__
    assert [alpha.jitter() for _ in chances] == [chance * MAX_JITTER for chance in chances]
