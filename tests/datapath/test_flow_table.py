"""The member that gets a flow, for how long, and the effect of members that come and go."""

from __future__ import annotations

from collections import Counter

import pytest

from pytinc.datapath import flow_table, maglev
from pytinc.datapath.flow_table import (
    CLOSING_LIFE,
    FRAGMENTS_LIFE,
    MAX_OLD_MACS,
    OLD_MAC_LIFE,
    OTHER_LIFE,
    SECOND_CHANCE,
    SETTLED,
    TCP_LIFE,
    FlowMember,
    FlowRule,
    FlowTable,
)
from pytinc.wire.flow import Packet

VIP, OTHER_VIP, CLIENT = (bytes((10, 0, 0, last)) for last in (1, 2, 9))
MACS = [bytes((2, 0, 0, 0, 0, number)) for number in range(4)]
A, B, C = (FlowMember(f"node_{number}", MACS[number], 10) for number in range(3))
SYN, SYN_ACK, ACK, FIN, RST = 0x02, 0x12, 0x10, 0x11, 0x04


def rule(*members: FlowMember, kept: tuple[FlowMember, ...] = ()) -> FlowRule:
    return FlowRule(members, frozenset(member.mac for member in members + kept), frozenset(MACS[:3]))


def table(*members: FlowMember) -> FlowTable:
    made = FlowTable()
    made.configure({VIP: rule(*members)}, 0.0)
    return made


def tcp(port: int, flags: int = ACK, to: bytes = VIP) -> Packet:
    return Packet(b"\x06" + CLIENT + to + port.to_bytes(2, "big") + b"\0\x50", to, flags)


def udp(port: int) -> Packet:
    return Packet(b"\x11" + CLIENT + VIP + port.to_bytes(2, "big") + b"\0\x50", VIP)


def spread(flows: FlowTable, count: int, now: float, flags: int = SYN) -> list[bytes | None]:
    return [flows.member(tcp(port, flags), now) for port in range(count)]


# -- how flows are spread --


def test_members_that_nobody_uses_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    shares = maglev.shares

    def counting(members: tuple[tuple[str, int], ...]) -> tuple[int, ...]:
        made.append(members)
        return shares(members)

    monkeypatch.setattr(maglev, "shares", counting)
    flows = table(A, B)
    for second in range(100):
        flows.configure({VIP: rule(A, B._replace(weight=1 + second))}, float(second))
    assert made == []
    spread(flows, 10, 100.0)
    assert len(made) == 1


def test_ten_thousand_flows_are_spread_evenly() -> None:
    counts = Counter(spread(table(A, B, C), 10_000, 0.0))
    assert counts.keys() == {A.mac, B.mac, C.mac}
    assert max(counts.values()) <= 1.1 * 10_000 / 3


def test_flows_are_spread_by_weight() -> None:
    weighted = [member._replace(weight=weight) for member, weight in ((A, 1), (B, 2), (C, 4))]
    counts = Counter(spread(table(*weighted), 30_000, 0.0))
    for member in weighted:
        assert counts[member.mac] == pytest.approx(30_000 * member.weight / 7, rel=0.1)


def test_the_death_of_a_member_moves_its_flows_alone() -> None:
    flows = table(A, B, C)
    before = spread(flows, 3000, 0.0)
    flows.configure({VIP: rule(A, C)}, 10.0)
    after = spread(flows, 3000, 10.0, ACK)
    assert all(two == one for one, two in zip(before, after, strict=True) if one != B.mac)
    moved = Counter(two for one, two in zip(before, after, strict=True) if one == B.mac)
    assert moved.keys() == {A.mac, C.mac}


def test_the_return_of_a_member_moves_no_known_flow_and_no_more_than_its_share_of_new_ones() -> None:
    flows = table(A, B)
    known = spread(flows, 3000, 0.0)
    flows.configure({VIP: rule(A, B, C)}, 10.0)
    assert spread(flows, 3000, 10.0, ACK) == known

    fresh = table(A, B)
    fresh.configure({VIP: rule(A, B, C)}, 10.0)
    moved = sum(one != two for one, two in zip(known, spread(fresh, 3000, 10.0), strict=True))
    assert 0 < moved <= 3000 * (1 / 3 + 0.05)


def test_a_draining_member_keeps_its_flows_and_gets_no_new_ones() -> None:
    flows = table(A, B)
    before = spread(flows, 500, 0.0)
    flows.configure({VIP: rule(A, kept=(B,))}, 10.0)
    assert spread(flows, 500, 10.0, ACK) == before
    assert {flows.member(tcp(port, SYN), 10.0) for port in range(1000, 1500)} == {A.mac}


def test_a_new_connection_between_the_ports_of_an_old_one_leaves_a_draining_member() -> None:
    flows = table(B)
    flows.member(tcp(1), 0.0)
    flows.configure({VIP: rule(A, kept=(B,))}, 10.0)
    assert flows.member(tcp(1), 10.0) == B.mac
    assert flows.member(tcp(1, SYN), 10.0) == A.mac


