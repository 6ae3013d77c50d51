"""Helpers of tests that restart a node with other options (--user, --chroot, Sandbox)."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from pytinc.lab.namespaces import run
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until


def build(new_network: Callable[..., Network], plain: Kind, name: str, kind: Kind) -> Network:
    """Make a node that is not started yet, and start another one, ``plain``, that connects to it."""
    network = new_network(("PingTimeout", "3"), ("MaxTimeout", "1"))
    network.add("plain", plain, connect_to=[name])
    network.add(name, kind).add_lines(f"hosts/{name}", [("Port", "655")])
    network.exchange_keys()
    network["plain"].start()
    return network


def stop(node: Node) -> None:
    """Stop the node, if it runs; it may end by itself in the meantime."""
    if node.running():
        node.tinc("stop", check=False)
        wait_until(lambda: not node.running(), PATIENCE_S, f"{node.name} is gone")


def give_shell(root: Path) -> None:
    """Copy a shell and its libraries into a directory that will be the daemon's root directory."""
    libraries = re.findall(r"/\S+", run("ldd", "/bin/sh").stdout)
    for file in ("/bin/sh", *libraries):
        target = root / file[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
