"""Addresses on a real interface, in a network namespace; and what is said when it does not work."""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest

from net.own_network import in_own_network
from pytinc.net import managed_addresses
from pytinc.net.managed_addresses import ManagedAddresses
from pytinc.wire.virtual_ip import VirtualIP

if TYPE_CHECKING:
    from net.conftest import LogLines, OnLoop

pytest.importorskip("pyroute2")

PRELUDE = """
import asyncio, json, subprocess, sys
from ipaddress import ip_interface
from pytinc.net.loop import run
from pytinc.net.managed_addresses import ManagedAddresses
from pytinc.wire.virtual_ip import VirtualIP

def ip(*words):
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout

def vip(text):
    interface = ip_interface(text)
    return VirtualIP(interface.ip.packed, interface.network.prefixlen, manage=True)

def show(title):
    found = [
        info for link in json.loads(ip("-j", "address", "show", "dev", "vpn")) for info in link["addr_info"]
        if info["scope"] == "global"
    ]
    print(json.dumps([title, {f"{info['local']}/{info['prefixlen']}": info for info in found}]))

def log(level, priority, message):
    print(json.dumps(["log", priority, message]))

ip("link", "add", "vpn", "type", "veth", "peer", "name", "other")
ip("link", "set", "dev", "lo", "up")
ip("link", "set", "dev", "other", "up")
ip("link", "set", "dev", "vpn", "up")

async def main(tasks):
    managed = ManagedAddresses(asyncio.get_running_loop(), "vpn", log)

    async def have(*texts):
        managed.set([vip(text) for text in texts])
        await managed.settled()

    await story(managed, have)

async def story(managed, have):
"""


def in_a_namespace(story: str, loop: str) -> list[list[Any]]:
    """Run a story in its own network; return what it shows and logs, in order."""
    code = PRELUDE + story + f"\nrun(main, use_uvloop={loop == 'uvloop'})\n"
    done = in_own_network(code)
    if "'veth'" in done.stderr:
        pytest.skip("no veth pairs here")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> str:
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    return str(request.param)


def shown(lines: Sequence[list[Any]]) -> list[tuple[str, list[str]]]:
    return [(title, sorted(found)) for title, found in (line for line in lines if line[0] != "log")]


def logged(lines: Sequence[list[Any]]) -> list[str]:
    return [line[2] for line in lines if line[0] == "log"]


def test_addresses_come_and_go_with_the_settings(loop: str) -> None:
    lines = in_a_namespace(
        """
    ip("address", "add", "10.1.1.102/24", "dev", "vpn")
    await have("10.1.1.10/32", "fd00:1::10/128")
    show("started")
    await have("10.1.1.10/32", "10.1.1.11/32")
    show("one replaced")
    await have("10.1.1.10/24", "10.1.1.11/32")
    show("another prefix")
    await have()
    show("stopped")
""",
        loop,
    )
    assert shown(lines) == [
        ("started", ["10.1.1.10/32", "10.1.1.102/24", "fd00:1::10/128"]),
        ("one replaced", ["10.1.1.10/32", "10.1.1.102/24", "10.1.1.11/32"]),
        ("another prefix", ["10.1.1.10/24", "10.1.1.102/24", "10.1.1.11/32"]),
        ("stopped", ["10.1.1.102/24"]),
    ]
    assert logged(lines) == [
        "Added 10.1.1.10/32 to vpn",
        "Added fd00:1::10/128 to vpn",
        "Removed fd00:1::10/128 from vpn",
        "Added 10.1.1.11/32 to vpn",
        "Removed 10.1.1.10/32 from vpn",
        "Added 10.1.1.10/24 to vpn",
        "Removed 10.1.1.11/32 from vpn",
        "Removed 10.1.1.10/24 from vpn",
    ]


