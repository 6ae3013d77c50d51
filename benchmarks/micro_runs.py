"""The cost of each step of a run: microseconds per frame of 1,373 bytes of TCP, lower decile of rounds.

    .venv/bin/python benchmarks/micro_runs.py

The steps are: cut from a super-frame, seal, examine the datagrams from UDP_GRO, open, and join; the kernel's
part is left out. It measures both tags and the important lengths: 8 frames (`runs.MIN_RUN`), and the 44 that
fit one call of UDP_SEGMENT; then the same for super-frames that travel uncut.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from typing import TypeVar

import micro_offload
import micro_sptps
from pytinc.datapath.coalesce import coalesce_run
from pytinc.datapath.runs import DatagramRun, FrameRun
from pytinc.datapath.segment import segment_run
from pytinc.datapath.super_frames import Assembly, SuperFrame, take
from pytinc.wire.datagram import NULL_ID, TYPE_MAC

PAYLOAD = 1373
ROUNDS = 300
T = TypeVar("T")
PREFIX = NULL_ID + b"source"


def main() -> None:
    """Print one line for each tag and length."""
    print(f"Linux {platform.release()}, Python {platform.python_version()}, commit {micro_sptps.commit()}")
    micro_offload.PAYLOAD = PAYLOAD
    for tag in ("tag of tinc", "fast tag"):
        for count in (8, 23, 44):
            print(f"{tag:12} run of {count:2}: {line(count, fast=tag == 'fast tag')}")
    for count in (2, 8, 23, 44):
        print(f"super-frame of {count:8}: {whole_line(count, aes=False)}")
        print(f"{'the same, AES':>23}: {whole_line(count, aes=True)}")


def line(count: int, *, fast: bool) -> str:
    """Measure a run of ``count`` frames."""
    ours, theirs = micro_sptps.established()
    if fast:
        theirs.accept_fast()
        ours.peer_accepts_fast = True
    theirs.open_batch(ours.seal_batch(PREFIX, TYPE_MAC, [bytes(100)]), len(PREFIX))
    header, frame = micro_offload.super_frame(count)
    run = segment_run(header, frame)
    assert isinstance(run, FrameRun)

    def sealed() -> DatagramRun:
        """Return the arriving datagrams, with the numbers expected next."""
        theirs.window.next = ours._out_seqno
        datagrams = run.seal(ours, PREFIX, TYPE_MAC)
        assert datagrams is not None
        return datagrams.copy()

    opened = sealed().open(theirs, TYPE_MAC)
    assert opened is not None
    assert opened.frames() == run.frames()
    assert len(coalesce_run(opened)) == 1
    costs = {
        "cut": measure(lambda: None, lambda _: segment_run(header, frame)),
        "seal": measure(lambda: None, lambda _: run.seal(ours, PREFIX, TYPE_MAC)),
        "look": measure(sealed, lambda datagrams: datagrams.prefix()),
        "open": measure(sealed, lambda datagrams: datagrams.open(theirs, TYPE_MAC)),
        "join": measure(lambda: opened, coalesce_run),
    }
    return "  ".join(f"{name} {cost / count:5.2f}" for name, cost in costs.items())


def whole_line(count: int, *, aes: bool) -> str:
    """Measure a super-frame that replaces ``count`` frames and travels uncut."""
    ours, theirs = micro_sptps.established()
    theirs.accept_super_frames()
    theirs.accept_aes()
    ours.peer_accepts_aes = aes
    ours.peer_accepts_super_frames = True
    header, frame = micro_offload.super_frame(count)
    run = take(header, frame)
    assert isinstance(run, SuperFrame)

    def sealed() -> DatagramRun:
        pieces = run.in_pieces(ours, b"source", 1439)
        assert pieces is not None
        return pieces

    def opened(pieces: DatagramRun) -> SuperFrame:
        (complete,) = Assembly().add(pieces)
        made = complete.open(theirs)
        assert made is not None
        return made

    assert opened(sealed()).frames() == run.frames()
    costs = {
        "take": measure(lambda: None, lambda _: take(header, frame)),
        "seal": measure(lambda: None, lambda _: sealed()),
        "open": measure(sealed, opened),
        "give": measure(lambda: run, coalesce_run),
    }
    return "  ".join(f"{name} {cost / count:5.2f}" for name, cost in costs.items())


def measure(prepare: Callable[[], T], action: Callable[[T], object]) -> float:
    """Return the microseconds that ``action`` takes for the result of ``prepare``."""
    costs = []
    for _ in range(ROUNDS):
        prepared = prepare()
        start = time.perf_counter()
        action(prepared)
        costs.append(time.perf_counter() - start)
    return sorted(costs)[ROUNDS // 10] * 1e6


if __name__ == "__main__":
    main()
