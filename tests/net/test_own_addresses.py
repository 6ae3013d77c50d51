from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from ipaddress import ip_address

import pytest

from pytinc.net import own_addresses
from pytinc.net.own_addresses import OwnAddresses, is_own

IN_A_NAMESPACE = """
import asyncio, subprocess
from pytinc.net.own_addresses import OwnAddresses

def ip(*words):
    subprocess.run(["ip", *words], check=True)

async def main():
    removed = asyncio.Queue()
    watch = OwnAddresses(asyncio.get_running_loop(), on_removed=removed.put_nowait, log=print)
    ip("link", "set", "lo", "up")
    watch.start()
    for address in ("192.0.2.7/32", "192.0.2.8/32", "192.0.2.8/31", "2001:db8::7/128"):
        ip("address", "add", address, "dev", "lo")
    for address in ("192.0.2.8/32", "2001:db8::7/128", "192.0.2.7/32"):
        ip("address", "del", address, "dev", "lo")
    for _ in range(2):
        print((await asyncio.wait_for(removed.get(), 20)).hex(), flush=True)
    watch.stop()

asyncio.run(main())
"""


def test_an_address_that_is_on_no_interface_any_more_is_told() -> None:
    done = subprocess.run(
        ["unshare", "--net", "--map-root-user", sys.executable, "-c", IN_A_NAMESPACE],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "unshare" in done.stderr:
        pytest.skip("no network namespaces here")
    # 192.0.2.8 is there still, with another prefix.
    assert done.stdout.split() == ["20010db8000000000000000000000007", "c0000207"], done.stderr


@pytest.mark.parametrize(
    ("address", "own"),
    [("127.0.0.1", True), ("127.3.2.1", True), ("192.0.2.77", False), ("2001:db8::77", False)],
)
def test_the_host_is_asked_whether_it_has_an_address(address: str, own: bool) -> None:
    assert is_own(ip_address(address).packed) is own


async def test_where_the_kernel_allows_no_socket_nothing_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))

    monkeypatch.setattr(own_addresses.socket, "socket", refuse)
    logs: list[str] = []
    watch = OwnAddresses(
        asyncio.get_running_loop(), on_removed=lambda _: None, log=lambda level, kind, text: logs.append(text)
    )
    watch.start()
    watch.stop()
    assert logs == ["Cannot watch the addresses of this host: Address family not supported by protocol"]
