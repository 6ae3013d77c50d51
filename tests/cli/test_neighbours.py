"""The kernel's table of neighbours, asked for real."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest

from pytinc.cli import neighbours as module
from pytinc.cli.neighbours import Neighbour, neighbours
from pytinc.wire.netlink import RTM_GETNEIGH, Entry

LOCAL, NOBODY = ip_address("127.0.0.1").packed, ip_address("192.0.2.77").packed
MAC = bytes.fromhex("020000000001")


def test_an_address_of_this_host_is_found_with_its_interface() -> None:
    # The loopback interface has no MAC address.
    assert neighbours(LOCAL) == [Neighbour("lo", None, is_own=True)]


def test_an_address_that_the_kernel_does_not_know_is_not_found() -> None:
    assert neighbours(NOBODY) == []
    assert neighbours(ip_address("2001:db8::77").packed) == []


def test_only_entries_of_the_address_and_of_interfaces_that_exist_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lo = socket.if_nametoindex("lo")
    entries = [
        Entry(lo, NOBODY, MAC, is_own=False),
        Entry(lo, LOCAL, MAC, is_own=False),
        Entry(2**31 - 2, NOBODY, MAC, is_own=False),
    ]
    monkeypatch.setattr(module, "_list", lambda kind, size: entries if kind == RTM_GETNEIGH else [])
    assert neighbours(NOBODY) == [Neighbour("lo", MAC, is_own=False)]


def test_where_the_kernel_cannot_be_asked_nobody_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kind: int, size: int) -> list[Entry]:
        raise PermissionError

    monkeypatch.setattr(module, "_list", refuse)
    assert neighbours(LOCAL) == []
