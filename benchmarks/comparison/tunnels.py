"""The pairs that are compared: two hosts of a lab, and the tunnel between them.

``TincPair`` is two tinc nodes of any kind; the others are other VPN programs from Debian, and bare veth as
the upper limit. All pairs run at once, each on its own hosts; idle ones cost almost nothing.
"""

from __future__ import annotations

import functools
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from comparison.figures import BASE
from pytinc.config.variables import lookup
from pytinc.lab.echo import answers
from pytinc.lab.namespaces import Host, Lab, LabError
from pytinc.lab.network import Network
from pytinc.lab.node import Kind, Node, wait_until

SPOKES: Final = 4
"""Peers that send at once in the row for many peers."""
VIRTUAL_ADDRESS: Final = "10.1.1.200"
"""No node has it."""
READY_S: Final = 30.0
BARE: Final = "bare Python"
BARE_PROGRAM: Final = Path(__file__).with_name("bare.py")
PROGRAM_PATH: Final = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"


class SkippedError(Exception):
    """A pair that cannot be measured here, and why."""


@dataclass
class Pair:
    """Two hosts and the server's address for the client. ``pids`` are those of all daemons in between."""

    name: str
    title: str
    client: Host
    server: Host
    address: str
    pids: Callable[[], list[int]]

    def wait_ready(self) -> None:
        """Return when packets pass in both directions; LabError after READY_S."""
        wait_until(lambda: answers(self.client, self.address), READY_S, f"{self.name}: an answer")

    def add_spokes(self) -> list[Host] | None:
        """Start further clients, SPOKES with the first; None where that is not supported."""
        return None

    @contextmanager
    def virtual_address(self) -> Iterator[str]:
        """Give the server a virtual address for a while; without tinc, this is the server's own address."""
        yield self.address


class TincPair(Pair):
    """Two tinc nodes on a direct path; later more nodes that connect to the server."""

    def __init__(
        self, lab: Lab, name: str, tag: str, kinds: tuple[Kind, Kind], settings: dict[str, str]
    ) -> None:
        for variable in settings:
            if lookup(variable) is None:
                raise SkippedError(f"this pytinc has no variable {variable}")
        client, server = kinds
        self.network = Network(lab, list(settings.items()))
        self.names = [f"{tag}_{number}" for number in range(1, SPOKES + 1)]
        self.hub = self.network.add(f"{tag}_0", server)
        for each in self.names:
            self.network.add(each, client, connect_to=[self.hub.name])
        for node in self.network:
            node.debug = 0
        self.network.exchange_keys()
        first = self.network[self.names[0]]
        title = " to ".join(kind.title for kind in kinds)
        if settings:
            title += ", " + ", ".join(f"{variable} = {value}" for variable, value in settings.items())
        super().__init__(name, title, first.host, self.hub.host, self.hub.address, self._pids)
        self.hub.start()
        first.start()

    def _started(self) -> list[Node]:
        return [node for node in self.network if node.started]

    def _pids(self) -> list[int]:
        return [pid for node in self._started() if (pid := node.pid()) is not None]

    def wait_ready(self) -> None:
        """Return when each client has a direct path of known MTU to the server."""
        self.network.wait_converged()
        for node in self._started():
            if node is not self.hub:
                self._wait_path(node)

    def _wait_path(self, node: Node) -> None:
        wait_until(lambda: answers(node.host, self.address), READY_S, f"{self.name}: an answer")
        wait_until(
            lambda: node.nodes()[self.hub.name].mtu_known and self.hub.nodes()[node.name].mtu_known,
            READY_S,
            f"{self.name}: the MTU between {node.name} and {self.hub.name}",
        )

    @contextmanager
    def virtual_address(self) -> Iterator[str]:
        """Give the server's device one more address; pytinc manages it (`VirtualIP`), C just has it."""
        self._set_virtual("add", check=True)
        try:
            wait_until(
                lambda: answers(self.client, VIRTUAL_ADDRESS), READY_S, f"{self.name}: the virtual address"
            )
            yield VIRTUAL_ADDRESS
        finally:
            # A daemon that has died is noted elsewhere, and must not end the run.
            self._set_virtual("del", check=False)

    def _set_virtual(self, verb: str, *, check: bool) -> None:
        hub = self.hub
        hub.host.run("ip", "address", verb, f"{VIRTUAL_ADDRESS}/32", "dev", hub.interface, check=check)
        if hub.kind is Kind.PY:
            hub.tinc(verb, "VirtualIP", VIRTUAL_ADDRESS, check=check)
            hub.tinc("reload", check=check)

    def add_spokes(self) -> list[Host]:
        """Start the rest of the clients."""
        for node in self.network:
            if not node.started:
                node.start()
        self.wait_ready()
        return [self.network[name].host for name in self.names]


