"""When frames that come back count as a loop, and the log lines about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytinc.datapath.flood_history import ANSWER_TIME, MEMORY
from pytinc.datapath.table import BROADCAST_MAC
from pytinc.node.loops import LOG_INTERVAL, PATIENCE
from pytinc.wire.neighbour import GUARD_MAC

if TYPE_CHECKING:
    from node.conftest import MakeStage, Scripted, Stage

STATION = bytes((2, 0, 0, 0, 0, 7))
LINE = (
    "There is a loop: broadcasts of the MAC address 02:00:00:00:00:07 come back through node beta "
    "({} packets). Is a LAN bridged to the VPN at both nodes?"
)


FEIGNED = (
    "Node beta repeats, or passes on, broadcasts of the MAC address 02:00:00:00:00:07 here, but there is "
    "no loop: test frames for this node's own LAN do not come back from the VPN. Nothing is dropped"
)
QUESTION = BROADCAST_MAC + GUARD_MAC + b"\x88\xb5"


def questions(alpha: Stage) -> list[bytes]:
    """Return what the node has asked its LAN since the last time."""
    found = [frame for frame in alpha.frames if frame.startswith(QUESTION)]
    alpha.frames.clear()
    return found


def comes_back(
    alpha: Stage, beta: Scripted, seconds: int, packets: int = 1, pause: float = 1.0, *, is_loop: bool = True
) -> None:
    """Let a station send packets in each of some seconds that come back from beta.

    If this is no loop, beta invents the frames: it does not get the frames for alpha's LAN alone.
    """
    for second in range(seconds):
        for question in questions(alpha) if is_loop else ():
            beta.meta.send_frame(question)
        for number in range(packets):
            frame = b"\xff" * 6 + STATION + b"\x88\xb5" + bytes((second, number)) * 30
            alpha.read(frame)
            beta.meta.send_frame(frame)
        beta.flush()
        for question in questions(alpha) if is_loop else ():
            beta.meta.send_frame(question)
        beta.flush()
        alpha.run(pause)


def test_forged_broadcasts_of_our_stations_are_no_loop_and_nothing_is_dropped(
    stage: MakeStage,
) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    frame = b"\xff" * 6 + STATION + b"\x88\xb5" + bytes(60)
    for second in range(30):
        for sends_first in (True, False):
            each = frame + bytes((second, sends_first))
            if sends_first:
                beta.meta.send_frame(each)
                beta.flush()
            alpha.frames.clear()
            beta.frames.clear()
            alpha.read(each)
            assert beta.frames == [each], "our station is heard"
            if not sends_first:
                alpha.frames.clear()
                beta.meta.send_frame(each)
                beta.flush()
                assert each in alpha.frames
        alpha.run(1)
    assert said(alpha) == [FEIGNED]
    assert alpha.node.table.total_drops().looped == 0
    assert not [event for event in alpha.node.history.ring.since(0) if event.kind == "loop"]


def test_an_old_question_proves_nothing_and_none_is_passed_on(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    comes_back(alpha, beta, 3, is_loop=False)
    (old,) = questions(alpha)
    alpha.run(ANSWER_TIME)
    beta.meta.send_frame(old)
    beta.flush()
    assert old not in alpha.frames
    comes_back(alpha, beta, 4, is_loop=False)
    alpha.read(*questions(alpha))  # a hub gives it back
    beta.frames.clear()
    comes_back(alpha, beta, 1, is_loop=False)
    assert said(alpha) == [FEIGNED]
    assert not any(frame.startswith(QUESTION) for frame in beta.frames)
    assert alpha.node.table.total_drops().looped == 0


def test_questions_are_a_second_apart_and_end_with_the_signs(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    comes_back(alpha, beta, 3, is_loop=False)
    alpha.frames.clear()
    comes_back(alpha, beta, 40, packets=5, pause=0.25, is_loop=False)
    asked = questions(alpha)
    assert 8 <= len(asked) <= 11
    assert len(set(asked)) == len(asked)
    assert {len(question) for question in asked} == {60}
    alpha.run(MEMORY)
    assert questions(alpha) == []


def test_a_loop_that_begins_while_somebody_feigns_one_is_found(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    comes_back(alpha, beta, 3 + round(PATIENCE) + 1, is_loop=False)
    assert said(alpha) == [FEIGNED]
    comes_back(alpha, beta, 3)
    assert alpha.node.table.floods.breaks_loops
    assert "There is a loop" in said(alpha)[1]


def said(alpha: Stage) -> list[str]:
    return [line for line in alpha.logged(0) if "loop" in line]


def test_a_loop_is_said_in_one_line_with_the_mac_and_the_node(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    comes_back(alpha, beta, 6, packets=5)
    assert said(alpha) == [LINE.format(15)]
    (event,) = (event for event in alpha.node.history.ring.since(0) if event.kind == "loop")
    assert event.fields == {"node": "beta", "mac": "02:00:00:00:00:07", "packets": 15}
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


def test_frames_that_come_back_are_dropped_only_while_there_is_a_loop(stage: MakeStage) -> None:
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
