"""Files are written beside the loop, in order, each with its newest content."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from pytinc.errors import ConfigError
from pytinc.net.file_writer import FileWriter

if TYPE_CHECKING:
    from net.conftest import LogLines, OnLoop


class Disk:
    """A disk that is as slow as the test wants it."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.threads: set[threading.Thread] = set()
        self.busy, self.free = threading.Event(), threading.Event()

    def slow(self) -> None:
        self.busy.set()
        assert self.free.wait(60)
        self.written.append("slow")

    def content(self, text: str) -> Callable[[], None]:
        def write() -> None:
            self.threads.add(threading.current_thread())
            self.written.append(text)

        return write


@pytest.fixture
def disk() -> Disk:
    return Disk()


def full() -> None:
    raise ConfigError("disk full")


async def until(condition: Callable[[], object]) -> None:
    """Poll for a condition that has no event."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.002)


def test_the_loop_goes_on_while_a_file_is_written(on_loop: OnLoop, log: LogLines, disk: Disk) -> None:
    async def main() -> None:
        writer = FileWriter(asyncio.get_running_loop(), log)
        writer.add("a", disk.slow, 0, "error")
        await until(disk.busy.is_set)  # with the write in the loop this line is never reached
        disk.free.set()
        await until(lambda: disk.written == ["slow"])
        writer.close()

    on_loop(main)


def test_only_the_newest_of_several_waiting_contents_of_a_file_is_written(
    on_loop: OnLoop, log: LogLines, disk: Disk
) -> None:
    async def main() -> None:
        writer = FileWriter(asyncio.get_running_loop(), log)
        writer.add("a", disk.slow, 0, "error")
        for number in range(1000):
            writer.add("a", disk.content(f"a{number}"), 0, "error")
            writer.add("b", disk.content(f"b{number}"), 0, "error")
        disk.free.set()
        await until(lambda: len(disk.written) == 3)
        writer.close()
        assert disk.written == ["slow", "a999", "b999"]
        assert threading.current_thread() not in disk.threads

    on_loop(main)


def test_waiting_files_are_written_at_the_end_and_errors_are_logged(
    on_loop: OnLoop, log: LogLines, disk: Disk
) -> None:
    async def main() -> None:
        writer = FileWriter(asyncio.get_running_loop(), log)
        writer.add("a", disk.slow, 0, "error")
        writer.add("b", full, 1, "warning")
        writer.add("c", disk.content("c"), 0, "error")
        disk.free.set()
        writer.close()
        assert disk.written == ["slow", "c"]
        assert log == [(1, "warning", "disk full")]

    on_loop(main)


def test_an_error_is_logged_and_the_next_file_is_written(on_loop: OnLoop, log: LogLines, disk: Disk) -> None:
    async def main() -> None:
        writer = FileWriter(asyncio.get_running_loop(), log)
        writer.add("a", full, 0, "error")
        writer.add("b", disk.content("b"), 0, "error")
        await until(lambda: disk.written)
        writer.close()
        assert log == [(0, "error", "disk full")]

    on_loop(main)
