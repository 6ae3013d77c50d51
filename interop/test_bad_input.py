"""A daemon on a real host survives hostile packets, and refuses to start with bad files or missing rights.

One node, the victim, gets garbage while it carries the frames of a peer. Others only try to start on a spare
host, and must say clearly why they cannot.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytinc.lab.echo import wait_steady
from pytinc.lab.namespaces import Completed, Lab
from pytinc.lab.network import BASE_SETTINGS, Network
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until

# The victim, its honest peer (always the real tincd) and an attacker.
CASTS = ("PCC",)
ROLES = ("victim", "peer", "mallory")

TCP_GARBAGE = r"""
import os, socket, sys, time
port = int(sys.argv[2])
def send(data, wait=0.05):
    with socket.create_connection((sys.argv[1], port), 60) as s:
        s.settimeout(2)  # the victim may just stop reading
        try:
            s.sendall(data); time.sleep(wait); s.settimeout(0.05); s.recv(100)
        except OSError:
            pass
for _ in range(10):
    send(os.urandom(3000))
for data in (
    b'', b'x' * 1000000, b'\n' * 5000, b'0 peer 17.7\n' + os.urandom(2000),
    b'0 peer 17.0\n', b'0 victim 17.7\n', b'0 nobody 17.7\n', b'0 ../../etc/passwd 17.7\n',
    b'0 ^' + b'0' * 64 + b' 0\n', b'0 ?' + b'A' * 43 + b' 17.7\n', b'18 0\n', b'4 1 2 3\n',
    b'GET / HTTP/1.0\r\n\r\n', b'0 peer 17.7\n' + b'\xff\xff' + b'a' * 70000,
):
    send(data)
half_open = [socket.create_connection((sys.argv[1], port), 60) for _ in range(30)]
time.sleep(0.2)
"""

UDP_GARBAGE = """
import hashlib, os, random, socket, sys
node_id = lambda name: hashlib.sha512(name.encode()).digest()[:6]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
to = (sys.argv[1], int(sys.argv[2]))
ids = [b'', bytes(6) + node_id('peer'), node_id('victim') + node_id('peer'), node_id('peer') +
node_id('victim'),
       node_id('victim') + node_id('mallory'), node_id('victim') * 2]
for size in [0, 1, 5, 6, 11, 12, 13, 16, 17, 20, 32, 33, 34, 1471, 1472, 9000, 60000] + list(range(0, 1500,
50)):
    for prefix in ids:
        s.sendto(prefix + os.urandom(size), to)
"""


# These frames are not IP, so nobody fragments them or answers with the right size.
LARGE_FRAMES = """
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((sys.argv[1], 0))
for destination in (bytes.fromhex(sys.argv[2].replace(':', '')), bytes([255] * 6)):
    for size in (1514, 1515, 1518, 1519, 1522, 2000, 4096, 9014):
        s.send(destination + bytes.fromhex(sys.argv[3].replace(':', '')) + b'\\x88\\xb5' + bytes(size - 14))
"""


@pytest.fixture(scope="module")
def network(new_network: Callable[..., Network], cast: tuple[Kind, ...]) -> Network:
    network = new_network()
    for role, kind in zip(ROLES, cast, strict=True):
        network.add(role, kind, connect_to=() if role == "victim" else ("victim",))
    network.exchange_keys()
    # The victim's host file of mallory has the key of another node.
    wrong = network["peer"].host_file().splitlines()
    key = next(line for line in wrong if line.startswith("Ed25519PublicKey"))
    (network["victim"].confbase / "hosts" / "mallory").write_text(f"{key}\n")
    network["victim"].start()
    network["peer"].start()
    wait_until(lambda: network["victim"].sees([network["peer"]]), PATIENCE_S, "victim and peer are connected")
    wait_steady(network["peer"].host, network["victim"].address)
    return network


@pytest.fixture
def victim(network: Network) -> Iterator[Node]:
    """The node under attack; after the test the same process must still carry the frames of its peer."""
    victim, peer = network["victim"], network["peer"]
    pid = victim.pid()
    yield victim
    assert victim.running()
    assert victim.pid() == pid
    wait_steady(peer.host, victim.address, interval=0.02)


@pytest.fixture(scope="module")
def template(lab: Lab, cast: tuple[Kind, ...]) -> Node:
    """A node of the victim's kind with a good configuration, which `spare` restores after each test."""
    node = Node(lab.host("spare"), "spare", cast[0], mac="02:00:00:00:00:99", addresses=["10.1.1.99/24"])
    node.init([*BASE_SETTINGS, ("Interface", node.interface)])
    return node


