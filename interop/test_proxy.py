"""Meta connections through real proxies (tinyproxy, Dante, socat), to the real tincd and to pytincd.

    spoke (pytinc) ──TCP──> proxy ──TCP──> hub
          └────────────────UDP─────────────┘

The straight way for TCP is closed, so that nothing but the proxy can lead to the hub.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest

from pytinc.lab.namespaces import Host
from pytinc.lab.network import Network
from pytinc.lab.node import Kind, Node, wait_until
from pytinc.lab.traffic import answers

CASTS = ("CP", "PP")
HTTP_PORT, SOCKS_PORT = 8888, 1080
TINYPROXY = f"Port {HTTP_PORT}\nListen {{address}}\nTimeout 600\nAllow 192.0.2.0/24\nConnectPort 655\n"
DANTED = f"""
logoutput: stderr
internal: {{address}} port = {SOCKS_PORT}
external: {{address}}
clientmethod: none
socksmethod: none
user.notprivileged: nobody
client pass {{{{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}}}
socks pass {{{{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}}}
"""
KINDS = {
    "http": ("tinyproxy", "http {address} 8888"),
    "socks4": ("danted", "socks4 {address} 1080"),
    "socks5": ("danted", "socks5 {address} 1080"),
    "exec": ("socat", "exec socat - PROXY:{address}:$REMOTEADDRESS:$REMOTEPORT,proxyport=8888"),
}


@pytest.fixture(scope="module")
def network(new_network: Callable[..., Network], cast: tuple[Kind, ...]) -> Network:
    network = new_network(("MaxTimeout", "1"), ("PingTimeout", "3"))
    network.add("hub", cast[0])
    network.add("spoke", cast[1], connect_to=["hub"])
    network.exchange_keys()
    network["hub"].start()
    spoke, hub = network["spoke"], network["hub"]
    rules = [
        "add table inet t",
        "add chain inet t o { type filter hook output priority 0; }",
        f"add rule inet t o ip daddr {hub.host.address} tcp dport 655 drop",
    ]
    spoke.host.run("nft", "-f", "-", stdin="\n".join(rules) + "\n")
    return network


@pytest.fixture(scope="module")
def proxy(network: Network) -> Iterator[Host]:
    """A host that runs whatever proxies there are."""
    host = network.lab.host("proxy")
    for program, text, words in (
        ("tinyproxy", TINYPROXY, ("-d", "-c")),
        ("danted", DANTED, ("-f",)),
    ):
        if shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin") is not None:
            file = network.lab.directory / f"{program}.conf"
            file.write_text(text.format(address=host.address))
            host.spawn(program, *words, str(file))
    yield host
    host.end_processes()


def with_proxy(spoke: Node, value: str) -> None:
    lines = (spoke.confbase / "tinc.conf").read_text().splitlines()
    kept = [line for line in lines if not line.startswith("Proxy")]
    (spoke.confbase / "tinc.conf").write_text("\n".join([*kept, f"Proxy = {value}", ""]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_node_reaches_the_mesh_through_a_proxy(network: Network, proxy: Host, kind: str) -> None:
    program, value = KINDS[kind]
    for needed in (program, "tinyproxy" if kind == "exec" else program):
        if shutil.which(needed, path="/usr/sbin:/usr/bin:/sbin:/bin") is None:
            pytest.skip(f"{needed} is not installed")
    hub, spoke = network["hub"], network["spoke"]
    with_proxy(spoke, value.format(address=proxy.address))
    spoke.start()
    try:
        wait_until(lambda: spoke.sees([hub]) and hub.sees([spoke]), 20, "they see each other")
        wait_until(lambda: answers(spoke.host, hub.address), 20, "they answer")
        peers = {connection.name: connection for connection in hub.connections()}
        assert "spoke" in peers
    finally:
        spoke.stop()
    wait_until(lambda: not hub.sees([spoke]), 10, "the hub has noticed")


def test_a_proxy_of_another_kind_is_told_in_the_log(network: Network, proxy: Host) -> None:
    if shutil.which("danted", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("danted is not installed")
    spoke = network["spoke"]
    with_proxy(spoke, f"http {proxy.address} {SOCKS_PORT}")
    spoke.start()
    try:
        wait_until(lambda: "the proxy closed it" in spoke.log(), 10, "the log tells why")
    finally:
        spoke.stop()
