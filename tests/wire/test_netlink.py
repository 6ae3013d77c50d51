from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.wire.netlink import (
    RTM_DELADDR,
    RTM_GETNEIGH,
    RTM_NEWADDR,
    RTM_NEWNEIGH,
    Entry,
    changed_addresses,
    deleted_links,
    format_list_request,
    has_new_address,
    is_local_route,
    links,
    parse_list,
    route_question,
)

RTM_NEWLINK, RTM_DELLINK = 16, 17
IFA_ADDRESS, IFA_LOCAL, IFA_LABEL = 1, 2, 3
VIP, PEER = ip_address("10.1.1.10").packed, ip_address("10.1.1.1").packed
VIP6 = ip_address("fd00:1::10").packed


def attribute(type_: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), type_) + value + bytes(-len(value) % 4)


def message(type_: int, *attributes: bytes) -> bytes:
    body = struct.pack("=BBBBI", 2, 24, 0, 0, 7) + b"".join(attributes)
    return struct.pack("=IHHII", 16 + len(body), type_, 0, 0, 0) + body


# As Linux 6.18 sends it for `ip address del 10.1.1.10/24 dev vpn` and `ip address del fd00:1::10/64 dev vpn`.
REAL = bytes.fromhex(
    "4c000000150000003f210c6b441100000218800002000000080001000a01010a080002000a01010a0800030076706e00"
    "080008008000000014000600ffffffffffffffff13c7180013c71800"
)
REAL6 = bytes.fromhex(
    "480000001500000000000000000000000a4082000200000014000100fd00000100000000000000000000001014000600"
    "ffffffffffffffff13c7180013c718000800080082000000"
)


def test_an_address_is_found_in_a_message_of_the_kernel() -> None:
    assert changed_addresses(REAL) == [VIP]
    assert changed_addresses(REAL6) == [VIP6]


def link_message(index: int, flags: int, type_: int = RTM_NEWLINK) -> bytes:
    body = struct.pack("=BxHiII", 0, 1, index, flags, 0)
    return struct.pack("=IHHII", 16 + len(body), type_, 0, 0, 0) + body


def test_an_interface_that_is_gone_is_told_by_its_index() -> None:
    data = link_message(3, 0) + REAL + link_message(4, 0, RTM_DELLINK)
    assert deleted_links(data) == [4]
    assert deleted_links(data[:-6]) == []


def test_an_interface_has_a_link_if_it_is_up_and_so_is_the_other_end() -> None:
    up, lower_up = 0x1, 0x10000
    data = link_message(3, up | lower_up) + REAL + link_message(4, up) + link_message(5, lower_up)
    assert links(data) == [(3, True), (4, False), (5, False)]
    assert links(link_message(3, up)[:-6]) == []


@pytest.mark.parametrize(
    ("kind", "scope", "is_new"),
    [(RTM_NEWADDR, 0, True), (RTM_NEWADDR, 254, False), (RTM_NEWADDR, 253, False), (RTM_DELADDR, 0, False)],
)
def test_an_address_is_new_if_others_can_reach_it(kind: int, scope: int, is_new: bool) -> None:
    data = bytearray(message(kind, attribute(IFA_LOCAL, VIP)))
    data[19] = scope
    assert has_new_address(bytes(data)) is is_new


def test_one_datagram_may_hold_several_messages() -> None:
    data = message(RTM_DELADDR, attribute(IFA_LABEL, b"vpn\0"), attribute(IFA_LOCAL, VIP)) + message(
        RTM_DELADDR, attribute(IFA_ADDRESS, VIP6)
    )
    assert changed_addresses(data) == [VIP, VIP6]


def test_on_a_point_to_point_link_the_own_address_is_reported() -> None:
    data = message(RTM_DELADDR, attribute(IFA_ADDRESS, PEER), attribute(IFA_LOCAL, VIP))
    assert changed_addresses(data) == [VIP]


