"""Devices other than a tap: raw sockets, multicast groups, inherited descriptors, plugs in a VDE switch.

raw_socket   a ── left ══ right ── b            ──: a veth pair with a raw socket of the node; ══: a tunnel
multicast    a ══ left ~~ right ══ b            ~~: the group; a and b have taps
fd           left ══ right                      each has a tun that another program opened
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable

import pytest

from pytinc.lab.echo import answers, wait_steady
from pytinc.lab.namespaces import Host, run
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until

# left, right
CASTS = ("PC", "CP", "PP")
STANDBY = {"DeviceStandby": "yes"}
"""A setting of the right node: its device is open all the time, but tinc-up waits for the first peer."""
GROUP = "239.192.7.7 5007"
SIZE = 3_000_000

OPEN_TUN = """
import fcntl, os, struct
tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", b"vpn", 0x1001))
"""
START_WITH_TUN = f"""{OPEN_TUN}
import sys
os.set_inheritable(tun, True)
words = [word.replace("@TUN@", str(tun)) for word in sys.argv[1:]]
os.execv(words[0], words)
"""
GIVE_TUN = f"""{OPEN_TUN}
import socket, sys
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(sys.argv[1].replace("@", chr(0)))
    listener.listen()
    print("ready", flush=True)
    peer, _ = listener.accept()
    socket.send_fds(peer, [b"x"], [tun])
"""


@pytest.fixture
def network(new_network: Callable[..., Network]) -> Network:
    """The module's network, to which each test adds nodes with names of their own."""
    return new_network()


def start(network: Network, *nodes: Node) -> None:
    network.exchange_keys()
    for node in nodes:
        node.start()
    wait_until(lambda: nodes[0].sees(nodes), PATIENCE_S, "the nodes see each other")


def add(network: Network, name: str, kind: Kind, settings: dict[str, str], *connect_to: str) -> Node:
    """Add a node; ``settings`` replace the network's settings of the same names."""
    kept = network.settings
    network.settings = [(key, value) for key, value in kept if key not in settings] + list(settings.items())
    try:
        node = network.add(name, kind, connect_to=connect_to)
    finally:
        network.settings = kept
    return node


def set_variable(node: Node, variable: str, value: str) -> None:
    node.tinc("set", variable, value)


def station(node: Node, number: int) -> Host:
    """Put a host behind a node, and return it.

    A veth pair joins them: "inside" on the new host, and "port" (down, no address) on the node's host.
    """
    host = node.host.lab.host(f"{node.host.name}-st")
    run("ip", "-n", node.host.namespace, "link", "add", "port", "type", "veth", "peer", "name", "inside",
        "netns", host.namespace)  # fmt: skip
    host.run("ip", "address", "add", f"10.5.0.{number}/24", "dev", "inside")
    host.run("ip", "address", "add", f"fd00:5::{number}/64", "dev", "inside", "nodad")
    host.run("ip", "link", "set", "dev", "inside", "mtu", "1400", "up")
    if node.kind is Kind.C:
        # tincd sends packets with the checksums they have, so the kernel must fill them in.
        host.run("ethtool", "-K", "inside", "tx", "off", "tso", "off", "gso", "off")
        node.host.run("ethtool", "-K", "port", "gro", "off")
    return host


def write_tinc_up(node: Node, *lines: str) -> None:
    (node.confbase / "tinc-up").write_text("\n".join(("#!/bin/sh", *lines)) + "\n")


def written_by_tinc_up(node: Node) -> str:
    path = node.confbase / "device"
    return path.read_text() if path.exists() else ""


def raw_pair(network: Network, cast: tuple[Kind, ...], tag: str, mode: str) -> tuple[Node, Node, Host, Host]:
    settings = {"DeviceType": "raw_socket", "Mode": mode}
    left = add(network, f"left{tag}", cast[0], settings)
    right = add(network, f"right{tag}", cast[1], settings | STANDBY, left.name)
    for node in (left, right):
        set_variable(node, "Interface", "port")
        write_tinc_up(node, 'ip link set dev "$INTERFACE" up')
    return left, right, station(left, 1), station(right, 2)


def test_stations_behind_raw_sockets_are_on_one_ethernet(network: Network, cast: tuple[Kind, ...]) -> None:
    left, right, a, b = raw_pair(network, cast, "r", "switch")
    start(network, left, right)
    for node in (left, right):
        if node.kind is Kind.PY:
            assert "port is a raw_socket" in node.log()
    for one, address in ((a, "10.5.0.2"), (b, "10.5.0.1"), (a, "fd00:5::2")):
        wait_until(lambda: answers(one, address), PATIENCE_S, f"{one.name} reaches {address}")  # noqa: B023
    wait_steady(a, "10.5.0.2", 10, size=1300)
    for sender, receiver, address in ((a, b, "10.5.0.2"), (b, a, "10.5.0.1")):
        assert transfer(sender, receiver, address) == SIZE
    stop(left, right)