def test_a_flow_whose_member_was_away_while_it_rested_goes_on_there() -> None:
    flows = table(A, B, C)
    before = spread(flows, 300, 0.0)
    flows.configure({VIP: rule(A, C)}, 10.0)
    flows.configure({VIP: rule(A, B, C)}, 20.0)
    assert spread(flows, 300, 20.0, ACK) == before


def test_without_members_frames_go_where_they_would_go_anyway() -> None:
    flows = table(A)
    flows.member(tcp(1), 0.0)
    flows.configure({VIP: rule()}, 1.0)
    assert flows.member(tcp(1), 1.0) is None
    assert flows.member(tcp(2, SYN), 1.0) is None
    assert flows.known(tcp(1).flow, 1.0) is None


def test_other_addresses_are_no_concern_of_the_table() -> None:
    flows = table(A)
    assert flows.member(tcp(1, to=OTHER_VIP), 0.0) is None
    assert len(flows) == 0


def test_an_address_that_is_removed_takes_its_flows_with_it() -> None:
    flows = FlowTable()
    flows.configure({VIP: rule(A), OTHER_VIP: rule(B)}, 0.0)
    flows.member(tcp(1), 0.0)
    flows.member(tcp(1, to=OTHER_VIP), 0.0)
    flows.configure({VIP: rule(A)}, 1.0)
    assert flows.counts() == {(VIP, A.mac): 1}
    assert flows.known(tcp(1, to=OTHER_VIP).flow, 1.0) is None
    flows.configure({}, 2.0)
    assert not flows
    assert (len(flows), flows.macs) == (0, {})


# -- flows that began before we knew them --


def test_an_unknown_connection_goes_where_it_went_before_the_members_changed() -> None:
    before = spread(table(A, B), 1000, 0.0)
    flows = table(A, B)
    flows.configure({VIP: rule(A, B, C)}, 10.0)
    assert spread(flows, 1000, 10.0, ACK) == before
    assert C.mac in spread(table(A, B, C), 1000, 10.0)


def test_after_a_restart_it_goes_where_it_went_although_members_become_known_one_by_one() -> None:
    before = spread(table(A, B, C), 1000, 0.0)
    flows = table(B)
    flows.configure({VIP: rule(A, B)}, 1.0)
    flows.configure({VIP: rule(A, B, C)}, 1.0 + SETTLED - 0.1)
    assert spread(flows, 1000, 11.0, ACK) == before


@pytest.mark.parametrize(
    ("flags", "members", "now"),
    [(SYN, (A, B, C), 10.0), (ACK, (A, B, C), 10.0 + SECOND_CHANCE)],
    ids=["it is new", "long ago"],
)
def test_otherwise_it_goes_where_new_ones_go(flags: int, members: tuple[FlowMember, ...], now: float) -> None:
    flows = table(A, B)
    flows.configure({VIP: rule(*members)}, 10.0)
    assert spread(flows, 1000, now, flags) == spread(table(*members), 1000, now)


def test_it_does_not_go_to_a_member_that_is_gone() -> None:
    flows = table(A, B)
    flows.configure({VIP: rule(A)}, 10.0)
    assert set(spread(flows, 1000, 10.0, ACK)) == {A.mac}


# -- for how long flows are known --


@pytest.mark.parametrize(
    ("packets", "life"),
    [
        ([tcp(1, SYN)], TCP_LIFE),
        ([tcp(1)], TCP_LIFE),
        ([udp(1)], OTHER_LIFE),
        ([tcp(1), tcp(1, FIN)], CLOSING_LIFE),
        ([tcp(1), tcp(1, RST)], CLOSING_LIFE),
        ([tcp(1, FIN), tcp(1)], CLOSING_LIFE),
        ([tcp(1, FIN), tcp(1, SYN)], TCP_LIFE),
    ],
    ids=["SYN", "TCP", "UDP", "FIN", "RST", "after FIN", "again"],
)
def test_a_flow_is_known_for_its_time_after_the_last_packet(packets: list[Packet], life: float) -> None:
    flows = table(A)
    for packet in packets:
        flows.member(packet, 100.0)
    name = packets[0].flow
    flows.prune(100.0 + life - 1)
    assert flows.known(name, 100.0 + life - 1) == A.mac
    flows.prune(100.0 + 2 * life - 1)
    assert len(flows) == 0
    assert flows.known(name, 100.0 + 2 * life) is None


def test_short_flows_are_forgotten_although_longer_ones_have_rested_for_longer() -> None:
    flows = table(A)
    flows.member(tcp(1), 0.0)
    flows.member(udp(2), 1.0)
    flows.member(tcp(3, FIN), 61.0)
    flows.prune(1.0 + OTHER_LIFE)
    assert flows.counts() == {(VIP, A.mac): 1}
    assert flows.known(tcp(1).flow, 1.0 + OTHER_LIFE) == A.mac


