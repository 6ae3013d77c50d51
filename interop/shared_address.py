"""Helpers of the tests of shared addresses: hosts that hold one, and clients that use it.

Holders have the shared address as their first one, as people configure it: so the kernel uses it as the
source of whatever they send. A client pings all the time, so that its kernel trusts its neighbour entry for a
long time: without a guard, it takes 20 s and more until the kernel asks again.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import Event

from pytinc.lab.echo import answers, ping
from pytinc.lab.namespaces import Host
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until
from pytinc.lab.traffic import neighbour

VIP4, VIP6 = "10.1.1.10", "fd00:1::10"
VIPS = (VIP4, VIP6)
HEALED_S = 15
"""How many seconds a client may be without its server. With C nodes alone it is 20 s to a minute."""
HEALED_BY_C_S = 100
MANY = 1_000_000
FEW = 50
"""Pings that may be lost on a busy machine. A client that is not led elsewhere loses a hundred a second."""
WATCH_S = 0.5
LOCKTIME_S = 1.0
"""A kernel ignores further answers for an entry that changed less than this many seconds ago."""

Moved = dict[str, str]
"""The MAC address that a client has for each address."""


# -- building --


def addresses(number: int, *shared: str) -> list[str]:
    """Return a host's addresses with their prefix lengths: shared ones first, then its own."""
    own = (f"10.1.1.{100 + number}", f"fd00:1::{100 + number}")
    return [f"{address}/64 nodad" if ":" in address else f"{address}/24" for address in (*shared, *own)]


def virtual_network(
    new_network: Callable[..., Network], kinds: Mapping[str, Kind], holders: Collection[str]
) -> Network:
    """Make a network of these roles, all of which connect to "entry"; it is not started.

    The hosts of ``holders`` have the shared addresses as docs/virtual-ip.md wants it of members: behind their
    own ones, and not as the source of what they begin.
    """
    network = new_network()
    for number, (role, kind) in enumerate(kinds.items(), 1):
        shared = [f"{VIP4}/32", f"{VIP6}/128 nodad preferred_lft 0"] if role in holders else []
        network.add(role, kind, [*addresses(number), *shared], () if role == "entry" else ("entry",))
    network.exchange_keys()
    return network


def own(node: Node, version: int = 4) -> str:
    """Return the address that only this node has."""
    number = int(node.mac[-2:], 16)
    return f"10.1.1.{100 + number}" if version == 4 else f"fd00:1::{100 + number}"


def guards(network: Network) -> list[Node]:
    return [node for node in network if node.kind is Kind.PY]


def patience(network: Network) -> float:
    return HEALED_S if guards(network) else HEALED_BY_C_S


def wait_guarded(network: Network, vips: Iterable[str] = VIPS) -> None:
    """Wait until the pytinc nodes that will act on a failover know that the addresses are shared."""
    client = network["client"]
    for node in [client] if client.kind is Kind.PY else guards(network):
        for vip in vips:
            wait_until(lambda: f" {vip} is held by " in node.log(), PATIENCE_S, f"{node.name} guards {vip}")  # noqa: B023


# -- clients --


@contextmanager
def pinging(host: Host, vips: Iterable[str] = VIPS) -> Iterator[None]:
    """Ping addresses while the block runs."""
    pings = [host.spawn("ping", "-n", "-q", "-i", "0.05", vip, output=subprocess.DEVNULL) for vip in vips]
    try:
        yield
    finally:
        for process in pings:
            process.kill()
            process.wait()


@contextmanager
def few_lost_pings(host: Host, vip: str = VIP4, *, may_lose: int = FEW) -> Iterator[None]:
    """Ping every 10 ms while the block runs. At most ``may_lose`` pings may be lost."""
    enough = Event()
    with ThreadPoolExecutor(1) as worker:
        pings = worker.submit(ping, host, vip, MANY, interval=0.01, may_lose=may_lose, enough=enough)
        try:
            yield
        finally:
            enough.set()
    report = pings.result()
    print(f"{report.lost} of {report.sent} pings lost")
    assert report.lost <= may_lose


@contextmanager
def pinged(host: Host, vip: str, *, may_lose: int) -> Iterator[None]:
    """Ping every 10 ms while the block runs, and for a moment before and after."""
    with few_lost_pings(host, vip, may_lose=may_lose):
        time.sleep(WATCH_S)
        yield
        time.sleep(WATCH_S)


def entries(host: Host, vips: Iterable[str] = VIPS) -> dict[str, str | None]:
    return {vip: neighbour(host, vip)[0] for vip in vips}


