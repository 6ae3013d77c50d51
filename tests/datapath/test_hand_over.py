"""Connections go on at the member that served an address before; new ones are for our host."""

from __future__ import annotations

import pytest

from pytinc.datapath import hand_over
from pytinc.datapath.guard_table import GuardTable
from pytinc.datapath.hand_over import former_member
from pytinc.wire.flow import parse
from pytinc.wire.ip import TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN

VIP, VIP6 = bytes((10, 1, 1, 10)), bytes.fromhex("fd000001000000000000000000000010")
CLIENT, CLIENT6 = bytes((10, 1, 1, 2)), bytes.fromhex("fd000001000000000000000000000002")
OWN, FORMER, STATION = (bytes((2, 0, 0, 0, 0, last)) for last in (1, 2, 5))


def tcp(flags: int, port: int = 4000, *, to: bytes = VIP) -> bytes:
    segment = port.to_bytes(2, "big") + b"\0\x50" + bytes(8) + b"\x50" + bytes((flags,)) + bytes(6)
    return packet(6, segment, to)


def packet(protocol: int, body: bytes, to: bytes = VIP) -> bytes:
    if len(to) == 16:
        size = len(body).to_bytes(2, "big")
        return OWN + STATION + b"\x86\xdd\x60\0\0\0" + size + bytes((protocol, 64)) + CLIENT6 + to + body
    size = (20 + len(body)).to_bytes(2, "big")
    head = b"\x45\0" + size + b"\0\0\x40\0\x40" + bytes((protocol,)) + b"\0\0"
    return OWN + STATION + b"\x08\0" + head + CLIENT + to + body


def taken_over(*keys: bytes) -> GuardTable:
    return GuardTable(taken_over=dict.fromkeys(keys or (VIP, VIP6), (FORMER, 30.0)))


@pytest.mark.parametrize("vip", [VIP, VIP6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("flags", [TCP_ACK, TCP_ACK | TCP_FIN, TCP_RST, TCP_SYN | TCP_ACK, 0])
def test_a_segment_of_an_unknown_connection_is_for_the_former_member(vip: bytes, flags: int) -> None:
    assert former_member(taken_over(), tcp(flags, to=vip), 1.0) == FORMER


@pytest.mark.parametrize("vip", [VIP, VIP6], ids=["IPv4", "IPv6"])
def test_a_connection_that_begins_here_stays_here(vip: bytes) -> None:
    ours = taken_over()
    for flags in (TCP_SYN, TCP_ACK, TCP_ACK | TCP_FIN):
        assert former_member(ours, tcp(flags, to=vip), 1.0) is None
    assert former_member(ours, tcp(TCP_ACK, 4001, to=vip), 1.0) == FORMER


@pytest.mark.parametrize(
    "frame",
    [
        packet(17, bytes(8)),
        packet(1, b"\x08" + bytes(7)),
        tcp(TCP_ACK, to=bytes((10, 1, 1, 11))),
        OWN + STATION + b"\x08\x06" + bytes(28),
        tcp(TCP_ACK)[:30],
    ],
    ids=["UDP", "echo", "another address", "ARP", "cut off"],
)
def test_what_is_no_segment_for_the_address_is_for_our_host(frame: bytes) -> None:
    assert former_member(taken_over(), frame, 1.0) is None


def test_connections_to_a_member_that_has_handed_over_stay_there_when_it_takes_over_again() -> None:
    ours = taken_over()
    ours.taken_over = {VIP: (OWN, 20.0)}
    assert former_member(ours, tcp(TCP_ACK), 1.0) is None
    ours.taken_over = {VIP: (FORMER, 30.0)}
    assert former_member(ours, tcp(TCP_ACK), 2.0) is None
    assert former_member(ours, tcp(TCP_ACK, 4001), 2.0) == FORMER


def test_it_ends_when_its_time_is_over() -> None:
    ours = taken_over()
    assert former_member(ours, tcp(TCP_ACK), 29.9) == FORMER
    assert former_member(ours, tcp(TCP_ACK), 30.0) is None


def test_a_flood_of_connections_needs_no_more_than_its_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hand_over, "MAX_BEGUN", 3)
    ours = taken_over()
    for port in range(1000, 1010):
        former_member(ours, tcp(TCP_SYN, port), 1.0)
    assert len(ours.begun) == 3
    newest = parse(tcp(TCP_SYN, 1009))
    assert newest is not None
    assert newest.flow in ours.begun


def test_nothing_is_passed_on_without_a_hand_over() -> None:
    assert former_member(GuardTable(), tcp(TCP_ACK), 1.0) is None


def test_only_handed_over_clients_of_a_shared_address_count() -> None:
    assert former_member(taken_over(STATION + VIP), tcp(TCP_ACK), 1.0) == FORMER
    assert former_member(taken_over(FORMER + VIP), tcp(TCP_ACK), 1.0) is None
