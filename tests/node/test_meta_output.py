"""Output of meta connections: its receivers, one write for each event, packets only while there is room.

See docs/protocol-data.md, "Early drop".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from node.conftest import without_nonce
from pytinc.node.actions import CloseMeta, SendMeta
from pytinc.node.meta_output import NEWS_REST
from pytinc.wire.datagram import node_id
from pytinc.wire.requests import Ack, Ping

if TYPE_CHECKING:
    from node.conftest import MakeStage, Scripted, Stage
    from pytinc.node.records import Connection

FRAME = bytes.fromhex("ffffffffffff02000000000a88b5") + bytes(50)
SIZE = 15180
"""tinc's default of MaxOutputBufferSize."""


@pytest.mark.parametrize(
    ("queued", "chance", "passes"),
    [
        (0, 0.0, True),
        (SIZE // 2, 0.0, True),
        (SIZE // 2 + 1, 0.0, False),
        (SIZE * 3 // 4, 0.49, False),
        (SIZE * 3 // 4, 0.51, True),
        (SIZE - 100, 0.999, True),
        (SIZE, 0.999, False),
        (SIZE * 9, 0.999, False),
    ],
)
@pytest.mark.parametrize("sealed", [False, True])
def test_from_half_full_on_frames_are_dropped_the_more_likely_the_fuller(
    stage: MakeStage, queued: int, chance: float, passes: bool, sealed: bool
) -> None:
    alpha = stage("beta", max_output_buffer_size=SIZE)
    beta = alpha.neighbour("beta")
    alpha.queued, alpha.chance = queued, chance
    if sealed:
        connection = alpha.node.core.connections.get(beta.number)
        assert connection is not None
        alpha.node.meta_output.send_sptps_packet(connection, bytes(100))
        alpha.call(lambda node, now: node.tick(now))
        assert bool(beta.packets) is passes
    else:
        alpha.call(lambda node, now: node.frames([FRAME], now))
        assert bool(beta.frames) is passes


def test_requests_are_never_dropped(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    alpha.queued, alpha.chance = 10**9, 0.0
    assert beta.say("8", "10 1 alpha 10.9.0.0/16") == ["9", "11 * alpha 10.9.0.0/16"]


def test_max_output_buffer_size_0_does_not_divide_by_it(stage: MakeStage) -> None:
    alpha = stage("beta", max_output_buffer_size=0)
    beta = alpha.neighbour("beta")
    alpha.call(lambda node, now: node.frames([FRAME], now))
    assert beta.frames == [FRAME]
    alpha.queued = 2
    alpha.call(lambda node, now: node.frames([FRAME], now))
    assert beta.frames == [FRAME]


# -- to whom --


def connection(alpha: Stage, name: str) -> Connection:
    """Return the connection with a neighbour."""
    (found,) = (one for one in alpha.node.core.activated if one.name == name)
    return found


def test_all_that_one_event_puts_on_a_connection_leaves_in_one_write(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    before = len(beta.bursts)
    for line in ("8", "10 1 alpha 10.9.0.0/16", "8"):
        beta.meta.send_line(line)
    beta.flush()
    assert beta.heard() == ["9", "11 * alpha 10.9.0.0/16", "9"]
    assert len(beta.bursts) == before + 1


def test_a_line_goes_to_all_that_have_logged_in_but_the_one_it_came_from(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma", "delta", "epsilon", connect_to=("epsilon",))
    beta, gamma, delta = (alpha.neighbour(name) for name in ("beta", "gamma", "delta"))
    beta.say("10 1 beta 10.2.0.0/16")
    for peer, heard in ((beta, False), (gamma, True), (delta, True)):
        assert ("10 * beta 10.2.0.0/16" in peer.heard()) is heard
    assert {action.connection for action in alpha.asked(SendMeta)} <= {
        beta.number,
        gamma.number,
        delta.number,
    }


def test_a_second_ping_waits_for_the_answer_to_the_first(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    for _ in range(2):
        alpha.call(lambda node, now: node.meta_output.ping(connection(alpha, "beta"), now))
    alpha.call(lambda node, now: node.meta_output.flush(now))
    assert beta.heard() == ["8"]
    beta.say("9")
    alpha.call(lambda node, now: node.meta_output.ping(connection(alpha, "beta"), now))
    alpha.call(lambda node, now: node.meta_output.flush(now))
    assert beta.heard() == ["8"]


def test_a_request_for_a_distant_node_leaves_by_its_next_hop_or_is_lost(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma", "delta", "epsilon")
    beta, gamma = alpha.neighbour("beta"), alpha.neighbour("gamma")
    beta.link("beta", "delta")
    for name in ("delta", "epsilon"):
        alpha.node.meta_output.send_towards(alpha.node.peers[name], f"15 alpha {name} 19")
    alpha.call(lambda node, now: node.meta_output.flush(now))
    assert beta.heard() == [
        "12 * alpha gamma 10.99.0.3 655 700000c 3 10.99.0.1 655",
        "12 * gamma alpha 10.99.0.1 655 700000c 1",
        "15 alpha delta 19",
    ]
    assert [line for line in gamma.heard() if line.startswith("15 ")] == []


@pytest.mark.parametrize(
    ("version", "size", "packets", "lines"),
    [(7, 100, 1, 0), (6, 100, 0, 1), (7, 1660, 1, 0), (6, 1660, 0, 0)],
)
def test_a_record_goes_as_it_is_or_to_an_older_neighbour_as_text_if_it_fits_a_line(
    stage: MakeStage, version: int, size: int, packets: int, lines: int
) -> None:
    alpha = stage("beta")
    beta = alpha.peer("beta", ack=Ack("655", 7, version << 24 | 0xC))
    beta.link("beta", "alpha")
    beta.heard()
    me, peer = alpha.node.me, alpha.node.peers["beta"]
    alpha.call(lambda node, now: node.meta_output.send_record(peer, me, bytes(size)))
    alpha.call(lambda node, now: node.meta_output.flush(now))
    assert beta.packets == [node_id("beta") + node_id("alpha") + bytes(size)] * packets
    assert [line[:17] for line in beta.heard()] == ["15 alpha beta 21 "] * lines


def test_the_output_of_an_ended_connection_is_lost(stage: MakeStage) -> None:
    alpha = stage("beta")
    alpha.neighbour("beta")
    alpha.actions.clear()
    ended = connection(alpha, "beta")
    alpha.node.meta_output.send(ended, Ping())
    alpha.call(lambda node, now: node.disconnect("beta", now))
    assert alpha.asked(CloseMeta) == [CloseMeta(ended.number, tarpit=False)]
    assert alpha.asked(SendMeta) == []


# -- announcements of a large mesh --


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every mesh be a large one."""
    monkeypatch.setattr("pytinc.node.core.SMALL_MESH", 0)


def edge(number: int) -> str:
    """Return an announcement of an edge of a distant node."""
    return f"12 {number:x} far{number} beta 10.9.0.{number} 655 c 1"


def said_to(peer: Scripted) -> list[str]:
    """Return what the node has sent to a peer, nonces included; forget it."""
    lines = list(peer.lines)
    peer.lines.clear()
    return lines


def settled(stage: MakeStage) -> tuple[Stage, Scripted, Scripted]:
    """Return a node with two neighbours, to which nothing has been said for a second."""
    alpha = stage("beta", "gamma")
    beta, gamma = alpha.neighbour("beta"), alpha.neighbour("gamma")
    alpha.run(1)
    for peer in (beta, gamma):
        said_to(peer)
    return alpha, beta, gamma


@pytest.mark.usefixtures("large")
def test_in_a_large_mesh_the_first_announcement_leaves_at_once_and_later_ones_together(
    stage: MakeStage,
) -> None:
    alpha, beta, gamma = settled(stage)
    start = alpha.now
    for number in range(1, 4):
        beta.say(edge(number))
        alpha.now += 0.001
    assert said_to(gamma) == [edge(1)]
    assert alpha.node.next_deadline() == pytest.approx(start + NEWS_REST)
    before = len(gamma.bursts)
    alpha.now = start + NEWS_REST
    alpha.call(lambda node, now: node.tick(now))
    assert said_to(gamma) == [edge(2), edge(3)]
    assert len(gamma.bursts) == before + 1


@pytest.mark.usefixtures("large")
def test_lines_of_a_neighbour_are_not_sent_back_to_it(stage: MakeStage) -> None:
    alpha, beta, gamma = settled(stage)
    beta.say(edge(1))
    beta.say(edge(2), "10 7 beta 10.2.0.0/16", "13 8 beta far9", "10 9 beta 10.3.0.0/16", edge(3))
    gamma.say(edge(2), "10 7 beta 10.2.0.0/16", "13 8 beta far9")
    alpha.run(1)
    assert said_to(gamma) == [edge(1), "10 9 beta 10.3.0.0/16", edge(3)]


@pytest.mark.usefixtures("large")
def test_a_change_is_told_even_if_the_neighbour_says_the_same_in_older_words(stage: MakeStage) -> None:
    # Its words may be from before the deletion, which it hears of from us just then.
    alpha, beta, gamma = settled(stage)
    beta.say(edge(1))
    beta.say("13 aa far1 beta", edge(1).replace("12 1 ", "12 bb "))
    gamma.say(edge(1).replace("12 1 ", "12 cc "))
    alpha.run(1)
    assert said_to(gamma) == [edge(1), "13 aa far1 beta", edge(1).replace("12 1 ", "12 bb ")]


@pytest.mark.usefixtures("large")
def test_a_neighbour_that_has_dialled_is_introduced_only_to_what_it_does_not_tell_itself(
    stage: MakeStage,
) -> None:
    alpha = stage("beta", "gamma")
    beta = alpha.neighbour("beta")
    beta.say(edge(1), edge(2), "10 7 beta 10.2.0.0/16", "10 8 beta 10.3.0.0/16")
    alpha.now += 1
    gamma = alpha.peer("gamma")
    # In other words, since both have known it for long.
    gamma.say(edge(2).replace("12 2 ", "12 22 "), "10 77 beta 10.2.0.0/16")
    assert [without_nonce(line) for line in said_to(gamma) if line.startswith("12 ")] == [
        "12 * alpha gamma 10.99.0.3 655 700000c 3 10.99.0.1 655"
    ]
    alpha.run(1)
    heard = said_to(gamma)
    assert edge(1) in heard
    assert "10 8 beta 10.3.0.0/16" in heard
    assert not [line for line in heard if "far2" in line or "10.2.0.0" in line]


@pytest.mark.usefixtures("large")
def test_a_request_of_another_node_does_not_overtake_the_announcement_of_that_node(
    stage: MakeStage,
) -> None:
    _, beta, gamma = settled(stage)
    beta.say(edge(1))
    said_to(gamma)
    beta.say(edge(2), edge(2).replace("far2 beta", "beta far2"), "15 far2 gamma 19")
    assert said_to(gamma) == [edge(2), edge(2).replace("far2 beta", "beta far2"), "15 far2 gamma 19"]


@pytest.mark.usefixtures("large")
def test_announcements_that_wait_are_bounded(stage: MakeStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytinc.node.meta_output.MAX_NEWS", 3)
    alpha, beta, gamma = settled(stage)
    for number in range(1, 6):
        beta.say(edge(number))
    assert said_to(gamma) == [edge(number) for number in range(1, 5)]
    alpha.call(lambda node, now: node.disconnect("gamma", now))
    assert alpha.node.next_deadline() > alpha.now


def test_nothing_overtakes_what_waits_when_a_mesh_gets_small(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma")
    beta, gamma = alpha.neighbour("beta"), alpha.neighbour("gamma")
    for i in range(48):
        there, back = f"far{i} beta", f"beta far{i}"
        beta.say(
            f"12 {i + 0x1000:x} {there} 10.9.0.{i} 655 c 1", f"12 {i + 0x5000:x} {back} 10.9.0.{i} 655 c 1"
        )
    alpha.run(2)
    assert alpha.node.core.is_large
    gamma.lines.clear()
    beta.say("10 77 far1 10.3.0.0/16")
    alpha.now += 0.001
    beta.say("11 78 far1 10.3.0.0/16", "13 80 beta far47", "13 81 far47 beta")
    alpha.now += 0.002
    alpha.call(lambda node, now: node.topology.update(now))
    alpha.call(lambda node, now: node.purge(now))
    assert not alpha.node.core.is_large
    beta.say("10 79 far1 10.3.0.0/16")
    alpha.run(1)
    told = [line.split()[:2] for line in gamma.lines if "10.3.0.0" in line]
    assert told == [["10", "77"], ["11", "78"], ["10", "79"]]


def test_announcements_for_a_replaced_connection_leave_on_the_new_one(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma")
    beta, gamma = alpha.neighbour("beta"), alpha.neighbour("gamma")
    for i in range(55):
        there, back = f"far{i} beta", f"beta far{i}"
        beta.say(f"12 {i + 0x1000:x} {there} 10.9.0.{i} 655 c 1")
        beta.say(f"12 {i + 0x5000:x} {back} 10.9.0.{i} 655 c 1")
    alpha.run(2)
    beta.say("13 90 beta far1")
    alpha.now += 0.005
    gamma.lines.clear()
    beta.say("13 91 beta far3", "13 92 far3 beta")
    alpha.now += 0.005
    again = alpha.peer("gamma")
    alpha.run(1)
    assert gamma.lines == []
    assert [line for line in again.lines if line.startswith("13 ")] == ["13 91 beta far3", "13 92 far3 beta"]
