"""The kernel's messages about the host's addresses, neighbours and routes (rtnetlink(7)).

Changes of addresses come as RTM_NEWADDR and RTM_DELADDR, those of interfaces as RTM_NEWLINK. A request for a
list of addresses (RTM_GETADDR) or neighbours (RTM_GETNEIGH) is answered by messages of the same form, and one
that ends the list. RTM_GETROUTE asks whether a packet to an IPv4 address stays on the host.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

RTM_NEWLINK: Final = 16
RTM_DELLINK: Final = 17
RTM_NEWADDR: Final = 20
RTM_DELADDR: Final = 21
RTM_GETADDR: Final = 22
RTM_NEWNEIGH: Final = 28
RTM_GETNEIGH: Final = 30
RTMGRP_LINK: Final = 1
RTMGRP_IPV4_IFADDR: Final = 0x10
RTMGRP_IPV6_IFADDR: Final = 0x100

_END: Final = (2, 3)
"""NLMSG_ERROR and NLMSG_DONE."""
_NLM_F_REQUEST_DUMP: Final = 0x301
_FAMILIES: Final = {4: 2, 16: 10}
"""AF_INET and AF_INET6, by the length of an address."""
_RTM_NEWROUTE: Final = 24
_RTM_GETROUTE: Final = 26
_NLM_F_REQUEST: Final = 1
_HEADER: Final = struct.Struct("=IHHII")
"""Length of the message, type, flags, sequence number, port."""
_ADDRESS_SIZE: Final = 8
"""Length of struct ifaddrmsg, which precedes the attributes."""
_NEIGHBOUR: Final = struct.Struct("=BxxxiHBB")
"""struct ndmsg: family, index of the interface, state, flags, type."""
_ADDRESS: Final = struct.Struct("=BBBBI")
"""struct ifaddrmsg: family, prefix length, flags, scope, index of the interface."""
_GLOBAL: Final = 0
"""RT_SCOPE_UNIVERSE."""
_NDA_DST: Final = 1
_NDA_LLADDR: Final = 2
_MAC_SIZE: Final = 6
_ATTRIBUTE: Final = struct.Struct("=HH")
"""Length and type."""
_ROUTE: Final = struct.Struct("=BBBBBBBBI")
"""struct rtmsg: family, lengths of destination and source, TOS, table, protocol, scope, type, flags."""
_AF_INET: Final = 2
_RTA_DST: Final = 1
_RTN_LOCAL: Final = 2
_LINK: Final = struct.Struct("=BxHiII")
"""struct ifinfomsg: family, type, index of the interface, flags, changed flags (often 0)."""
_IFF_UP: Final = 0x1
_IFF_LOWER_UP: Final = 0x10000
_IFA_ADDRESS: Final = 1
_IFA_LOCAL: Final = 2
"""The host's own address. On a point-to-point link, IFA_ADDRESS is the peer's."""


def changed_addresses(data: bytes) -> list[bytes]:
    """Return the IPv4 and IPv6 addresses that interfaces got or lost, from one datagram of the kernel.

    Messages that are truncated or of another kind are skipped.
    """
    found: list[bytes] = []
    for type_, body in _messages(data):
        if type_ in (RTM_NEWADDR, RTM_DELADDR):
            attributes = dict(_attributes(body[_ADDRESS_SIZE:]))
            address = attributes.get(_IFA_LOCAL, attributes.get(_IFA_ADDRESS, b""))
            if len(address) in (4, 16):
                found.append(address)
    return found


def links(data: bytes) -> list[tuple[int, bool]]:
    """Return the interfaces that one datagram of the kernel is about, by index, and whether each has a link.

    Messages that are truncated or of another kind are skipped.
    """
    found: list[tuple[int, bool]] = []
    for type_, body in _messages(data):
        if type_ == RTM_NEWLINK and len(body) >= _LINK.size:
            _, _, index, flags, _ = _LINK.unpack_from(body)
            found.append((index, flags & _IFF_UP != 0 and flags & _IFF_LOWER_UP != 0))
    return found


def deleted_links(data: bytes) -> list[int]:
    """Return the indexes of the interfaces that are gone, from one datagram of the kernel."""
    return [
        _LINK.unpack_from(body)[2]
        for type_, body in _messages(data)
        if type_ == RTM_DELLINK and len(body) >= _LINK.size
    ]


def has_new_address(data: bytes) -> bool:
    """Return whether an interface has got an address that others can reach, from a datagram of the kernel."""
    return any(
        type_ == RTM_NEWADDR and len(body) >= _ADDRESS.size and _ADDRESS.unpack_from(body)[3] == _GLOBAL
        for type_, body in _messages(data)
    )


class Entry(NamedTuple):
    """A neighbour of the host, or an address of its own."""

    interface: int
    """The index of the interface."""
    address: bytes
    mac: bytes | None
    """The neighbour's MAC address; None if nobody has answered, and for an own address."""
    is_own: bool