def test_a_router_on_a_raw_socket_serves_the_station_behind_it(
    network: Network, cast: tuple[Kind, ...]
) -> None:
    if cast[0] is Kind.C:
        pytest.skip("tincd sends frames with zero MAC addresses there")
    settings = {"DeviceType": "raw_socket", "Mode": "router", "Interface": "port"}
    left = add(network, "leftrr", cast[0], settings)
    right = add(network, "rightrr", cast[1], {"DeviceType": "tun", "Mode": "router"}, left.name)
    set_variable(left, "Interface", "port")
    write_tinc_up(left, 'ip link set dev "$INTERFACE" up')
    (right.confbase / "tinc-up").write_text(
        '#!/bin/sh\nip link set dev "$INTERFACE" up\nip address add 10.5.0.2/24 dev "$INTERFACE"\n'
    )
    left.add_lines(f"hosts/{left.name}", [("Subnet", "10.5.0.1")])
    right.add_lines(f"hosts/{right.name}", [("Subnet", "10.5.0.2")])
    a = station(left, 1)
    start(network, left, right)
    # The first packet comes from the VPN: the station behind the raw socket has not asked for a MAC yet.
    wait_until(lambda: answers(right.host, "10.5.0.1"), PATIENCE_S, "the station answers the VPN")
    wait_until(lambda: answers(a, "10.5.0.2"), PATIENCE_S, "the VPN answers the station")
    assert transfer(a, right.host, "10.5.0.2") == SIZE
    stop(left, right)


def test_a_multicast_group_is_one_ethernet_with_other_daemons(
    network: Network, cast: tuple[Kind, ...]
) -> None:
    settings = {"DeviceType": "multicast"}
    left = add(network, "leftm", cast[0], settings)
    right = add(network, "rightm", cast[1], settings | STANDBY)
    for node in (left, right):
        set_variable(node, "Device", GROUP)
        write_tinc_up(node, 'echo "$DEVICE" >device')
        node.host.run("ip", "route", "add", "239.0.0.0/8", "dev", "eth0")
    a = add(network, "am", Kind.PY, {}, left.name)
    b = add(network, "bm", Kind.PY, {}, right.name)
    start(network, left, a)
    start(network, right, b)
    wait_until(
        lambda: written_by_tinc_up(right) == written_by_tinc_up(left) != "", PATIENCE_S, "tinc-up has run"
    )
    for one, other in ((a, b), (b, a)):
        wait_until(lambda: answers(one.host, other.address), PATIENCE_S, f"{one.name} reaches {other.name}")  # noqa: B023
    wait_steady(a.host, b.address, 10, size=1300)
    if Kind.C not in cast:
        # tincd takes its own datagrams, which come back to it, for read errors, and pauses after each.
        assert transfer(a.host, b.host, b.address) == SIZE
    stop(left, right, a, b)


def test_a_plug_in_a_vde_switch_reaches_other_plugs(network: Network, cast: tuple[Kind, ...]) -> None:
    if cast[0] is Kind.C:
        pytest.skip("Debian's tincd is built without VDE")
    if shutil.which("vde_switch") is None:
        pytest.skip("needs Debian's package vde2")
    left = add(network, "leftv", cast[0], {"DeviceType": "vde"})
    right = add(network, "rightv", cast[1], {}, left.name)
    switch = left.confbase / "switch"
    set_variable(left, "Device", str(switch))
    if left.kind is Kind.PY:
        # Where the daemon itself may not remove its socket in the switch's directory.
        left.add_lines("tinc.conf", [("Sandbox", "normal")])
    write_tinc_up(left)
    left.host.spawn("vde_switch", "-x", "-s", str(switch), "-t", "inside", "-d", "-p", f"{switch}.pid")
    wait_until(lambda: (switch / "ctl").exists(), PATIENCE_S, "the VDE switch runs")
    left.host.run("ip", "address", "add", "10.1.1.77/24", "dev", "inside")
    left.host.run("ip", "link", "set", "dev", "inside", "up")
    start(network, left, right)
    wait_until(lambda: answers(right.host, "10.1.1.77"), PATIENCE_S, "the station behind VDE answers")
    assert transfer(left.host, right.host, right.address) == SIZE
    stop(left, right)
    assert not list(switch.glob(".pytinc*"))


