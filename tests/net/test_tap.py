from __future__ import annotations

import asyncio
import errno
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytinc.config.settings import Mode, Settings
from pytinc.errors import DeviceError
from pytinc.net import tap
from pytinc.net.tap import MAX_BATCH, MAX_READ_ERRORS, DeviceFeed, DummyDevice, TapDevice, open_device
from pytinc.wire.datagram import MTU_MAX

needs_tun = pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/dev/net/tun").exists(), reason="needs root and /dev/net/tun"
)


async def until(condition: Callable[[], object]) -> None:
    """Wait for something the test cannot be told of."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.002)


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
        self.written: list[bytes] = []

    def fileno(self) -> int:
        return self._ours.fileno()

    def read_batch(self, limit: int) -> list[bytes]:
        self.reads += 1
        if self.read_error is not None and self.errors_left > 0:
            self.errors_left -= 1
            raise self.read_error
        frames = []
        try:
            while len(frames) < limit:
                frames.append(self._ours.recv(2000))
        except BlockingIOError:
            pass
        return frames

    def write(self, frame: bytes) -> None:
        if self.write_error is not None:
            raise self.write_error
        self.written.append(frame)

    def close(self) -> None:
        self.host.close()
        self._ours.close()


@pytest.fixture
def pipe() -> Iterator[PipeDevice]:
    device = PipeDevice()
    yield device
    device.close()


def feed_of(device, log, batches, fatal, clock=time.monotonic) -> DeviceFeed:
    return DeviceFeed(
        asyncio.get_running_loop(),
        device,
        on_frames=batches.append,
        on_fatal=fatal.append,
        log=log,
        clock=clock,
    )


def test_frames_arrive_in_bounded_batches(on_loop, log, pipe) -> None:
    async def main() -> None:
        batches: list[list[bytes]] = []
        feed = feed_of(pipe, log, batches, [])
        sent = [b"%d" % number for number in range(MAX_BATCH + 10)]
        for frame in sent:
            pipe.host.send(frame)
        feed.start()
        await asyncio.sleep(0.05)
        feed.stop()
        assert [frame for batch in batches for frame in batch] == sent
        assert max(map(len, batches)) == MAX_BATCH

    on_loop(main)


def test_after_stop_nothing_is_read(on_loop, log, pipe) -> None:
    async def main() -> None:
        feed = feed_of(pipe, log, [], [])
        feed.start()
        feed.stop()
        pipe.host.send(b"late")
        await asyncio.sleep(0.02)
        assert pipe.reads == 0

    on_loop(main)


def test_too_many_read_errors_in_a_row_are_fatal(on_loop, log, pipe, monkeypatch) -> None:
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


def test_a_good_read_makes_earlier_errors_forgotten(on_loop, log, pipe, monkeypatch) -> None:
    monkeypatch.setattr(tap, "READ_ERROR_DELAY", 0.0)

    async def main() -> None:
        fatal: list[str] = []
        batches: list[list[bytes]] = []
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


def test_the_same_write_error_is_reported_once_a_minute(on_loop, log, pipe) -> None:
    async def main() -> None:
        now = 100.0
        feed = feed_of(pipe, log, [], [], clock=lambda: now)
        pipe.write_error = OSError(errno.EIO, "Input/output error")
        for _ in range(50):
            feed.write(b"frame")
        assert log.messages == ["Error while writing to pipe: Input/output error"]
        now += 61
        feed.write(b"frame")
        pipe.write_error = OSError(errno.EINVAL, "Invalid argument")
        feed.write(b"frame")
        assert len(log) == 3

    on_loop(main)


def test_a_full_queue_of_the_kernel_loses_frames_silently(on_loop, log, pipe) -> None:
    async def main() -> None:
        pipe.write_error = BlockingIOError(errno.EAGAIN, "again")
        feed_of(pipe, log, [], []).write(b"frame")
        assert log == []

    on_loop(main)


def test_the_dummy_device_is_called_dummy_and_never_reads(on_loop, log) -> None:
    async def main() -> None:
        device = open_device(Settings("a", mode=Mode.SWITCH, device_type="dummy"), "net", log)
        assert isinstance(device, DummyDevice)
        assert (device.name, device.path, device.fileno()) == ("dummy", "dummy", None)
        assert device.read_batch(5) == []
        feed = feed_of(device, log, [], [])
        feed.start()
        feed.write(b"frame")
        feed.stop()
        device.close()
        assert log.messages == ["dummy (dummy) is a dummy device"]

    on_loop(main)


@pytest.mark.parametrize("kind", ["raw_socket", "multicast", "fd", "uml", "vde"])
def test_other_device_types_are_refused(kind: str, log) -> None:
    with pytest.raises(DeviceError, match=f"DeviceType {kind} is not supported"):
        open_device(Settings("a", device_type=kind), None, log)


@pytest.mark.parametrize("name", ["a" * 16, "a/b", "a b", "..", "a:1"])
def test_impossible_interface_names_are_refused_by_name(name: str) -> None:
    with pytest.raises(DeviceError) as caught:
        TapDevice(name)
    assert name in str(caught.value)


def test_a_missing_device_node_is_explained(tmp_path) -> None:
    with pytest.raises(DeviceError, match=r"No such file or directory\. Is the tun module loaded\?"):
        TapDevice("pytinctest", str(tmp_path / "tun"))


@needs_tun
def test_a_tap_device_has_name_and_whole_address_and_takes_frames(on_loop, log) -> None:
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
def test_a_frame_that_is_too_long_is_dropped_and_the_others_are_read(monkeypatch) -> None:
    device = TapDevice()
    reader, writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        reader.setblocking(False)
        for size in (60, MTU_MAX, MTU_MAX + 1, 3000, 61):
            writer.send(bytes(size))
        monkeypatch.setattr(device, "_descriptor", reader.fileno())
        assert [len(frame) for frame in device.read_batch(64)] == [60, MTU_MAX, 61]
    finally:
        device.close()
        reader.close()
        writer.close()
