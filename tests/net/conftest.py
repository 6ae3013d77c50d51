"""Runs tests on both loops, and provides a log that tests can read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pytinc.net.loop import Tasks, run


class LogLines(list[tuple[int, str, str]]):
    """Collects what is logged."""

    def __call__(self, level: int, priority: str, message: str, /) -> None:
        self.append((level, priority, message))

    @property
    def messages(self) -> list[str]:
        return [message for _, _, message in self]


@pytest.fixture
def log() -> LogLines:
    return LogLines()


OnLoop = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def on_loop(request: pytest.FixtureRequest) -> OnLoop:
    """Run a test's coroutine function on one of the loops; an error in a callback fails the test."""
    use_uvloop = request.param == "uvloop"
    if use_uvloop:
        pytest.importorskip("uvloop")

    def run_it(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        problems: list[dict[str, Any]] = []

        async def guarded(tasks: Tasks) -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
            async with asyncio.timeout(60):
                await main()

        run(guarded, use_uvloop=use_uvloop)
        assert problems == []

    return run_it
