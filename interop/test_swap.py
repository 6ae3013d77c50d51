"""pytinc takes over the configuration directory of a C node as it is, and gives it back.

    hub (C) <──> swap (C, then pytinc, then C again) ──> far (pytinc)

Nothing in the directory is changed in between. The peers see one node, with one name and one key, that was
away for a moment.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pytinc.lab.echo import answers
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until

# hub, the first kind of swap, far
CASTS = ("CCP", "PCC")
ROLES = ("hub", "swap", "far")
# What a peer could log about an unknown node, a wrong key or damaged files.
COMPLAINT = re.compile(
    r"unknown identity|public key|bad|invalid|bogus|fail|error|possible|wrong|mismatch|different",
    re.IGNORECASE,
)
# What a peer logs when a connection just ends, whichever side made it. A peer that dials again at once may
# reach the port while the daemon ends: then the kernel answers with a reset, and later it refuses the
# connection.
EXPECTED = re.compile(
    r"Metadata socket (read|write) error for swap .*: (Connection reset by peer|Broken pipe)"
    r"|Error while connecting to swap .*: Connection (refused|reset by peer)"
)
UNCHANGED = ("tinc.conf", "ed25519_key.priv", "hosts/*", "tinc-up", "host-up", "hosts/*-up")


@pytest.fixture(scope="module")
def network(new_network: Callable[..., Network], cast: tuple[Kind, ...]) -> Network:
    network = new_network(("MaxTimeout", "2"))
    connect_to = {"hub": ["swap"], "swap": ["far"], "far": []}
    for role, kind in zip(ROLES, cast, strict=True):
        network.add(role, kind, connect_to=connect_to[role])
    network.exchange_keys()
    swap = network["swap"]
    write_script(swap, "host-up", 'echo "host-up $NODE" >>scripts-ran\n')
    write_script(swap, "hosts/far-up", 'echo "far-up $NAME" >>scripts-ran\n')
    network.start()
    network.wait_converged()
    wait_until(lambda: all_answer(network), PATIENCE_S, "all answer")
    return network


def write_script(node: Node, name: str, body: str) -> None:
    path = node.confbase / name
    path.write_text(f'#!/bin/sh\ncd "{node.confbase}"\n{body}')
    path.chmod(0o755)


def all_answer(network: Network) -> bool:
    return all(answers(one.host, other.address) for one in network for other in network if one is not other)


def contents(node: Node) -> dict[str, bytes]:
    """Return the files with the node's identity and settings, without those that a daemon writes."""
    paths: list[Path] = [path for pattern in UNCHANGED for path in node.confbase.glob(pattern)]
    return {str(path.relative_to(node.confbase)): path.read_bytes() for path in sorted(paths)}


def wait_scripts_ran(node: Node) -> None:
    """Wait until all scripts have run, because a daemon does not wait for them."""
    path, wanted = node.confbase / "scripts-ran", {"host-up hub", "host-up far", "far-up swap"}
    wait_until(
        lambda: path.exists() and wanted <= set(path.read_text().splitlines()), PATIENCE_S, "scripts have run"
    )


def hand_over(network: Network, kind: Kind) -> None:
    """Stop the node in the middle and start the other program on the same directory."""
    before = network["swap"]
    (before.confbase / "scripts-ran").unlink()
    before.stop()
    after = Node(before.host, before.name, kind, before.mac, before.addresses)
    network.nodes["swap"] = after
    after.start()
    network.wait_converged()
    wait_until(lambda: all_answer(network), PATIENCE_S, "all answer")


def complaints(log: str) -> list[str]:
    return [line for line in log.splitlines() if COMPLAINT.search(line) and not EXPECTED.search(line)]


@pytest.mark.mixed
@pytest.mark.parametrize("kind", [Kind.PY, Kind.C], ids=["to-pytinc", "and-back"])
def test_the_other_program_takes_over_and_peers_notice_only_a_reconnect(network: Network, kind: Kind) -> None:
    swap, peers = network["swap"], [network["hub"], network["far"]]
    before = contents(swap)
    names = {peer.name: set(peer.nodes()) for peer in peers}
    files = {peer.name: contents(peer) for peer in peers}
    lengths = {peer.name: len(peer.log()) for peer in peers}
    wait_scripts_ran(swap)
    hand_over(network, kind)
    swap = network["swap"]
    assert swap.tinc("get", "Name").stdout.strip() == "swap"
    assert contents(swap) == before
    # The other program has run the same scripts.
    wait_scripts_ran(swap)
    for peer in peers:
        since = peer.log()[lengths[peer.name] :]
        assert set(peer.nodes()) == names[peer.name]
        assert contents(peer) == files[peer.name]
        assert "swap" in since
        assert complaints(since) == [], since


@pytest.mark.mixed
@pytest.mark.parametrize("kind", [Kind.PY, Kind.C], ids=["to-pytinc", "and-back"])
def test_the_program_that_takes_over_reads_the_address_cache(network: Network, kind: Kind) -> None:
    """It dials the address that the other program wrote into the cache.

    The host file has no address any more, so there is no other address to try.
    """
    swap, far = network["swap"], network["far"]
    assert (swap.confbase / "cache/far").stat().st_size > 0
    host_file = swap.confbase / "hosts/far"
    text = host_file.read_text()
    assert "ConnectTo = far" in (swap.confbase / "tinc.conf").read_text()
    try:
        host_file.write_text(text.replace(f"Address = {far.host.address}\n", ""))
        hand_over(network, kind)
        assert "far" in {connection.name for connection in network["swap"].connections()}
    finally:
        host_file.write_text(text)
