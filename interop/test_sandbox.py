"""A daemon in the sandbox does all that it does outside: beside a C node, at each level, as a user and in a
root directory of its own.

tests/daemon/test_sandbox.py and test_helper_process.py test the operations that are forbidden.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import own_options
from pytinc.daemon import sandbox
from pytinc.lab.echo import answers
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until

CASTS = ("CP",)
NOBODY = pwd.getpwnam("nobody")

pytestmark = [
    pytest.mark.mixed,
    pytest.mark.skipif(not sandbox.is_possible(), reason="this kernel has no Landlock"),
]


@pytest.fixture(scope="module")
def network(new_network: Callable[..., Network], cast: tuple[Kind, ...]) -> Network:
    return own_options.build(new_network, cast[0], "boxed", Kind.PY)


@pytest.fixture
def boxed(network: Network) -> Iterator[Node]:
    """A node that each test starts with its own options; it is stopped after the test."""
    node = network["boxed"]
    yield node
    own_options.stop(node)
    log = node.log()
    node.log_path.unlink()
    # Nobody cannot read the directory of invitations, in the sandbox or outside of it.
    assert "Permission denied" not in log.replace("ed25519_key.priv: Permission denied", "")
    assert "helper process" not in log


def script(node: Node, name: str, out: Path) -> None:
    path = node.confbase / name
    path.write_text(f'#!/bin/sh\necho "{name} $NODE" >>{out}\n')
    path.chmod(0o755)


def joins(network: Network, inviter: Node, name: str, number: int) -> bool:
    """Let a C node join; return whether it has got a host file."""
    url = inviter.tinc("invite", name).stdout.strip()
    guest = Node(
        network.lab.host(name), name, Kind.C, f"02:00:00:00:00:{number:02x}", [f"10.1.1.{number}/24"]
    )
    done = guest.tinc("join", url, check=False)
    assert done.returncode == 0, done.stderr
    return (inviter.confbase / "hosts" / name).exists()


@pytest.mark.parametrize("level", ["normal", "high"])
def test_a_node_in_the_sandbox_does_its_work(
    network: Network, boxed: Node, level: str, tmp_path: Path
) -> None:
    plain, out = network["plain"], tmp_path / "out"
    for name in ("host-up", "hosts/plain-up", "invitation-accepted", "subnet-down"):
        script(boxed, name, out)
    boxed.start("-o", f"Sandbox={level}")
    network.wait_converged()
    wait_until(lambda: answers(plain.host, boxed.address), PATIENCE_S, "they answer")
    # An invitation, whose files and directory are the daemon's; and the rotation of its log.
    assert joins(network, boxed, f"guest{level}", 9)
    boxed.log_path.rename(boxed.confbase / "log.1")
    boxed.add_lines("tinc.conf", [("ConnectTo", "named")])
    (boxed.confbase / "hosts/named").write_text("Address = localhost 1\n")
    os.kill(boxed.pid() or 0, 1)
    wait_until(lambda: "Trying to connect to named" in boxed.log(), PATIENCE_S, "the new log has the reload")
    assert (boxed.confbase / "cache/plain").exists()
    boxed.stop()
    assert not boxed.pidfile.exists()
    found = out.read_text().splitlines() if out.exists() else []
    if level == "normal":
        assert {"host-up plain", "hosts/plain-up plain", f"invitation-accepted guest{level}"} <= set(found)
        assert any(line.startswith("subnet-down") for line in found)
    else:
        assert found == []


def test_a_key_that_is_learned_gets_into_the_host_file(network: Network, boxed: Node) -> None:
    plain = network["plain"]
    far = network.nodes.get("far") or network.add("far", Kind.C, connect_to=["plain"])
    far.knows(plain)
    plain.knows(far)
    far.start()
    host = boxed.confbase / "hosts/far"
    host.write_text("# known by name only\n")
    boxed.start("-o", "Sandbox=normal")
    network.wait_converged()
    wait_until(
        lambda: answers(boxed.host, far.address) and "Ed25519PublicKey" in host.read_text(),
        PATIENCE_S,
        "the key is learned and written",
    )
    far.stop()


def test_a_node_without_privileges_in_another_root_directory(network: Network, boxed: Node) -> None:
    plain, root = network["plain"], boxed.confbase
    own_options.give_shell(root)
    (root / "out").mkdir()
    os.chown(root / "out", NOBODY.pw_uid, NOBODY.pw_gid)
    script(boxed, "host-up", Path("/out/up"))
    boxed.start("--chroot", "-U", "nobody", "-o", "Sandbox=normal", "-o", "ProcessPriority=low")
    network.wait_converged()
    wait_until(lambda: answers(plain.host, boxed.address), PATIENCE_S, "they answer")
    boxed.tinc("reload")
    up = root / "out/up"
    wait_until(lambda: up.exists() and up.read_text() == "host-up plain\n", PATIENCE_S, "the script has run")
    assert up.stat().st_uid == NOBODY.pw_uid
    boxed.stop()


def test_a_node_reaches_others_through_a_command(network: Network, boxed: Node) -> None:
    plain = network["plain"]
    plain.stop()
    plain_conf = plain.confbase / "tinc.conf"
    plain_conf.write_text(plain_conf.read_text().replace("ConnectTo = boxed\n", ""))
    plain.start()
    marker = boxed.confbase / "proxied"
    command = f"sh -c 'echo $NODE >>{marker}; exec socat STDIO TCP:$REMOTEADDRESS:$REMOTEPORT'"
    boxed.start("-o", "Sandbox=normal", "-o", "ConnectTo=plain", "-o", f"Proxy=exec {command}")
    network.wait_converged()
    assert "plain" in marker.read_text().split()
    wait_until(lambda: answers(plain.host, boxed.address), PATIENCE_S, "they answer")