def test_packets_go_through_a_descriptor_that_the_daemon_inherits(
    network: Network, cast: tuple[Kind, ...]
) -> None:
    left, right = fd_pair(network, cast, "f")
    network.exchange_keys()
    for node in (left, right):
        words = (
            node.tinc_program,
            *node.globals,
            "start",
            "-d3",
            f"--logfile={node.log_path}",
            "-o",
            "Device=@TUN@",
        )
        node.host.run(sys.executable, "-c", START_WITH_TUN, *words)
        node.started = True
        assert "adapter set up." in node.log()
    expect_packets(left, right)
    stop(left, right)


@pytest.mark.parametrize("abstract", [False, True])
def test_a_descriptor_may_come_over_a_unix_socket(
    network: Network, cast: tuple[Kind, ...], abstract: bool
) -> None:
    left, right = fd_pair(network, cast, "a" if abstract else "s")
    network.exchange_keys()
    for node in (left, right):
        path = f"@{node.host.namespace}" if abstract else str(node.confbase / "give")
        giver = node.host.spawn(sys.executable, "-c", GIVE_TUN, path)
        assert giver.stdout is not None
        assert giver.stdout.readline() == "ready\n"
        set_variable(node, "Device", path)
        node.start()
        assert f"Receiving fd from Unix socket at {path}." in node.log()
    expect_packets(left, right)
    stop(left, right)


def fd_pair(network: Network, cast: tuple[Kind, ...], tag: str) -> tuple[Node, Node]:
    settings = {"DeviceType": "fd", "Mode": "router"}
    left = add(network, f"left{tag}", cast[0], settings)
    right = add(network, f"right{tag}", cast[1], settings | STANDBY, left.name)
    for node, number in ((left, 1), (right, 2)):
        node.add_lines(
            f"hosts/{node.name}", [("Subnet", f"10.6.0.{number}"), ("Subnet", f"fd00:6::{number}")]
        )
        (node.confbase / "tinc-up").write_text(
            "#!/bin/sh\nip link set dev vpn mtu 1400 up\n"
            f"ip address add 10.6.0.{number}/24 dev vpn\nip address add fd00:6::{number}/64 dev vpn nodad\n"
        )
    return left, right


def expect_packets(left: Node, right: Node) -> None:
    wait_until(lambda: left.sees([left, right]), PATIENCE_S, "the nodes see each other")
    for one, address in ((left, "10.6.0.2"), (right, "fd00:6::1")):
        wait_until(lambda: answers(one.host, address), PATIENCE_S, f"{one.name} reaches {address}")  # noqa: B023
    assert transfer(left.host, right.host, "10.6.0.2") == SIZE


def transfer(sender: Host, receiver: Host, address: str) -> int:
    """Send ``SIZE`` bytes by TCP, and return how many arrived."""
    code = (
        "import socket\n"
        f"with socket.create_server(('{address}', 5555)) as listener:\n"
        "    print('ready', flush=True)\n"
        "    peer, _ = listener.accept()\n"
        "    got = 0\n"
        "    while data := peer.recv(65536): got += len(data)\n"
        "    print(got, flush=True)\n"
    )
    process = receiver.spawn(sys.executable, "-c", code)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    sender.run(
        sys.executable,
        "-c",
        "import socket\n"
        f"with socket.create_connection(('{address}', 5555), 60) as peer: peer.sendall(bytes({SIZE}))",
        timeout=300,
    )
    return int(process.stdout.readline())


def stop(*nodes: Node) -> None:
    for node in nodes:
        node.stop()


def test_without_its_interface_or_group_the_daemon_names_option_file_and_line(
    network: Network, cast: tuple[Kind, ...]
) -> None:
    if cast != (Kind.PY, Kind.PY):
        pytest.skip("it checks messages of pytincd")
    node = add(network, "lonely", Kind.PY, {"DeviceType": "raw_socket"})
    file = node.confbase / "tinc.conf"
    common = "Name = lonely\nDeviceType = {}\n"
    for kind, more, message in (
        ("raw_socket", "Interface = nowhere0", "Can't find interface nowhere0"),
        ("multicast", "Device = 192.0.2.77 5007", "Can't bind to 192.0.2.77 5007"),
        ("multicast", "Device = 239.1.2.3", "Port number required for multicast socket"),
        ("fd", "Mode = router\nDevice = 77", "Could not open descriptor 77"),
        ("fd", "Mode = router\nDevice = /nowhere", "Could not connect to Unix socket /nowhere"),
    ):
        file.write_text(common.format(kind) + more + "\n")
        done = node.start(check=False)
        assert done.returncode != 0
        text = done.stderr + node.log()
        assert message in text, text
        line = 2 + len(more.splitlines())
        assert f"variable {more.splitlines()[-1].split()[0]} in {file} line {line}" in text, text
