"""Writing batches of frames, the same for every kind of device (`pytinc.net.tap`, `pytinc.net.tun`)."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from pytinc.datapath.runs import FrameRun

Write = TypeVar("Write")

YIELD_AFTER: Final = 32
"""After so many writes in a row others may use the processor: where there are few, whoever reads these
packets loses fewer of them that way (docs/performance.md)."""


def write_each(write: Callable[[Write], None], frames: Iterable[Write]) -> None:
    """Write frames (or what stands for them) in order. Raises the first `OSError` after all have been tried.

    Frames that meet a full queue of the kernel are lost without a word, as on any busy Ethernet.
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