def test_an_ipv6_address_can_be_used_at_once_and_is_no_source_of_the_hosts_own_packets(loop: str) -> None:
    lines = in_a_namespace('\n    await have("fd00:1::10/64")\n    show("started")\n', loop)
    ((_, found),) = [line for line in lines if line[0] == "started"]
    address = found["fd00:1::10/64"]
    assert "tentative" not in address
    assert address["nodad"] is True
    assert address["preferred_life_time"] == 0
    assert address["valid_life_time"] == 0xFFFFFFFF


def test_addresses_that_were_there_before_are_left_alone(loop: str) -> None:
    lines = in_a_namespace(
        """
    ip("address", "add", "10.1.1.10/24", "dev", "vpn")
    ip("address", "add", "10.1.1.11/32", "dev", "lo")
    await have("10.1.1.10/32", "10.1.1.11/32")
    show("started")
    await have("10.1.1.10/32", "10.1.1.11/32")
    await have()
    show("stopped")
""",
        loop,
    )
    assert shown(lines) == [("started", ["10.1.1.10/24"]), ("stopped", ["10.1.1.10/24"])]
    assert logged(lines) == [
        "10.1.1.10 is on this host already and is left alone",
        "10.1.1.11 is on this host already and is left alone",
    ]


def test_an_address_that_somebody_has_removed_is_no_error(loop: str) -> None:
    lines = in_a_namespace(
        """
    await have("10.1.1.10/32", "fd00:1::10/128")
    ip("address", "flush", "dev", "vpn")
    await have()
    show("stopped")
""",
        loop,
    )
    assert shown(lines) == [("stopped", [])]
    assert [message for message in logged(lines) if "Cannot" in message] == []


def test_the_last_of_quick_changes_counts(loop: str) -> None:
    lines = in_a_namespace(
        """
    for number in range(20):
        managed.set([vip(f"10.1.1.{number}/32")])
    await managed.settled()
    show("in the end")
""",
        loop,
    )
    assert shown(lines) == [("in the end", ["10.1.1.19/32"])]


def test_without_the_interface_each_address_is_an_error(loop: str) -> None:
    lines = in_a_namespace(
        """
    ip("link", "delete", "vpn")
    await have("10.1.1.10/32", "10.1.1.11/32")
""",
        loop,
    )
    assert logged(lines) == [f"Cannot add 10.1.1.{number}/32 to vpn: No such device" for number in (10, 11)]


def play(on_loop: OnLoop, log: LogLines, *steps: Sequence[VirtualIP]) -> None:
    async def main() -> None:
        managed = ManagedAddresses(asyncio.get_running_loop(), "no such", log)
        for step in steps:
            managed.set(step)
            await managed.settled()

    on_loop(main)


TEN = VirtualIP(ip_address("10.1.1.10").packed, 32, manage=True)


def test_errors_of_the_kernel_are_told_and_tried_again_at_the_next_change(
    on_loop: OnLoop, log: LogLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(interface: str, changes: Sequence[managed_addresses.Change]) -> list[managed_addresses.Done]:
        return [managed_addresses.Done(change, errno.EPERM) for change in changes]

    monkeypatch.setattr(managed_addresses, "_carry_out", refuse)
    play(on_loop, log, [TEN], [TEN])
    assert log == [(0, "error", "Cannot add 10.1.1.10/32 to no such: Operation not permitted")] * 2


def test_an_address_that_cannot_be_removed_is_told_once(
    on_loop: OnLoop, log: LogLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def add_only(interface: str, changes: Sequence[managed_addresses.Change]) -> list[managed_addresses.Done]:
        return [
            managed_addresses.Done(change, 0 if change.verb == "add" else errno.EPERM) for change in changes
        ]

    monkeypatch.setattr(managed_addresses, "_carry_out", add_only)
    play(on_loop, log, [TEN], [], [])
    assert log == [
        (1, "info", "Added 10.1.1.10/32 to no such"),
        (0, "error", "Cannot remove 10.1.1.10/32 from no such: Operation not permitted"),
    ]


def test_nothing_is_done_for_addresses_that_tinc_up_sets(on_loop: OnLoop, log: LogLines) -> None:
    play(on_loop, log, [VirtualIP(TEN.address, 32)])
    assert log == []
