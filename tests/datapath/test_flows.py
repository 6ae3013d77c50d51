"""Frames of our stations to an address whose members share the flows.

Whether the fast code equals its plain twin in every combination is told by test_twin.py.
"""

from __future__ import annotations

import pytest

from datapath.four_nodes import FAR, NEAR, OWN, World
from datapath.super_frames import Super, frame_run, super_frame
from pytinc.datapath import flows as module
from pytinc.datapath.flow_table import OLD_MAC_LIFE, FlowMember, FlowRule, FlowTable
from pytinc.datapath.flows import redirect_run
from pytinc.datapath.super_frames import SuperFrame, take
from pytinc.datapath.switch import _groups_by_header

VIP, CLIENT, ELSE = (bytes((10, 0, 0, last)) for last in (1, 9, 77))
VIP6, CLIENT6 = (bytes.fromhex("fd00") + bytes(13) + bytes((last,)) for last in (1, 9))
GONE = bytes((2, 0, 0, 0, 0, 99))
NOW = 5.0


def table() -> FlowTable:
    """All flows go to the node far, whatever MAC the station uses."""
    flows = FlowTable()
    members = (FlowMember("far", FAR, 10),)
    rule = FlowRule(members, frozenset((FAR,)), frozenset((NEAR, FAR, GONE)))
    flows.configure({VIP: rule, VIP6: rule}, 0.0)
    return flows


def frame(to: bytes, destination: bytes = VIP, *, port: int = 80, flags: int = 0x10, size: int = 60) -> bytes:
    segment = port.to_bytes(2, "big") + b"\0\x50" + bytes(8) + bytes((0x50, flags)) + bytes(6)
    if len(destination) == 16:
        packet = b"\x60\0\0\0" + bytes((0, 20, 6, 64)) + CLIENT6 + destination + segment
        return to + OWN + b"\x86\xdd" + packet.ljust(size, b"\0")
    packet = b"\x45\0\0\x28" + bytes((0, 0, 0x40, 0, 64, 6, 0, 0)) + CLIENT + destination + segment
    return to + OWN + b"\x08\0" + packet.ljust(size, b"\0")


def redirect(flows: FlowTable, frames: list[bytes], now: float) -> list[bytes]:
    """Return the frames as the switch gives them to their owners."""
    groups = module.redirect(flows, _groups_by_header(frames), now)
    assert all(each.startswith(header) for header, group in groups for each in group)
    return [each for _, group in groups for each in group]


def run_of(*frames: bytes) -> list[bytes]:
    return [each[:-1] + bytes((number,)) for number, each in enumerate(frames)]


def stream(to: bytes, *, is_ipv4: bool = True, flags: int = 0x10) -> SuperFrame:
    ends = CLIENT + VIP if is_ipv4 else CLIENT6 + VIP6
    made = super_frame(
        payload=bytes(9000), gso_size=1000, flags=flags, is_ipv4=is_ipv4, addresses=ends.ljust(32, b"\0")
    )
    taken = take(*Super(made.header, to + OWN + made.frame[12:]))
    assert isinstance(taken, SuperFrame)
    return taken


# -- frames --


@pytest.mark.parametrize("destination", [VIP, VIP6])
@pytest.mark.parametrize("to", [NEAR, GONE])
def test_a_frame_to_any_member_goes_to_the_one_that_has_the_flow(to: bytes, destination: bytes) -> None:
    flows = table()
    for flags in (0x02, 0x10, 0x11):
        assert redirect(flows, [frame(to, destination, flags=flags)], NOW) == [
            frame(FAR, destination, flags=flags)
        ]
    assert len(flows) == 1


@pytest.mark.parametrize(
    "other",
    [frame(OWN), frame(NEAR, ELSE), frame(NEAR)[:12] + b"\x08\x06" + frame(NEAR)[14:], NEAR, b""],
    ids=["another MAC", "another address", "no IP", "cut off", "empty"],
)
def test_other_frames_stay_as_they_are(other: bytes) -> None:
    flows = table()
    assert redirect(flows, [other, frame(NEAR)], NOW) == [other, frame(FAR)]
    assert len(flows) == 1


def test_a_frame_to_the_right_member_is_not_copied() -> None:
    right = frame(FAR)
    assert redirect(table(), [right], NOW)[0] is right


def test_neighbour_discovery_stays_with_the_station_that_it_is_about() -> None:
    solicitation = (
        NEAR + OWN + b"\x86\xdd" + b"\x60\0\0\0\0\x18\x3a\xff" + CLIENT6 + VIP6 + b"\x87" + bytes(23)
    )
    assert redirect(table(), [solicitation], NOW) == [solicitation]


def test_frames_stay_as_they_are_while_nobody_is_there() -> None:
    flows = table()
    flows.configure({VIP: FlowRule((), frozenset(), frozenset((NEAR,)))}, NOW)
    assert redirect(flows, [frame(NEAR)], NOW) == [frame(NEAR)]


