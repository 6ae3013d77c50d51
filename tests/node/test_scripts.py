"""Which scripts run when nodes and subnets come and go, in which order, with which environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytinc.node.actions import RunScript
from pytinc.node.scripts import Scripts
from pytinc.protocol.subnet_table import SubnetTable
from pytinc.wire.address import Address
from pytinc.wire.subnet import parse_subnet

if TYPE_CHECKING:
    from node.conftest import MakeCore, MakeStage, Stage
    from pytinc.node.core import Core
    from pytinc.node.records import Peer

REMOTE = {"REMOTEADDRESS": "10.99.0.2", "REMOTEPORT": "655"}


def ran(core: Core) -> list[RunScript]:
    return [action for action in core.take_actions() if isinstance(action, RunScript)]


def peer_of(core: Core, name: str, *, reachable: bool = True) -> Peer:
    peer = core.peers[name] = core.new_peer(core.table.add(name))
    peer.slot.reachable = reachable
    return peer


def test_a_node_s_own_script_comes_second_and_its_subnets_last(core: MakeCore) -> None:
    alpha, table = core(), SubnetTable()
    for text in ("10.2.0.0/24#5", "10.1.0.0/24"):
        table.add("beta", parse_subnet(text))
    beta = peer_of(alpha, "beta")
    beta.address = Address("10.99.0.2", "655")
    scripts = Scripts(alpha, table)
    node = {"NODE": "beta", **REMOTE}
    for reachable, word in ((True, "up"), (False, "down")):
        beta.slot.reachable = reachable
        scripts.reachability(beta)
        assert ran(alpha) == [
            RunScript(f"host-{word}", node),
            RunScript(f"hosts/beta-{word}", node),
            RunScript(f"subnet-{word}", {**node, "SUBNET": "10.1.0.0/24", "WEIGHT": ""}),
            RunScript(f"subnet-{word}", {**node, "SUBNET": "10.2.0.0/24", "WEIGHT": "5"}),
        ]


def test_without_an_address_nothing_is_said_about_it(core: MakeCore) -> None:
    alpha = core()
    scripts = Scripts(alpha, SubnetTable())
    scripts.reachability(peer_of(alpha, "beta"))
    alpha.me.address = Address("10.0.0.1", "655")
    scripts.subnet(alpha.me, parse_subnet("10.1.0.0/24"), up=True)
    first, second, own = ran(alpha)
    assert first.environment == second.environment == {"NODE": "beta"}
    assert own.environment == {"NODE": "alpha", "SUBNET": "10.1.0.0/24", "WEIGHT": ""}


@pytest.mark.parametrize(
    "address", [Address("$(reboot)", "655"), Address("10.99.0.2", "ssh;reboot"), Address("unspec", "unspec")]
)
def test_an_address_that_is_not_numeric_does_not_reach_scripts(stage: MakeStage, address: Address) -> None:
    alpha = stage("beta", "gamma")
    beta = alpha.neighbour("beta")
    alpha.actions.clear()
    beta.say(
        "10 1 gamma 10.4.0.0/24",
        f"12 2 beta gamma {address.host} {address.port} c 1",
        f"12 3 gamma beta {address.host} {address.port} c 1",
    )
    scripts = alpha.asked(RunScript)
    assert [script.name for script in scripts] == ["host-up", "hosts/gamma-up", "subnet-up"]
    assert not any("REMOTEADDRESS" in script.environment for script in scripts)
    assert not any("REMOTEPORT" in script.environment for script in scripts)


@pytest.mark.parametrize(("standby", "expected"), [(False, []), (True, ["tinc-up", "tinc-down", "tinc-up"])])
def test_with_device_standby_the_device_is_up_while_any_other_node_is_reachable(
    core: MakeCore, standby: bool, expected: list[str]
) -> None:
    alpha = core(device_standby=standby)
    beta, gamma = peer_of(alpha, "beta"), peer_of(alpha, "gamma")
    scripts = Scripts(alpha, SubnetTable())
    for peer, reachable in ((beta, True), (gamma, True), (beta, False), (gamma, False), (gamma, True)):
        peer.slot.reachable = reachable
        scripts.count_reachable(peer)
    assert [script.name for script in ran(alpha)] == expected


def names(alpha: Stage) -> list[tuple[str, str]]:
    """Return scripts and what they are about, since the last time."""
    found = alpha.asked(RunScript)
    alpha.actions.clear()
    return [(one.name, one.environment.get("SUBNET", "")) for one in found]


def test_nodes_come_in_order_of_names_and_a_subnet_of_a_reachable_one_at_once(
    stage: MakeStage,
) -> None:
    alpha = stage("beta", "gamma", "delta", subnets=(parse_subnet("10.0.0.0/24"),), device_standby=True)
    assert names(alpha) == [("subnet-up", "10.0.0.0/24")]
    beta = alpha.peer("beta")
    beta.say("10 1 delta 10.4.0.0/24")
    assert names(alpha) == []
    beta.link("gamma", "delta", "beta")
    assert names(alpha) == []
    beta.link("beta", "alpha")
    assert names(alpha) == [
        ("host-up", ""),
        ("hosts/beta-up", ""),
        ("tinc-up", ""),
        ("host-up", ""),
        ("hosts/delta-up", ""),
        ("subnet-up", "10.4.0.0/24"),
        ("host-up", ""),
        ("hosts/gamma-up", ""),
    ]
    beta.say("10 2 gamma 10.3.0.0/24", "11 3 delta 10.4.0.0/24")
    assert names(alpha) == [("subnet-up", "10.3.0.0/24"), ("subnet-down", "10.4.0.0/24")]


def test_host_down_still_tells_the_address_that_the_node_had(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    alpha.actions.clear()
    beta.hang_up()
    assert [(script.name, dict(script.environment)) for script in alpha.asked(RunScript)] == [
        ("host-down", {"NODE": "beta", **REMOTE}),
        ("hosts/beta-down", {"NODE": "beta", **REMOTE}),
    ]


def test_the_subnets_of_the_own_node_go_down_at_the_stop(stage: MakeStage) -> None:
    alpha = stage("beta", subnets=(parse_subnet("10.0.0.0/24"),))
    alpha.actions.clear()
    alpha.call(lambda node, now: node.stop(now))
    assert names(alpha) == [("subnet-down", "10.0.0.0/24")]
