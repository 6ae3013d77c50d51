"""The cost of cutting and joining super-frames: microseconds per frame of 1,448 bytes of TCP, best of rounds.

    .venv/bin/python benchmarks/micro_offload.py

As root, it also measures a write to a TAP device, but not the work of the host's TCP for a frame and its
acknowledgement, which a joined chain also saves. `coalesce.MIN_CHAIN` is based on these figures.
"""

from __future__ import annotations

import os
import platform
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from functools import partial

import numpy

from pytinc.datapath.coalesce import MIN_CHAIN, coalesce
from pytinc.datapath.segment import segment
from pytinc.errors import DeviceError
from pytinc.net.tap import TapDevice
from pytinc.wire.ip import checksum
from pytinc.wire.virtio import GSO_TCPV4, HEADER, NEEDS_CSUM

PAYLOAD = 1448
ROUNDS = 9
REPEAT = 100


def main() -> None:
    """Print one line for each operation and length of a run."""
    print(f"Linux {platform.release()}, Python {platform.python_version()}, numpy {numpy.__version__}")
    for count in (2, MIN_CHAIN, 16, 45):
        header, frame = super_frame(count)
        frames = segment(header, frame)
        assert count < MIN_CHAIN or len(coalesce(frames)) == 1
        report(f"cut into {count}", count, partial(segment, header, frame))
        report(f"join {count}", count, partial(coalesce, frames))
    report_writes(segment(*super_frame(45)))


def super_frame(count: int) -> tuple[bytes, bytes]:
    """Return a virtio-net header and a frame as the kernel delivers them."""
    length = 52 + count * PAYLOAD
    network = struct.pack("!BBHHHBBH", 0x45, 0, length, 7, 0x4000, 64, 6, 0) + bytes(range(1, 9))
    network = network[:10] + checksum(network).to_bytes(2, "big") + network[12:]
    pseudo = network[12:20] + (length - 20).to_bytes(4, "big") + b"\0\0\0\x06"
    sum_ = ~checksum(pseudo) & 0xFFFF
    tcp = (
        struct.pack("!HHIIBBHHH", 4000, 80, 1, 99, 0x80, 0x10, 512, sum_, 0) + b"\x01\x01\x08\x0a" + bytes(8)
    )
    header = HEADER.pack(NEEDS_CSUM, GSO_TCPV4, 66, PAYLOAD, 34, 16)
    return header, bytes(12) + b"\x08\0" + network + tcp + os.urandom(count * PAYLOAD)


def report_writes(frames: list[bytes]) -> None:
    """Print the cost of writing to a TAP device, frame by frame and joined."""
    try:
        device = TapDevice()
    except DeviceError as error:
        print(f"no writes: {error}")
        return
    try:
        up(device.name)
        report("write one by one", len(frames), lambda: deque(map(device.write, frames), 0))
        report("join and write", len(frames), lambda: device.write_batch(frames))
    finally:
        device.close()


def up(name: str) -> None:
    """Set an interface up; without an address it answers nothing."""
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", name.encode(), 1))


def report(name: str, count: int, action: Callable[[], object]) -> None:
    """Measure and print."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(REPEAT):
            action()
        best = min(best, time.perf_counter() - start)
    print(f"{name:20} {best / REPEAT / count * 1e6:7.2f}")


if __name__ == "__main__":
    main()
