"""The node as one: what each event of the shell leads to, in which order, and when the next one is due."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from node.conftest import FarEnd
from pytinc.config.settings import Mode
from pytinc.node.actions import Dial, Log, RunScript
from pytinc.wire.address import Address
from pytinc.wire.datagram import TYPE_MAC, TYPE_PROBE
from pytinc.wire.subnet import parse_subnet
from sim.simulator import WALL_START

if TYPE_CHECKING:
    from node.conftest import MakeStage

MAC = bytes.fromhex("02000000000a")
FRAME = b"\xff" * 6 + MAC + b"\x88\xb5" + bytes(50)


def test_at_the_start_own_subnets_are_up_before_anybody_is_dialled(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma", subnets=(parse_subnet("10.1.0.0/24"),), connect_to=("beta",))
    kinds = [type(action) for action in alpha.actions if not isinstance(action, Log)]
    assert kinds == [RunScript, Dial]
    assert set(alpha.node.peers) == {"alpha", "beta", "gamma"}
    assert alpha.node.me.last_state_change == int(WALL_START)


def test_at_the_stop_connections_end_then_nodes_and_own_subnets_go_down(stage: MakeStage) -> None:
    alpha = stage("beta", subnets=(parse_subnet("10.1.0.0/24"),))
    alpha.neighbour("beta")
    alpha.actions.clear()
    alpha.call(lambda node, now: node.stop(now))
    assert [script.name for script in alpha.asked(RunScript)] == [
        "host-down",
        "hosts/beta-down",
        "subnet-down",
    ]
    assert alpha.node.core.connections == {}
    assert not alpha.node.peers["beta"].reachable


def test_the_shell_is_told_whether_more_than_packets_came_of_datagrams(stage: MakeStage) -> None:
    alpha = stage("beta", ping_interval=1000)
    far = FarEnd(alpha.neighbour("beta")).open()
    alpha.read(FRAME)
    frame = MAC + bytes.fromhex("02000000000b") + b"\x88\xb5" + bytes(50)
    results: list[bool] = []

    def deliver(type_: int, payload: bytes) -> None:
        assert far.session is not None
        datagram = bytes(6) + alpha.node.peers["beta"].slot.id + far.session.seal(type_, payload)
        alpha.call(lambda node, now: results.append(node.datagrams([datagram], [far.address], 0, now)))

    deliver(TYPE_MAC, frame)
    deliver(TYPE_MAC, frame)
    deliver(TYPE_PROBE, bytes(18))
    assert results[1:] == [False, True]
    assert alpha.frames == [frame, frame]


def test_the_next_deadline_is_the_earliest_of_all_parts_and_comes_to_rest(stage: MakeStage) -> None:
    alpha = stage("beta", connect_to=("beta",))
    alpha.neighbour("beta")
    alpha.run(1)
    assert 2 < alpha.node.next_deadline() < 3  # the first look for half edges
    alpha.node.dialling._entries["beta"].retry_at = alpha.now + 0.001
    assert alpha.node.next_deadline() == alpha.now + 0.001
    alpha.run(0.002)
    assert alpha.node.dialling.next_deadline() == math.inf


def test_a_reload_changes_options_rules_and_probes(stage: MakeStage) -> None:
    alpha = stage("beta")
    assert alpha.node.me.options == 0x0700000C
    alpha.reload(clamp_mss=False, indirect_data=True, direct_only=True, udp_discovery_timeout=17)
    assert alpha.node.me.options == 0x07000005
    assert not alpha.node.me.slot.clamp_mss
    assert alpha.node.table.rules.direct_only
    assert alpha.node.peers["beta"].path.settings.timeout == 17
    assert alpha.node.settings.udp_discovery_timeout == 17


def test_only_a_router_is_told_the_address_of_the_host(stage: MakeStage) -> None:
    for mode, router in ((Mode.ROUTER, True), (Mode.SWITCH, False)):
        alpha = stage("beta", mode=mode)
        assert alpha.node.table.rules.router is router
        alpha.node.set_hwaddr(MAC)
        assert alpha.node.table.hwaddr == MAC
    alpha.node.set_hwaddr(None)
    assert alpha.node.table.hwaddr is None


def test_frames_are_captured_while_somebody_listens(stage: MakeStage) -> None:
    alpha = stage("beta")
    alpha.read(FRAME)
    captured: list[bytes] = []
    alpha.node.capture = captured
    assert alpha.node.capture is captured
    alpha.read(FRAME)
    alpha.node.capture = None
    alpha.read(FRAME)
    assert captured == [FRAME]


@pytest.mark.parametrize("seconds", [70, 200])
def test_announcements_are_remembered_for_a_ping_interval(stage: MakeStage, seconds: int) -> None:
    alpha = stage("beta", ping_interval=100, udp_discovery_timeout=1000)
    beta = alpha.neighbour("beta")
    beta.say("10 1 beta 10.2.0.0/24")
    alpha.run(50)
    beta.say("9")
    alpha.run(seconds - 50)
    assert ("10 1 beta 10.2.0.0/24" in alpha.node.seen) is (seconds < 100)


def test_a_socket_s_index_is_its_place_in_the_list(stage: MakeStage) -> None:
    alpha = stage("beta")
    alpha.node.set_sockets([(6, Address("::", "655")), (4, Address("0.0.0.0", "655"))])
    alpha.neighbour("beta")
    assert alpha.node.peers["beta"].slot.socket == 1
