"""Meta connections through real proxies (tinyproxy, Dante, microsocks, socat), to tincd and to pytincd.

    spoke (pytinc) ──TCP──> proxy ──TCP──> hub
          └────────────────UDP─────────────┘

The spoke's own TCP packets to the hub are dropped, so that it reaches the hub's port only through the proxy.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytinc.lab.echo import answers
from pytinc.lab.namespaces import Host
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until

CASTS = ("CP", "PP")
HTTP_PORT, SOCKS_PORT, PASSWORD_PORT, SILENT_PORT = 8888, 1080, 1081, 1082
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
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
    "socks5-password": ("microsocks", "socks5 {address} 1081 me s3cret"),
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
    """A host that runs all proxies that are installed."""
    host = network.lab.host("proxy")
    for program, text, words in (
        ("tinyproxy", TINYPROXY, ("-d", "-c")),
        ("danted", DANTED, ("-f",)),
    ):
        if shutil.which(program, path=PATH) is not None:
            file = network.lab.directory / f"{program}.conf"
            file.write_text(text.format(address=host.address))
            host.spawn(program, *words, str(file))
    if shutil.which("microsocks", path=PATH) is not None:
        host.spawn("microsocks", "-p", str(PASSWORD_PORT), "-u", "me", "-P", "s3cret")
    if shutil.which("socat", path=PATH) is not None:
        host.spawn("socat", f"TCP-LISTEN:{SILENT_PORT},fork", "EXEC:sleep 1000")
    yield host
    host.end_processes()


def with_proxy(spoke: Node, value: str) -> None:
    file = spoke.confbase / "tinc.conf"
    lines = file.read_text(errors="surrogateescape").splitlines()
    kept = [line for line in lines if not line.startswith("Proxy")]
    file.write_text("\n".join([*kept, f"Proxy = {value}", ""]), errors="surrogateescape")


@pytest.mark.parametrize("kind", KINDS)
def test_a_node_reaches_the_mesh_through_a_proxy(network: Network, proxy: Host, kind: str) -> None:
    program, value = KINDS[kind]
    for needed in (program, "tinyproxy" if kind == "exec" else program):
        if shutil.which(needed, path=PATH) is None:
            pytest.skip(f"{needed} is not installed")
    hub, spoke = network["hub"], network["spoke"]
    with_proxy(spoke, value.format(address=proxy.address))
    spoke.start()
    try:
        wait_until(lambda: spoke.sees([hub]) and hub.sees([spoke]), PATIENCE_S, "they see each other")
        wait_until(lambda: answers(spoke.host, hub.address), PATIENCE_S, "they answer")
        peers = {connection.name: connection for connection in hub.connections()}
        assert "spoke" in peers
    finally:
        spoke.stop()
    wait_until(lambda: not hub.sees([spoke]), PATIENCE_S, "the hub has noticed")


def test_the_log_says_why_a_proxy_of_another_kind_does_not_work(network: Network, proxy: Host) -> None:
    if shutil.which("danted", path=PATH) is None:
        pytest.skip("danted is not installed")
    spoke = network["spoke"]
    with_proxy(spoke, f"http {proxy.address} {SOCKS_PORT}")
    spoke.start()
    try:
        wait_until(lambda: "the proxy closed it" in spoke.log(), PATIENCE_S, "the log says why")
    finally:
        spoke.stop()


@pytest.mark.parametrize(
    ("program", "value", "message"),
    [
        ("microsocks", "socks5 {address} 1081 me wr0ng", "the proxy refuses user name or password"),
        ("microsocks", "socks5 {address} 1081", "the proxy wants another authentication method"),
        ("socat", "socks5 {address} 1082", "Timeout while connecting to hub"),
    ],
    ids=["wrong-password", "no-password", "silent"],
)
def test_a_proxy_that_refuses_or_does_not_answer_is_logged_without_the_password(
    network: Network, proxy: Host, program: str, value: str, message: str
) -> None:
    if shutil.which(program, path=PATH) is None:
        pytest.skip(f"{program} is not installed")
    spoke = network["spoke"]
    with_proxy(spoke, value.format(address=proxy.address))
    before = len(spoke.log())
    spoke.start()
    try:
        wait_until(lambda: message in spoke.log()[before:], PATIENCE_S, "the log says why")
    finally:
        spoke.stop()
    assert "wr0ng" not in spoke.log()
    assert "s3cret" not in spoke.log()


def test_a_proxy_command_that_ignores_signals_ends_with_the_daemon(network: Network, proxy: Host) -> None:
    spoke = network["spoke"]
    file = network.lab.directory / "stubborn"
    file.unlink(missing_ok=True)
    with_proxy(spoke, f"exec trap '' TERM; echo $$ >{file}; sleep 1000; sleep 1000")
    spoke.start()
    try:
        wait_until(lambda: file.exists() and file.read_text().endswith("\n"), PATIENCE_S, "the command runs")
        pid = int(file.read_text())
        assert Path(f"/proc/{pid}").exists()
    finally:
        spoke.stop()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), PATIENCE_S, "the command has ended")


def test_a_user_name_that_is_not_utf8_does_no_harm(network: Network, proxy: Host) -> None:
    spoke = network["spoke"]
    with_proxy(spoke, f"socks5 {proxy.address} {PASSWORD_PORT} m\udcfce s3cret")
    before = len(spoke.log())
    spoke.start()
    try:
        wait_until(
            lambda: "Closing connection with hub" in spoke.log()[before:], PATIENCE_S, "the spoke has tried"
        )
        assert spoke.pid() is not None
        assert "CRITICAL" not in spoke.log()[before:]
    finally:
        spoke.stop()


def test_a_url_is_refused_at_start_without_its_password(network: Network, proxy: Host) -> None:
    spoke = network["spoke"]
    before = len(spoke.log())
    with_proxy(spoke, f"http://me:s3cret@{proxy.address}:{HTTP_PORT}")
    done = spoke.start(check=False)
    assert done.returncode != 0
    assert "Unknown proxy type http!" in done.stderr + spoke.log()[before:]
    assert "s3cret" not in done.stdout + done.stderr + spoke.log()
