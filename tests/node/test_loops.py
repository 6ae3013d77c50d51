"""When frames that come back are taken for a loop, and what the log says about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytinc.datapath.flood_history import MEMORY
from pytinc.node.loops import LOG_INTERVAL

if TYPE_CHECKING:
    from node.conftest import MakeStage, Scripted, Stage

STATION = bytes((2, 0, 0, 0, 0, 7))
LINE = (
    "There is a loop: what the MAC address 02:00:00:00:00:07 sends to all comes back by way of node beta "
    "({} packets). Is a LAN bridged to the VPN at both nodes?"
)


def comes_back(alpha: Stage, beta: Scripted, seconds: int, packets: int = 1, pause: float = 1.0) -> None:
    """Let a station send packets in each of some seconds that come back from beta."""
    for second in range(seconds):
        for number in range(packets):
            frame = b"\xff" * 6 + STATION + b"\x88\xb5" + bytes((second, number)) * 30
            alpha.read(frame)
            beta.meta.send_frame(frame)
        beta.flush()
        alpha.run(pause)


def said(alpha: Stage) -> list[str]:
    return [line for line in alpha.logged(0) if "loop" in line]


def test_a_loop_is_said_in_one_line_with_the_mac_and_the_node(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    comes_back(alpha, beta, 6, packets=5)
    assert said(alpha) == [LINE.format(11)]
    (event,) = (event for event in alpha.node.history.ring.since(0) if event.kind == "loop")
    assert event.fields == {"node": "beta", "mac": "02:00:00:00:00:07", "packets": 11}
    assert alpha.node.table.floods.returned == 30


def test_the_line_comes_again_after_a_minute_with_the_count(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    comes_back(alpha, beta, round(LOG_INTERVAL) + 5)
    assert said(alpha) == [LINE.format(3), LINE.format(60)]


def test_a_station_that_moves_is_not_taken_for_a_loop(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    comes_back(alpha, beta, 2, packets=20)
    alpha.run(MEMORY)
    comes_back(alpha, beta, 2, packets=20)
    assert said(alpha) == []
    assert alpha.node.table.total_drops().looped == 0


def test_while_there_is_a_loop_what_comes_back_is_dropped_and_afterwards_not(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    comes_back(alpha, beta, 3)
    assert alpha.node.table.total_drops().looped == 0
    comes_back(alpha, beta, 2)
    assert alpha.node.table.total_drops().looped == 2
    alpha.run(MEMORY)
    comes_back(alpha, beta, 2)
    assert alpha.node.table.total_drops().looped == 2


def test_a_node_that_is_purged_is_forgotten(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    comes_back(alpha, beta, 2)
    beta.hang_up()
    file = alpha.hosts.files.pop("beta")
    alpha.call(lambda node, now: node.purge(now))
    alpha.hosts.files["beta"] = file
    comes_back(alpha, alpha.neighbour("beta"), 2)
    assert said(alpha) == []
