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


class OwnTasks:
    """Tasks that one part starts and cancels as it needs them, each with a name.

    An error in one is reported to the loop's exception handler, like one in a callback.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start ``work``; to end it, cancel the task."""
        task = self._loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._loop.call_exception_handler(
                {"message": f"task {task.get_name()} failed", "exception": error, "task": task}
            )


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
