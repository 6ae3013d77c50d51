from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytinc.daemon import scripts
from pytinc.daemon.scripts import ScriptContext, ScriptRunner
from pytinc.net.loop import Tasks, run


class Log(list[tuple[int, str, str]]):
    def __call__(self, level: int, priority: str, message: str, /) -> None:
        self.append((level, priority, message))


WithRunner = Callable[..., None]


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture(params=["asyncio", "uvloop"])
def with_runner(request: pytest.FixtureRequest, tmp_path: Path, log: Log) -> WithRunner:
    """Run a test with a runner on one of the loops."""

    def run_it(test: Callable[[ScriptRunner], Coroutine[Any, Any, None]], **context: Any) -> None:
        async def main(tasks: Tasks) -> None:
            everything = {"extension": "", "interpreter": None, "environment": {"NAME": "alpha"}, **context}
            runner = ScriptRunner(ScriptContext(str(tmp_path), **everything), log, lambda: 3)
            tasks.spawn("scripts", runner.run_forever())
            async with asyncio.timeout(60):
                await test(runner)

        run(main, use_uvloop=request.param == "uvloop")

    return run_it


def write(path: Path, *lines: str, mode: int = 0o755) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(mode)


def test_the_result_of_each_script_that_has_run_is_told(with_runner: WithRunner, tmp_path: Path) -> None:
    write(tmp_path / "host-up", "exit 3")
    write(tmp_path / "host-down", "kill -TERM $$")
    told: list[tuple[str, int | None, str | None]] = []

    def on_end(name: str, status: int | None, seconds: float, error: str | None) -> None:
        assert 0 <= seconds < 60
        told.append((name, status, error))

    async def test(runner: ScriptRunner) -> None:
        runner.on_end = on_end
        for name in ("host-up", "nosuch", "host-down"):
            runner.run(name, {})
        await runner.idle()

    with_runner(test)
    assert told == [("host-up", 3, None), ("host-down", 128 + 15, None)]


def test_scripts_run_one_after_the_other_in_order(with_runner: WithRunner, tmp_path: Path, log: Log) -> None:
    out = tmp_path / "out"
    write(tmp_path / "host-up", f"sleep 0.1; echo up $NODE >> {out}")
    write(tmp_path / "hosts" / "b-up", f"echo own >> {out}")

    async def test(runner: ScriptRunner) -> None:
        for name in ("b", "c"):
            runner.run("host-up", {"NODE": name})
            runner.run("nosuch", {})
            runner.run("hosts/b-up", {})
        assert not out.exists()
        await runner.idle()
        assert out.read_text().split("\n") == ["up b", "own", "up c", "own", ""]

    with_runner(test)
    assert log[0] == (2, "info", "Executing script host-up")
    assert len(log) == 4


def test_a_script_with_an_impossible_name_is_skipped(with_runner: WithRunner, log: Log) -> None:
    async def test(runner: ScriptRunner) -> None:
        runner.run("host-up", {})
        await runner.idle()

    with_runner(test, extension="x" * 300)
    assert log == []


def test_the_loop_goes_on_while_a_script_runs(with_runner: WithRunner, tmp_path: Path) -> None:
    begun, go_on = tmp_path / "begun", tmp_path / "go-on"
    write(tmp_path / "slow", f"touch {begun}; until [ -e {go_on} ]; do sleep 0.01; done")

    async def test(runner: ScriptRunner) -> None:
        runner.run("slow", {})
        done = asyncio.ensure_future(runner.idle())
        while not begun.exists():  # noqa: ASYNC110 - a script sets no event
            await asyncio.sleep(0.005)
        assert not done.done()
        go_on.touch()  # which a loop that waited for the script would never do
        await done

    with_runner(test)