@pytest.fixture
def spare(template: Node) -> Iterator[Node]:
    """A node on the spare host, whose configuration a test may spoil."""
    good = template.confbase.with_name("spare.good")
    shutil.copytree(template.confbase, good)
    yield template
    template.host.end_processes()
    assert "Traceback" not in template.log()
    shutil.rmtree(template.confbase)
    good.rename(template.confbase)


def everything_said(done: Completed, node: Node) -> str:
    return f"{done.stdout}{done.stderr}{node.log()}"


def refuses_to_start(node: Node, *options: str) -> str:
    """Start a node that must refuse; return all that it said."""
    done = node.start(*options, check=False)
    said = everything_said(done, node)
    assert done.returncode == 1, said
    assert "Traceback" not in said
    assert not node.running()
    return said


def test_a_peer_with_the_wrong_key_is_refused_and_named_in_the_log(victim: Node, network: Network) -> None:
    mallory = network["mallory"]
    before = len(victim.log())
    mallory.start()
    wait_until(lambda: "mallory" in victim.log()[before:], PATIENCE_S, "the victim's log names mallory")
    assert not victim.sees([mallory])
    mallory.stop()


def test_garbage_on_the_tcp_port_disturbs_nobody(victim: Node, network: Network) -> None:
    network["mallory"].host.run(sys.executable, "-c", TCP_GARBAGE, victim.host.address, "655")
    assert network["peer"].sees([victim])


def test_garbage_on_the_udp_port_disturbs_nobody(victim: Node, network: Network) -> None:
    # Once from an unknown address, and once from the address of the peer.
    for name in ("mallory", "peer"):
        network[name].host.run(sys.executable, "-c", UDP_GARBAGE, victim.host.address, "655")
    assert network["peer"].sees([victim])


def test_frames_that_are_too_large_are_dropped_and_smaller_ones_still_flow(
    victim: Node, network: Network
) -> None:
    victim.host.run("ip", "link", "set", "dev", victim.interface, "mtu", "9000")
    try:
        peer = network["peer"]
        victim.host.run(sys.executable, "-c", LARGE_FRAMES, victim.interface, peer.mac, victim.mac)
        wait_steady(victim.host, peer.address, 3, size=1300)
    finally:
        victim.host.run("ip", "link", "set", "dev", victim.interface, "mtu", "1500")


def test_a_second_daemon_cannot_take_the_port_and_leaves_the_first_alone(victim: Node, spare: Node) -> None:
    done = victim.host.run(spare.tincd_program, *spare.globals, "-D", "-o", "Interface=second", check=False)
    assert done.returncode == 1
    assert "Can't bind to 0.0.0.0 port 655/tcp" in done.stderr
    assert "Unable to create any listening socket" in done.stderr
    assert "Traceback" not in done.stderr
    assert victim.nodes()


def test_a_second_daemon_on_the_same_configuration_leaves_the_first_alone(victim: Node) -> None:
    if victim.kind is Kind.C:
        pytest.skip("tincd removes the pid file of the daemon that runs")
    pid = victim.pid()
    done = victim.start(check=False)
    assert done.returncode == 0, "start accepts that the daemon runs already"
    done = victim.host.run(victim.tincd_program, *victim.globals, "-D", check=False)
    assert done.returncode == 1
    assert victim.pid() == pid
    assert victim.nodes()


