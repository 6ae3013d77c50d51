"""UPnP with Debian's miniupnpd: a node behind a router maps its port, and a node outside reaches it.

inside ──eth0── router ──wan0── outside
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable

import pytest

from pytinc.lab.echo import answers
from pytinc.lab.namespaces import Host
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, wait_until

CASTS = ("C", "P")
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
WAN_ROUTER, WAN_OUTSIDE = "198.51.100.1", "198.51.100.2"
# miniupnpd refuses to work without a public address. This one is only configured; nothing is sent to it.
EXTERNAL = "11.11.11.11"
RULES = """
table inet filter {
  chain forward { type filter hook forward priority 0; policy drop;
    iifname "eth0" accept
    ct state established,related accept
    jump miniupnpd
  }
  chain miniupnpd { }
  chain prerouting { type nat hook prerouting priority -100; jump prerouting_miniupnpd; }
  chain prerouting_miniupnpd { }
  chain postrouting { type nat hook postrouting priority 100;
    jump postrouting_miniupnpd
    oifname "wan0" masquerade
  }
  chain postrouting_miniupnpd { }
}
"""
CONFIGURATION = f"""
ext_ifname=wan0
ext_ip={EXTERNAL}
listening_ip=eth0
ipv6_disable=yes
secure_mode=yes
system_uptime=yes
notify_interval=3600
uuid=9c4486c8-5b5c-48e9-9c88-07ae0a23b76f
allow 1-65535 192.0.2.0/24 1-65535
deny 0-65535 0.0.0.0/0 0-65535
"""


@pytest.fixture(scope="module")
def router(network: Network, cast: tuple[Kind, ...]) -> Host:
    """A router between the lab's switch and a host outside, with a miniupnpd on it."""
    if shutil.which("miniupnpd", path=PATH) is None:
        pytest.skip("miniupnpd is not installed (interop/setup.sh test installs it)")
    lab = network.lab
    router, outside = lab.host("router"), network["outside"].host
    outside.run("ip", "link", "set", "dev", "eth0", "down")
    router.run(
        "ip", "link", "add", "wan0", "type", "veth", "peer", "name", "wan0", "netns", outside.namespace
    )
    for host, address in ((router, WAN_ROUTER), (outside, WAN_OUTSIDE)):
        host.run("ip", "address", "add", f"{address}/24", "dev", "wan0")
        host.run("ip", "link", "set", "dev", "wan0", "up")
    router.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    router.run("nft", "-f", "-", stdin=RULES)
    network["inside"].host.run("ip", "route", "add", "default", "via", router.address)
    return router


@pytest.fixture(scope="module")
def network(new_network: Callable[..., Network], cast: tuple[Kind, ...]) -> Network:
    network = new_network()
    inside = network.add("inside", cast[0])
    network.add("outside", Kind.PY, connect_to=["inside"])
    inside.add_lines("tinc.conf", [("UPnP", "yes"), ("UPnPDiscoverWait", "1"), ("UPnPRefreshPeriod", "3")])
    # From outside, inside's node is reached by the router's address.
    file = inside.confbase / "hosts/inside"
    file.write_text(file.read_text().replace(inside.host.address, WAN_ROUTER))
    network.exchange_keys()
    return network


def start_miniupnpd(router: Host) -> None:
    file = router.lab.directory / "miniupnpd.conf"
    file.write_text(CONFIGURATION)
    log = router.lab.directory / "miniupnpd.log"
    with log.open("w") as output:
        router.spawn("miniupnpd", "-d", "-f", str(file), "-P", f"{file}.pid", output=output)
    wait_until(lambda: "HTTP listening" in log.read_text(), PATIENCE_S, "miniupnpd listens")


def mapped(router: Host) -> set[tuple[str, str, str]]:
    """Return the port mappings of the router as (protocol, outer port, target inside)."""
    rules = router.run("nft", "list", "chain", "inet", "filter", "prerouting_miniupnpd").stdout
    # nft prints the protocol as a number here: 6 is TCP, 17 is UDP.
    found = re.findall(r"@nh,72,8 (0x6|0x11) th dport (\d+) dnat ip to (\S+)", rules)
    return {("tcp" if protocol == "0x6" else "udp", port, target) for protocol, port, target in found}


def test_a_node_outside_reaches_the_one_behind_the_router(network: Network, router: Host) -> None:
    inside, outside = network["inside"], network["outside"]
    inside.start()
    # miniupnpd starts later than the node, which finds it at the next try.
    start_miniupnpd(router)
    target = f"{inside.host.address}:655"
    wait_until(
        lambda: mapped(router) == {("tcp", "655", target), ("udp", "655", target)},
        PATIENCE_S,
        "ports are mapped",
    )
    outside.start()
    network.wait_converged()
    wait_until(lambda: answers(outside.host, inside.address), PATIENCE_S, "they answer")
    wait_until(lambda: outside.nodes()["inside"].mtu_known, PATIENCE_S, "UDP passes")


def test_mappings_are_renewed_and_expire_after_the_daemon_ends(network: Network, router: Host) -> None:
    before = mapped(router)
    assert before
    time.sleep(8)  # longer than one lease
    # On a busy machine one may come late, after the lease. Without another none would ever come back.
    wait_until(lambda: mapped(router) == before, PATIENCE_S, "the mappings are still there")
    network["inside"].stop()
    wait_until(lambda: not mapped(router), PATIENCE_S, "the mappings have expired")
