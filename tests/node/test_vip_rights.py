"""Which nodes may serve a virtual IP, by host files and StrictVirtualIPs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from node.conftest import Stage
from pytinc.node.vip_rights import MAX_UNLISTED, VipRights

if TYPE_CHECKING:
    from node.conftest import MakeStage

VIP, OTHER = bytes((10, 1, 1, 10)), bytes((10, 1, 1, 11))


def rights(stage: Stage, **listed: tuple[bytes, ...]) -> VipRights:
    for name, addresses in listed.items():
        stage.hosts.files[name] = replace(stage.hosts.files[name], virtual_ips=addresses)
    stage.node.topology.load_hosts()
    found = VipRights(stage.node.core)
    found.load()
    return found


def complaints(stage: Stage) -> list[str]:
    stage.call(lambda node, now: None)
    return [line for line in stage.logged(0) if "virtual IP" in line]


def test_everybody_may_serve_an_address_that_no_host_file_lists() -> None:
    stage = Stage("alpha", ["beta", "gamma"])
    found = rights(stage, beta=(OTHER,))
    assert found.may_hold("gamma", VIP, 0.0)
    assert complaints(stage) == []


@pytest.mark.parametrize("strict", [False, True])
def test_only_listed_nodes_may_serve_a_listed_address(*, strict: bool) -> None:
    stage = Stage("alpha", ["beta", "gamma"], strict_virtual_ips=strict)
    found = rights(stage, beta=(VIP, OTHER))
    assert found.may_hold("beta", VIP, 0.0)
    for _ in range(3):
        assert not found.may_hold("gamma", VIP, 0.0)
    assert complaints(stage) == ["gamma claims the virtual IP 10.1.1.10, which hosts/gamma does not allow"]


def test_with_strict_rights_nobody_may_serve_an_address_that_no_host_file_lists() -> None:
    stage = Stage("alpha", ["beta"], strict_virtual_ips=True)
    found = rights(stage)
    assert not found.may_hold("beta", VIP, 0.0)
    assert found.possible_members([VIP]) == set()


def test_possible_members_are_those_who_are_listed_and_reachable(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma", "delta")
    for name in ("beta", "gamma"):
        alpha.neighbour(name)
    assert rights(alpha, beta=(VIP,), delta=(VIP,)).possible_members([VIP]) == {"beta"}
    assert rights(alpha, beta=(), delta=()).possible_members([VIP]) == {"beta", "gamma"}
    assert MAX_UNLISTED >= 2
