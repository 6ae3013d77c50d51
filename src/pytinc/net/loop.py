"""The event loop: uvloop where it is installed, else asyncio's own. The only place that spawns tasks.

`pytinc.daemon.service` enters with `run`. Nearly everything in `net` is a callback of the loop; a task is for
what waits several times in a row (scripts, the watchdog, the daemon's life itself).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Tasks:
    """The daemon's tasks, each with a name, held by one task group: if one fails, all end."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start ``work`` beside the others. An exception it raises ends the whole group."""
        return self._group.create_task(work, name=name)


def new_event_loop(*, use_uvloop: bool | None = None) -> asyncio.AbstractEventLoop:
    """Return a new loop. None: uvloop if it can be imported; True and False insist (for tests)."""
    if use_uvloop is not False:
        try:
            import uvloop
        except ImportError:
            if use_uvloop:
                raise
        else:
            loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
            return loop
    return asyncio.SelectorEventLoop()


def run(main: Callable[[Tasks], Coroutine[Any, Any, T]], *, use_uvloop: bool | None = None) -> T:
    """Run ``main`` on a new loop until it returns; what it spawned and left behind is cancelled.

    What ``main`` or one of its tasks raises comes out as an `ExceptionGroup`.
    """

    async def enter() -> T:
        async with asyncio.TaskGroup() as group:
            result = await main(Tasks(group))
            for task in asyncio.all_tasks():
                if task is not asyncio.current_task():
                    task.cancel()
        return result

    with asyncio.Runner(loop_factory=lambda: new_event_loop(use_uvloop=use_uvloop)) as runner:
        return runner.run(enter())
