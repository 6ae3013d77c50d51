"""top: what it asks the daemon, what keys do, and what it draws on a terminal."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cli.terminal import Terminal
from cli.test_machine import statistics_rows
from cli.test_shared import GUARD, SHARED
from cli.test_top_views import C_ROWS
from cli.vip_answers import SERVED
from cli.vip_answers import answer as vip_answer
from pytinc.cli.top import HELP, Model, delay_of
from pytinc.cli.top_views import EDGE_HEADING
from pytinc.control.client import ControlClient
from pytinc.control.events import format_event, format_ring
from pytinc.control.shared import format_address, format_guard

if TYPE_CHECKING:
    from cli.conftest import ScriptedDaemon

TRAFFIC = "18 13 alpha 10 1000 0 0\n18 13 beta 5 0 1 62\n18 13\n"
UNKNOWN = "18 -1\n"
EVENTS = "\n".join(
    [
        format_ring(1.0, 1, 2),
        format_event(1, 1.5, "start", {"name": "alpha", "version": "1"}),
        format_event(2, 2.5, "node-down", {"node": "beta"}),
        "18 4100\n",
    ]
)
EDGES = (
    "18 4 alpha beta 192.168.77.2 port 655 unspec port unspec c 1\n"
    "18 4 beta alpha 192.168.77.1 port 655 unspec port unspec c 1\n18 4\n"
)
PYTINC = {
    "13": TRAFFIC,
    "3": f"{C_ROWS}\n18 3\n",
    "4": EDGES,
    "5": "18 5 2:0:0:0:0:1 beta\n18 5\n",
    "4096": statistics_rows(),
    "4097": "\n".join([format_guard(GUARD | {"addresses_total": 1}), format_address(SHARED), "18 4097\n"]),
    "4098": vip_answer(SERVED),
    "4100": EVENTS,
}
C = {**PYTINC, **dict.fromkeys(("4096", "4097", "4098", "4100"), UNKNOWN)}


@pytest.fixture
def model(daemon: ScriptedDaemon) -> Iterator[Model]:
    daemon.answers |= PYTINC
    with ControlClient.connect(daemon.pidfile, daemon.pidfile + ".socket") as client:
        yield Model(client, "vpn", clock=lambda: 1.0)


def asked(daemon: ScriptedDaemon) -> list[str]:
    requests, daemon.requests = [line.split()[1] for line in daemon.requests], []
    return requests


def test_only_shown_data_is_asked_for(model: Model, daemon: ScriptedDaemon) -> None:
    model.poll()
    assert asked(daemon) == ["13", "4097", "4096"]
    model.press("d")
    model.poll()
    assert asked(daemon) == ["13", "4097"]
    for key, request in {"2": "4", "3": "4098", "4": "4100"}.items():
        model.press(key)
        model.poll()
        assert asked(daemon) == ["13", "4097", request]


def test_a_c_daemon_is_asked_once_for_what_it_does_not_know(model: Model, daemon: ScriptedDaemon) -> None:
    daemon.answers |= C
    model.poll()
    assert asked(daemon) == ["13", "4097", "4096", "3", "5"]
    model.poll()
    assert asked(daemon) == ["13", "3", "5"]
    assert model.lines(9)[1][1].split()[:3] == ["beta", "UDP", "0.632"]
    model.press("3")
    model.poll()
    assert "not pytinc's" in model.lines(9)[0][1]
    model.press("4")
    model.poll()
    model.poll()
    assert asked(daemon) == ["13", "4098", "13", "4100", "13"]
    assert "not pytinc's" in model.lines(9)[0][1]


def test_only_new_events_are_asked_for(model: Model, daemon: ScriptedDaemon) -> None:
    model.press("4")
    model.poll()
    daemon.requests = []
    daemon.answers["4100"] = f"{format_ring(1.0, 1, 2)}\n18 4100\n"
    model.poll()
    assert daemon.requests[-1] == "18 4100 2 0"
    assert len(model.lines(9)) == 2


def test_q_ends_it_and_tab_goes_round(model: Model) -> None:
    assert not model.press("q")
    for label in ("edges", "addresses", "events", "nodes"):
        assert model.press("\t")
        assert model.tab.label == label


def test_help_takes_the_place_of_the_lines_until_it_is_left(model: Model) -> None:
    model.poll()
    model.press("h")
    assert [text for _, text in model.lines(99)] == list(HELP)
    model.press("h")
    assert model.lines(99)[0][1].startswith("alpha")


def test_scrolling_stays_within_the_lines(model: Model) -> None:
    model.press("h")
    count = len(HELP)
    model.scroll(3)
    assert model.lines(5)[0][1] == HELP[3]
    model.scroll(1000)
    assert model.lines(5)[-1][1] == HELP[-1]
    assert model.offset == count - 5
    model.scroll(-1000)
    assert model.lines(5)[0][1] == HELP[0]
    assert model.lines(0) == []


@pytest.mark.parametrize(
    ("answer", "delay"),
    [("3", 3.0), ("0", 0.1), ("-1", 0.1), ("nan", 2.0), ("inf", 2.0), ("x", 2.0), ("1e9", 3600)],
)
def test_the_delay_stays_reasonable(answer: str, delay: float) -> None:
    assert delay_of(answer, 2.0) == delay


# -- on a terminal --


def terminal(daemon: ScriptedDaemon, rows: int = 24, columns: int = 110) -> Terminal:
    directory = str(Path(daemon.pidfile).parent)
    command = [sys.executable, "-m", "pytinc", "-c", directory, "--pidfile", daemon.pidfile, "top"]
    return Terminal(command, {**os.environ, "TZ": "UTC"}, rows, columns)


def test_the_tabs_are_drawn_one_after_the_other(daemon: ScriptedDaemon) -> None:
    daemon.answers |= PYTINC
    with terminal(daemon) as screen:
        lines = screen.wait_for_text("q quit")
        assert lines[0].startswith("Tinc ")
        assert lines[1].startswith("shared 10.1.1.10: node_3 alive, 2 clients")
        assert lines[2].startswith(
            "Node             path            RTT ms  dropped    IN bit/s   OUT bit/s  MACs"
        )
        assert lines[3].split()[:4] == ["alpha", "UDP", "0.005", "0"]
        assert lines[-2].startswith(" 1 nodes   2 edges   3 addresses   4 events ")
        assert (
            lines[-1] == "n i I o O t T r x sort  b k M G unit  c total  d traffic  s delay  h help  q quit"
        )
        assert screen.is_reverse(2, 0)
        assert screen.is_reverse(-2, 1)
        screen.press("d")
        screen.wait_for_text("OUT pkts  OUT bytes")
        screen.press("2")
        # The whole screen: what is read may end in the middle of it.
        screen.wait_for(
            lambda lines: (
                lines[2] == EDGE_HEADING
                and any("alpha            <-> beta" in line for line in lines)
                and screen.is_reverse(-2, 12)
            )
        )
        screen.press("3")
        screen.wait_for_text("10.1.1.10 by node_2")
        screen.press("\t")
        screen.wait_for(lambda lines: "beta became unreachable" in lines[3] and "start" in lines[4])
        screen.press("h")
        screen.wait_for_text("sort by round trip time")
        screen.press("1c")
        screen.wait_for_text("Cumulative")
        screen.press("s")
        screen.wait_for_text("Change delay from 1.0s to:")
        screen.press("0.5\n")
        screen.wait_for(lambda lines: lines[1].startswith("shared"))
        screen.press("q")
        assert screen.process.wait(60) == 0


def test_the_daemon_is_not_asked_for_each_line_that_is_scrolled(daemon: ScriptedDaemon) -> None:
    daemon.answers |= PYTINC
    with terminal(daemon, rows=12) as screen:
        screen.wait_for_text("q quit")
        screen.press("s")
        screen.wait_for_text("Change delay from 1.0s to:")
        screen.press("3600\n")
        screen.press("h")
        screen.wait_for(lambda lines: lines[3] == HELP[0])
        asked(daemon)
        screen.press(4 * "\x1b[B")
        screen.wait_for(lambda lines: lines[3] == HELP[4])
        assert asked(daemon) == []
        screen.press("h")
        screen.wait_for(lambda lines: lines[3].startswith("alpha"))
        assert "13" in asked(daemon)


def test_a_small_terminal_shows_what_fits(daemon: ScriptedDaemon) -> None:
    daemon.answers |= C
    with terminal(daemon, rows=5, columns=30) as screen:
        lines = screen.wait_for_text("beta")
        assert len(lines) == 5
        assert lines[2].startswith("Node             path")
        screen.press("q")
        assert screen.process.wait(60) == 0


def test_it_ends_with_a_message_when_the_daemon_ends(daemon: ScriptedDaemon) -> None:
    daemon.answers |= PYTINC
    with terminal(daemon) as screen:
        screen.wait_for_text("q quit")
        daemon.close()
        screen.wait_for(
            lambda lines: any(re.search("Lost the connection|Could not send", line) for line in lines)
        )
        assert screen.process.wait(60) == 1