def plain(lab: Lab) -> Pair:
    """No tunnel: the upper limit of this machine."""
    client, server = lab.host("veth-1"), lab.host("veth-0")
    return Pair("veth", "plain veth, no tunnel", client, server, server.address, list)


def openvpn(lab: Lab) -> Pair:
    """OpenVPN point to point over UDP with TLS keys and an AEAD, a tap at each end."""
    program = installed("openvpn")
    openssl = installed("openssl")
    client, server = lab.host("ovpn-1"), lab.host("ovpn-0")
    directory = subdirectory(lab, "openvpn")
    prints = {}
    for host in (client, server):
        host.run(
            openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "2", "-subj", f"/CN={host.name}", "-keyout", str(directory / f"{host.name}.key"),
            "-out", str(directory / f"{host.name}.crt"),
        )  # fmt: skip
        certificate = str(directory / f"{host.name}.crt")
        text = host.run(openssl, "x509", "-in", certificate, "-noout", "-fingerprint", "-sha256").stdout
        prints[host] = text.partition("=")[2].strip()
    processes = []
    for host, other, role, address in (
        (server, client, ("--tls-server", "--dh", "none"), "10.1.1.1"),
        (client, server, ("--tls-client",), "10.1.1.2"),
    ):
        processes.append(
            start(
                host, directory,
                program, "--dev", "tap0", "--dev-type", "tap", "--proto", "udp", "--port", "1194",
                "--remote", other.address, *role, "--ifconfig", address, "255.255.255.0",
                "--cert", str(directory / f"{host.name}.crt"), "--key", str(directory / f"{host.name}.key"),
                "--peer-fingerprint", prints[other], "--data-ciphers", "CHACHA20-POLY1305",
                "--cipher", "CHACHA20-POLY1305", "--disable-dco", "--verb", "1",
            )
        )  # fmt: skip
    return Pair("OpenVPN", "OpenVPN tap, ChaCha20-Poly1305", client, server, "10.1.1.1", lambda: processes)


def n2n(lab: Lab) -> Pair:
    """n2n: two edges with a key and a supernode that introduces them."""
    edge, supernode = installed("edge"), installed("supernode")
    client, server = lab.host("n2n-1"), lab.host("n2n-0")
    directory = subdirectory(lab, "n2n")
    start(server, directory, supernode, "-l", "7654")
    processes = [
        start(
            host, directory,
            edge, "-d", "n2n0", "-a", address, "-c", "bench", "-k", "bench", "-u", "0", "-g", "0",
            "-m", f"02:00:00:00:01:0{address[-1]}", "-l", f"{server.address}:7654",
        )
        for host, address in ((server, "10.1.1.1"), (client, "10.1.1.2"))
    ]  # fmt: skip
    return Pair("n2n", "n2n edge to edge", client, server, "10.1.1.1", lambda: processes)


