"""How frames pass between C and pytinc: VLAN tags, the MSS of TCP, and frames that are too long.

left ──> right        left connects to right
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from functools import partial

import pytest

from pytinc.lab.echo import answers, wait_steady
from pytinc.lab.frames import Port
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until

# left, right
CASTS = ("CP", "PC")
QUIET_S = 0.5
PMTU_1500 = 1439
EXPERIMENT = 0x88B5
"""An ethertype that no protocol uses (IEEE 802, for local experiments)."""
TAG, SERVICE_TAG = 0x8100, 0x88A8


@pytest.fixture(scope="module")
def network(new_network: Callable[..., Network], cast: tuple[Kind, ...]) -> Network:
    network = new_network(("MaxTimeout", "1"))
    left = network.add("left", cast[0], connect_to=["right"])
    right = network.add("right", cast[1])
    left.mtu = 9000
    left.write_tinc_up()
    network.exchange_keys()
    right.start()
    left.start()
    network.wait_converged()
    for one, other in ((left, right), (right, left)):
        wait_until(partial(mtu_known, one, other), PATIENCE_S, "the path MTU is known")
    return network


def mtu_known(one: Node, other: Node) -> bool:
    return answers(one.host, other.address) and one.nodes()[other.name].pmtu == PMTU_1500


def ether(to: Node, sender: Node, *tags: tuple[int, int], kind: int = EXPERIMENT) -> bytes:
    """Return the header of a frame with VLAN tags, the outer tag first."""
    head = bytes.fromhex((to.mac + sender.mac).replace(":", ""))
    return head + b"".join(struct.pack("!HH", *tag) for tag in tags) + struct.pack("!H", kind)


def carried(sender: Node, receiver: Node, frame: bytes, seconds: float = PATIENCE_S) -> bytes | None:
    """Send a frame into one tap; return what comes out of the other (same addresses, same end), or None."""
    with Port(receiver.host, receiver.interface) as far, Port(sender.host, sender.interface) as near:
        near.send(frame)
        return far.until(lambda came: came[:12] == frame[:12] and came[-16:] == frame[-16:], seconds)


@pytest.mark.parametrize("length", [60, 1200, 1500])
@pytest.mark.parametrize(
    "tags",
    [
        (),
        ((TAG, 7),),
        ((TAG, 0xE007),),
        ((TAG, 7), (TAG, 8)),
        ((SERVICE_TAG, 100), (TAG, 7)),
        ((SERVICE_TAG, 100), (SERVICE_TAG, 101), (TAG, 7)),
    ],
    ids=["untagged", "vlan", "vlan-with-priority", "vlan-in-vlan", "qinq", "three-tags"],
)
def test_a_frame_with_tags_arrives_unchanged(
    network: Network, tags: tuple[tuple[int, int], ...], length: int
) -> None:
    for sender, receiver in ((network["left"], network["right"]), (network["right"], network["left"])):
        frame = ether(receiver, sender, *tags)
        frame += bytes(number & 0xFF for number in range(length - len(frame)))
        assert carried(sender, receiver, frame) == frame


def checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def tcp(family: int, flags: int, mss: int) -> tuple[bytes, bytes]:
    """Return a TCP packet with the options that Linux sends, and its pseudo header."""
    options = struct.pack("!BBH", 2, 4, mss) + bytes.fromhex("0402080a0000000100000000") + b"\x01\x03\x03\x07"
    segment = struct.pack("!HHIIBBHHH", 40000, 80, 1, 0, 10 << 4, flags, 65000, 0, 0) + options
    size = len(segment)
    if family == 4:
        addresses = socket.inet_aton("10.1.1.91") + socket.inet_aton("10.1.1.92")
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + size, 1, 0x4000, 64, 6, 0)
        head = head[:10] + struct.pack("!H", checksum(head + addresses)) + addresses
        pseudo = addresses + struct.pack("!HH", 6, size)
    else:
        addresses = socket.inet_pton(socket.AF_INET6, "fd00::91") + socket.inet_pton(
            socket.AF_INET6, "fd00::92"
        )
        head = struct.pack("!IHBB", 6 << 28, size, 6, 64) + addresses
        pseudo = addresses + struct.pack("!II", size, 6)
    segment = segment[:16] + struct.pack("!H", checksum(pseudo + segment)) + segment[18:]
    return head + segment, pseudo


@pytest.mark.parametrize("tags", [(), ((TAG, 7),)], ids=["untagged", "vlan"])
@pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("flags", [0x02, 0x12], ids=["syn", "syn-ack"])
def test_the_mss_in_a_tcp_packet_is_lowered_to_what_fits(
    network: Network, family: int, flags: int, tags: tuple[tuple[int, int], ...]
) -> None:
    kind = 0x0800 if family == 4 else 0x86DD
    fits = PMTU_1500 - 14 - 4 * len(tags) - (20 if family == 4 else 40) - 20
    for sender, receiver in ((network["left"], network["right"]), (network["right"], network["left"])):
        head = ether(receiver, sender, *tags, kind=kind)
        for mss, expected in ((1460, fits), (fits, fits), (536, 536)):
            packet, pseudo = tcp(family, flags, mss)
            came = carried(sender, receiver, head + packet)
            assert came is not None
            segment = came[len(head) + (20 if family == 4 else 40) :]
            assert struct.unpack_from("!H", segment, 22)[0] == expected, f"to {receiver.name}, was {mss}"
            assert checksum(pseudo + segment) == 0
            # Nothing else changes.
            start = len(head) + len(packet) - len(segment)
            assert came[:start] == (head + packet)[:start]
            assert segment[:16] + segment[18:22] + segment[24:] == (
                packet[-40:][:16] + packet[-40:][18:22] + packet[-40:][24:]
            )


def test_frames_that_are_too_long_do_no_harm_and_hosts_learn_the_mtu(network: Network) -> None:
    left, right = network["left"], network["right"]
    lines, connections = [len(node.log().splitlines()) for node in network], right.connections()
    with Port(right.host, right.interface) as far, Port(left.host, left.interface) as near:
        for length in (1519, 1522, 2000, 9014):
            for _ in range(20):
                near.send(ether(right, left).ljust(length, b"."))
        came = [frame for frame in far.frames(QUIET_S) if frame[12:14] == b"\x88\xb5"]
        # tincd truncates them and sends them on.
        assert not came or left.kind is Kind.C
    longest = ether(right, left).ljust(1518, b"!")
    assert carried(left, right, longest) == longest
    say = ("ping", "-n", "-c", "2", "-i", "0.1", "-W", "1", "-s", "8000")

    def wait_said(text: str, *words: str) -> None:
        what = f"ping {' '.join(words)} says: {text}"
        wait_until(
            lambda: text in left.host.run(*say, *words, right.address, check=False).stdout, PATIENCE_S, what
        )

    wait_said(f"Frag needed and DF set (mtu = {PMTU_1500 - 14})", "-M", "do")
    wait_said("2 received", "-M", "dont")
    if left.kind is Kind.PY:
        # The host has forgotten the MTU, so the node makes the fragments (tincd would truncate the packet).
        left.host.run("ip", "route", "flush", "cache")
        wait_said("2 received", "-M", "dont")
    for one, other in ((left, right), (right, left)):
        wait_steady(one.host, other.address)
    assert right.connections() == connections
    for node, before in zip(network, lines, strict=True):
        assert len(node.log().splitlines()) - before < 20, node.name
