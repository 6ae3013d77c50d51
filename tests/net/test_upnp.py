"""UPnP: the log lines for the helper process's results, and the bounds of the helper.

See docs/tinc-program.md, "Variables".
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from pytinc.net import upnp
from pytinc.net.loop import Tasks, run
from pytinc.net.upnp import MAX_LEASE, Plan, PortMapper, missing_library, plan

Line = Mapping[str, object]
"""A line of the helper's output."""

ROUTER: Line = {"router": "198.51.100.1", "address": "192.0.2.1"}
MAPPED: list[Line] = [{"port": "655/tcp", "error": None}, {"port": "655/udp", "error": None}]
MAPPED_LINES = [
    (1, "info", "UPnP: the router's address is 198.51.100.1"),
    (1, "info", "UPnP: mapped port 655/tcp for 2 seconds at a time"),
    (1, "info", "UPnP: mapped port 655/udp for 2 seconds at a time"),
]


class Log(list[tuple[int, str, str]]):
    def __call__(self, level: int, priority: str, message: str, /) -> None:
        if level < 3:
            self.append((level, priority, message))


@pytest.fixture
def log() -> Log:
    return Log()


def play(log: Log, command: list[str], until: Callable[[], bool]) -> None:
    """Run a mapper with ``command`` as the helper and a period of zero until a condition holds."""

    async def main(tasks: Tasks) -> None:
        mapper = PortMapper(Plan(("655/tcp", "655/udp"), wait=0, period=0), log, command=command)
        tasks.spawn("upnp", mapper.run_forever())
        async with asyncio.timeout(60):
            while not until():  # noqa: ASYNC110  # a file of another process has no event
                await asyncio.sleep(0.02)
            await mapper.stop()

    run(main)


def helper(path: Path, *turns: Sequence[Line]) -> list[str]:
    """A helper with a different output in each run; the last one repeats."""
    script = path / "helper.sh"
    count = path / "count"
    for number, turn in enumerate(turns):
        (path / f"turn{number}").write_text("".join(json.dumps(line) + "\n" for line in turn))
    script.write_text(
        f"""n=$(cat {count} 2>/dev/null || echo 0)
        echo $((n + 1)) >{count}
        last={len(turns) - 1}
        [ $n -gt $last ] && n=$last
        cat {path}/turn$n
        """
    )
    return ["/bin/sh", str(script)]


def turns_done(path: Path, number: int) -> Callable[[], bool]:
    file = path / "count"
    return lambda: file.exists() and int(file.read_text() or 0) > number


def test_a_plan_names_each_port_once_for_both_protocols() -> None:
    made = plan(["655", "655", "656"], udp_only=False, wait=5, period=60)
    assert made == Plan(("655/tcp", "655/udp", "656/tcp", "656/udp"), 5, 60)
    assert made.lease == 120


def test_udponly_leaves_tcp_out() -> None:
    assert plan(["655"], udp_only=True, wait=5, period=60).ports == ("655/udp",)


def test_no_lease_is_longer_than_routers_accept() -> None:
    assert plan(["655"], udp_only=True, wait=5, period=10_000_000).lease == MAX_LEASE


def test_without_the_library_the_user_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing_library() is None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "install pytinc[upnp]" in (missing_library() or "")


class TestReports:
    @pytest.fixture(autouse=True)
    def _lease(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Plan, "lease", 2)

    def test_success_is_logged_once(self, tmp_path: Path, log: Log) -> None:
        play(log, helper(tmp_path, [ROUTER, *MAPPED]), turns_done(tmp_path, 3))
        assert log == MAPPED_LINES

    def test_a_failure_is_logged_once_and_so_is_its_end(self, tmp_path: Path, log: Log) -> None:
        bad: list[Line] = [{"error": "no router answers in the local network"}]
        good = [ROUTER, *MAPPED]
        play(log, helper(tmp_path, good, bad, bad, good), turns_done(tmp_path, 5))
        failure = (0, "warning", "UPnP: no router answers in the local network; no ports are mapped")
        assert log == [*MAPPED_LINES, failure, *MAPPED_LINES]

    def test_a_refused_port_is_named(self, tmp_path: Path, log: Log) -> None:
        turn = [ROUTER, MAPPED[0], {"port": "655/udp", "error": "ConflictInMappingEntry"}]
        play(log, helper(tmp_path, turn), turns_done(tmp_path, 2))
        assert log[2] == (
            0, "warning", "UPnP: the router refused to map port 655/udp: ConflictInMappingEntry",
        )  # fmt: skip

    def test_texts_from_the_network_are_short_and_printable(self, tmp_path: Path, log: Log) -> None:
        play(log, helper(tmp_path, [{"error": "\x1b[2J\nReady" + "x" * 5000}]), turns_done(tmp_path, 2))
        ((_, _, text),) = log
        assert "\x1b" not in text
        assert "\n" not in text
        assert len(text) < 300

    @pytest.mark.parametrize(
        "output", ["", "nonsense", "[1]", "[" * 9000, '{"port": {}, "error": []}', "\\377\\000"]
    )
    def test_malformed_output_gives_one_warning(self, output: str, tmp_path: Path, log: Log) -> None:
        play(
            log,
            ["/bin/sh", "-c", f"printf '%b' '{output}'; echo >>{tmp_path}/runs; exit 3"],
            lambda: (tmp_path / "runs").exists() and len((tmp_path / "runs").read_text()) > 3,
        )
        ((level, priority, _),) = log
        assert (level, priority) == (0, "warning")

    def test_a_helper_that_cannot_be_run_gives_one_warning(self, log: Log) -> None:
        play(log, ["/nonexistent/python"], lambda: bool(log))
        assert log == [(0, "warning", "UPnP: could not run /nonexistent/python: No such file or directory")]


def test_the_helper_is_told_how_long_to_wait_and_what_to_map(log: Log, tmp_path: Path) -> None:
    told = tmp_path / "told"

    async def main(tasks: Tasks) -> None:
        command = ["/bin/sh", "-c", f'echo "$*" >{told}.new; mv {told}.new {told}', "helper"]
        mapper = PortMapper(plan(["655"], udp_only=False, wait=7, period=60), log, command=command)
        tasks.spawn("upnp", mapper.run_forever())
        async with asyncio.timeout(60):
            while not told.exists():  # noqa: ASYNC110  # a file of another process has no event
                await asyncio.sleep(0.02)
            await mapper.stop()

    run(main)
    assert told.read_text() == "7000 120 655/tcp 655/udp\n"


def test_endless_output_is_read_only_up_to_the_bound(log: Log) -> None:
    play(log, ["/bin/sh", "-c", "exec yes"], lambda: bool(log))
    ((_, _, text),) = log
    assert text.startswith("UPnP: the program that talks to the router failed")


def test_a_helper_that_hangs_is_ended_in_time(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upnp, "TIMEOUT", 0.2)
    play(log, ["/bin/sh", "-c", "exec sleep 1000"], lambda: bool(log))
    assert "took more than" in log[0][2]


def test_the_helper_ends_with_the_daemon(log: Log, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    play(
        log,
        ["/bin/sh", "-c", f"echo $$ >{pid}; exec sleep 1000"],
        lambda: pid.exists() and pid.read_text().strip() != "",
    )
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_the_real_helper_reports_in_json_that_there_is_no_router() -> None:
    # In a namespace without any network no router can answer.
    command = [sys.executable, "-P", "-m", "pytinc.net.igd", "200", "120", "655/udp"]
    done = subprocess.run(
        ["unshare", "--net", "--map-root-user", *command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "unshare" in done.stderr:
        pytest.skip(f"no namespaces: {done.stderr}")
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]