def wireguard(lab: Lab) -> Pair:
    """wireguard-go: a tunnel of layer 3, so not the same service, but the usual yardstick."""
    program, control = installed("wireguard-go"), installed("wg")
    client, server = lab.host("wg-1"), lab.host("wg-0")
    directory = subdirectory(lab, "wireguard")
    keys = {}
    for host in (client, server):
        private = host.run(control, "genkey").stdout
        (directory / host.name).write_text(private)
        keys[host] = host.run(control, "pubkey", stdin=private).stdout.strip()
    processes = []
    for host, other, address in ((server, client, "10.1.1.1"), (client, server, "10.1.1.2")):
        # Its control socket has the interface's name, and all namespaces share its directory.
        interface = host.namespace.replace("-", "")[-15:]
        processes.append(start(host, directory, program, "-f", interface))
        # This succeeds as soon as the control socket answers.
        wait_until(functools.partial(host.run, control, "show", interface), READY_S, "wireguard-go is up")
        host.run(
            control, "set", interface, "private-key", str(directory / host.name), "listen-port", "51820",
            "peer", keys[other], "allowed-ips", "10.1.1.0/24", "endpoint", f"{other.address}:51820",
        )  # fmt: skip
        host.run("ip", "address", "add", f"{address}/24", "dev", interface)
        host.run("ip", "link", "set", "dev", interface, "up")
    return Pair("wireguard-go", "wireguard-go (layer 3)", client, server, "10.1.1.1", lambda: processes)


def bare_python(lab: Lab) -> Pair:
    """A loop that only seals and opens: how much of the delay is Python's."""
    client, server = lab.host("bare-1"), lab.host("bare-0")
    directory = subdirectory(lab, "bare")
    processes = [
        start(host, directory, sys.executable, str(BARE_PROGRAM), host.address, other.address, address)
        for host, other, address in ((server, client, "10.1.1.1/24"), (client, server, "10.1.1.2/24"))
    ]
    return Pair(
        BARE, "a loop in Python that only seals and opens", client, server, "10.1.1.1", lambda: processes
    )


def installed(program: str) -> str:
    """Return the path of a program; SkippedError if it is missing."""
    path = shutil.which(program, path=PROGRAM_PATH)
    if path is None:
        raise SkippedError(f"{program} is not installed (as root, interop/setup.sh bench installs it)")
    return path


def subdirectory(lab: Lab, name: str) -> Path:
    """A directory of the lab for one program."""
    directory = lab.directory / name
    directory.mkdir()
    return directory


def start(host: Host, directory: Path, *command: str) -> int:
    """Start a daemon that stays in the foreground; its process id."""
    log = directory / f"{host.name}-{Path(command[0]).name}.log"
    with log.open("w") as stream:
        return host.spawn(*command, output=stream).pid


C, PY = Kind.C, Kind.PY
Builder = Callable[[Lab], Pair]


def tinc(name: str, tag: str, client: Kind, server: Kind, **settings: str) -> Builder:
    """Return the function that builds a pair of tinc nodes."""
    return lambda lab: TincPair(lab, name, tag, (client, server), settings)


BUILDERS: Final[dict[str, Builder]] = {
    BASE: tinc(BASE, "cc", C, C),
    "py-py": tinc("py-py", "pp", PY, PY),
    "py-C": tinc("py-C", "pc", PY, C),
    "C-py": tinc("C-py", "cp", C, PY),
    "py-py, FastTag=no": tinc("py-py, FastTag=no", "pt", PY, PY, FastTag="no"),
    "py-py, Offload=no": tinc("py-py, Offload=no", "po", PY, PY, Offload="no"),
    "OpenVPN": openvpn,
    "n2n": n2n,
    "wireguard-go": wireguard,
    "veth": plain,
}
OTHER_BUILDERS: Final[dict[str, Builder]] = {BARE: bare_python}
"""For `benchmarks/latency.py` only."""


def build(lab: Lab, names: Iterable[str]) -> Iterator[Pair | tuple[str, str]]:
    """Yield each pair when it is ready, or its name and the reason why it is skipped."""
    for name in names:
        try:
            pair = (BUILDERS.get(name) or OTHER_BUILDERS[name])(lab)
            pair.wait_ready()
        except (SkippedError, LabError) as reason:
            yield name, str(reason)
        else:
            yield pair