def test_the_flow_that_was_used_least_recently_goes_if_there_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flow_table, "MAX_FLOWS", 3)
    flows = table(A)
    for port in (1, 2, 3):
        flows.member(tcp(port), 0.0)
    flows.member(tcp(1), 1.0)
    assert flows.known(tcp(2).flow, 2.0) == A.mac
    flows.member(tcp(4), 3.0)
    assert (len(flows), flows.evicted) == (3, 1)
    assert flows.known(tcp(3).flow, 3.0) is None


def test_a_flow_that_was_over_is_not_counted_as_evicted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_table, "MAX_FLOWS", 1)
    flows = table(A)
    flows.member(tcp(1), 0.0)
    flows.member(tcp(2), TCP_LIFE)
    assert flows.evicted == 0


def test_flows_are_counted_by_address_and_member() -> None:
    flows = table(A, B)
    flows.configure({VIP: rule(A, B), OTHER_VIP: rule(C)}, 0.0)
    where = Counter((VIP, mac) for mac in spread(flows, 50, 0.0))
    flows.member(tcp(1, to=OTHER_VIP), 0.0)
    assert flows.counts() == {**where, (OTHER_VIP, C.mac): 1}


# -- fragments and errors --


def fragment(number: int, port: int, *, is_later: bool = False) -> Packet:
    flow = CLIENT + VIP if is_later else udp(port).flow
    return Packet(flow, VIP, None, b"%d" % number, is_later)


def test_fragments_go_where_the_first_one_went() -> None:
    flows = table(A, B, C)
    for number in range(50):
        first = flows.member(fragment(number, number), 0.0)
        assert flows.member(fragment(number, 0, is_later=True), 1.0) == first
    assert len({flows.member(fragment(number, 0, is_later=True), 1.0) for number in range(50)}) == 3


@pytest.mark.parametrize("now", [1.0, FRAGMENTS_LIFE])
def test_a_fragment_without_its_first_one_goes_by_its_ends(now: float) -> None:
    flows = table(A, B, C)
    by_ends = flows.member(Packet(CLIENT + VIP, VIP), 0.0)
    other = next(port for port in range(50) if flows.member(udp(port), 0.0) != by_ends)
    if now == FRAGMENTS_LIFE:
        flows.member(fragment(1, other), 0.0)
    assert flows.member(fragment(1, other, is_later=True), now) == by_ends


def test_a_fragment_does_not_follow_the_first_one_to_a_member_that_is_gone() -> None:
    flows = table(A)
    flows.member(fragment(1, 1), 0.0)
    flows.configure({VIP: rule(B)}, 0.0)
    assert flows.member(fragment(1, 1, is_later=True), 0.0) == B.mac


def test_packets_in_fragments_are_remembered_in_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_table, "MAX_FRAGMENTED", 2)
    flows = table(A)
    for number in range(5):
        flows.member(fragment(number, number), 0.0)
    assert len(flows._fragmented) == 2
    flows.prune(FRAGMENTS_LIFE)
    assert len(flows._fragmented) == 0


def test_an_icmp_error_goes_where_the_flow_is_and_begins_none() -> None:
    flows = table(A, B, C)
    for port in range(50):
        error = Packet(tcp(port).flow, VIP, is_error=True)
        unknown = flows.member(error, 0.0)
        assert len(flows) == port
        assert flows.member(tcp(port, SYN), 0.0) == unknown
    flows.configure({VIP: rule(A, B, C, FlowMember("node_3", MACS[3], 10))}, 1.0)
    for port in range(50):
        known = flows.known(tcp(port).flow, 1.0)
        assert flows.member(Packet(tcp(port).flow, VIP, is_error=True), 1.0) == known


# -- the MACs to which stations send --


def test_the_mac_of_a_former_member_counts_for_as_long_as_stations_use_it() -> None:
    flows = table(A)
    flows.configure({VIP: FlowRule((A,), frozenset((A.mac,)), frozenset((A.mac,)))}, 10.0)
    assert set(flows.macs) == set(MACS[:3])
    flows.note_use(B.mac, 500.0)
    flows.note_use(A.mac, 500.0)
    flows.prune(10.0 + OLD_MAC_LIFE)
    assert set(flows.macs) == {A.mac, B.mac}
    flows.configure({VIP: rule(A, B)}, 11.0 + OLD_MAC_LIFE)
    flows.prune(1e9)
    assert set(flows.macs) == set(MACS[:3])


def test_the_newest_macs_of_former_members_are_remembered() -> None:
    flows = FlowTable()
    for number in range(MAX_OLD_MACS + 10):
        mac = b"\x06" + number.to_bytes(5, "big")
        flows.configure({VIP: FlowRule((A,), frozenset((A.mac,)), frozenset((mac,)))}, float(number))
    assert len(flows.macs) == MAX_OLD_MACS + 1
    assert b"\x06" + bytes(5) not in flows.macs
