"""Reading and writing a batch of frames: the parts that all devices share (`pytinc.net.devices`)."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from pytinc.wire.datagram import MTU_MAX
from pytinc.wire.ethernet import HEADER_SIZE

if TYPE_CHECKING:
    from pytinc.datapath.runs import FrameRun

Write = TypeVar("Write")

LONE_READS: Final = 16
"""Packets that are read one by one after a packet that was alone in its batch."""
YIELD_AFTER: Final = 32
"""Yield the CPU after this many writes: on few cores the packets' reader must run, or its queue overflows
(docs/performance.md)."""


class Pace:
    """Decides how much is read when a descriptor is ready: one packet, or a batch.

    Reading a batch ends with a read that finds nothing more, and the sender of a lone packet waits for this
    read, too. So after a batch with only one packet, the next reads take one packet each, and then a batch
    again. While more packets are waiting, batch follows batch, however long their handling takes.
    """

    __slots__ = ("lone",)

    def __init__(self) -> None:
        self.lone = 0
        """How many packets to read alone before the next batch."""

    def note(self, packets: int) -> None:
        """Note how many packets the read has given. A run is many."""
        if packets > 1:
            self.lone = 0
        elif self.lone:
            self.lone -= 1
        elif packets:
            self.lone = LONE_READS


def end_of_batch(error: OSError, read: Sequence[object]) -> None:
    """Handle a read error after ``read`` frames of a batch. Raises ``error`` if the caller must see it.

    The caller need not see it if the read would only have to wait, or if frames were read before: then the
    error occurs again with the next batch.
    """
    if not isinstance(error, BlockingIOError) and not read:
        raise error


def receive_frames(receive: Callable[[int], bytes], limit: int) -> tuple[list[bytes], int]:
    """Return up to ``limit`` frames of a socket, and how many more were too long or too short for the VPN."""
    frames: list[bytes] = []
    dropped = 0
    try:
        for _ in range(limit):
            frame = receive(MTU_MAX + 1)
            if HEADER_SIZE <= len(frame) <= MTU_MAX:
                frames.append(frame)
            else:
                dropped += 1
    except OSError as error:
        end_of_batch(error, frames)
    return frames, dropped


def is_full(error: OSError) -> bool:
    """Return whether a write has failed only because the kernel's queue is full."""
    # A packet socket reports ENOBUFS where a tap reports that it would block.
    return isinstance(error, BlockingIOError) or error.errno == errno.ENOBUFS


def write_each(write: Callable[[Write], None], frames: Iterable[Write]) -> None:
    """Write frames in order, trying all of them. Raises the first `OSError` at the end.

    Frames are lost silently when the kernel's queue is full, as on any busy Ethernet.
    """
    failed: OSError | None = None
    for number, frame in enumerate(frames, 1):
        try:
            write(frame)
        except OSError as error:
            if not is_full(error):
                failed = failed or error
        if number % YIELD_AFTER == 0:
            os.sched_yield()
    if failed is not None:
        raise failed


def one_by_one(frames: Iterable[bytes | FrameRun]) -> Iterator[bytes]:
    """Yield frames one by one, including those in runs."""
    for frame in frames:
        if isinstance(frame, bytes):
            yield frame
        else:
            yield from frame.frames()
