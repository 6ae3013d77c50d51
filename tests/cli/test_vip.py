"""The command `vip`: what it shows, waits for and refuses. For ``--json`` see test_machine.py."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cli.vip_answers import FOREIGN, SERVED, answer
from pytinc.cli import vip
from pytinc.cli.vip import NOT_TOLD
from pytinc.control.vips import VERBS

if TYPE_CHECKING:
    from cli.conftest import Run, ScriptedDaemon

ROOT = Path(__file__).resolve().parents[2]
NOW = 1795377436.0
PATIENCE = 60.0
OWN = {**SERVED, "owner": "alpha", "state": "active"}
C_DAEMON = "18 -1\n"


@pytest.fixture
def ask(run: Run, daemon: ScriptedDaemon, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(time, "time", lambda: NOW)
    daemon.answers |= {"4098": answer(SERVED, FOREIGN), "4099": "18 4099 0\n"}
    return lambda *words: run("-c", "conf", "--pidfile", daemon.pidfile, *words)


# -- what is shown -------------------------------------------------------------------------------------------

LINES = """\
10.1.1.10 owner node_2 state backup term 4 frozen yes members 4 alive 3 checks 3 good 1 clients 12 \
changed 61.204 reason alpha was drained
fd00::7 owner - state - term 0 frozen no members 40 alive 0 checks 0 good 0 clients 0 changed - reason -
"""


def test_each_address_has_a_line(ask: Run, daemon: ScriptedDaemon) -> None:
    assert ask("vip") == (0, LINES, "")
    assert ask("VIP") == (0, LINES, "")
    assert daemon.requests == ["18 4098"] * 2


def test_an_address_has_a_report_however_it_is_written(ask: Run) -> None:
    report = ask("vip", "10.1.1.10")
    assert (report.status, report.err) == (0, "")
    assert report.out.startswith("Address:      10.1.1.10\nServed by:    node_2, frozen\n")
    assert ask("vip", "FD00:0:0::7").out.startswith("Address:      fd00::7\nServed by:    nobody\n")


def test_an_unknown_address_is_an_error(ask: Run) -> None:
    complaint = "Unknown address: no node that is known here has it as a VirtualIP.\n"
    assert ask("vip", "10.1.1.9") == (1, "", complaint)
    assert ask("vip", "10.1.1.9", "--json") == (1, "", complaint)


@pytest.mark.parametrize(
    ("reply", "remark"),
    [
        (answer(), "No virtual IPs are known: no member has a line VirtualIP, or none is reachable.\n"),
        (answer(SERVED, addresses_total=300), "299 more addresses are not listed.\n"),
        (answer(SERVED, draining=True), "This node is drained: it serves nothing until `vip undrain'.\n"),
    ],
)
def test_what_the_list_does_not_show_is_said_beside_it(
    ask: Run, daemon: ScriptedDaemon, reply: str, remark: str
) -> None:
    daemon.answers["4098"] = reply
    result = ask("vip")
    assert (result.status, result.err) == (0, remark)
    assert ask("vip", "--json").err == ""


@pytest.mark.parametrize("reply", ["18 4098 policy {}\n18 4098\n", "18 4098\n", "18 3\n", "17\n"])
def test_a_malformed_answer_is_an_error(ask: Run, daemon: ScriptedDaemon, reply: str) -> None:
    daemon.answers["4098"] = reply
    assert ask("vip") == (1, "", "Unable to parse dump from tincd.\n")


@pytest.mark.parametrize("reply", [C_DAEMON, None])
@pytest.mark.parametrize(
    "words", [[], ["10.1.1.10"], ["--json"], ["--watch"], ["drain"], ["undrain"], ["thaw", "10.1.1.10"]]
)
def test_a_daemon_without_virtual_ips_is_reported_in_one_line(
    ask: Run, daemon: ScriptedDaemon, reply: str | None, words: list[str]
) -> None:
    for request in ("4098", "4099"):
        del daemon.answers[request]
        if reply is not None:
            daemon.answers[request] = reply
    assert ask("vip", *words) == (1, "", f"{NOT_TOLD}\n")


def test_the_pages_have_the_words_of_the_line() -> None:
    words = r" \S+ ".join(LINES.splitlines()[1].split()[1::2])
    for page in ("man/pytinc.8", "docs/virtual-ip.md"):
        assert re.search(words, re.sub(r"\s+", " ", (ROOT / page).read_text())), page


def test_the_man_page_and_the_document_have_every_order() -> None:
    page = (ROOT / "man/pytinc.8").read_text()
    document = (ROOT / "docs/virtual-ip.md").read_text()
    for verb in VERBS:
        assert f"\n.B {verb}" in page
        assert f"| `pytinc vip {verb}" in document


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["dance"], "Neither an address nor an order: `dance'."),
        (["10.1.1.10/24"], "Neither an address nor an order: `10.1.1.10/24'."),
        (["10.1.1.10", "fd00::7"], "Invalid number of arguments."),
        (["--json", "--watch"], "`--watch' does not apply to JSON."),
        (["drain", "--json"], "`--json' does not apply to `vip drain'."),
        (["MOVE", "10.1.1.10", "node_2", "--watch"], "`--watch' does not apply to `vip move'."),
        (["drain", "alpha", "node_2"], "Invalid number of arguments."),
        (["move", "10.1.1.10"], "Invalid number of arguments."),
        (["freeze"], "Invalid number of arguments."),
        (["thaw", "10.1.1.10", "fd00::7"], "Invalid number of arguments."),
        (["freeze", "alpha"], "Invalid address `alpha'."),
        (["move", "node_2", "10.1.1.10"], "Invalid address `node_2'."),
    ],
)
def test_wrong_words_are_refused_before_the_daemon_is_asked(
    ask: Run, daemon: ScriptedDaemon, words: list[str], complaint: str
) -> None:
    result = ask("vip", *words)
    assert (result.status, result.out) == (1, "")
    assert result.err.splitlines()[0] == complaint
    assert daemon.requests == []


# -- orders --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["undrain"],
        ["UNDRAIN", "alpha"],
        ["freeze", "10.1.1.10"],
        ["thaw", "fd00::7"],
        ["rebalance", "fd00::7"],
    ],
)
def test_an_order_is_sent_and_success_is_silent(ask: Run, daemon: ScriptedDaemon, words: list[str]) -> None:
    assert ask("vip", *words) == (0, "", "")
    sent = [words[0].lower(), *(word for word in words[1:] if word != "alpha")]
    assert daemon.requests == [" ".join(["18 4099", *sent])]


def test_an_order_that_is_refused_fails_with_the_reason(ask: Run, daemon: ScriptedDaemon) -> None:
    daemon.answers["4099"] = "18 4099 -2 node_9 is not a member of 10.1.1.10\n"
    refused = "Refused: node_9 is not a member of 10.1.1.10.\n"
    assert ask("vip", "move", "10.1.1.10", "node_9") == (1, "", refused)
    assert ask("vip", "freeze", "10.1.1.10").status == 1


def test_another_answer_to_an_order_is_an_error(ask: Run, daemon: ScriptedDaemon) -> None:
    daemon.answers["4099"] = "18 4099 7\n"
    assert ask("vip", "freeze", "10.1.1.10") == (1, "", "Unexpected answer from tincd.\n")


@pytest.mark.parametrize("verb", ["drain", "undrain"])
def test_another_node_is_drained_there(ask: Run, daemon: ScriptedDaemon, verb: str) -> None:
    assert ask("vip", verb, "node_2") == (1, "", f"This is alpha: run `vip {verb}' on node_2.\n")
    assert ask("vip", verb, "a-b") == (1, "", "Invalid name for node.\n")
    assert daemon.requests == []


class Later:
    """Changes the scripted answer after a few polls instead of waiting."""

    def __init__(self, daemon: ScriptedDaemon, reply: str, polls: int) -> None:
        self._daemon, self._reply, self._left = daemon, reply, polls

    def __call__(self, seconds: float) -> None:
        self._left -= 1
        if self._left == 0:
            self._daemon.answers["4098"] = self._reply


def test_drain_waits_until_others_serve_and_names_them(
    ask: Run, daemon: ScriptedDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {**OWN, "address": "fd00::8"}
    daemon.answers["4098"] = answer(OWN, other, FOREIGN)
    gone = answer(SERVED, {**other, "owner": None}, FOREIGN, draining=True)
    monkeypatch.setattr(vip, "PATIENCE_S", PATIENCE)
    monkeypatch.setattr(time, "sleep", Later(daemon, gone, 3))
    assert ask("vip", "drain", "alpha") == (
        0,
        "",
        "10.1.1.10: node_2 serves now.\nfd00::8: nobody serves now.\n",
    )
    assert daemon.requests == ["18 4098", "18 4099 drain", *["18 4098"] * 4]


def test_drain_fails_if_nobody_takes_over_but_says_who_took_over_the_rest(
    ask: Run, daemon: ScriptedDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {**OWN, "address": "fd00::8"}
    daemon.answers["4098"] = answer(OWN, other)
    monkeypatch.setattr(time, "sleep", Later(daemon, answer(SERVED, other, draining=True), 1))
    monkeypatch.setattr(vip, "PATIENCE_S", 0.2)
    result = ask("vip", "drain")
    assert (result.status, result.out) == (1, "")
    assert result.err.splitlines() == [
        "10.1.1.10: node_2 serves now.",
        "alpha still serves fd00::8: no other member takes over.",
    ]


def test_move_waits_until_the_node_serves(
    ask: Run, daemon: ScriptedDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vip, "PATIENCE_S", PATIENCE)
    monkeypatch.setattr(time, "sleep", Later(daemon, answer({**SERVED, "owner": "node_3"}), 2))
    assert ask("vip", "move", "10.1.1.10", "node_3") == (0, "", "10.1.1.10: node_3 serves now.\n")
    assert daemon.requests == ["18 4099 move 10.1.1.10 node_3", *["18 4098"] * 3]


def test_move_fails_if_the_node_does_not_serve(
    ask: Run, daemon: ScriptedDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vip, "PATIENCE_S", 0.0)
    assert ask("vip", "move", "10.1.1.10", "node_3") == (
        1,
        "",
        "10.1.1.10: node_3 does not serve, but node_2.\n",
    )
    assert ask("vip", "move", "10.1.1.10", "a-b") == (1, "", "Invalid name for node.\n")


# -- --watch -------------------------------------------------------------------------------------------------


@contextmanager
def watching(
    daemon: ScriptedDaemon, words: str, **more: str
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run the command on a terminal of its own."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "pytinc", "--pidfile", daemon.pidfile, *words.split()],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "COLUMNS": "150", "TERM": "xterm"} | more,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(PATIENCE)
        os.close(ours)


def read_until(terminal: int, wanted: str) -> str:
    seen, end = b"", time.monotonic() + PATIENCE
    while wanted.encode() not in seen:
        ready, _, _ = select.select([terminal], [], [], max(end - time.monotonic(), 0))
        assert ready, seen
        try:
            seen += os.read(terminal, 4096)
        except OSError:  # the other side has closed it
            raise AssertionError(seen) from None
    return seen.decode()


@pytest.mark.parametrize("plain", ["0", "1"])
@pytest.mark.parametrize("words", ["vip --watch", "vip 10.1.1.10 --watch", "--batch vip --watch"])
def test_watch_shows_what_changes_until_ctrl_c(daemon: ScriptedDaemon, words: str, plain: str) -> None:
    daemon.answers["4098"] = answer(SERVED)
    with watching(daemon, words, PYTINC_PLAIN=plain) as (process, terminal):
        read_until(terminal, "node_2")
        daemon.answers["4098"] = answer({**SERVED, "owner": "other_9"})
        read_until(terminal, "other_9")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0


def test_watch_ends_with_the_daemon(daemon: ScriptedDaemon) -> None:
    daemon.answers["4098"] = answer(SERVED)
    with watching(daemon, "vip --watch") as (process, terminal):
        read_until(terminal, "node_2")
        del daemon.answers["4098"]  # hangs up
        read_until(terminal, "Lost the connection to tincd.")
        assert process.wait(PATIENCE) == 1


def test_watch_in_a_pipe_prints_the_lines_again_and_again(daemon: ScriptedDaemon) -> None:
    daemon.answers["4098"] = answer(SERVED)
    process = subprocess.Popen(
        [sys.executable, "-m", "pytinc", "--pidfile", daemon.pidfile, "vip", "--watch"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines: list[Any] = [process.stdout.readline() for _ in range(4)]
        assert lines[0].startswith("10.1.1.10 owner node_2 ")
        assert lines == [lines[0], "\n"] * 2
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)
        assert (process.returncode, said) == (0, "\n")
    finally:
        with suppress(OSError):
            process.kill()
        process.wait(PATIENCE)
