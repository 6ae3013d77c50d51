"""The command `events`: lines for people, objects for programs, and daemons that have none."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from control.documented_events import KINDS, check_event, value_of
from pytinc.cli.events import NOT_TOLD, describe, event_line
from pytinc.control.events import format_event, format_ring
from pytinc.control.objects import Values

if TYPE_CHECKING:
    from cli.conftest import Run, ScriptedDaemon

UP = (3, 1795377436.25, "node-up", {"node": "beta", "host": "192.0.2.7", "port": "655"})
DOWN = (5, 1795377437.0, "node-down", {"node": "beta"})
SAMPLES: dict[str, tuple[dict[str, Any], str]] = {
    "start": ({"name": "alpha", "version": "1.2"}, "pytincd 1.2 of alpha started"),
    "reload": ({}, "the configuration was read again"),
    "node-up": ({"node": "beta", "host": None, "port": None}, "beta became reachable"),
    "node-down": ({"node": "beta"}, "beta became unreachable"),
    "path": (
        {"node": "beta", "path": "relayed", "relay": "hub", "before": "udp", "before_relay": None},
        "beta: UDP via hub, before UDP",
    ),
    "connection-up": (
        {"node": "beta", "host": "192.0.2.7", "port": "655", "dialled": True},
        "connection to beta (192.0.2.7 port 655)",
    ),
    "connection-down": (
        {"node": "beta", "host": "192.0.2.7", "port": "655", "dialled": False, "lasted_s": 9},
        "connection from beta (192.0.2.7 port 655) ended after 9 s",
    ),
    "mac-moved": (
        {"mac": "02:00:00:00:00:01", "from_node": "beta", "to_node": "hub"},
        "02:00:00:00:00:01 moved from beta to hub",
    ),
    "suspect": ({"node": "beta"}, "beta does not answer probes"),
    "cleared": ({"node": "beta", "after_ms": 12}, "beta answers after all, 12 ms later"),
    "silent": (
        {"node": "beta", "silence_ms": 160, "detection_ms": 121, "behind": ["beta", "far"]},
        "beta is silent: silence 160 ms, detection 121 ms; so are far",
    ),
    "answers": ({"node": "beta", "after_ms": 2000}, "beta answers again, 2000 ms later"),
    "failover": (
        {
            "address": "10.1.1.10",
            "reason": "silent",
            "from_node": "beta",
            "to_node": "hub",
            "clients": 1,
            "silence_ms": 160,
            "detection_ms": 121,
            "healing_ms": 8,
            "total_ms": 289,
        },
        "led from beta (silent) to hub: silence 160 ms, detection 121 ms, healing 8 ms, 289 ms in all",
    ),
    "vip-owner": (
        {
            "address": "10.1.1.10",
            "from_node": None,
            "to_node": "hub",
            "reason": "first",
            "text": "nobody did",
            "term": 1,
            "silence_ms": None,
            "detection_ms": None,
        },
        "10.1.1.10: hub serves after nobody; nobody did",
    ),
    "vip-state": (
        {
            "address": "10.1.1.10",
            "node": "hub",
            "state": "fault",
            "before": "active",
            "reason": "check tcp:80",
        },
        "10.1.1.10: hub is fault after active: check tcp:80",
    ),
    "script": ({"name": "host-up", "status": -15, "ms": 4, "error": None}, "host-up was killed by signal 15"),
    "drops": ({"reason": "no_key", "count": 120, "seconds": 1.0}, "120 packets dropped in 1.0 s: no_key"),
    "storm": (
        {"node": "beta", "state": "end", "dropped": 77},
        "beta no longer sends too much to all: 77 packets were dropped",
    ),
    "loop": ({"node": "beta", "mac": "02:00:00:00:00:01", "packets": 9}, "come back from beta (9 packets)"),
}


def answer(*events: tuple[int, float, str, dict[str, Any]], end: bool = True) -> str:
    rows = [format_ring(1795377000.5, 1, 9), *(format_event(*event) for event in events)]
    return "\n".join([*rows, "18 4100", ""] if end else [*rows, ""])


@pytest.fixture
def ask(run: Run, daemon: ScriptedDaemon, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    daemon.answers["4100"] = answer(UP, DOWN)
    return lambda *words: run("-c", "conf", "--pidfile", daemon.pidfile, *words)


def test_each_event_has_a_line_and_gaps_are_told(ask: Run, daemon: ScriptedDaemon) -> None:
    text = (
        "     3  2026-11-22 19:57:16.250  node-up         beta (192.0.2.7 port 655) became reachable\n"
        "(1 event before this one is forgotten)\n"
        "     5  2026-11-22 19:57:17.000  node-down       beta became unreachable\n"
    )
    assert ask("events") == (0, text, "")
    assert ask("events", "--since", "2").out.count("\n") == 3
    assert ask("events", "--since=2").out.count("forgotten") == 1
    assert daemon.requests == ["18 4100 0 0", "18 4100 2 0", "18 4100 2 0"]


def test_json_is_an_object_a_line(ask: Run) -> None:
    lines = ask("events", "--json").out.splitlines()
    assert [json.loads(line) for line in lines] == [
        {"seq": seq, "time": at, "kind": kind, **fields} for seq, at, kind, fields in (UP, DOWN)
    ]


@pytest.mark.parametrize(
    "words", [["--since", "x"], ["--since", "-1"], ["--since"], ["more"], ["--since", "9" * 16]]
)
def test_wrong_words_are_refused(ask: Run, words: list[str]) -> None:
    result = ask("events", *words)
    assert (result.status, result.out) == (1, "")
    assert result.err


@pytest.mark.parametrize("words", [[], ["--json"], ["--follow"]])
def test_a_daemon_without_events_is_said_to_be_one(
    ask: Run, daemon: ScriptedDaemon, words: list[str]
) -> None:
    daemon.answers["4100"] = "18 -1\n"
    result = ask("events", *words)
    assert (result.status, result.out) == (1, "")
    assert NOT_TOLD in result.err


@pytest.mark.parametrize(
    "text", ["18 4100 event {}\n18 4100\n", "18 4100\n", answer(UP)[:-9] + "18 4100 x {}\n18 4100\n"]
)
def test_an_answer_that_is_none_is_an_error(ask: Run, daemon: ScriptedDaemon, text: str) -> None:
    daemon.answers["4100"] = text
    result = ask("events")
    assert (result.status, result.out) == (1, "")
    assert "Unable to parse" in result.err


def test_follow_prints_events_as_they_come_until_the_daemon_ends(run: Run, daemon: ScriptedDaemon) -> None:
    daemon.answers["4100"] = answer(UP, end=False)
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "pytinc",
            "-c",
            str(Path(daemon.pidfile).parent),
            "events",
            "--follow",
            "--json",
        ],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    with process, process.stdout:
        assert json.loads(process.stdout.readline())["seq"] == 3
        (connection,) = daemon._open
        connection.sendall(format_event(*DOWN).encode() + b"\n")
        assert json.loads(process.stdout.readline())["kind"] == "node-down"
        daemon.close()
        assert process.wait(60) == 0
    assert daemon.requests == ["18 4100 0 1"]


@pytest.mark.parametrize("kind", KINDS)
def test_each_documented_kind_has_words_for_people(kind: str) -> None:
    fields, words = SAMPLES[kind]
    check_event(kind, fields)
    event: Values = {"seq": 1, "time": 1.0, "kind": kind, **fields}
    assert words in describe(event)
    assert describe(event) in event_line(event)
    # Whatever else the values are.
    for other in ({name: value_of(word) for name, word in KINDS[kind].items()}, {}):
        assert isinstance(describe({"seq": 1, "time": 1.0, "kind": kind, **other}), str)


def test_an_unknown_kind_is_shown_with_its_fields() -> None:
    assert describe({"seq": 1, "time": 1.0, "kind": "eclipse", "moon": True, "by": "x"}) == 'moon=true by="x"'
