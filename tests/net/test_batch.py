"""Writing many frames: all of them, in order, despite failures, and with pauses for other processes."""

from __future__ import annotations

import errno
import os

import pytest

from pytinc.net.batch import LONE_READS, YIELD_AFTER, Pace, end_of_batch, receive_frames, write_each
from pytinc.wire.datagram import MTU_MAX


def test_all_frames_are_written_despite_failures_and_the_first_error_is_raised() -> None:
    written = []

    def write(frame: bytes) -> None:
        if frame in (b"1", b"3"):
            raise OSError(errno.EIO if frame == b"1" else errno.EPERM, "refused")
        written.append(frame)

    with pytest.raises(OSError, match="refused") as caught:
        write_each(write, [b"%d" % number for number in range(5)])
    assert caught.value.errno == errno.EIO
    assert written == [b"0", b"2", b"4"]


@pytest.mark.parametrize("error", [errno.EAGAIN, errno.ENOBUFS])
def test_a_full_queue_loses_a_frame_silently(error: int) -> None:
    def write(frame: bytes) -> None:
        raise OSError(error, "full")

    write_each(write, [b"a", b"b"])


def test_a_long_batch_yields_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[object] = []
    monkeypatch.setattr(os, "sched_yield", lambda: done.append("turn"))
    write_each(done.append, range(YIELD_AFTER - 1))
    assert "turn" not in done
    done.clear()
    write_each(done.append, range(2 * YIELD_AFTER + 1))
    assert [number for number, what in enumerate(done) if what == "turn"] == [
        YIELD_AFTER,
        2 * YIELD_AFTER + 1,
    ]


def test_a_read_error_is_raised_only_if_the_batch_is_empty_and_blocking_is_no_error() -> None:
    broken = OSError(errno.EBADFD, "gone")
    end_of_batch(BlockingIOError(), [])
    end_of_batch(broken, [b"frame"])
    with pytest.raises(OSError, match="gone"):
        end_of_batch(broken, [])


def reads(waiting: int, arriving: int) -> list[int]:
    """Return what each of 20 reads gives if so many packets wait first, and arrive between two reads."""
    pace, taken = Pace(), []
    for _ in range(2 * LONE_READS):
        taken.append(min((1 if pace.lone else 64), waiting))
        pace.note(taken[-1])
        waiting += arriving - taken[-1]
    return taken


def test_lone_packets_are_read_alone_but_for_a_look_now_and_then() -> None:
    pace = Pace()
    limits = []
    for _ in range(2 * LONE_READS + 3):
        limits.append(1 if pace.lone else 64)
        pace.note(1)
    assert limits == [64, *[1] * LONE_READS, 64, *[1] * LONE_READS, 64]


def test_while_more_waits_batch_follows_batch() -> None:
    assert reads(waiting=1, arriving=64)[-5:] == [64] * 5
    assert reads(waiting=1, arriving=5)[-5:] == [5] * 5


def test_frames_of_a_socket_are_read_until_there_are_no_more_and_others_are_counted() -> None:
    waiting = [bytes(60), bytes(5), bytes(MTU_MAX), bytes(MTU_MAX + 1), bytes(14)]

    def receive(size: int) -> bytes:
        assert size > MTU_MAX, "a longer one must be seen to be longer"
        if not waiting:
            raise BlockingIOError
        return waiting.pop(0)

    frames, dropped = receive_frames(receive, 3)
    assert ([len(frame) for frame in frames], dropped) == ([60, MTU_MAX], 1)
    frames, dropped = receive_frames(receive, 3)
    assert ([len(frame) for frame in frames], dropped) == ([14], 1)


def test_an_error_before_the_first_frame_of_a_socket_is_raised() -> None:
    def receive(size: int) -> bytes:
        raise OSError(errno.ENETDOWN, "down")

    with pytest.raises(OSError, match="down"):
        receive_frames(receive, 3)
