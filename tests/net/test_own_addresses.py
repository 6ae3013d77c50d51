from __future__ import annotations

import asyncio
import errno
import os
import socket
import subprocess
import sys
from ipaddress import ip_address

import pytest

from pytinc.net.own_addresses import OwnAddresses, is_own

IN_A_NAMESPACE = """
import asyncio, subprocess
from ipaddress import ip_address
from pytinc.net.own_addresses import OwnAddresses

def ip(*words):
    subprocess.run(["ip", *words], check=True)

async def main():
    changes = asyncio.Queue()
    watched = [ip_address(name).packed for name in ("192.0.2.7", "192.0.2.8", "2001:db8::7")]
    def note(address, macs):
        changes.put_nowait((ip_address(address), *sorted(mac.hex() for mac in macs or ())))
    watch = OwnAddresses(asyncio.get_running_loop(), watched=lambda: watched, on_change=note, log=print)
    ip("link", "set", "dev", "lo", "up")
    watch.start()
    for verb, address in (
        ("add", "192.0.2.7/32"), ("add", "192.0.2.8/32"), ("add", "192.0.2.8/31"), ("add", "2001:db8::7/128"),
        ("del", "192.0.2.8/32"), ("del", "192.0.2.8/31"), ("del", "2001:db8::7/128"), ("del", "192.0.2.7/32"),
    ):
        ip("address", "add", "192.0.2.9/32", "dev", "lo")  # this address is not watched
        ip("address", "del", "192.0.2.9/32", "dev", "lo")
        ip("address", verb, address, "dev", "lo", *(["nodad"] if verb == "add" and ":" in address else []))
        print(verb, *await asyncio.wait_for(changes.get(), 60), flush=True)
    watch.stop()

asyncio.run(main())
"""


def test_a_gained_or_lost_address_is_reported_with_the_macs_that_lost_it() -> None:
    done = subprocess.run(
        ["unshare", "--net", "--map-root-user", sys.executable, "-c", IN_A_NAMESPACE],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if "unshare" in done.stderr:
        pytest.skip("no network namespaces here")
    lo = "000000000000"
    assert done.stdout.splitlines() == [
        "add 192.0.2.7",
        "add 192.0.2.8",
        "add 192.0.2.8",
        "add 2001:db8::7",
        "del 192.0.2.8",  # the address is still there, with the other prefix
        f"del 192.0.2.8 {lo}",
        f"del 2001:db8::7 {lo}",
        f"del 192.0.2.7 {lo}",
    ], done.stderr


@pytest.mark.parametrize(
    ("address", "own"),
    [("127.0.0.1", True), ("192.0.2.77", False), ("2001:db8::77", False)],
)
def test_is_own_tells_whether_the_host_has_an_address(address: str, own: bool) -> None:
    assert is_own(ip_address(address).packed) is own


@pytest.mark.parametrize("version", ["4", "6"])
def test_an_unused_address_is_not_own_even_if_it_can_be_bound(
    version: str,
) -> None:
    name = {"4": "192.0.2.77", "6": "2001:db8::77"}[version]
    code = (
        "import socket; from ipaddress import ip_address; from pytinc.net.own_addresses import is_own\n"
        f"family = socket.AF_INET{'6' if version == '6' else ''}\n"
        f"open('/proc/sys/net/ipv{version}/ip_nonlocal_bind', 'w').write('1')\n"
        f"socket.socket(family, socket.SOCK_DGRAM).bind(({name!r}, 0))\n"
        f"print(is_own(ip_address({name!r}).packed))"
    )
    done = subprocess.run(
        ["unshare", "--net", "--map-root-user", sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "unshare" in done.stderr or "ip_nonlocal_bind" in done.stderr:
        pytest.skip("no network namespaces here, or no such setting")
    assert done.stdout == "False\n", done.stderr


async def test_nothing_is_watched_if_the_kernel_allows_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))

    monkeypatch.setattr(socket, "socket", refuse)
    logs: list[str] = []
    watch = OwnAddresses(
        asyncio.get_running_loop(),
        watched=list,
        on_change=lambda _, __: None,
        log=lambda level, kind, text: logs.append(text),
    )
    watch.start()
    watch.stop()
    assert logs == ["Cannot watch the addresses of this host: Address family not supported by protocol"]


async def test_addresses_that_the_host_lacks_are_reported_when_asked_for() -> None:
    missing, own = ip_address("192.0.2.77").packed, ip_address("127.0.0.1").packed
    reported: list[tuple[bytes, frozenset[bytes] | None]] = []
    watch = OwnAddresses(
        asyncio.get_running_loop(),
        watched=list,
        on_change=lambda address, macs: reported.append((address, macs)),
        log=lambda level, priority, text: None,
    )
    watch.report_missing([own, missing])
    ((address, macs),) = reported
    assert address == missing
    assert macs is not None
