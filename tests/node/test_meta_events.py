"""What comes on meta connections: the login as tinc does it, requests, packets, and what breaks the protocol.

See docs/protocol-meta.md, "Traces".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from node.conftest import FarEnd
from pytinc.node.actions import CloseMeta, Log
from pytinc.wire.address import Address
from pytinc.wire.datagram import TYPE_MAC, node_id
from pytinc.wire.subnet import parse_subnet

if TYPE_CHECKING:
    from node.conftest import MakeStage, Stage

LAN = parse_subnet("10.1.0.0/24")
FRAME = bytes.fromhex("ffffffffffff02000000000b88b5") + bytes(50)


def stranger(alpha: Stage, data: bytes) -> int:
    """Have somebody connect and say something; return the connection's number."""
    number = alpha.node.meta_accepted(Address("10.7.0.1", "4000"), Address("10.99.0.1", "655"), alpha.now)
    alpha.call(lambda node, now: node.meta_data(number, data, now))
    return number


def test_the_dialling_side_sends_what_the_trace_shows(stage: MakeStage) -> None:
    alpha = stage("beta", connect_to=("beta",), subnets=(LAN,))
    beta = alpha.answer_dial()
    assert beta.bursts[0] == b"0 alpha 17.7\n"
    assert beta.wrote[0].startswith(b"0 beta 17.7\n")
    assert [len(data) for data in beta.wrote] == [12 + 68, 67 + 35]
    # ACK, then at once everything else in the same piece.
    assert [len(data) for data in beta.bursts] == [13, 68 + 67, 35 + 49 + 80]


def test_the_accepting_side_sends_what_the_trace_shows(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.peer("beta")
    assert beta.wrote[0] == b"0 beta 17.7\n"
    assert beta.bursts[0].startswith(b"0 alpha 17.7\n")
    assert [len(data) for data in beta.bursts] == [13 + 68, 67 + 35, 80]
    assert [len(data) for data in beta.wrote] == [12, 68 + 67, 35]


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.0\n",
        b"8\n",
        b"10 1 beta 10.0.0.0/8\n",
        b"0 beta 16.7\n",
        b"0 nobody 17.7\n",
        b"0 alpha 17.7\n",
        b"\xff\xfe\n",
        b"x" * 5000,
    ],
)
def test_a_stranger_who_breaks_the_protocol_goes_to_the_tarpit(stage: MakeStage, data: bytes) -> None:
    alpha = stage("beta")
    number = stranger(alpha, data)
    assert alpha.asked(CloseMeta) == [CloseMeta(number, tarpit=True)]
    assert alpha.node.core.connections == {}
    assert any("Error while processing data" in line and "10.7.0.1" in line for line in alpha.logged(0))


def test_the_same_mistake_again_is_not_logged_aloud(stage: MakeStage) -> None:
    alpha = stage("beta")
    for _ in range(5):
        stranger(alpha, b"GET / HTTP/1.0\n")
    assert [line.level for line in alpha.asked(Log) if "Error while" in line.message] == [0, 2, 2, 2, 2]


@pytest.mark.parametrize(
    "line", ["12 1 beta ghost \x1b[2J 655 c 10", "4 655 1 c", "99", "12 1 beta beta h 655 c 1"]
)
def test_a_request_that_breaks_the_protocol_ends_the_connection_and_the_edge(
    stage: MakeStage, line: str
) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    beta.say(line)
    assert beta.closed
    assert not alpha.node.peers["beta"].reachable
    assert "ghost" not in alpha.node.peers
    assert all("\x1b" not in one for one in alpha.logged())


def test_requests_after_a_mistake_or_a_goodbye_in_the_same_piece_are_ignored(stage: MakeStage) -> None:
    for last in ("99", "7"):
        alpha = stage("beta")
        beta = alpha.neighbour("beta")
        for line in (last, "10 1 beta 10.2.0.0/24"):
            beta.meta.send_line(line)
        beta.flush()
        assert beta.closed
        assert alpha.node.subnets.table.of("beta") == []


def test_a_request_in_the_same_piece_sees_what_the_one_before_has_changed(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.peer("beta")
    for line in ("12 1 beta alpha 10.99.0.1 655 700000c 1", "15 beta alpha 19"):
        beta.meta.send_line(line)
    beta.flush()
    # An answer needs a route to beta.
    assert any(line.startswith("15 alpha beta 20 ") for line in beta.lines)


def test_a_frame_in_the_same_piece_goes_where_the_line_before_it_leads(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma")
    beta, gamma = alpha.neighbour("beta"), alpha.neighbour("gamma")
    frame = bytes.fromhex("02000000000c02000000000b88b5") + bytes(50)
    beta.meta.send_line("10 1 gamma 02:00:00:00:00:0c")
    beta.meta.send_frame(frame)
    beta.flush()
    assert gamma.frames == [frame]
    assert alpha.frames == []


def test_bytes_on_a_connection_that_is_over_are_ignored(stage: MakeStage) -> None:
    alpha = stage("beta")
    alpha.call(lambda node, now: node.meta_data(99, b"8\n", now))
    beta = alpha.neighbour("beta")
    beta.hang_up()
    alpha.actions.clear()
    beta.say("8")
    assert alpha.actions == []


def test_a_frame_from_a_neighbour_goes_to_the_device_and_on_to_the_others(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma")
    beta, gamma = alpha.neighbour("beta"), alpha.neighbour("gamma")
    beta.meta.send_frame(FRAME)
    beta.flush()
    assert alpha.frames == [FRAME]
    assert gamma.frames == [FRAME]
    assert beta.frames == []


def test_a_sealed_record_from_a_neighbour_is_opened(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    far = FarEnd(beta).open()
    assert far.session is not None
    beta.meta.send_sptps_packet(node_id("alpha") + node_id("beta") + far.session.seal(TYPE_MAC, FRAME))
    beta.flush()
    assert alpha.frames == [FRAME]
