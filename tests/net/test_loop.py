from __future__ import annotations

import asyncio

import pytest

from pytinc.net.loop import OwnTasks, Tasks, new_event_loop, run


@pytest.mark.parametrize("use_uvloop", [False, True])
def test_run_returns_what_main_returns(use_uvloop: bool) -> None:
    async def main(tasks: Tasks) -> int:
        return 42

    assert run(main, use_uvloop=use_uvloop) == 42


@pytest.mark.parametrize("use_uvloop", [False, True])
def test_tasks_left_behind_are_cancelled_when_main_returns(use_uvloop: bool) -> None:
    cancelled: list[str] = []

    async def forever() -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(task.get_name())

    async def main(tasks: Tasks) -> None:
        tasks.spawn("left behind", forever())
        await asyncio.sleep(0)

    run(main, use_uvloop=use_uvloop)
    assert cancelled == ["left behind"]


def test_a_failing_task_ends_main_and_its_error_is_raised() -> None:
    async def fail() -> None:
        raise ValueError("broken")

    async def main(tasks: Tasks) -> None:
        tasks.spawn("failing", fail())
        await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as caught:
        run(main, use_uvloop=False)
    assert isinstance(caught.value.exceptions[0], ValueError)


def test_uvloop_is_used_if_it_is_installed() -> None:
    uvloop = pytest.importorskip("uvloop")
    loop = new_event_loop()
    try:
        assert isinstance(loop, uvloop.Loop)
    finally:
        loop.close()


@pytest.mark.parametrize("use_uvloop", [False, True])
def test_a_part_may_cancel_its_own_tasks_and_hears_of_no_error_then(use_uvloop: bool) -> None:
    problems: list[object] = []

    async def main(tasks: Tasks) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: problems.append(context))
        task = OwnTasks(loop).spawn("waiting", asyncio.sleep(600))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    run(main, use_uvloop=use_uvloop)
    assert problems == []


def test_an_error_in_a_task_of_a_part_is_reported_like_one_in_a_callback() -> None:
    problems: list[object] = []

    async def fail() -> None:
        raise ValueError("broken")

    async def main(tasks: Tasks) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: problems.append(str(context.get("exception"))))
        await asyncio.wait([OwnTasks(loop).spawn("failing", fail())])
        await asyncio.sleep(0)

    run(main, use_uvloop=False)
    assert problems == ["broken"]
