"""What a change of the mesh leads to, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.conftest import FarEnd
from pytinc.node.actions import RunScript
from sim.simulator import WALL_START

if TYPE_CHECKING:
    from node.conftest import MakeStage

MAC = bytes.fromhex("02000000000a")
FRAME = b"\xff" * 6 + MAC + b"\x88\xb5" + bytes(50)


def test_a_node_that_comes_is_logged_with_its_address_and_one_that_goes_loses_it(stage: MakeStage) -> None:
    alpha = stage("beta")
    alpha.now = 7.0
    beta = alpha.neighbour("beta")
    peer = alpha.node.peers["beta"]
    assert "Node beta (10.99.0.2 port 655) became reachable" in alpha.logged(1)
    assert (peer.last_state_change, peer.options) == (int(WALL_START) + 7, 0x0700000C)
    FarEnd(beta).open()
    peer.slot.minmtu = 1400
    alpha.now = 9.0
    beta.hang_up()
    assert "Node beta (10.99.0.2 port 655) became unreachable" in alpha.logged(1)
    assert (peer.address, peer.slot.address, peer.options) == (None, None, 0)
    assert (peer.slot.session, peer.slot.minmtu, peer.version) == (None, 0, 0)
    assert peer.last_state_change == int(WALL_START) + 9
    assert alpha.node.table.direct == ()


def test_a_node_without_an_address_is_logged_so(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    beta.say("12 1 beta ghost unspec unspec 700000c 1", "12 2 ghost beta 10.0.0.9 655 700000c 1")
    beta.hang_up()
    lines = [line for line in alpha.logged(1) if "ghost" in line]
    assert lines == [
        "Node ghost (unspec port unspec) became reachable",
        "Node ghost (unspec port unspec) became unreachable",
    ]


def test_frames_of_the_event_that_made_a_node_reachable_find_their_way(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma")
    beta = alpha.neighbour("beta")
    gamma = alpha.peer("gamma")
    gamma.meta.send_line("12 1 gamma alpha 10.99.0.1 655 700000c 1")
    gamma.meta.send_line("10 2 gamma 02:00:00:00:00:0a")
    gamma.flush()
    frame = MAC + bytes.fromhex("02000000000b") + b"\x88\xb5" + bytes(50)
    alpha.read(frame)
    assert gamma.frames == [frame]
    assert beta.frames == []


def test_a_subnet_of_an_unreachable_node_runs_no_script(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma")
    beta = alpha.neighbour("beta")
    alpha.actions.clear()
    beta.say("10 1 gamma 10.3.0.0/24", "11 2 gamma 10.3.0.0/24", "10 3 beta 10.2.0.0/24")
    assert [script.environment["SUBNET"] for script in alpha.asked(RunScript)] == ["10.2.0.0/24"]


def test_the_end_of_a_dialled_connection_is_known_to_the_dialler_before_the_next_event(
    stage: MakeStage,
) -> None:
    alpha = stage("beta", "gamma", connect_to=("beta",))
    beta = alpha.answer_dial()
    beta.link("beta", "alpha")
    beta.hang_up()
    alpha.call(lambda node, now: node.retry(now))
    assert [dial.peer for dial in alpha.dialled] == ["beta", "beta"]
