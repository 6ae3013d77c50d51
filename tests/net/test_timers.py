from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from pathlib import Path
from time import monotonic as clock
from typing import TYPE_CHECKING

import pytest

from pytinc.net.timers import Deadline, LagMeter, uptime

if TYPE_CHECKING:
    from net.conftest import OnLoop


async def until(condition: Callable[[], object]) -> None:
    """Let the loop go on until ``condition`` holds, and a little longer: nothing more must happen."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - nothing tells the test
            await asyncio.sleep(0.002)
    await asyncio.sleep(0.01)


def test_it_calls_back_once_at_the_armed_time(on_loop: OnLoop) -> None:
    async def main() -> None:
        calls: list[float] = []
        deadline = Deadline(asyncio.get_running_loop(), clock, lambda: calls.append(clock()))
        due = clock() + 0.05
        deadline.arm(due)
        await until(lambda: calls)
        assert len(calls) == 1
        assert calls[0] >= due

    on_loop(main)


def test_a_later_time_replaces_an_earlier_one(on_loop: OnLoop) -> None:
    async def main() -> None:
        calls: list[float] = []
        deadline = Deadline(asyncio.get_running_loop(), clock, lambda: calls.append(clock()))
        start = clock()
        deadline.arm(start + 0.02)
        deadline.arm(start + 0.1)
        await until(lambda: calls)
        assert len(calls) == 1
        assert calls[0] >= start + 0.1

    on_loop(main)


def test_an_earlier_time_replaces_a_later_one(on_loop: OnLoop) -> None:
    async def main() -> None:
        calls: list[int] = []
        deadline = Deadline(asyncio.get_running_loop(), clock, lambda: calls.append(1))
        deadline.arm(clock() + 3600)
        deadline.arm(clock() + 0.01)
        await until(lambda: calls)
        assert calls == [1]

    on_loop(main)


def test_infinity_and_cancel_prevent_the_callback(on_loop: OnLoop) -> None:
    async def main() -> None:
        calls: list[int] = []
        deadline = Deadline(asyncio.get_running_loop(), clock, lambda: calls.append(1))
        deadline.arm(clock() + 0.01)
        deadline.arm(math.inf)
        await asyncio.sleep(0.05)
        deadline.arm(clock() + 0.01)
        deadline.cancel()
        await asyncio.sleep(0.05)
        assert calls == []

    on_loop(main)


def test_the_callback_may_arm_again(on_loop: OnLoop) -> None:
    async def main() -> None:
        calls: list[int] = []

        def again() -> None:
            calls.append(1)
            if len(calls) < 3:
                deadline.arm(clock() + 0.005)

        deadline = Deadline(asyncio.get_running_loop(), clock, again)
        deadline.arm(0.0)
        await until(lambda: len(calls) >= 3)
        assert len(calls) == 3

    on_loop(main)


def test_the_meter_has_mean_and_maximum_of_the_last_minute() -> None:
    meter = LagMeter()
    assert meter.recent(1000.0) == (0, 0.0, 0.0)
    meter.note(0.5, 1000.0)
    meter.note(0.1, 1030.0)
    meter.note(-0.001, 1031.0)  # early, by rounding
    first, second = meter.recent(1031.0), meter.recent(1065.0)
    assert (first.samples, first.maximum) == (3, 0.5)
    assert first.mean == pytest.approx(0.2)
    assert (second.samples, second.maximum) == (2, 0.1)
    assert second.mean == pytest.approx(0.05)
    assert meter.recent(5000.0).samples == 0


def test_the_meter_does_not_grow() -> None:
    meter = LagMeter()
    for second in range(10_000):
        meter.note(0.0, float(second))
    assert meter.recent(9999.0).samples == 60


def test_a_busy_loop_is_measured(on_loop: OnLoop) -> None:
    async def main() -> None:
        deadline = Deadline(asyncio.get_running_loop(), clock, lambda: None)
        deadline.arm(clock() + 0.01)
        time.sleep(0.2)  # noqa: ASYNC251  # which must not happen in a loop
        await until(lambda: deadline.lag.recent(clock()).samples)
        lag = deadline.lag.recent(clock())
        assert lag.samples == 1
        assert lag.maximum > 0.15

    on_loop(main)


def test_a_time_in_the_past_does_not_count_as_lag(on_loop: OnLoop) -> None:
    async def main() -> None:
        deadline = Deadline(asyncio.get_running_loop(), clock, lambda: None)
        deadline.arm(clock() - 100)
        await until(lambda: deadline.lag.recent(clock()).samples)
        lag = deadline.lag.recent(clock())
        assert (lag.samples, lag.maximum < 50) == (1, True)

    on_loop(main)


def test_the_clock_of_the_daemon_advances_and_counts_sleep() -> None:
    start, kernel = uptime(), float(Path("/proc/uptime").read_text().split()[0])
    time.sleep(0.05)
    assert 0.05 <= uptime() - start < 60
    assert abs(start - kernel) < 60  # the kernel's own figure includes sleep, too
