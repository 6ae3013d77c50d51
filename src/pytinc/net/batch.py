"""Writing batches of frames, the same for every kind of device (`pytinc.net.tap`, `pytinc.net.tun`)."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from pytinc.datapath.runs import FrameRun

Write = TypeVar("Write")


def write_each(write: Callable[[Write], None], frames: Iterable[Write]) -> None:
    """Write frames (or what stands for them) in order. Raises the first `OSError` after all have been tried.

    Frames that meet a full queue of the kernel are lost without a word, as on any busy Ethernet.
    """
    failed: OSError | None = None
    for frame in frames:
        try:
            write(frame)
        except BlockingIOError:
            pass
        except OSError as error:
            # A packet socket says so where a tap says that it would block.
            if error.errno != errno.ENOBUFS:
                failed = failed or error
    if failed is not None:
        raise failed


def one_by_one(frames: Iterable[bytes | FrameRun]) -> Iterator[bytes]:
    """Give frames one by one, those in runs as well."""
    for frame in frames:
        if isinstance(frame, bytes):
            yield frame
        else:
            yield from frame.frames()
