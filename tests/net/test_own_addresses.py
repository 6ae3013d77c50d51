from __future__ import annotations

import asyncio
import errno
import os
import socket
from ipaddress import ip_address
from itertools import chain, repeat

import pytest

from net.own_network import in_own_network
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
        changes.put_nowait((str(ip_address(address)), *sorted(mac.hex() for mac in macs or ())))
    watch = OwnAddresses(asyncio.get_running_loop(), watched=lambda: watched, on_change=note, log=print)
    ip("link", "set", "dev", "lo", "up")
    watch.start()
    for verb, address, lost in (
        ("add", "192.0.2.7/32", False), ("add", "192.0.2.8/32", False), ("add", "192.0.2.8/31", False),
        ("add", "2001:db8::7/128", False), ("del", "192.0.2.8/32", False), ("del", "192.0.2.8/31", True),
        ("del", "2001:db8::7/128", True), ("del", "192.0.2.7/32", True),
    ):
        ip("address", "add", "192.0.2.9/32", "dev", "lo")  # this address is not watched
        ip("address", "del", "192.0.2.9/32", "dev", "lo")
        ip("address", verb, address, "dev", "lo", *(["nodad"] if verb == "add" and ":" in address else []))
        # On a busy machine the kernel's message comes before the change, and the truth in a second report.
        report = None
        while report is None or (report[0], len(report) > 1) != (address.partition("/")[0], lost):
            report = await asyncio.wait_for(changes.get(), 60)
        print(verb, *report, flush=True)
    watch.stop()

asyncio.run(main())
"""


def test_a_gained_or_lost_address_is_reported_with_the_macs_that_lost_it() -> None:
    done = in_own_network(IN_A_NAMESPACE)
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


LINKS_IN_A_NAMESPACE = """
import asyncio, subprocess
from pytinc.net.own_addresses import OwnAddresses

def ip(words):
    return subprocess.run(["ip", *words.split()], check=True, capture_output=True, text=True).stdout

async def links_are(up):
    # The kernel tells of a link of which the other end has changed up to a second later.
    async with asyncio.timeout(60):
        while any((" state UP " in ip(f"-o link show dev {name}")) is not up for name in ("one", "two")):
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.2)

async def main():
    ups = asyncio.Queue()
    watch = OwnAddresses(
        asyncio.get_running_loop(),
        watched=list, on_change=print, on_up=lambda: ups.put_nowait(None), log=print,
    )
    ip("link add one type veth peer name two")
    ip("link set dev one up")
    ip("link set dev two up")
    await links_are(True)
    watch.start()
    for words in ("link set dev two down", "link set dev two up", "addr add 192.0.2.1/24 dev one",
                  "link set dev one mtu 1400", "addr del 192.0.2.1/24 dev one",
                  "addr add 192.0.2.9/32 dev one scope host"):
        ip(words)
        if words.startswith("link set dev two"):
            await links_are(words.endswith("up"))
        if words.endswith("two up") or words.startswith("addr add 192.0.2.1/"):
            await asyncio.wait_for(ups.get(), 60)  # for the rest nothing is due
            while not ups.empty():
                ups.get_nowait()  # both ends of the link report it
        print(words, flush=True)
    await asyncio.sleep(0.5)
    watch.stop()
    print(ups.qsize())

asyncio.run(main())
"""


def test_a_link_or_an_address_that_comes_is_reported() -> None:
    done = in_own_network(LINKS_IN_A_NAMESPACE)
    *_, last, surplus = done.stdout.splitlines() or ["", done.stderr]
    assert (last, surplus) == ("addr add 192.0.2.9/32 dev one scope host", "0"), done.stderr


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
    done = in_own_network(code)
    if "ip_nonlocal_bind" in done.stderr:
        pytest.skip("this kernel has no such setting")
    assert done.stdout == "False\n", done.stderr


def test_the_second_address_of_a_network_is_own_and_a_neighbours_is_not() -> None:
    code = (
        "import subprocess; from ipaddress import ip_address; from pytinc.net.own_addresses import is_own\n"
        "for words in ('link set dev lo up', 'addr add 10.1.1.3/24 dev lo', 'addr add 10.1.1.10/24 dev lo',\n"
        "              'link add one type veth peer name two', 'link set dev one up',\n"
        "              'addr add 10.1.2.3/24 dev one'):\n"
        "    subprocess.run(['ip', *words.split()], check=True)\n"
        "names = '10.1.1.3', '10.1.1.10', '10.1.2.4', '10.9.9.9'\n"
        "print(*[is_own(ip_address(name).packed) for name in names])"
    )
    done = in_own_network(code)
    assert done.stdout == "True True False False\n", done.stderr


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


@pytest.mark.parametrize("is_lost", [False, True])
async def test_an_address_whose_route_comes_after_the_message_is_found(
    is_lost: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address = ip_address("192.0.2.77").packed
    answers = chain([False], repeat(True))
    monkeypatch.setattr("pytinc.net.own_addresses.is_own", lambda _: next(answers))
    monkeypatch.setattr("pytinc.net.own_addresses.changed_addresses", lambda _: [address])
    theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    monkeypatch.setattr("pytinc.net.own_addresses._listen", lambda: _FromKernel(ours, is_lost=is_lost))
    reported: asyncio.Queue[bool] = asyncio.Queue()
    watch = OwnAddresses(
        asyncio.get_running_loop(),
        watched=lambda: [address],
        on_change=lambda _, macs: reported.put_nowait(macs is None),
        log=lambda level, priority, text: None,
    )
    watch.start()
    with theirs:
        theirs.send(b"x")
        assert [await asyncio.wait_for(reported.get(), 60) for _ in range(2)] == [False, True]
        watch.stop()
    assert reported.empty()


class _FromKernel:
    """A socket whose messages come from the kernel."""

    def __init__(self, end: socket.socket, *, is_lost: bool) -> None:
        self._end = end
        self._is_lost = is_lost
        self.fileno, self.close = end.fileno, end.close

    def recvfrom(self, size: int) -> tuple[bytes, tuple[int, int]]:
        data = self._end.recv(size)
        if self._is_lost:  # it and others
            raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))
        return data, (0, 0)