@pytest.mark.parametrize(
    "data",
    [
        message(RTM_NEWLINK, attribute(IFA_LOCAL, VIP)),
        message(RTM_DELADDR),
        message(RTM_DELADDR, attribute(IFA_LOCAL, b"abc")),
        message(RTM_DELADDR, attribute(IFA_LOCAL, VIP))[:30],
        struct.pack("=IHHII", 3, RTM_DELADDR, 0, 0, 0),
        message(RTM_DELADDR, struct.pack("=HH", 0, IFA_LOCAL)),
        b"",
    ],
)
def test_messages_without_an_address_are_skipped(data: bytes) -> None:
    assert changed_addresses(data) == []


# Linux 6.18 on `ip route get`: an own address, one of another host on the link, and one without a route.
LOCAL = struct.pack("=IHHII", 28, 24, 0, 1, 0) + struct.pack("=BBBBBBBBI", 2, 32, 0, 0, 255, 0, 0, 2, 0x200)
ON_LINK = struct.pack("=IHHII", 28, 24, 0, 1, 0) + struct.pack("=BBBBBBBBI", 2, 32, 0, 0, 254, 0, 0, 1, 0x200)
NO_ROUTE = struct.pack("=IHHII", 36, 2, 0, 1, 0) + struct.pack("=i", -101) + route_question(VIP)[:16]


def test_the_question_for_a_route_names_the_address() -> None:
    assert route_question(VIP) == struct.pack("=IHHII", 36, 26, 1, 1, 0) + struct.pack(
        "=BBBBBBBBI", 2, 32, 0, 0, 0, 0, 0, 0, 0
    ) + attribute(1, VIP)


@pytest.mark.parametrize(
    ("answer", "local"),
    [(LOCAL, True), (ON_LINK, False), (NO_ROUTE, False), (LOCAL[:20], False), (b"", False)],
)
def test_only_a_local_route_makes_an_address_the_hosts_own(answer: bytes, local: bool) -> None:
    assert is_local_route(answer) is local


@given(st.binary(max_size=200))
def test_no_bytes_raise_an_error(data: bytes) -> None:
    assert is_local_route(data) in (True, False)
    assert all(len(address) in (4, 16) for address in changed_addresses(data))


# -- lists --

MAC = bytes.fromhex("020000000001")
NDA_DST, NDA_LLADDR = 1, 2
DONE = struct.pack("=IHHII", 20, 3, 2, 1, 0) + bytes(4)


def neighbour(*attributes: bytes, interface: int = 7) -> bytes:
    body = struct.pack("=BxxxiHBB", 2, interface, 2, 0, 1) + b"".join(attributes)
    return struct.pack("=IHHII", 16 + len(body), RTM_NEWNEIGH, 2, 1, 0) + body


def test_the_request_for_a_list_names_the_family() -> None:
    assert format_list_request(RTM_GETNEIGH, 4) == bytes.fromhex(
        "1c0000001e000103010000000000000002" + "00" * 11
    )
    assert format_list_request(RTM_GETNEIGH, 16)[16] == 10


def test_neighbours_and_own_addresses_are_listed_until_the_end() -> None:
    data = (
        neighbour(attribute(NDA_DST, VIP), attribute(NDA_LLADDR, MAC))
        + neighbour(attribute(NDA_DST, VIP6), interface=8)
        + message(RTM_NEWADDR, attribute(IFA_LOCAL, PEER))
    )
    entries = [
        Entry(7, VIP, MAC, is_own=False),
        Entry(8, VIP6, None, is_own=False),
        Entry(7, PEER, None, is_own=True),
    ]
    assert parse_list(data) == (entries, False)
    assert parse_list(data + DONE + neighbour(attribute(NDA_DST, VIP))) == (entries, True)


@pytest.mark.parametrize(
    "data",
    [
        neighbour(attribute(NDA_LLADDR, MAC)),
        neighbour(attribute(NDA_DST, b"abc")),
        neighbour()[:20],
        message(RTM_NEWADDR)[:20],
        message(RTM_NEWLINK, attribute(NDA_DST, VIP)),
        b"\x01" * 15,
    ],
)
def test_other_messages_are_left_out_of_a_list(data: bytes) -> None:
    assert parse_list(data) == ([], False)


@given(st.binary())
def test_any_bytes_make_some_list(data: bytes) -> None:
    entries, _ = parse_list(data)
    assert all(len(entry.address) in (4, 16) for entry in entries)
