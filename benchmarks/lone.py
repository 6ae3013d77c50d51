"""The cost of one lone packet in a daemon: Python calls, bytecode instructions, microseconds.

    .venv/bin/python benchmarks/lone.py

A ping passes each daemon twice: its frame is read from the TAP device, sealed and sent (out), and a datagram
is received, opened and written to the device (in). The real parts do this here, from the callback of the
event loop to the system call, with a real TAP device and UDP over loopback, in a namespace of their own.
"kernel" is the time of the same system calls alone, the least that any daemon of this kind needs. "Cold" is
the same after all caches have been filled with something else, as after some milliseconds in which other
programs ran: then memory access determines the time of a pass.
"""

from __future__ import annotations

import asyncio
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from types import FrameType, SimpleNamespace
from typing import Any, Final, cast

import numpy as np

from path import MAC_HERE, MAC_THERE, World, tcp_frame
from pytinc.config.settings import Settings
from pytinc.lab.privileges import ensure_root
from pytinc.net.shell import HostFiles, Shell
from pytinc.net.sockets import Listener
from pytinc.net.tap import TapDevice
from pytinc.node.node import Node
from pytinc.wire.datagram import TYPE_MAC
from pytinc.wire.virtio import NULL_HEADER

PACKETS: Final = 10_000
COLD_PACKETS: Final = 300
SOMETHING_ELSE: Final = np.ones(1 << 23)
"""64 MiB: more than the caches hold."""
SIZE: Final = 98
"""That of a ping."""


class Bench:
    """A shell whose peer is this same process."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, fast: bool) -> None:
        self.world = World()
        near_end, far_end = self.world.b.session, self.world.far_end
        assert near_end is not None
        for end in (near_end, far_end):
            end.peer_accepts_fast = fast
            if fast:
                end.accept_fast()
        self.device = TapDevice("lone")
        # Without it the host itself would send: neighbour discovery, multicast reports.
        subprocess.run(("ip", "link", "set", "dev", "lone", "addrgenmode", "none"), check=True)
        subprocess.run(("ip", "link", "set", "dev", "lone", "multicast", "off", "up"), check=True)
        self.ours, self.theirs = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for each in (self.ours, self.theirs):
            each.bind(("127.0.0.1", 0))
            each.setblocking(False)
        self.world.table.set_address(self.world.b, self.theirs.getsockname(), 0)
        self.world.table.refresh_all()
        node = SimpleNamespace(
            output=self.world.out,
            settings=Settings("a"),
            short_way=self.world.datapath.short_way,
            settle_packets=lambda now: False,
            capture=None,
            table=self.world.table,
            known_addresses=list,
        )
        self.shell = Shell(
            loop,
            cast(Node, node),
            self.device,
            [cast(Listener, SimpleNamespace(udp=self.ours))],
            files=cast(HostFiles, None),
            log=lambda level, priority, text: print(text),
            run_script=lambda name, environment: None,
            start_check=lambda name, environment: None,
            on_fatal=print,
            deliver_capture=lambda frames: None,
            events_added=lambda: None,
        )
        self.link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self.link.bind(("lone", 0))
        self.frame = tcp_frame(MAC_THERE, MAC_HERE, SIZE)
        self.answer = tcp_frame(MAC_HERE, MAC_THERE, SIZE)
        self.out: Callable[[], None] = self.shell._device._readable
        self.into: Callable[[], None] = partial(self.shell._udp._readable, 0)

    def empty(self) -> None:
        """Discard the frames that the kernel itself sends through the device."""
        try:
            while True:
                os.read(self.device.fileno(), 70000)
        except BlockingIOError:
            pass

    def bring_frame(self) -> None:
        """Have the host send a frame."""
        self.link.send(self.frame)

    def bring_datagram(self) -> None:
        """Have the peer send a datagram."""
        (datagram,) = self.world.far_end.seal_batch(self.world.prefix, TYPE_MAC, [self.answer])
        self.theirs.sendto(datagram, self.ours.getsockname())

    def take_datagram(self) -> None:
        """Receive the datagram that was sent to the peer."""
        self.theirs.recv(2000)

    def kernel_out(self) -> None:
        """Do only the system calls of the way out."""
        os.readv(self.device.fileno(), self.device._buffers)
        self.ours.sendto(self.sealed, self.world.b.address or ("", 0))

    def kernel_in(self) -> None:
        """Do only the system calls of the way in."""
        self.ours.recvmsg_into(self.device._buffers, 100)
        os.writev(self.device.fileno(), (NULL_HEADER, self.answer))

    sealed = bytes(SIZE + 33)


def calls_of(action: Callable[[], None]) -> int:
    """Return how many Python functions ``action`` calls, itself included."""
    count = 0

    def note(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
    return count


def instructions_of(action: Callable[[], None]) -> int:
    """Return how many bytecode instructions ``action`` executes."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(None)
    return count


def microseconds(
    bring: Callable[[], None], action: Callable[[], None], done: Callable[[], None], *, cold: bool
) -> float:
    """Return the median time of ``action``."""
    times = []
    for _ in range(COLD_PACKETS if cold else PACKETS):
        bring()
        if cold:
            SOMETHING_ELSE.sum()
        begin = time.perf_counter()
        action()
        times.append(time.perf_counter() - begin)
        done()
    return statistics.median(times) * 1e6


def measure(bench: Bench, tag: str) -> None:
    """Print a row for each direction."""

    def nothing() -> None:
        pass

    ways = (
        ("out", bench.bring_frame, bench.out, bench.take_datagram, bench.kernel_out),
        ("in", bench.bring_datagram, bench.into, bench.empty, bench.kernel_in),
    )
    for name, bring, action, done, kernel in ways:
        bench.empty()
        for _ in range(12):
            # After some lone packets, only one is read at a time.
            bring()
            action()
            done()
        bring()
        calls = calls_of(action)
        done()
        bring()
        instructions = instructions_of(action)
        done()
        times = [
            microseconds(bring, each, done, cold=cold) for cold in (False, True) for each in (action, kernel)
        ]
        print(f"{name:4} {tag:9} {calls:6} {instructions:13} " + "".join(f"{each:9.1f}" for each in times))


def main() -> int:
    """Return the exit status."""
    ensure_root([sys.executable, __file__])
    loop = asyncio.new_event_loop()
    print("way  tag        calls  instructions    warm, us kernel  cold, us  kernel")
    for fast in (True, False):
        bench = Bench(loop, fast=fast)
        measure(bench, "RFC 8439" if fast else "tinc")
        bench.device.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
