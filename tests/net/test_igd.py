"""The program that talks to the router, with a fake miniupnpc that each test controls."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

LIBRARY = """
import json, os, resource
SCRIPT = json.loads(os.environ["SCRIPT"])
class UPnP:
    lanaddr = "192.0.2.1"
    def __init__(self, discoverdelay):
        self.calls = [["wait", discoverdelay]]
    def discover(self):
        if "crash" in SCRIPT:
            raise Exception(SCRIPT["crash"])
        if SCRIPT.get("greedy"):
            bytearray(1 << 30)
        if SCRIPT.get("busy"):
            soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
            resource.setrlimit(resource.RLIMIT_CPU, (min(soft, 1), hard))
            while True:
                pass
        return SCRIPT.get("routers", 1)
    def selectigd(self):
        self.selected = True
    def statusinfo(self):
        assert self.selected
        return SCRIPT.get("state", "Connected"), 5, "ERROR_NONE"
    def externalipaddress(self):
        return "198.51.100.1"
    def addportmapping(self, *arguments):
        if arguments[0] in SCRIPT.get("refused", ()):
            raise Exception("ConflictInMappingEntry")
        with open(os.environ["CALLS"], "a") as file:
            print(json.dumps([*self.calls, arguments]), file=file)
"""


def run(tmp_path: Path, *words: str, **script: Any) -> tuple[int, list[dict[str, Any]], list[Any]]:
    """Run the program; return its exit status, its output, and the mappings requested from the library."""
    (tmp_path / "miniupnpc.py").write_text(LIBRARY)
    calls = tmp_path / "calls"
    calls.touch()
    done = subprocess.run(
        [sys.executable, "-m", "pytinc.net.igd", *words],
        env={
            **os.environ,
            "PYTHONPATH": str(tmp_path),
            "SCRIPT": json.dumps(script),
            "CALLS": str(calls),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return (
        done.returncode,
        [json.loads(line) for line in done.stdout.splitlines()],
        [json.loads(line) for line in calls.read_text().splitlines()],
    )


def test_each_port_is_mapped_to_itself_for_the_given_time(tmp_path: Path) -> None:
    status, said, calls = run(tmp_path, "200", "120", "655/tcp", "656/udp")
    assert status == 0
    assert said == [
        {"router": "198.51.100.1", "address": "192.0.2.1"},
        {"port": "655/tcp", "error": None},
        {"port": "656/udp", "error": None},
    ]
    assert calls == [
        [["wait", 200], [655, "TCP", "192.0.2.1", 655, "tinc", "", 120]],
        [["wait", 200], [656, "UDP", "192.0.2.1", 656, "tinc", "", 120]],
    ]


def test_a_refused_port_is_reported_and_the_others_are_mapped(tmp_path: Path) -> None:
    status, said, calls = run(tmp_path, "200", "120", "655/tcp", "656/udp", refused=[655])
    assert status == 1
    assert said[1:] == [
        {"port": "655/tcp", "error": "ConflictInMappingEntry"},
        {"port": "656/udp", "error": None},
    ]
    assert [call[1][0] for call in calls] == [656]


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ({"routers": 0}, "no router answers in the local network"),
        ({"state": "Connecting"}, "the router is not connected to the Internet: it says 'Connecting'"),
        ({"state": "x" * 1000}, f"the router is not connected to the Internet: it says '{'x' * 40}'"),
        ({"crash": "no such luck"}, "no such luck"),
    ],
)
def test_the_only_output_without_a_usable_router_is_one_error(
    script: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    assert run(tmp_path, "200", "120", "655/tcp", **script) == (1, [{"error": complaint}], [])


@pytest.mark.parametrize("words", [("200", "soon", "655/tcp"), ("200", "120", "port/tcp")])
def test_arguments_that_are_not_numbers_fail_without_a_traceback(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    status, said, calls = run(tmp_path, *words)
    assert status == 1
    assert list(said[-1]) == ["error"]
    assert calls == []


def test_using_much_memory_ends_only_this_program(tmp_path: Path) -> None:
    status, _, calls = run(tmp_path, "200", "120", "655/tcp", greedy=True)
    assert status == 1
    assert calls == []


def test_its_cpu_time_is_bounded(tmp_path: Path) -> None:
    # The fake library lowers the limit to a tenth, so that the test ends sooner.
    status, said, _ = run(tmp_path, "200", "120", "655/tcp", busy=True)
    assert status < 0
    assert said == []
