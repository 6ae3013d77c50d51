"""Subnets of the own node and of host files, and MACs that are learned, aged and handed over."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytinc.node.actions import RunScript
from pytinc.wire.subnet import DEFAULT_BROADCAST_SUBNETS, parse_subnet

if TYPE_CHECKING:
    from node.conftest import MakeStage, Scripted, Stage

LAN = parse_subnet("10.1.0.0/24")


def mac(number: int) -> str:
    return f"02:00:00:00:00:{number:02x}"


def frame(number: int) -> bytes:
    """Return a broadcast frame from a station."""
    return b"\xff" * 6 + bytes.fromhex(mac(number).replace(":", "")) + b"\x88\xb5" + bytes(50)


def subnets(alpha: Stage, name: str | None = "alpha") -> list[str]:
    return [str(subnet) for subnet in alpha.node.subnets.table.of(name)]


def pair(stage: MakeStage, **changes: object) -> tuple[Stage, Scripted]:
    """Alpha with a neighbour, who was told everything."""
    alpha = stage("beta", **changes)
    beta = alpha.neighbour("beta")
    beta.heard()
    return alpha, beta


# -- the configuration --


def test_a_reload_announces_new_subnets_and_withdraws_removed_ones(stage: MakeStage) -> None:
    alpha, beta = pair(stage, subnets=(LAN, parse_subnet("10.1.1.0/24")))
    alpha.read(frame(1))
    beta.heard()
    alpha.reload(subnets=(LAN, parse_subnet("10.1.2.0/24"), parse_subnet("10.1.1.0/24#5")))
    assert beta.heard() == ["10 * alpha 10.1.1.0/24#5", "10 * alpha 10.1.2.0/24", "11 * alpha 10.1.1.0/24"]
    assert subnets(alpha) == [mac(1), "10.1.0.0/24", "10.1.1.0/24#5", "10.1.2.0/24"]


def test_broadcast_subnets_are_tinc_s_and_those_of_the_configuration(stage: MakeStage) -> None:
    alpha, beta = pair(stage, broadcast_subnets=(LAN,))
    default = {str(subnet) for subnet in DEFAULT_BROADCAST_SUBNETS}
    assert set(subnets(alpha, None)) == default | {"10.1.0.0/24"}
    alpha.reload(broadcast_subnets=(parse_subnet("10.1.2.0/24"),))
    assert set(subnets(alpha, None)) == default | {"10.1.2.0/24"}
    assert beta.heard() == []


def test_subnets_of_host_files_count_with_strict_subnets_only(stage: MakeStage) -> None:
    for strict, known in ((True, ["10.2.0.0/24"]), (False, [])):
        alpha = stage("beta", strict_subnets=strict)
        alpha.hosts.files["beta"] = replace(alpha.hosts.files["beta"], subnets=(parse_subnet("10.2.0.0/24"),))
        alpha.reload()
        assert subnets(alpha, "beta") == known


def test_with_strict_subnets_a_reload_tells_what_changed_in_the_host_files(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma", strict_subnets=True)
    for text in ("10.2.0.0/24", "10.3.0.0/24"):
        alpha.hosts.files["beta"] = replace(alpha.hosts.files["beta"], subnets=(parse_subnet(text),))
        gamma = alpha.peer("gamma")
        gamma.heard()
        alpha.reload()
    assert gamma.heard() == ["10 * beta 10.3.0.0/24", "11 * beta 10.2.0.0/24"]
    assert subnets(alpha, "beta") == ["10.3.0.0/24"]


def test_invented_subnets_leave_room_for_our_own(stage: MakeStage, monkeypatch: pytest.MonkeyPatch) -> None:
    alpha, beta = pair(stage)
    monkeypatch.setattr("pytinc.protocol.subnet_table.MAX_SUBNETS", len(alpha.node.subnets.table) + 20)
    beta.say(*(f"10 {number:x} beta 10.0.{number}.0/24" for number in range(30)))
    assert len(subnets(alpha, "beta")) == 20
    alpha.reload(subnets=(LAN,))
    alpha.read(frame(1))
    assert subnets(alpha) == [mac(1), "10.1.0.0/24"]
    assert not beta.closed


# -- words --


def test_a_young_subnet_is_told_in_its_own_words_and_an_old_one_in_new_ones(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma", "delta", ping_interval=60)
    beta = alpha.neighbour("beta")
    line = "10 abcdef beta 10.2.0.0/24"
    beta.say(line)
    alpha.now += 59
    assert line in alpha.peer("gamma").lines
    alpha.now += 1
    told = alpha.peer("delta").lines
    assert line not in told
    assert any(one.endswith(" beta 10.2.0.0/24") for one in told)


def test_a_deleted_subnet_that_comes_again_is_introduced_with_its_latest_line(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma")
    beta = alpha.neighbour("beta")
    beta.say("10 1 beta 10.2.0.0/24", "11 2 beta 10.2.0.0/24", "10 3 beta 10.2.0.0/24")
    assert [line for line in alpha.peer("gamma").lines if " beta 10.2." in line] == ["10 3 beta 10.2.0.0/24"]


# -- learning --


def test_a_new_mac_is_announced_once(stage: MakeStage) -> None:
    alpha, beta = pair(stage)
    for number in (1, 1, 2):
        alpha.read(frame(number), frame(number))
    told = [line for line in beta.heard() if line.startswith("10 ")]
    assert told == [f"10 * alpha {mac(1)}", f"10 * alpha {mac(2)}"]
    assert alpha.node.subnets.learned == 2
    assert alpha.node.subnets.moved == 0


def test_a_mac_expires_after_mac_expire_seconds_without_a_frame(stage: MakeStage) -> None:
    alpha, beta = pair(stage, mac_expire=30, ping_interval=10_000)
    for _ in range(4):
        alpha.read(frame(1))
        alpha.run(20)
    assert subnets(alpha) == [mac(1)]
    assert f"11 * alpha {mac(1)}" not in beta.heard()
    alpha.run(30)
    assert subnets(alpha) == []
    assert f"11 * alpha {mac(1)}" in beta.heard()
    assert alpha.node.table.own_macs == {}
    assert bytes.fromhex(mac(1).replace(":", "")) not in alpha.node.table.macs


def test_a_configured_mac_does_not_expire(stage: MakeStage) -> None:
    alpha, _ = pair(stage, mac_expire=30, subnets=(parse_subnet(f"{mac(1)}#5"),), ping_interval=10_000)
    alpha.read(frame(1))
    alpha.run(100)
    assert subnets(alpha) == [f"{mac(1)}#5"]


def test_the_mac_not_seen_for_longest_gives_way_when_there_are_too_many(
    stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytinc.protocol.subnet_table.MAX_LEARNED", 2)
    alpha, beta = pair(stage)
    for number in (1, 2, 3):
        alpha.now += 1
        alpha.read(frame(number))
    assert subnets(alpha) == [mac(2), mac(3)]
    assert f"11 * alpha {mac(1)}" in beta.heard()
    assert len(alpha.node.table.own_macs) == 2


def test_a_mac_that_another_node_takes_over_is_counted_as_moved(stage: MakeStage) -> None:
    alpha, beta = pair(stage)
    alpha.read(frame(1))
    beta.say(f"10 1 beta {mac(1)}", f"10 2 beta {mac(2)}")
    assert alpha.node.subnets.moved == 1
    alpha.read(frame(2))
    assert alpha.node.subnets.moved == 2


CLAIM = (
    "beta claims the MAC address 02:00:00:00:00:01 of {} with weight 1 instead of 10: "
    "frames for it go to beta"
)


def test_a_lower_weight_than_that_of_another_node_is_reported_once_and_counted(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma")
    beta, gamma = alpha.neighbour("beta"), alpha.neighbour("gamma")
    gamma.say(f"10 1 gamma {mac(1)}")
    beta.say(f"10 2 beta {mac(1)}")  # a station that moves
    assert alpha.node.subnets.claimed == 0
    beta.say(f"10 3 beta {mac(1)}#1")
    beta.say(f"11 4 beta {mac(1)}#1", f"10 5 beta {mac(1)}#1")
    assert alpha.node.subnets.claimed == 2
    assert alpha.logged(0).count(CLAIM.format("gamma")) == 1
    assert alpha.logged(2).count(CLAIM.format("gamma")) == 2


def test_a_claim_of_a_mac_that_is_learned_later_is_reported_too(stage: MakeStage) -> None:
    alpha, beta = pair(stage)
    beta.say(f"10 1 beta {mac(1)}#1")
    assert alpha.node.subnets.claimed == 0
    alpha.read(frame(1))
    assert alpha.logged(0).count(CLAIM.format("alpha")) == 1


def test_with_strict_subnets_a_claim_has_no_effect(stage: MakeStage) -> None:
    alpha, beta = pair(stage, strict_subnets=True)
    alpha.read(frame(1))
    beta.say(f"10 1 beta {mac(1)}#1")
    assert alpha.node.subnets.table.mac_owner(bytes.fromhex(mac(1).replace(":", "")), bool) == "alpha"
    assert alpha.node.subnets.claimed == 0


# -- the end --


def test_a_deleted_subnet_belongs_to_no_node(stage: MakeStage) -> None:
    alpha, beta = pair(stage, subnets=(parse_subnet(mac(1)),))
    alpha.read(frame(1))
    beta.say(f"10 1 beta {mac(2)}")
    table = alpha.node.table
    one, two = (bytes.fromhex(mac(number).replace(":", "")) for number in (1, 2))
    assert {one, two} <= set(table.macs)
    beta.say(f"11 2 beta {mac(2)}")
    assert two not in table.macs
    assert table.own_macs == {one: alpha.now}
    alpha.reload(subnets=())
    assert one not in table.macs
    assert table.own_macs == {}


def test_an_unknown_subnet_is_not_deleted(stage: MakeStage) -> None:
    alpha, _ = pair(stage)
    alpha.actions.clear()
    assert not alpha.node.subnets.delete("beta", LAN)
    alpha.call(lambda node, now: node.tick(now))
    assert alpha.asked(RunScript) == []
    assert alpha.node.subnets.add("beta", LAN)
    assert not alpha.node.subnets.add("beta", LAN)
    assert alpha.node.subnets.delete("beta", LAN)
    alpha.call(lambda node, now: node.tick(now))
    assert [script.name for script in alpha.asked(RunScript)] == ["subnet-up", "subnet-down"]
