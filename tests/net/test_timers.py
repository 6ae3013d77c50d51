from __future__ import annotations

import asyncio
import math
from time import monotonic as clock

from pytinc.net.timers import Deadline


def test_it_calls_back_once_at_the_armed_time(on_loop) -> None:
    async def main() -> None:
        calls: list[float] = []
        deadline = Deadline(asyncio.get_running_loop(), clock, lambda: calls.append(clock()))
        due = clock() + 0.05
        deadline.arm(due)
        await asyncio.sleep(0.15)
        assert len(calls) == 1
        assert calls[0] >= due

    on_loop(main)


def test_a_later_time_replaces_an_earlier_one(on_loop) -> None:
    async def main() -> None:
        calls: list[float] = []
        deadline = Deadline(asyncio.get_running_loop(), clock, lambda: calls.append(clock()))
        start = clock()
        deadline.arm(start + 0.02)
        deadline.arm(start + 0.1)
        await asyncio.sleep(0.06)
        assert calls == []
        await asyncio.sleep(0.1)
        assert len(calls) == 1
        assert calls[0] >= start + 0.1

    on_loop(main)


def test_an_earlier_time_replaces_a_later_one(on_loop) -> None:
    async def main() -> None:
        calls: list[int] = []
        deadline = Deadline(asyncio.get_running_loop(), clock, lambda: calls.append(1))
        deadline.arm(clock() + 30)
        deadline.arm(clock() + 0.01)
        await asyncio.sleep(0.1)
        assert calls == [1]

    on_loop(main)


def test_infinity_and_cancel_mean_never(on_loop) -> None:
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


def test_the_callback_may_arm_again(on_loop) -> None:
    async def main() -> None:
        calls: list[int] = []

        def again() -> None:
            calls.append(1)
            if len(calls) < 3:
                deadline.arm(clock() + 0.005)

        deadline = Deadline(asyncio.get_running_loop(), clock, again)
        deadline.arm(0.0)
        await asyncio.sleep(0.15)
        assert len(calls) == 3

    on_loop(main)
