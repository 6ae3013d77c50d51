"""What reading and writing a batch of frames has in common for all devices (`pytinc.net.devices`)."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from pytinc.datapath.runs import FrameRun

Write = TypeVar("Write")

YIELD_AFTER: Final = 32
"""Yield the CPU after this many writes: on few cores the packets' reader must run, or its queue overflows
(docs/performance.md)."""


def end_of_batch(error: OSError, read: Sequence[object]) -> None:
    """End a batch that has ``read`` so much before reading failed. Raises ``error`` if the caller must know.

    `BlockingIOError` only says that there is nothing more to read. Other errors come again with the next
    batch if this one has read something.
    """
    if not isinstance(error, BlockingIOError) and not read:
        raise error


def write_each(write: Callable[[Write], None], frames: Iterable[Write]) -> None:
    """Write frames (or what stands for them) in order. Raises the first `OSError` after all have been tried.

    Frames that meet a full queue of the kernel are silently lost, as on any busy Ethernet.
    """
    failed: OSError | None = None
    for number, frame in enumerate(frames, 1):
        try:
            write(frame)
        except BlockingIOError:
            pass
        except OSError as error:
            # A packet socket says so where a tap says that it would block.
            if error.errno != errno.ENOBUFS:
                failed = failed or error
        if number % YIELD_AFTER == 0:
            os.sched_yield()
    if failed is not None:
        raise failed


def one_by_one(frames: Iterable[bytes | FrameRun]) -> Iterator[bytes]:
    """Give frames one by one, those in runs as well."""
    for frame in frames:
        if isinstance(frame, bytes):
            yield frame
        else:
            yield from frame.frames()