def test_a_script_sees_its_environment(
    with_runner: WithRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    monkeypatch.setenv("FROM_OUTSIDE", "outside")
    write(tmp_path / "subnet-up", f'echo "$NAME,$DEBUG,$SUBNET,$WEIGHT,$FROM_OUTSIDE,$#" > {out}')

    async def test(runner: ScriptRunner) -> None:
        runner.run("subnet-up", {"SUBNET": "10.0.0.0/8", "WEIGHT": ""})
        await runner.idle()

    with_runner(test)
    assert out.read_text() == "alpha,3,10.0.0.0/8,,outside,0\n"


def test_the_script_of_a_check_runs_in_the_same_way_beside_the_queue(
    with_runner: WithRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FROM_OUTSIDE", "outside")
    out = tmp_path / "out"
    write(tmp_path / "check.sh", f'echo "$NAME,$DEBUG,$VIP,$FROM_OUTSIDE" > {out}; exit 2', mode=0o644)

    async def test(runner: ScriptRunner) -> None:
        check = runner.start_check("check", {"VIP": "10.1.1.10"})
        assert check is not None
        assert await check.exited() == 2
        assert runner.start_check("nosuch", {}) is None

    with_runner(test, extension=".sh", interpreter="/bin/sh -e")
    assert out.read_text() == "alpha,3,10.1.1.10,outside\n"


def test_scripts_that_are_forbidden_are_skipped_in_silence(
    with_runner: WithRunner, tmp_path: Path, log: Log
) -> None:
    write(tmp_path / "host-up", f"touch {tmp_path}/ran")

    async def test(runner: ScriptRunner) -> None:
        runner.is_forbidden = True
        runner.run("host-up", {})
        await runner.idle()

    with_runner(test)
    assert not (tmp_path / "ran").exists()
    assert log == []


def test_failures_are_logged_and_have_no_other_consequence(
    with_runner: WithRunner, tmp_path: Path, log: Log
) -> None:
    write(tmp_path / "fails", "exit 3")
    write(tmp_path / "dies", "kill -9 $$")
    write(tmp_path / "not-executable", "true", mode=0o644)

    async def test(runner: ScriptRunner) -> None:
        for name in ("fails", "dies", "not-executable"):
            runner.run(name, {})
        await runner.idle()

    with_runner(test)
    errors = [message for level, priority, message in log if (level, priority) == (0, "error")]
    assert errors[0] == "Script fails exited with non-zero status 3"
    assert errors[1].startswith(
        ("Script dies was killed by signal 9", "Script dies exited with non-zero status 137")
    )
    assert errors[2] == (
        "Script not-executable exited with non-zero status 126: "
        f"it is not executable (`chmod +x {tmp_path}/not-executable')"
    )


def test_an_interpreter_that_does_not_exist_is_named(
    with_runner: WithRunner, tmp_path: Path, log: Log
) -> None:
    path = tmp_path / "tinc-up"
    path.write_bytes(b"#!/bin/sh\r\ntrue\r\n")
    path.chmod(0o755)

    async def test(runner: ScriptRunner) -> None:
        runner.run("tinc-up", {})
        await runner.idle()

    with_runner(test)
    (error,) = [message for _, priority, message in log if priority == "error"]
    assert error.endswith(": there is no interpreter '/bin/sh\\r', which its first line names")


@contextlib.contextmanager
def detached() -> Iterator[None]:
    """Standard error leads nowhere, as in a daemon in the background."""
    before, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)


def test_output_of_a_script_reaches_the_log(with_runner: WithRunner, tmp_path: Path, log: Log) -> None:
    write(tmp_path / "tinc-up", "echo 'no such device' > /dev/stderr; echo; echo second >&2; exit 1")

    async def test(runner: ScriptRunner) -> None:
        runner.run("tinc-up", {})
        await runner.idle()

    with detached():
        with_runner(test)
    assert [message for level, _, message in log if level == 0] == [
        "Script tinc-up: no such device",
        "Script tinc-up: second",
        "Script tinc-up exited with non-zero status 1",
    ]


def test_the_end_of_a_long_script_output_reaches_the_log(
    with_runner: WithRunner, tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts, "MAX_KEPT", 50000)
    monkeypatch.setattr(scripts, "_LOOK_EVERY", 0.01)
    much = f"head -c 100000 /dev/zero | tr '\\0' x >&2; {tmp_path}/sees-less $$"
    write(tmp_path / "tinc-up", much, "yes line | head -n 5000 >&2; echo end >&2")
    write(tmp_path / "sees-less", "until [ $(stat -Lc %s /proc/$1/fd/2) -lt 100000 ]; do sleep 0.01; done")

    async def test(runner: ScriptRunner) -> None:
        runner.run("tinc-up", {})
        await runner.idle()

    with detached():
        with_runner(test)
    said = [message for level, _, message in log if level == 0]
    assert len(said) <= scripts.MAX_LINES
    assert said[-1] == "Script tinc-up: end"


def test_a_process_that_a_script_leaves_behind_lives_on_and_fills_no_memory(
    with_runner: WithRunner, tmp_path: Path
) -> None:
    go_on, out = tmp_path / "go-on", tmp_path / "out"
    loop = f"until [ -e {go_on} ]; do sleep 0.01; done; /bin/echo much >&2 || echo refused > {out}"
    write(tmp_path / "tinc-up", f"({loop}) &")

    async def test(runner: ScriptRunner) -> None:
        runner.run("tinc-up", {})
        await runner.idle()
        go_on.touch()
        while not out.exists():  # noqa: ASYNC110 - a script sets no event
            await asyncio.sleep(0.005)

    with detached():
        with_runner(test)


def test_extension_and_interpreter_are_put_around_the_path(with_runner: WithRunner, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (tmp_path / "tinc-up.sh").write_text(f"echo $0 > {out}\n")

    async def test(runner: ScriptRunner) -> None:
        runner.run("tinc-up", {})
        await runner.idle()

    with_runner(test, extension=".sh", interpreter="/bin/sh -e")
    assert out.read_text() == f"{tmp_path}/tinc-up.sh\n"


def test_idle_returns_at_once_when_there_is_nothing_to_run(with_runner: WithRunner) -> None:
    async def test(runner: ScriptRunner) -> None:
        runner.run("nosuch", {})
        await runner.idle()

    with_runner(test)


def test_more_scripts_than_may_wait_are_skipped_and_reported_once(
    with_runner: WithRunner, tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts, "MAX_WAITING", 3)
    out = tmp_path / "out"
    write(tmp_path / "many", f"echo $N >> {out}")

    async def test(runner: ScriptRunner) -> None:
        for number in range(6):
            runner.run("many", {"N": str(number)})
        await runner.idle()
        runner.run("many", {"N": "later"})
        await runner.idle()

    with_runner(test)
    assert out.read_text().split() == ["0", "1", "2", "later"]
    assert [message for level, _, message in log if level == 0] == [
        "Too many scripts are waiting: many and further ones are skipped"
    ]


def test_after_the_end_of_the_runner_nobody_waits(tmp_path: Path, log: Log) -> None:
    write(tmp_path / "never", "true")

    async def main(tasks: Tasks) -> None:
        runner = ScriptRunner(ScriptContext(str(tmp_path), "", None, {}), log, lambda: 0)
        task = tasks.spawn("scripts", runner.run_forever())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0.01)
        runner.run("never", {})
        await runner.idle()

    run(main, use_uvloop=False)
    assert log == []