def test_a_missing_tun_device_is_named(spare: Node) -> None:
    said = refuses_to_start(spare, "-o", "Device=/nonexistent/tun")
    assert "/nonexistent/tun" in said
    assert "No such file or directory" in said


def test_without_permission_it_says_so(spare: Node) -> None:
    spare.host.run("chown", "-R", "65534:65534", str(spare.confbase))
    # Port 655 is privileged as well: use one that is not, so that the daemon gets as far as the device.
    nobody = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
    done = spare.host.run(*nobody, spare.tincd_program, *spare.globals, "-D", "-o", "Port=7655", check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert any(text in done.stderr for text in ("Permission denied", "Operation not permitted")), done.stderr


def test_a_missing_private_key_is_an_error(spare: Node) -> None:
    for file in spare.confbase.glob("*.priv"):
        file.unlink()
    assert "No private keys available, cannot start tinc!" in refuses_to_start(spare)


def test_a_damaged_private_key_is_an_error(spare: Node) -> None:
    for file in spare.confbase.glob("*.priv"):
        file.write_text("-----BEGIN ED25519 PRIVATE KEY-----\n!!!\n-----END ED25519 PRIVATE KEY-----\n")
    refuses_to_start(spare)


def test_a_key_that_others_can_read_is_used_with_a_warning(spare: Node) -> None:
    (spare.confbase / "ed25519_key.priv").chmod(0o644)
    done = spare.start()
    assert "insecure file permissions" in everything_said(done, spare)
    spare.stop()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Mode = swich", "Invalid routing mode"),
        ("Broadcast = perhaps", "Invalid broadcast"),
        ("DeviceType = modem", "Unknown device type modem"),
        ("MaxTimeout = 0", ""),
        ("ReplayWindow = -1", "ReplayWindow"),
        ("Name =", "No value for variable"),
    ],
)
def test_a_bad_value_stops_the_start(spare: Node, line: str, said: str) -> None:
    conf = spare.confbase / "tinc.conf"
    old = conf.read_text()
    variable = line.split()[0]
    kept = [other for other in old.splitlines() if not other.startswith(variable)]
    conf.write_text("\n".join([*kept, line]) + "\n")
    assert said in refuses_to_start(spare)


def test_an_unknown_variable_and_a_value_of_the_wrong_type_do_not_stop_the_start(spare: Node) -> None:
    spare.add_lines("tinc.conf", [("Flavour", "vanilla"), ("PingInterval", "often"), ("Hostnames", "maybe")])
    done = spare.start()
    said = everything_said(done, spare)
    assert "Integer expected for configuration variable PingInterval" in said
    assert '"yes" or "no" expected for configuration variable Hostnames' in said
    spare.stop()


def test_corrupt_host_files_of_peers_do_not_stop_the_start(spare: Node) -> None:
    hosts = spare.confbase / "hosts"
    (hosts / "binary").write_bytes(bytes(range(256)) * 20)
    (hosts / "novalue").write_text("Address\n")
    (hosts / "shortkey").write_text("Ed25519PublicKey = abc\n")
    (hosts / "badsubnet").write_text("Subnet = 1.2.3.4/99\n")
    (hosts / "bad-name").write_text("Address = 192.0.2.77\n")
    (hosts / "adirectory").mkdir()
    spare.add_lines(
        "tinc.conf", [("ConnectTo", name) for name in ("binary", "novalue", "shortkey", "bad-name")]
    )
    spare.start()
    assert spare.running()
    assert "bad-name" not in spare.nodes()
    spare.stop()


def test_a_tinc_up_that_fails_is_reported_and_does_not_stop_the_start(spare: Node) -> None:
    (spare.confbase / "tinc-up").write_text("#!/bin/sh\nexit 7\n")
    done = spare.start()
    assert "exited with non-zero status 7" in everything_said(done, spare)
    spare.stop()


def test_no_configuration_at_all_is_an_error(spare: Node) -> None:
    for file in Path(spare.confbase).glob("tinc.conf"):
        file.unlink()
    refuses_to_start(spare)
