"""Log lines about nodes that send too much to all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytinc.node.storms import LOG_INTERVAL, QUIET

if TYPE_CHECKING:
    from node.conftest import MakeStage, Stage

EXCEEDED = "Our own device sends more than 4 packets a second to all (BroadcastLimit): the rest is dropped"
OVER = "Our own device no longer sends too much to all: {} packets were dropped in {} s"


def broadcast(number: int) -> bytes:
    return b"\xff" * 6 + bytes((2, 0, 0, 0, 0, 1)) + b"\x88\xb5" + bytes((number,)) * 50


def storm(alpha: Stage, frames: int = 10) -> None:
    alpha.read(*map(broadcast, range(frames)))


def said(alpha: Stage, level: int = 0) -> list[str]:
    return [line for line in alpha.logged(level) if " to all" in line]


def test_a_storm_is_logged_once_when_it_begins_and_once_when_it_is_over(stage: MakeStage) -> None:
    alpha = stage("beta", broadcast_limit=4)
    for _ in range(5):
        storm(alpha)
        alpha.run(1.0)
    assert said(alpha) == [EXCEEDED]
    alpha.run(60)
    assert said(alpha) == [EXCEEDED, OVER.format(30, 5)]


def test_a_node_of_the_mesh_is_named(stage: MakeStage) -> None:
    alpha = stage("beta", broadcast_limit=4)
    beta = alpha.neighbour("beta")
    for number in range(6):
        beta.meta.send_frame(broadcast(number))
    beta.flush()
    alpha.run(QUIET)
    begin, end = said(alpha)
    assert begin.startswith("Node beta sends more than 4 packets a second to all")
    assert end == "Node beta no longer sends too much to all: 2 packets were dropped in 1 s"


def test_storms_that_follow_each_other_do_not_fill_the_log(stage: MakeStage) -> None:
    alpha = stage("beta", broadcast_limit=4)
    storm(alpha)
    alpha.run(QUIET + 1)
    expected = [EXCEEDED, OVER.format(6, 1)]
    assert said(alpha) == expected
    storm(alpha, 5)
    alpha.run(QUIET + 1)
    assert said(alpha) == expected
    assert said(alpha, 2) == [*expected, EXCEEDED, OVER.format(1, 1)]
    alpha.run(LOG_INTERVAL)
    storm(alpha, 7)
    alpha.run(QUIET + 1)
    assert said(alpha) == [*expected, EXCEEDED, OVER.format(3, 1)]


def test_a_storm_of_a_node_that_is_purged_is_forgotten(stage: MakeStage) -> None:
    alpha = stage("beta", broadcast_limit=4)
    beta = alpha.neighbour("beta")
    for number in range(6):
        beta.meta.send_frame(broadcast(number))
    beta.flush()
    beta.hang_up()
    alpha.hosts.files.pop("beta")
    alpha.call(lambda node, now: node.purge(now))
    assert "beta" not in alpha.node.peers
    alpha.run(QUIET)
    assert len(said(alpha)) == 1


def test_a_reload_changes_the_limit(stage: MakeStage) -> None:
    alpha = stage("beta", broadcast_limit=4)
    alpha.reload(broadcast_limit=10)
    storm(alpha)
    assert alpha.node.table.total_drops().storm == 0
    alpha.reload(broadcast_limit=2)
    alpha.run(1)
    storm(alpha)
    assert alpha.node.table.total_drops().storm == 8
