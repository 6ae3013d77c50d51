"""The event loop: uvloop if it is installed, otherwise asyncio's own. Only this module spawns tasks.

`pytinc.daemon.service` calls `run`. Nearly everything in `net` is a callback of the loop; only work that
waits several times in a row is a task (scripts, the watchdog, the daemon's main function).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Tasks:
    """The daemon's tasks, each with a name, in one task group: if one fails, all end."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start ``work`` as a further task. If it raises an exception, the whole group ends."""
        return self._group.create_task(work, name=name)


def new_event_loop(*, use_uvloop: bool | None = None) -> asyncio.AbstractEventLoop:
    """Return a new loop. None: uvloop if it can be imported; True and False force the choice (for tests)."""
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
    """Run ``main`` on a new loop until it returns; then cancel the tasks that still run.

    An exception of ``main`` or one of its tasks is raised as an `ExceptionGroup`.
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
