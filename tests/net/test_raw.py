"""Raw sockets on a veth pair: frames of the other end come in, and go out there."""

from __future__ import annotations

import os
import select
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from datapath.super_frames import Super
from pytinc.config.settings import Mode, Settings
from pytinc.errors import DeviceError
from pytinc.net import raw
from pytinc.net.batch import one_by_one
from pytinc.net.devices import open_device
from pytinc.net.raw import RawSocketDevice
from pytinc.wire.datagram import MTU_MAX

if TYPE_CHECKING:
    from net.conftest import LogLines

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

OURS, THEIRS = f"pr{os.getpid() % 100000}a", f"pr{os.getpid() % 100000}b"
MACS = bytes((2, 0, 0, 0, 0, 1)) + bytes((2, 0, 0, 0, 0, 2))
LOCAL_EXPERIMENT = b"\x88\xb5"
VLAN_7 = b"\x81\x00\x00\x07"
PATIENCE_S = 60


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def wait_up(name: str) -> None:
    """Wait until an interface sends: for a while after it is up the kernel drops what it is given."""
    deadline = time.monotonic() + PATIENCE_S
    while Path(f"/sys/class/net/{name}/operstate").read_text().strip() != "up":
        assert time.monotonic() < deadline, f"{name} does not come up"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def station() -> Iterator[socket.socket]:
    """The host at the other end, which sends frames with a virtio-net header before them."""
    try:
        ip("link", "add", OURS, "type", "veth", "peer", "name", THEIRS)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no veth pairs here: {error}")
    try:
        for name in (OURS, THEIRS):
            Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
            ip("link", "set", "dev", name, "up")
        for name in (OURS, THEIRS):
            wait_up(name)
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as end:
            end.setsockopt(raw._SOL_PACKET, raw._PACKET_VNET_HDR, 1)
            end.setsockopt(raw._SOL_PACKET, raw._PACKET_AUXDATA, 1)
            end.bind((THEIRS, 3))
            end.settimeout(PATIENCE_S)
            yield end
    finally:
        ip("link", "del", OURS)


@pytest.fixture
def device(station: socket.socket) -> Iterator[RawSocketDevice]:
    opened = RawSocketDevice(OURS, "label")
    yield opened
    opened.close()


def send(station: socket.socket, frame: bytes, header: bytes = bytes(10)) -> None:
    station.send(header + frame)


def read(device: RawSocketDevice, count: int) -> list[bytes]:
    frames: list[bytes] = []
    while len(frames) < count and select.select([device.fileno()], [], [], PATIENCE_S)[0]:
        frames += one_by_one(device.read_batch(64))
    return frames


def receive(station: socket.socket) -> bytes:
    """Return the next frame that the station gets from another sender."""
    while True:
        data, ancillary, _, address = station.recvmsg(70000, 100)
        if address[2] != socket.PACKET_OUTGOING:
            tag = raw._vlan_tag(ancillary)
            return data[10:22] + tag + data[22:]


def frame(text: bytes, size: int = 60) -> bytes:
    return (MACS + LOCAL_EXPERIMENT + text).ljust(size, b"\0")


def test_frames_are_read_and_written(device: RawSocketDevice, station: socket.socket) -> None:
    assert (device.name, device.path) == (OURS, "label")
    for text in (b"one", b"two"):
        send(station, frame(text))
    assert read(device, 2) == [frame(b"one"), frame(b"two")]
    assert device.read_batch(64) == []
    device.write_batch([frame(b"three"), frame(b"four")])
    assert [receive(station), receive(station)] == [frame(b"three"), frame(b"four")]
    assert device.read_batch(64) == []  # not the frames that it has written itself


def test_a_vlan_tag_that_the_kernel_removed_is_put_back(
    device: RawSocketDevice, station: socket.socket
) -> None:
    tagged = MACS + VLAN_7 + frame(b"in the VLAN")[12:]
    send(station, tagged)
    assert read(device, 1) == [tagged]
    device.write_batch([tagged])
    assert receive(station) == tagged


def test_a_super_frame_of_the_kernel_is_cut(device: RawSocketDevice, station: socket.socket) -> None:
    from pytinc.datapath.segment import segment

    sent = big_frame()
    send(station, sent.frame, sent.header)
    pieces = segment(sent.header, sent.frame)
    assert len(pieces) == 3
    assert read(device, 3) == pieces


def big_frame() -> Super:
    """A TCP super-frame of three pieces, as a kernel with offload makes it."""
    payload = bytes(range(256)) * 12
    size = 20 + 20 + len(payload)
    network = bytearray(struct.pack("!BBHHHBBH8s", 0x45, 0, size, 1, 0x4000, 64, 6, 0, bytes(range(8))))
    network[10:12] = (0xFFFF - sum(struct.unpack("!10H", network)) % 0xFFFF).to_bytes(2, "big")
    pseudo = sum(struct.unpack("!4H", network[12:20])) + 6 + 20 + len(payload)
    transport = struct.pack("!HHIIBBHHH", 1, 2, 3, 4, 0x50, 0x10, 1000, pseudo % 0xFFFF, 0)
    header = struct.pack("=BBHHHH", 1, 1, 54, 1024, 34, 16)
    return Super(header, MACS + b"\x08\x00" + bytes(network) + transport + payload)


def test_frames_that_are_too_long_for_the_vpn_are_read_whole(
    device: RawSocketDevice, station: socket.socket
) -> None:
    for name in (OURS, THEIRS):
        ip("link", "set", "dev", name, "mtu", "3000")
    plain = frame(b"too long", MTU_MAX + 1)
    tagged = MACS + VLAN_7 + frame(b"too long with its tag", MTU_MAX - 3)[12:]
    for sent in (plain, tagged):
        send(station, sent)
    assert read(device, 2) == [plain, tagged]


def test_it_works_frame_by_frame_without_numpy(
    station: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw, "load_offload", lambda: None)
    device = RawSocketDevice(OURS, "label")
    try:
        assert device.offloads == ()
        send(station, frame(b"one"))
        assert read(device, 1) == [frame(b"one")]
        device.write_batch([frame(b"two"), frame(b"three")])
        assert [receive(station), receive(station)] == [frame(b"two"), frame(b"three")]
    finally:
        device.close()


def test_reading_continues_after_the_read_error_of_an_interface_going_down(
    device: RawSocketDevice, station: socket.socket
) -> None:
    ip("link", "set", "dev", OURS, "down")
    with pytest.raises(OSError, match="down"):
        device.read_batch(64)
    with pytest.raises(OSError, match="down"):
        device.write_batch([frame(b"lost")])
    ip("link", "set", "dev", OURS, "up")
    wait_up(THEIRS)
    send(station, frame(b"again"))
    assert read(device, 1) == [frame(b"again")]


def test_the_log_contains_label_and_offloads(station: socket.socket, log: LogLines) -> None:
    settings = Settings("a", mode=Mode.SWITCH, device_type="raw_socket", interface=OURS, offload=False)
    device = open_device(settings, None, log)
    assert log.messages == [f"{OURS} is a raw_socket", "Device offloads: none"]
    device.close()


def test_the_error_names_a_missing_interface() -> None:
    with pytest.raises(DeviceError, match="Can't find interface nowhere0: No such device"):
        RawSocketDevice("nowhere0", "label")
