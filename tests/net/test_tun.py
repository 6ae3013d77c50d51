"""The tun device: packets of the host get an Ethernet header, and written frames lose it."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytinc.config.settings import Settings
from pytinc.errors import DeviceError
from pytinc.net.devices import open_device
from pytinc.net.tap import TapDevice
from pytinc.net.tun import TunDevice
from pytinc.wire import ip

if TYPE_CHECKING:
    from net.conftest import LogLines

needs_tun = pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/dev/net/tun").exists(), reason="needs root and /dev/net/tun"
)
V4, V6 = bytes(12) + b"\x08\x00", bytes(12) + b"\x86\xdd"
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1


class PairInterface:
    """An "interface" whose other end belongs to the test."""

    name = "pair0"

    def __init__(self) -> None:
        self.host, self.ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def fileno(self) -> int:
        return self.ours.fileno()

    def close(self) -> None:
        self.ours.close()


@pytest.fixture
def pair() -> Iterator[PairInterface]:
    interface = PairInterface()
    yield interface
    interface.close()
    interface.host.close()


def test_packets_get_a_header_with_their_ethertype(pair: PairInterface, log: LogLines) -> None:
    device = TunDevice(pair, "/dev/somewhere", log)
    assert (device.name, device.path, device.hwaddr) == ("pair0", "/dev/somewhere", None)
    assert device.fileno() == pair.fileno()
    packets = [b"\x45" + bytes(19), b"\x60" + bytes(39), b"\x4f" + bytes(60)]
    for packet in packets:
        pair.host.send(packet)
    frames = device.read_batch(64)
    assert frames == [head + packet for head, packet in zip((V4, V6, V4), packets, strict=True)]
    assert device.read_batch(64) == []


def test_packets_that_are_not_ip_are_dropped_and_others_of_any_length_are_read(
    pair: PairInterface, log: LogLines
) -> None:
    device = TunDevice(pair, "path", log)
    for packet in (b"\x50" + bytes(30), b"\x45".ljust(1504), b"\x45".ljust(65535), b"\x60"):
        pair.host.send(packet)
    assert [len(frame) for frame in device.read_batch(64)] == [1518, 65549, 15]
    assert log == [(5, "error", "Unknown IP version while reading packet from path!")]


def test_the_size_of_a_batch_is_bounded(pair: PairInterface, log: LogLines) -> None:
    device = TunDevice(pair, "path", log)
    for _ in range(5):
        pair.host.send(b"\x45")
    assert [len(device.read_batch(3)), len(device.read_batch(3))] == [3, 2]


def test_a_frame_is_written_without_its_header_and_only_if_it_contains_ip(
    pair: PairInterface, log: LogLines
) -> None:
    device = TunDevice(pair, "path", log)
    for packet in (b"", b"\0\1\x08", b"\x45packet"):
        device.write(b"abcdefghijkl\x08\x00" + packet)
    assert pair.host.recv(100) == b"\x45packet"


def test_a_device_that_cannot_be_read_raises_an_error(pair: PairInterface, log: LogLines) -> None:
    device = TunDevice(pair, "path", log)
    pair.ours.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        device.read_batch(1)


@needs_tun
@pytest.mark.parametrize("kind", [None, "tun"])
def test_router_mode_opens_a_tun_that_reads_and_writes_packets(kind: str | None, log: LogLines) -> None:
    name = f"pu{os.getpid() % 100000}"
    device = open_device(Settings("a", device_type=kind, interface=name), None, log)
    try:
        assert isinstance(device, TunDevice)
        assert log.messages == [f"/dev/net/tun ({name}) is a Linux tun device"]
        with pytest.raises(DeviceError, match="in use by another program"):
            open_device(Settings("a", interface=name), None, log)
        with pytest.raises(DeviceError):
            TapDevice(name)
        bring_up(name)
        # The kernel itself sends on a new interface: it solicits IPv6 routers, or joins groups.
        frames: list[bytes] = []
        deadline = time.monotonic() + 60
        while not frames and time.monotonic() < deadline:
            frames += device.read_batch(8)
            time.sleep(0.02)
        assert all(frame[:14] in (V4, V6) for frame in frames)
        header = bytearray(struct.pack(">BBHHHBBH", 0x45, 0, 20, 0, 0, 64, 17, 0))
        header += bytes((192, 0, 2, 1, 192, 0, 2, 2))
        header[10:12] = ip.checksum(bytes(header)).to_bytes(2, "big")
        device.write(V4 + bytes(header))
        counter = Path(f"/sys/class/net/{name}/statistics/rx_packets")
        assert int(counter.read_text()) == 1
    finally:
        device.close()
    assert not Path(f"/sys/class/net/{name}").exists()


@needs_tun
def test_router_mode_opens_a_tap_if_configured(log: LogLines) -> None:
    device = open_device(Settings("a", device_type="tap"), None, log)
    try:
        assert isinstance(device, TapDevice)
    finally:
        device.close()


def bring_up(name: str) -> None:
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anything:
        fcntl.ioctl(anything, _SIOCSIFFLAGS, struct.pack("16sH14x", name.encode(), _IFF_UP))