def gather(client: Host, holder: Node, vips: Sequence[str] = VIPS) -> None:
    """Make a client use this holder: it announces the addresses until the client's entries are REACHABLE."""
    client.run("sysctl", "-qw", "net.ipv4.neigh.vpn.delay_first_probe_time=1")
    client.run("sysctl", "-qw", "net.ipv6.neigh.vpn.delay_first_probe_time=1")
    holder.host.run("sysctl", "-qw", f"net.ipv4.conf.{holder.interface}.arp_notify=1")
    holder.host.run("sysctl", "-qw", f"net.ipv6.conf.{holder.interface}.ndisc_notify=1")

    def sure() -> bool:
        found = [neighbour(client, vip) for vip in vips]
        if any(mac != holder.mac for mac, _ in found):
            # The kernel announces its addresses when the MAC address is set, even to the same value.
            holder.host.run("ip", "link", "set", "dev", holder.interface, "address", holder.mac)
        return found == [(holder.mac, "REACHABLE")] * len(vips)

    wait_until(
        sure, PATIENCE_S, f"the client uses {holder.name}, and its entries are REACHABLE", interval=0.3
    )
    time.sleep(LOCKTIME_S)


def served(client: Host, by: Iterable[Node], vip: str) -> bool:
    return neighbour(client, vip)[0] in {node.mac for node in by} and answers(client, vip, wait=0.3)


def wait_served(client: Host, by: Sequence[Node], timeout: float, vips: Sequence[str] = VIPS) -> Moved:
    """Wait until one of these nodes serves each address, and return the MAC addresses that the client has."""
    end = time.monotonic() + timeout
    for vip in vips:
        left = max(end - time.monotonic(), 0.0)
        what = f"{vip} answers from {' or '.join(node.name for node in by)}"
        wait_until(partial(served, client, by, vip), left, what, interval=0.05)
    found = entries(client, vips)
    return {vip: mac for vip, mac in found.items() if mac is not None}


# -- the behaviour of hosts --


@contextmanager
def sysctls(host: Host, values: Mapping[str, int]) -> Iterator[None]:
    """Set sysctl variables under ``net`` while the block runs."""
    before = {name: host.run("cat", f"/proc/sys/net/{name}").stdout.strip() for name in values}
    try:
        for name, value in values.items():
            host.run("sysctl", "-qw", f"net/{name}={value}")
        yield
    finally:
        for name, text in before.items():
            host.run("sysctl", "-qw", f"net/{name}={text}")


@contextmanager
def asking_all_the_time(node: Node, others: Iterable[str]) -> Iterator[None]:
    """While the block runs, make a host forget its neighbours and ask again, several times a second."""
    pings = " ".join(f"ping -n -q -c 1 -W 0.1 {other} &" for other in others)
    script = f"while :; do ip neigh flush dev {node.interface}; {pings} sleep 0.2; done"
    process = node.host.spawn("sh", "-c", script, output=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


# -- logs and neighbour tables --


@contextmanager
def logged(network: Network, pattern: str) -> Iterator[None]:
    """Check that a pytinc node logs a line that matches, in the block or soon after it."""
    marks = {node.name: len(node.log()) for node in guards(network)}
    yield
    if marks:
        wait_until(
            lambda: any(re.search(pattern, node.log()[marks[node.name] :]) for node in guards(network)),
            PATIENCE_S,
            f"a log says {pattern!r}",
        )


class Moves:
    """The MAC addresses that a host had for each address, in order, while the ``with`` block ran."""

    def __init__(self, host: Host, vips: Iterable[str] = VIPS) -> None:
        self._host = host
        self._vips = tuple(vips)
        self._text = ""

    def __enter__(self) -> Moves:
        self._before = entries(self._host, self._vips)
        self._process = self._host.spawn("ip", "monitor", "neigh")
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.terminate()
        self._text = self._process.communicate(timeout=PATIENCE_S)[0]

    def of(self, vip: str) -> list[str]:
        """Return all MAC addresses in order, with the first one; each differs from the one before."""
        macs = [mac] if (mac := self._before[vip]) is not None else []
        for found in re.finditer(rf"^{re.escape(vip)} dev \S+ lladdr (\S+)", self._text, re.MULTILINE):
            if not macs or found[1] != macs[-1]:
                macs.append(found[1])
        return macs

    def count(self, vip: str) -> int:
        return max(len(self.of(vip)) - 1, 0)