def test_the_mac_of_a_former_member_is_remembered_while_it_is_used() -> None:
    flows = table()
    flows.configure({VIP: FlowRule((FlowMember("far", FAR, 10),), frozenset((FAR,)), frozenset((FAR,)))}, NOW)
    redirect(flows, [frame(GONE), frame(NEAR, ELSE)], 300.0)
    flows.prune(NOW + OLD_MAC_LIFE)
    assert set(flows.macs) == {FAR, GONE}
    assert redirect_run(flows, frame_run(run_of(*[frame(GONE)] * 8)), 900.0)
    flows.prune(300.0 + OLD_MAC_LIFE)
    assert set(flows.macs) == {FAR, GONE}


# -- runs --


def known(*frames: bytes) -> FlowTable:
    flows = table()
    redirect(flows, list(frames), NOW)
    return flows


@pytest.mark.parametrize("destination", [VIP, VIP6])
def test_a_run_of_a_known_flow_goes_whole(destination: bytes) -> None:
    flows = known(frame(NEAR, destination))
    run = frame_run(run_of(*[frame(NEAR, destination)] * 9))
    assert redirect_run(flows, run, NOW)
    assert run.frames() == run_of(*[frame(FAR, destination)] * 9)


@pytest.mark.parametrize("is_ipv4", [True, False])
@pytest.mark.parametrize("is_cut", [True, False])
def test_a_super_frame_of_a_known_flow_goes_whole(is_ipv4: bool, is_cut: bool) -> None:
    flows = known(*stream(NEAR, is_ipv4=is_ipv4).frames())
    run = stream(NEAR, is_ipv4=is_ipv4)
    if is_cut:
        run.frames()
    assert redirect_run(flows, run, NOW)
    assert run.frames() == stream(FAR, is_ipv4=is_ipv4).frames()
    assert bytes(run.frame) == bytes(stream(FAR, is_ipv4=is_ipv4).frame)


@pytest.mark.parametrize(
    "odd",
    [
        frame(NEAR, port=81),
        frame(NEAR, flags=0x11),
        frame(NEAR, ELSE),
        frame(NEAR)[:20] + b"\x20\0" + frame(NEAR)[22:],
        frame(NEAR)[:23] + b"\x11" + frame(NEAR)[24:],
    ],
    ids=["another port", "the end", "another address", "a fragment", "another protocol"],
)
@pytest.mark.parametrize("place", [0, 5])
def test_a_run_with_something_else_in_it_is_looked_at_frame_by_frame(odd: bytes, place: int) -> None:
    frames = [frame(NEAR)] * 8
    frames[place] = odd
    run = frame_run(run_of(*frames))
    before = run.frames()
    assert not redirect_run(known(frame(NEAR)), run, NOW)
    assert run.frames() == before


@pytest.mark.parametrize("last", [40, 36])
def test_a_run_whose_last_frame_is_cut_off_is_looked_at_frame_by_frame(last: int) -> None:
    frames = run_of(*[frame(NEAR)] * 8)
    assert not redirect_run(known(frame(NEAR)), frame_run([*frames[:-1], frames[-1][:last]]), NOW)


def test_a_run_of_udp_may_end_with_a_short_packet() -> None:
    udp = frame(NEAR)[:23] + b"\x11" + frame(NEAR)[24:]
    frames = run_of(*[udp] * 8)
    run = frame_run([*frames[:-1], frames[-1][:38]])
    assert redirect_run(known(udp), run, NOW)
    assert {each[:6] for each in run.frames()} == {FAR}


def test_a_run_of_a_flow_that_is_not_known_is_looked_at_frame_by_frame() -> None:
    assert not redirect_run(table(), frame_run(run_of(*[frame(NEAR)] * 8)), NOW)
    assert not redirect_run(table(), stream(NEAR), NOW)
    assert not redirect_run(known(*stream(NEAR).frames()), stream(NEAR, flags=0x11), NOW)


@pytest.mark.parametrize(
    "other",
    [frame(OWN), frame(NEAR, ELSE), frame(NEAR)[:12] + b"\x88\xb5" + frame(NEAR)[14:]],
    ids=["another MAC", "another address", "no IP"],
)
def test_other_runs_go_whole_as_they_are(other: bytes) -> None:
    run = frame_run(run_of(*[other] * 8))
    assert redirect_run(known(frame(NEAR)), run, NOW)
    assert run.frames() == run_of(*[other] * 8)


# -- in the switch --


def test_the_switch_gives_a_flow_to_the_node_of_its_member() -> None:
    world = World()
    world.table.flows = table()
    world.send(frame(NEAR, size=200))
    assert world.sent_to("c") == [frame(FAR, size=200)]
    assert world.sent_to("b") == []


def test_frames_of_other_nodes_go_where_they_were_sent() -> None:
    world = World()
    world.table.flows = table()
    world.receive("c", frame(OWN)[:6] + FAR + frame(OWN)[12:])
    assert world.out.frames == [frame(OWN)[:6] + FAR + frame(OWN)[12:]]
    world.receive("c", frame(NEAR))
    assert world.sent_to("b") == [frame(NEAR)]
