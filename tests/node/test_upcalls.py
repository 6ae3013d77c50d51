"""Reports of the data path reach the parts that act on them, in a fixed order, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from node.conftest import FarEnd
from pytinc.wire.datagram import TYPE_PACKET, TYPE_PROBE

if TYPE_CHECKING:
    from node.conftest import MakeStage, Scripted, Stage

STATION = bytes.fromhex("02000000000a")
MAC_OF_BETA = bytes.fromhex("02000000000b")


def frame(to: bytes = b"\xff" * 6) -> bytes:
    return to + STATION + b"\x88\xb5" + bytes(50)


@pytest.fixture
def pair(stage: MakeStage) -> tuple[Stage, Scripted]:
    alpha = stage("beta", "gamma", local_discovery=False)
    beta = alpha.neighbour("beta")
    beta.link("beta", "gamma")
    beta.heard()
    return alpha, beta


def keys_asked(beta: Scripted) -> list[str]:
    return [
        line.split(" ")[2] for line in beta.heard() if line.startswith("15 alpha ") and " 15 " in line[3:]
    ]


def test_a_frame_teaches_its_mac_goes_by_tcp_and_has_a_key_asked_for(pair: tuple[Stage, Scripted]) -> None:
    alpha, beta = pair
    alpha.read(frame())
    assert alpha.node.table.own_macs == {STATION: alpha.now}
    assert beta.frames == [frame()]
    told = beta.heard()
    assert told[0] == "10 * alpha 02:00:00:00:00:0a"
    assert any(line.startswith("15 alpha beta 15 ") for line in told)
    assert not alpha.node.output.upcalls


def test_a_record_that_we_have_no_key_for_has_one_asked_for(pair: tuple[Stage, Scripted]) -> None:
    alpha, beta = pair
    far = FarEnd(beta, "gamma").open()
    alpha.node.sessions.forget(alpha.node.peers["gamma"])
    beta.heard()
    far.send_frame(frame())
    assert "gamma" in keys_asked(beta)
    assert alpha.frames == []


def test_a_sealed_record_for_a_distant_node_leaves_by_its_neighbour(pair: tuple[Stage, Scripted]) -> None:
    alpha, beta = pair
    far = FarEnd(beta, "gamma").open()
    beta.say("10 1 gamma 02:00:00:00:00:0b")
    alpha.read(frame(MAC_OF_BETA))
    (packet,) = beta.packets
    assert far.session is not None
    record = far.session.receive(packet[12:])
    assert record is not None
    assert record.data == frame(MAC_OF_BETA)


def test_a_handshake_record_that_came_by_udp_is_answered(pair: tuple[Stage, Scripted]) -> None:
    alpha, beta = pair
    far = FarEnd(beta).open()
    assert far.session is not None
    far.session.force_rekey()
    (kex,) = far.session.take_output()
    datagram = bytes(6) + alpha.node.peers["beta"].slot.id + kex
    alpha.call(lambda node, now: node.datagrams([datagram], [far.address], 0, now))
    far.finish()
    assert far.session.key_changes == 2


def test_bad_records_from_a_proved_address_count_and_a_probe_ends_the_count(
    pair: tuple[Stage, Scripted],
) -> None:
    alpha, beta = pair
    far = FarEnd(beta).open()
    peer = alpha.node.peers["beta"]
    alpha.call(lambda node, now: node.tunnels.upkeep(peer, now, search_mtu=False))
    far.reply()
    alpha.now = 5.0
    forged = bytes(6) + peer.slot.id + (1000).to_bytes(4, "big") + bytes(60)
    alpha.call(lambda node, now: node.datagrams([forged], [far.address], 0, now))
    assert peer.failed_since == 5.0
    far.reply()
    assert peer.failed_since == float("-inf")


def test_a_probe_by_way_of_a_relay_says_nothing_about_the_straight_path(pair: tuple[Stage, Scripted]) -> None:
    alpha, beta = pair
    FarEnd(beta).open()
    far = FarEnd(beta, "gamma").open()
    far.heard()
    far.send(TYPE_PROBE, bytes(18), by="beta")
    far.send(TYPE_PROBE, b"\2\0\x12" + bytes(15), by="beta")
    assert far.heard() == []
    assert not alpha.node.peers["gamma"].slot.confirmed


@pytest.mark.parametrize(("to_guard", "rtt"), [(False, 20_000), (True, -1)])
def test_an_answer_tells_the_round_trip_time_unless_the_guard_asked_for_it(
    pair: tuple[Stage, Scripted], monkeypatch: pytest.MonkeyPatch, to_guard: bool, rtt: int
) -> None:
    alpha, beta = pair
    far = FarEnd(beta).open()
    peer = alpha.node.peers["beta"]
    alpha.call(lambda node, now: node.tunnels.upkeep(peer, now, search_mtu=False))
    monkeypatch.setattr(alpha.node.guard, "probe_answered", lambda peer, nonce, now: to_guard)
    alpha.now += 0.02
    far.reply()
    assert peer.path.udp_ping_rtt == rtt
    assert peer.slot.confirmed


def test_consequences_of_a_change_are_handled_as_well(pair: tuple[Stage, Scripted]) -> None:
    alpha, beta = pair
    alpha.node.output.upcalls.learn[STATION] = None
    alpha.node.output.upcalls.touched[alpha.node.peers["gamma"].slot] = None
    alpha.call(lambda node, now: node.tick(now))
    assert not alpha.node.output.upcalls
    assert "gamma" in keys_asked(beta)
    assert STATION in alpha.node.table.own_macs


AWAY = ("10.7.0.1", 4000)


def test_a_peer_that_moves_is_asked_at_its_new_address_and_is_there_when_it_answers(
    pair: tuple[Stage, Scripted],
) -> None:
    alpha, beta = pair
    far = FarEnd(beta).open()
    peer = alpha.node.peers["beta"]
    alpha.call(lambda node, now: node.tunnels.upkeep(peer, now, search_mtu=False))
    far.reply()
    far.heard()
    far.send_frame(frame(), source=AWAY)
    assert [address for address, _ in far.heard()] == [AWAY]
    assert peer.slot.address == far.address
    far.reply(source=AWAY)
    assert peer.slot.address == AWAY


def test_a_peer_whose_super_frames_lose_pieces_is_asked_to_send_none(pair: tuple[Stage, Scripted]) -> None:
    alpha, beta = pair
    far = FarEnd(beta).open()
    alpha.node.output.upcalls.incomplete[alpha.node.peers["beta"].slot] = None
    alpha.call(lambda node, now: node.tick(now))
    assert len(far.heard()) == 1


def test_a_peer_whose_packets_are_of_another_mode_is_named_once_an_hour(pair: tuple[Stage, Scripted]) -> None:
    alpha, beta = pair
    far = FarEnd(beta).open()
    for now in (alpha.now, alpha.now + 1, alpha.now + 3601):
        alpha.now = now
        far.send(TYPE_PACKET, b"\x45" + bytes(40))
    said = [line for line in alpha.logged(0) if line.startswith("beta sends packets of another kind")]
    assert len(said) == 2
    assert "Mode = switch here" in said[0]
