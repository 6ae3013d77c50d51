"""Sealed records that come by TCP: opened or passed on, and both ends are helped to a straight path."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from node.conftest import FarEnd
from pytinc.wire.datagram import DATAGRAM_OVERHEAD, MAX_PACKET_SIZE, MTU_MAX, TYPE_MAC, node_id

if TYPE_CHECKING:
    from node.conftest import MakeStage, Scripted, Stage

FRAME = bytes.fromhex("ffffffffffff02000000000b88b5") + bytes(50)
LONGEST = MTU_MAX + DATAGRAM_OVERHEAD
ALPHA, BETA, GAMMA, DELTA = (node_id(name) for name in ("alpha", "beta", "gamma", "delta"))


@pytest.fixture
def pair(stage: MakeStage) -> tuple[Stage, Scripted, Scripted]:
    """Alpha with two neighbours; delta is behind gamma."""
    alpha = stage("beta", "gamma", "delta")
    beta, gamma = alpha.neighbour("beta"), alpha.neighbour("gamma")
    gamma.link("gamma", "delta")
    for peer in (beta, gamma):
        peer.heard()
    return alpha, beta, gamma


def send(peer: Scripted, data: bytes) -> None:
    peer.meta.send_sptps_packet(data)
    peer.flush()


def test_a_record_for_us_is_opened_and_its_sender_is_told_how_to_reach_us(
    pair: tuple[Stage, Scripted, Scripted],
) -> None:
    alpha, _, gamma = pair
    far = FarEnd(gamma, "delta").open()
    alpha.now += 10  # what was told with the handshake is told again after a while
    gamma.heard()
    assert far.session is not None
    send(gamma, ALPHA + DELTA + far.session.seal(TYPE_MAC, FRAME))
    assert alpha.frames == [FRAME]
    told = [line for line in gamma.heard() if line[:3] in ("22 ", "23 ")]
    assert told == ["22 alpha delta 10.99.0.1 655", "23 alpha delta 1518"]


def test_a_record_for_another_node_is_passed_on_as_it_is(pair: tuple[Stage, Scripted, Scripted]) -> None:
    alpha, beta, gamma = pair
    for target in (GAMMA, DELTA):
        send(beta, target + BETA + bytes(100))
    assert gamma.packets == [GAMMA + BETA + bytes(100), DELTA + BETA + bytes(100)]
    assert beta.packets == []
    assert alpha.frames == []


@pytest.mark.parametrize("ids", [b"nobody" + BETA, ALPHA + b"nobody", GAMMA + ALPHA])
def test_a_record_of_or_for_nobody_or_in_our_own_name_goes_nowhere(
    pair: tuple[Stage, Scripted, Scripted], ids: bytes
) -> None:
    alpha, beta, gamma = pair
    send(beta, ids + bytes(100))
    assert gamma.packets == []
    assert alpha.frames == []
    assert "SPTPS_PACKET with unknown ids from beta" in alpha.logged(3)
    assert not beta.closed


@pytest.mark.parametrize(("size", "dropped"), [(LONGEST, 0), (MAX_PACKET_SIZE + 1, 1), (32767, 1)])
def test_an_overlong_packet_is_counted_and_goes_nowhere(
    pair: tuple[Stage, Scripted, Scripted], size: int, dropped: int
) -> None:
    alpha, beta, gamma = pair
    send(beta, GAMMA + BETA + bytes(size - 12))
    assert alpha.node.table.drops.oversized == dropped
    assert len(gamma.packets) == 1 - dropped
    assert beta.say("8") == ["9"]