def format_list_request(kind: int, size: int) -> bytes:
    """Return the request for a list, RTM_GETADDR or RTM_GETNEIGH, of addresses of 4 or 16 bytes."""
    body = struct.pack("=B", _FAMILIES[size]) + bytes(_NEIGHBOUR.size - 1)
    return _HEADER.pack(_HEADER.size + len(body), kind, _NLM_F_REQUEST_DUMP, 1, 0) + body


def parse_list(data: bytes) -> tuple[list[Entry], bool]:
    """Return the entries of one datagram of an answer, and whether it is the last one.

    Messages that are truncated or of another kind are skipped.
    """
    found: list[Entry] = []
    for type_, body in _messages(data):
        if type_ in _END:
            return found, True
        if type_ == RTM_NEWNEIGH and len(body) >= _NEIGHBOUR.size:
            _, interface, *_ = _NEIGHBOUR.unpack_from(body)
            attributes = dict(_attributes(body[_NEIGHBOUR.size :]))
            address, mac = attributes.get(_NDA_DST, b""), attributes.get(_NDA_LLADDR, b"")
            entry = Entry(interface, address, mac if len(mac) == _MAC_SIZE else None, is_own=False)
        elif type_ == RTM_NEWADDR and len(body) >= _ADDRESS.size:
            *_, interface = _ADDRESS.unpack_from(body)
            attributes = dict(_attributes(body[_ADDRESS_SIZE:]))
            address = attributes.get(_IFA_LOCAL, attributes.get(_IFA_ADDRESS, b""))
            entry = Entry(interface, address, None, is_own=True)
        else:
            continue
        if len(entry.address) in _FAMILIES:
            found.append(entry)
    return found, False


def route_question(address: bytes) -> bytes:
    """Return the request for the route of packets to an IPv4 address (4 bytes)."""
    body = _ROUTE.pack(_AF_INET, 32, 0, 0, 0, 0, 0, 0, 0) + _ATTRIBUTE.pack(8, _RTA_DST) + address
    return _HEADER.pack(_HEADER.size + len(body), _RTM_GETROUTE, _NLM_F_REQUEST, 1, 0) + body


def is_local_route(data: bytes) -> bool:
    """Return whether the kernel's answer to `route_question` says that the host has the address itself.

    No other message does, also not the error that there is no route.
    """
    return any(
        type_ == _RTM_NEWROUTE and len(body) >= _ROUTE.size and _ROUTE.unpack_from(body)[7] == _RTN_LOCAL
        for type_, body in _messages(data)
    )


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position + _HEADER.size <= len(data):
        length, type_, *_ = _HEADER.unpack_from(data, position)
        if length < _HEADER.size:
            return
        yield type_, data[position + _HEADER.size : position + length]
        position += _aligned(length)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position + _ATTRIBUTE.size <= len(data):
        length, type_ = _ATTRIBUTE.unpack_from(data, position)
        if length < _ATTRIBUTE.size:
            return
        yield type_, data[position + _ATTRIBUTE.size : position + length]
        position += _aligned(length)


def _aligned(length: int) -> int:
    return (length + 3) & ~3
