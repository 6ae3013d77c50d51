"""A real kernel accepts the super-frames of `datapath.coalesce`; each test has its own namespaces."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import random
import select
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TypeVar

import pytest

from datapath.super_frames import super_frame
from pytinc.datapath.coalesce import Write, coalesce
from pytinc.datapath.segment import segment
from pytinc.net.batch import one_by_one
from pytinc.net.tap import MAX_BATCH, TapDevice
from pytinc.wire.virtio import NULL_HEADER

CLONE_NEWNET = 0x40000000
T = TypeVar("T")

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/dev/net/tun").exists(), reason="needs root and /dev/net/tun"
)


class Namespace:
    """A thread with its own network, which disappears with the thread and everything that it opened."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self.run(self._enter)

    @staticmethod
    def _enter() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET):
            pytest.skip(f"no network namespaces: {os.strerror(ctypes.get_errno())}")

    def run(self, action: Callable[[], T]) -> T:
        return self._thread.submit(action).result()

    def ip(self, *words: str) -> None:
        command = ["ip", *words]
        done = self.run(lambda: subprocess.run(command, capture_output=True, text=True, check=False))
        if done.returncode:
            raise OSError(f"{' '.join(command)}: {done.stderr}")

    def tap(self, *, offload: bool) -> TapDevice:
        """Open a TAP device whose kernel side sends nothing by itself."""
        device = self.run(lambda: TapDevice(offload=offload))
        self.ip("link", "set", "dev", device.name, "txqueuelen", "20000", "addrgenmode", "none")
        return device

    def close(self) -> None:
        self._thread.shutdown()


@pytest.fixture
def cleanup() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def read_all(device: TapDevice, count: int) -> list[bytes]:
    """Read ``count`` frames, and then any surplus ones."""
    frames: list[bytes] = []
    while len(frames) < count and select.select([device], [], [], 5)[0]:
        frames += one_by_one(device.read_batch(MAX_BATCH))
    return [*frames, *one_by_one(device.read_batch(MAX_BATCH))]


def flow(*, is_ipv4: bool, count: int, last: int, flags: int, tags: bytes) -> list[bytes]:
    frames = segment(
        *super_frame(
            tags=tags,
            is_ipv4=is_ipv4,
            flags=flags,
            identification=0xFFF0,
            sequence=2**32 - 5000,
            tcp_options=b"\x01\x01\x08\x0a" * 3,
            payload=random.Random(count).randbytes((count - 1) * 1400 + last),
            gso_size=1400,
        )
    )
    # A broadcast, so that the bridge must forward it.
    return [b"\xff" * 6 + b"\x02" + bytes(5) + frame[12:] for frame in frames]


def test_the_kernel_cuts_joined_frames_into_the_original_frames(cleanup: ExitStack) -> None:
    here = cleanup.enter_context(closing(Namespace()))
    joins = cleanup.enter_context(closing(here.tap(offload=True)))
    plain = cleanup.enter_context(closing(here.tap(offload=False)))
    if "TSO6" not in joins.offloads:
        pytest.skip("this kernel takes no super-frames")
    try:
        here.ip("link", "add", "between", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
    except OSError as error:
        pytest.skip(f"no bridge: {error}")
    here.ip("link", "set", "dev", "between", "addrgenmode", "none")
    for name in (joins.name, plain.name):
        here.ip("link", "set", "dev", name, "master", "between")
        here.ip("link", "set", "dev", name, "up")
    here.ip("link", "set", "dev", "between", "up")
    for is_ipv4 in (True, False):
        for tags in (b"", b"\x81\x00\x00\x05"):
            for count, last, flags in ((6, 1400, 0x10), (6, 1, 0x18), (40, 777, 0x18), (40, 1400, 0x50)):
                frames = flow(is_ipv4=is_ipv4, count=count, last=last, flags=flags, tags=tags)
                assert len(coalesce(frames)) == 1
                joins.write_batch(frames)
                assert read_all(plain, count) == frames


@pytest.mark.parametrize(("local", "remote"), [("10.99.0.1", "10.99.0.2"), ("fd99::1", "fd99::2")])
def test_a_real_tcp_connection_gets_all_bytes_of_joined_frames(
    cleanup: ExitStack, monkeypatch: pytest.MonkeyPatch, local: str, remote: str
) -> None:
    family, bits = (socket.AF_INET6, "64") if ":" in local else (socket.AF_INET, "24")
    devices, sockets = [], []
    for address, offload in ((local, False), (remote, True)):
        space = cleanup.enter_context(closing(Namespace()))
        device = cleanup.enter_context(closing(space.tap(offload=offload)))
        space.ip("address", "add", f"{address}/{bits}", "dev", device.name, *(["nodad"] * (bits == "64")))
        space.ip("link", "set", "dev", device.name, "up")
        devices.append(device)
        sockets.append(cleanup.enter_context(closing(space.run(lambda: socket.socket(family)))))
    sender, listener = devices[0], devices[1]
    if listener.offloads == ():
        pytest.skip("this kernel takes no super-frames")
    joined = 0

    def counted(write: Write) -> None:
        nonlocal joined
        if write[0] != NULL_HEADER:
            joined += len(segment(*write))
        write_joined(write)

    write_joined = listener._write_joined
    monkeypatch.setattr(listener, "_write_joined", counted)
    client, server = sockets
    for each in sockets:
        each.setblocking(False)
    server.bind((remote, 5001))
    server.listen()
    data = random.Random(5).randbytes(4_000_000)
    assert client.connect_ex((remote, 5001)) == errno.EINPROGRESS
    digest, received, sent = hashlib.sha256(), 0, 0
    accepted: socket.socket | None = None
    deadline = time.monotonic() + 60
    while received < len(data):
        assert time.monotonic() < deadline, f"{received} of {sent} bytes arrived"
        waiting: list[TapDevice | socket.socket] = [sender, listener, accepted or server]
        readable, writable, _ = select.select(waiting, [client] if sent < len(data) else [], [], 1)
        if sender in readable:
            listener.write_batch(sender.read_batch(MAX_BATCH))
        if listener in readable:
            sender.write_batch(listener.read_batch(MAX_BATCH))
        if server in readable:
            accepted = cleanup.enter_context(server.accept()[0])
            accepted.setblocking(False)
        if accepted is not None and accepted in readable:
            piece = accepted.recv(1_000_000)
            digest.update(piece)
            received += len(piece)
        if client in writable:
            sent += client.send(data[sent : sent + 500_000])
    assert digest.digest() == hashlib.sha256(data).digest()
    assert joined > 1000
