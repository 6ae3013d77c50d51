from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, assume, given, settings

from datapath.super_frames import Super, super_frame, super_frames
from pytinc.config.settings import Mode, Settings
from pytinc.errors import DeviceError
from pytinc.net import tap
from pytinc.net.batch import one_by_one
from pytinc.net.devices import DummyDevice, open_device
from pytinc.net.tap import MAX_BATCH, MAX_READ_ERRORS, DeviceFeed, FrameDevice, TapDevice
from pytinc.wire.datagram import MTU_MAX

if TYPE_CHECKING:
    from net.conftest import LogLines, OnLoop
    from pytinc.datapath.runs import FrameRun

needs_tun = pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/dev/net/tun").exists(), reason="needs root and /dev/net/tun"
)


SOL_PACKET, PACKET_VNET_HDR, SIOCSIFFLAGS, SIOCSIFTXQLEN, IFF_UP = 263, 15, 0x8914, 0x8943, 1


async def until(condition: Callable[[], object]) -> None:
    """Poll for a condition that has no event."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.002)


class Interface:
    """A TAP interface that is up and silent, and a socket that sends frames through it as the host does."""

    def __init__(self, *, offload: bool) -> None:
        self.device = TapDevice(offload=offload)
        name = self.device.name
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
        self.host = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self.host.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        # Room for all frames of the finest cut, because the kernel makes them at once.
        fcntl.ioctl(self.host, SIOCSIFTXQLEN, struct.pack("16si20x", name.encode(), 20_000))
        fcntl.ioctl(self.host, SIOCSIFFLAGS, struct.pack("16sh14x", name.encode(), IFF_UP))
        self.host.bind((name, 0))

    def frames(self, given: Super) -> list[bytes]:
        """Send frames with a virtio-net header, and return all frames that the device reads."""
        self.host.send(given.header + given.frame)
        frames: list[bytes] = []
        while more := list(one_by_one(self.device.read_batch(MAX_BATCH))):
            frames += more
        return frames

    def close(self) -> None:
        self.host.close()
        self.device.close()


@pytest.fixture(scope="module")
def interfaces() -> Iterator[tuple[Interface, Interface]]:
    with_offload, without = Interface(offload=True), Interface(offload=False)
    yield with_offload, without
    with_offload.close()
    without.close()


class PipeDevice:
    """A device whose frames come from a socket pair, with errors on demand."""

    name = path = "pipe"
    hwaddr = bytes(6)

    def __init__(self) -> None:
        self.host, self._ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setblocking(False)
        self.read_error: OSError | None = None
        self.errors_left = 1000
        self.write_error: OSError | None = None
        self.reads = 0
        self.written: list[bytes | FrameRun] = []

    def fileno(self) -> int:
        return self._ours.fileno()

    def write(self, frame: bytes) -> None:
        self.write_batch([frame])

    def read_batch(self, limit: int) -> list[bytes]:
        self.reads += 1
        if self.read_error is not None and self.errors_left > 0:
            self.errors_left -= 1
            raise self.read_error
        frames: list[bytes] = []
        try:
            while len(frames) < limit:
                frames.append(self._ours.recv(2000))
        except BlockingIOError:
            pass
        return frames

    def write_batch(self, frames: Sequence[bytes | FrameRun]) -> None:
        if self.write_error is not None:
            raise self.write_error
        self.written += frames

    def close(self) -> None:
        self.host.close()
        self._ours.close()


@pytest.fixture
def pipe() -> Iterator[PipeDevice]:
    device = PipeDevice()
    yield device
    device.close()


def feed_of(
    device: FrameDevice,
    log: LogLines,
    batches: list[Sequence[bytes | FrameRun]],
    fatal: list[str],
    clock: Callable[[], float] = time.monotonic,
) -> DeviceFeed:
    return DeviceFeed(
        asyncio.get_running_loop(),
        device,
        on_frames=batches.append,
        on_lone=lambda frame: False,
        on_fatal=fatal.append,
        log=log,
        clock=clock,
    )


def test_frames_are_logged_while_this_is_wanted(on_loop: OnLoop, log: LogLines, pipe: PipeDevice) -> None:
    async def main() -> None:
        batches: list[Sequence[bytes | FrameRun]] = []
        feed = feed_of(pipe, log, batches, [])
        feed.start()
        for traced in (False, True):
            feed.traced = traced
            batches.clear()
            pipe.host.send(bytes(42))
            await until(lambda: batches)
            feed.write_batch([bytes(60), bytes(61)])
        feed.stop()
        assert log == [
            (5, "debug", f"Read packet of 42 bytes from {pipe.path}"),
            (5, "debug", f"Writing packet of 60 bytes to {pipe.path}"),
            (5, "debug", f"Writing packet of 61 bytes to {pipe.path}"),
        ]

    on_loop(main)


def test_frames_arrive_in_bounded_batches(on_loop: OnLoop, log: LogLines, pipe: PipeDevice) -> None:
    async def main() -> None:
        batches: list[Sequence[bytes | FrameRun]] = []
        feed = feed_of(pipe, log, batches, [])
        sent = [b"%d" % number for number in range(MAX_BATCH + 10)]
        for frame in sent:
            pipe.host.send(frame)
        feed.start()
        await until(lambda: sum(map(len, batches)) >= len(sent))
        feed.stop()
        assert [frame for batch in batches for frame in batch] == sent
        assert max(map(len, batches)) == MAX_BATCH

    on_loop(main)


def test_after_stop_nothing_is_read(on_loop: OnLoop, log: LogLines, pipe: PipeDevice) -> None:
    async def main() -> None:
        feed = feed_of(pipe, log, [], [])
        feed.start()
        feed.stop()
        pipe.host.send(b"late")
        await asyncio.sleep(0.02)
        assert pipe.reads == 0

    on_loop(main)


def test_too_many_read_errors_in_a_row_are_fatal(
    on_loop: OnLoop, log: LogLines, pipe: PipeDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tap, "READ_ERROR_DELAY", 0.001)

    async def main() -> None:
        fatal: list[str] = []
        feed = feed_of(pipe, log, [], fatal)
        pipe.host.send(b"there is something to read")
        pipe.read_error = OSError(errno.EIO, "Input/output error")
        feed.start()
        await until(lambda: fatal)
        feed.stop()
        assert fatal == ["Too many errors from pipe, exiting!"]
        assert pipe.reads == MAX_READ_ERRORS + 1
        assert log.messages[0] == "Error while reading from pipe: Input/output error"

    on_loop(main)


def test_a_successful_read_resets_the_count_of_errors(
    on_loop: OnLoop, log: LogLines, pipe: PipeDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tap, "READ_ERROR_DELAY", 0.0)

    async def main() -> None:
        fatal: list[str] = []
        batches: list[Sequence[bytes | FrameRun]] = []
        feed = feed_of(pipe, log, batches, fatal)
        feed.start()
        for _ in range(3):
            pipe.read_error = OSError(errno.EIO, "Input/output error")
            pipe.errors_left = MAX_READ_ERRORS
            pipe.host.send(b"frame")
            await until(lambda: batches)
            batches.clear()
        feed.stop()
        assert fatal == []
        assert len(log) == 3 * MAX_READ_ERRORS

    on_loop(main)


def test_the_same_write_error_is_reported_once_a_minute(
    on_loop: OnLoop, log: LogLines, pipe: PipeDevice
) -> None:
    async def main() -> None:
        now = 100.0
        feed = feed_of(pipe, log, [], [], clock=lambda: now)
        pipe.write_error = OSError(errno.EIO, "Input/output error")
        for _ in range(50):
            feed.write_batch([b"frame"])
        assert log.messages == ["Error while writing to pipe: Input/output error"]
        now += 61
        feed.write_batch([b"frame"])
        pipe.write_error = OSError(errno.EINVAL, "Invalid argument")
        feed.write_batch([b"frame"])
        assert len(log) == 3

    on_loop(main)


def test_the_dummy_device_is_called_dummy_and_never_reads(on_loop: OnLoop, log: LogLines) -> None:
    async def main() -> None:
        device = open_device(Settings("a", mode=Mode.SWITCH, device_type="dummy"), "net", log)
        assert (device.name, device.path, device.fileno()) == ("dummy", "dummy", None)
        assert isinstance(device, DummyDevice)
        assert device.read_batch(5) == []
        feed = feed_of(device, log, [], [])
        feed.start()
        feed.write_batch([b"frame"])
        feed.stop()
        device.close()
        assert log.messages == ["dummy (dummy) is a dummy device"]

    on_loop(main)


@pytest.mark.parametrize("name", ["a" * 16, "a/b", "a b", "..", "a:1"])
def test_the_error_for_an_impossible_interface_name_contains_it(name: str) -> None:
    with pytest.raises(DeviceError) as caught:
        TapDevice(name)
    assert name in str(caught.value)


def test_a_missing_device_node_is_explained(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"No such file or directory\. Is the tun module loaded\?"):
        TapDevice("pytinctest", str(tmp_path / "tun"))


@needs_tun
def test_a_tap_device_has_its_name_and_whole_address_and_accepts_frames(
    on_loop: OnLoop, log: LogLines
) -> None:
    name = f"pt{os.getpid() % 100000}"
    device = TapDevice(name)
    try:
        assert device.name == name
        assert device.hwaddr.hex(":") == Path(f"/sys/class/net/{name}/address").read_text().strip()
        assert device.read_batch(8) == []
        with pytest.raises(OSError) as caught:
            device.write(bytes(60))  # the interface is down
        assert caught.value.errno == errno.EIO
        with pytest.raises(DeviceError, match="in use by another program"):
            TapDevice(name)
    finally:
        device.close()
    assert not Path(f"/sys/class/net/{name}").exists()


@needs_tun
@pytest.mark.parametrize("offload", [True, False])
def test_a_frame_that_fails_does_not_stop_the_next_ones(
    monkeypatch: pytest.MonkeyPatch, offload: bool
) -> None:
    device = TapDevice(offload=offload)
    reader, writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        reader.setblocking(False)
        writer.setblocking(False)
        monkeypatch.setattr(device, "_descriptor", writer.fileno())
        writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 100_000)
        with pytest.raises(OSError) as caught:
            device.write_batch([b"one", bytes(1_000_000), b"two"])
        assert caught.value.errno == errno.EMSGSIZE
        header = bytes(10) if offload else b""
        assert [reader.recv(100), reader.recv(100)] == [header + b"one", header + b"two"]
        device.write_batch([bytes(1500)] * 1000)  # the queue is full long before, which is no error
    finally:
        device.close()
        reader.close()
        writer.close()


@needs_tun
def test_frames_that_are_too_long_for_the_vpn_are_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    device = TapDevice(offload=False)
    reader, writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        reader.setblocking(False)
        sizes = [60, MTU_MAX, MTU_MAX + 1, 9014, 61]
        for size in sizes:
            writer.send(bytes(size))
        monkeypatch.setattr(device, "_descriptor", reader.fileno())
        assert [len(frame) for frame in device.read_batch(64)] == sizes
    finally:
        device.close()
        reader.close()
        writer.close()


@needs_tun
@settings(suppress_health_check=[HealthCheck.filter_too_much])
@given(sent=super_frames())
def test_the_frames_with_offload_equal_those_without(
    interfaces: tuple[Interface, Interface], sent: Super
) -> None:
    with_offload, without = interfaces
    try:
        frames = without.frames(sent)
    except OSError:
        assume(False)  # no frames of the kernel itself
    assert with_offload.frames(sent) == frames


@needs_tun
def test_all_offloads_of_this_kernel_are_on_and_logged_in_one_line(log: LogLines) -> None:
    device = open_device(Settings("a", mode=Mode.SWITCH), None, log)
    try:
        assert isinstance(device, TapDevice)
        assert device.offloads[:3] == ("checksum", "TSO4", "TSO6")
        assert log.messages[1] == f"Device offloads: {', '.join(device.offloads)}"
    finally:
        device.close()


@needs_tun
def test_offload_no_turns_all_offloads_off(log: LogLines) -> None:
    device = open_device(Settings("a", mode=Mode.SWITCH, offload=False), None, log)
    try:
        assert isinstance(device, TapDevice)
        assert device.offloads == ()
        assert log.messages[1] == "Device offloads: none"
    finally:
        device.close()


@needs_tun
@pytest.mark.parametrize("refused", [0x6F, 0x0F, 0x07, 0x01])
def test_offloads_that_an_older_kernel_lacks_are_not_used(
    monkeypatch: pytest.MonkeyPatch, refused: int
) -> None:
    real = tap._set_offload
    monkeypatch.setattr(
        tap, "_set_offload", lambda descriptor, value: value < refused and real(descriptor, value)
    )
    device = TapDevice()
    try:
        assert len(device.offloads) == {0x6F: 4, 0x0F: 3, 0x07: 1, 0x01: 0}[refused]
    finally:
        device.close()


@needs_tun
def test_the_device_has_no_offloads_without_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytinc.datapath.segment", None)
    device = TapDevice()
    try:
        assert device.offloads == ()
    finally:
        device.close()


@needs_tun
def test_a_batch_ends_at_its_limit_and_the_next_one_has_the_rest(
    interfaces: tuple[Interface, Interface],
) -> None:
    interface = interfaces[0]
    long = super_frame(payload=bytes(60_000), gso_size=1000)
    for _ in range(3):
        interface.host.send(long.header + long.frame)
    assert [len(list(one_by_one(interface.device.read_batch(64)))) for _ in range(3)] == [120, 60, 0]
    short = super_frame(payload=b"")
    for _ in range(70):
        interface.host.send(short.header + short.frame)
    assert [len(list(one_by_one(interface.device.read_batch(64)))) for _ in range(3)] == [64, 6, 0]


@needs_tun
def test_the_host_is_asked_for_super_frames_that_leave_in_one_call() -> None:
    device = TapDevice()
    try:
        shown = subprocess.run(["ip", "-d", "link", "show", device.name], capture_output=True, text=True)
        assert "gso_max_size 60800" in shown.stdout
    finally:
        device.close()


@needs_tun
def test_malformed_super_frames_are_dropped_and_counted_and_large_ones_are_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device = TapDevice()
    reader, writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        reader.setblocking(False)
        coarse = super_frame(payload=bytes(25_000), gso_size=2000)
        fine = super_frame(payload=bytes(3000), gso_size=1448)
        for header, frame in ((b"\1\1" + bytes(8), bytes(200)), coarse, fine, (bytes(10), bytes(2000))):
            writer.send(header + frame)
        monkeypatch.setattr(device, "_descriptor", reader.fileno())
        sizes = [len(frame) for frame in one_by_one(device.read_batch(64))]
        assert sizes == [2054] * 12 + [1054] + [1502, 1502, 158] + [2000]
        assert device.dropped == 1
    finally:
        device.close()
        reader.close()
        writer.close()


@needs_tun
def test_an_interface_must_be_up_and_have_an_address_or_be_below_another_one() -> None:
    device = TapDevice(offload=False)
    name, bridge = device.name, f"b{device.name}"

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    try:
        assert tap.missing_setup(name) == "is down"
        ip("link", "set", "dev", name, "up")
        assert tap.missing_setup(name) == "has no address"
        ip("addr", "add", "fd00:7::1/64", "dev", name, "nodad")
        assert tap.missing_setup(name) == ""
        ip("addr", "flush", "dev", name, "scope", "global")
        ip("addr", "add", "192.0.2.77/32", "dev", name)
        assert tap.missing_setup(name) == ""
        ip("addr", "flush", "dev", name)
        ip("link", "add", "link", name, "name", f"m{name}", "type", "macvlan")
        assert tap.missing_setup(name) == ""
        ip("link", "del", f"m{name}")
        assert tap.missing_setup(name) == "has no address"
        ip("link", "add", bridge, "type", "bridge")
        ip("link", "set", "dev", name, "master", bridge)
        assert tap.missing_setup(name) == ""
    finally:
        device.close()
        subprocess.run(["ip", "link", "del", bridge], check=False, capture_output=True)
    assert tap.missing_setup(name) == "", "there is no such interface"
