"""keepalived on the members of a fail-over lab: it moves the VIP by VRRP through the tinc network.

The benchmark compares pytinc with keepalived in its best configuration: adverts every 0.1 s (the fastest
sensible rate on a network without guarantees), by unicast, one instance for each family, no preemption.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import Final

from pytinc.lab.namespaces import LabError
from pytinc.lab.node import Node

ADVERT_INTERVAL_S: Final = 0.1
END_TIMEOUT_S: Final = 5.0
FIRST_PRIORITY: Final = 110
IDS: Final = {"ipv4": 51, "ipv6": 52}
LINK_LOCAL: Final = "fe80::10/64"
"""VRRP needs a link-local address before any other IPv6 address."""


def instance(family: str, priority: int, own: str, peers: Sequence[str], addresses: Sequence[str]) -> str:
    """One instance in keepalived's grammar."""
    lines = [
        f"vrrp_instance {family} {{",
        "    state BACKUP",
        "    nopreempt",
        "    interface vpn",
        f"    virtual_router_id {IDS[family]}",
        f"    priority {priority}",
        f"    advert_int {ADVERT_INTERVAL_S:g}",
        f"    unicast_src_ip {own}",
        "    unicast_peer {",
        *(f"        {peer}" for peer in peers),
        "    }",
        "    virtual_ipaddress {",
        *(f"        {address} dev vpn" for address in addresses),
        "    }",
        "}",
    ]
    return "\n".join(lines) + "\n"


def configuration(
    name: str, priority: int, addresses: Mapping[str, Sequence[str]], vips: Mapping[str, str]
) -> str:
    """The configuration of one member: for each family its own address, followed by its peers'."""
    parts = ["global_defs {", f"    router_id {name}", "    vrrp_version 3", "    dynamic_interfaces", "}"]
    text = "\n".join(parts) + "\n"
    for family, (own, *peers) in addresses.items():
        virtual = [vips[family]] if family == "ipv4" else [LINK_LOCAL, vips[family]]
        text += instance(family, priority, own, peers, virtual)
    return text


class Keepalived:
    """The keepalived of one member."""

    def __init__(self, node: Node, text: str) -> None:
        self._node = node
        self._file = node.confbase / "keepalived.conf"
        self._file.write_text(text)
        self._process: subprocess.Popen[str] | None = None

    @property
    def running(self) -> bool:
        """Return whether its process exists."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; LabError if it is not installed."""
        base = self._node.confbase
        for name in ("keepalived.pid", "vrrp.pid"):
            # A killed keepalived leaves its pid file, and the number may belong to another process now.
            (base / name).unlink(missing_ok=True)
        command = (
            "keepalived", "--dont-fork", "--log-console", "--vrrp", "--use-file", str(self._file),
            "--pid", str(base / "keepalived.pid"), "--vrrp_pid", str(base / "vrrp.pid"),
        )  # fmt: skip
        with (base / "keepalived.log").open("a") as log:
            self._process = self._node.host.spawn(*command, output=log)

    def stop(self) -> None:
        """Stop it in an orderly way: it informs its peers, and removes its addresses."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise LabError(f"keepalived of {self._node.name} does not stop") from error
        self._process = None

    def restart(self) -> None:
        """Stop it if it runs, and start it."""
        with contextlib.suppress(LabError):
            self.stop()
        self.start()
