"""Scripts of health checks: real ones, and their background processes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytinc.net.script_check import ScriptCheck, meaning

if TYPE_CHECKING:
    from net.conftest import OnLoop


def started(command: str, **environment: str) -> ScriptCheck:
    return ScriptCheck(asyncio.get_running_loop(), command, {**os.environ, **environment})


def line_in(path: Path) -> str:
    """Return the line that a script has written; nothing as long as it is not complete."""
    text = path.read_text() if path.exists() else ""
    return text if text.endswith("\n") else ""


async def pid_in(path: Path) -> int:
    """Wait for a script to write a process number."""
    while not line_in(path):  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    return int(line_in(path))


def runs(pid: int) -> bool:
    """Tell whether a process does anything: one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def processes() -> set[int]:
    """Return the numbers of all processes, also of those that have ended and wait for their parent."""
    return {int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()}


async def ends(pid: int) -> None:
    while runs(pid):  # noqa: ASYNC110
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("status", [0, 1, 2, 77])
def test_the_exit_status_is_told(on_loop: OnLoop, status: int) -> None:
    async def main() -> None:
        script = started("exit $STATUS", STATUS=str(status))
        assert await script.exited() == status
        await script.end()
        assert script.status == status

    on_loop(main)


def test_a_signal_is_told_as_a_negative_status(on_loop: OnLoop) -> None:
    async def main() -> None:
        assert await started("kill -TERM $$").exited() == -signal.SIGTERM

    on_loop(main)


def test_a_script_that_hangs_is_killed_with_all_it_has_started(on_loop: OnLoop, tmp_path: Path) -> None:
    async def main() -> None:
        child, grandchild = tmp_path / "child", tmp_path / "grandchild"
        script = started(
            f"trap '' TERM; sleep 600 & echo $! > {child}; sh -c 'echo $$ > {grandchild}; sleep 600; :'; :"
        )
        pids = [await pid_in(child), await pid_in(grandchild)]
        assert script.status is None
        await script.end()
        assert await script.exited() == -signal.SIGKILL
        for pid in pids:
            await ends(pid)

    on_loop(main)


def test_background_processes_of_a_script_are_killed_when_it_ends(on_loop: OnLoop, tmp_path: Path) -> None:
    async def main() -> None:
        child = tmp_path / "child"
        assert await started(f"sleep 600 & echo $! > {child}").exited() == 0
        await ends(await pid_in(child))

    on_loop(main)


def test_no_process_is_left_for_the_system_to_bury(on_loop: OnLoop) -> None:
    async def main() -> None:
        script = started("echo")
        await script.exited()
        assert script._process.pid not in processes()

    on_loop(main)


def test_a_kernel_without_process_descriptors_will_do(
    on_loop: OnLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "pidfd_open", raising=False)

    async def main() -> None:
        child, go_on = tmp_path / "child", tmp_path / "go-on"
        script = started(f"sleep 600 & echo $! > {child}; until [ -e {go_on} ]; do sleep 0.01; done; exit 2")
        pid = await pid_in(child)
        go_on.touch()
        assert await script.exited() == 2
        await ends(pid)

    on_loop(main)


def test_a_script_that_cannot_be_killed_is_waited_for_no_longer_than_a_moment(
    on_loop: OnLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        script = started("sleep 600")
        with monkeypatch.context() as patch:
            patch.setattr(os, "killpg", lambda pid, number: None)
            await script.end()
            assert script.status is None
        await script.end()
        assert script.status == -signal.SIGKILL

    on_loop(main)


def test_the_end_of_the_loop_leaves_no_process_either(on_loop: OnLoop) -> None:
    scripts: list[ScriptCheck] = []

    async def run_it() -> None:
        script = started("sleep 600")
        scripts.append(script)
        try:
            await script.exited()
        finally:
            await script.end()

    async def main() -> None:
        task = asyncio.ensure_future(run_it())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)  # now it waits for the end, and is cancelled once more as the loop ends

    on_loop(main)
    assert [script.status for script in scripts] == [-signal.SIGKILL]


def test_an_error_of_the_system_is_raised(on_loop: OnLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(subprocess, "Popen", refuse)

    async def main() -> None:
        with pytest.raises(OSError, match="no more processes"):
            started("true")

    on_loop(main)


@pytest.mark.parametrize(
    ("status", "means"),
    [
        (0, (True, False, "exit status 0")),
        (2, (True, True, "exit status 2")),
        (1, (False, False, "exit status 1")),
        (127, (False, False, "exit status 127")),
        (-9, (False, False, "killed by signal 9 (Killed)")),
    ],
)
def test_a_status_says_well_drain_or_not_well(status: int, means: tuple[bool, bool, str]) -> None:
    assert meaning(status) == means
