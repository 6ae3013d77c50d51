"""Finds the host with an IP address in the kernel's neighbour tables, for `info ADDRESS` in switch mode.

In switch mode nodes own MAC addresses. The kernel of a host that has sent something to an IP address knows
its MAC address. All interfaces are searched, since the VPN's may be a port of a bridge; a MAC address that a
node owns is right on any of them.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Final, NamedTuple

from pytinc.wire.netlink import RTM_GETADDR, RTM_GETNEIGH, Entry, format_list_request, parse_list

TIMEOUT_S: Final = 5.0
MAX_DATAGRAMS: Final = 4096
"""The most datagrams, of up to 32 KiB each, of one answer: enough for the neighbours of any host."""
_DATAGRAM: Final = 65536


class Neighbour(NamedTuple):
    """A host with the address that was looked for."""

    interface: str
    mac: bytes | None
    """Its MAC address; None if nobody has answered for the address, or the interface has none."""
    is_own: bool
    """It is this host."""


def neighbours(address: bytes) -> list[Neighbour]:
    """Return the hosts with an IP address (4 or 16 bytes): this host, or neighbours that the kernel knows.

    The result is empty if the kernel cannot be asked.
    """
    try:
        entries = [*_list(RTM_GETADDR, len(address)), *_list(RTM_GETNEIGH, len(address))]
    except OSError:
        return []
    return [found for entry in entries if entry.address == address and (found := _neighbour(entry))]


def _list(kind: int, size: int) -> list[Entry]:
    found: list[Entry] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as route:
        route.settimeout(TIMEOUT_S)
        route.bind((0, 0))
        route.sendto(format_list_request(kind, size), (0, 0))
        for _ in range(MAX_DATAGRAMS):
            data, (port, _) = route.recvfrom(_DATAGRAM)
            if port == 0:  # other processes can write to this socket, too
                entries, is_last = parse_list(data)
                found += entries
                if is_last:
                    break
    return found


def _neighbour(entry: Entry) -> Neighbour | None:
    try:
        name = socket.if_indextoname(entry.interface)
    except OSError:  # it has just gone
        return None
    return Neighbour(name, _own_mac(name) if entry.is_own else entry.mac, entry.is_own)


def _own_mac(interface: str) -> bytes | None:
    """Return the MAC address of an interface of this host."""
    try:
        text = Path(os.devnull if "/" in interface else f"/sys/class/net/{interface}/address").read_text()
        mac = bytes.fromhex(text.strip().replace(":", ""))
    except (OSError, ValueError):
        return None
    return mac if len(mac) == 6 and any(mac) else None
