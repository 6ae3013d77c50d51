"""Shared addresses: `dump shared`, and what `info` and `top` add. For ``--json`` see test_machine.py."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytinc.cli.shared import NOT_TOLD, headline
from pytinc.control.shared import GUARD_FIELDS, Shared, format_address, format_guard

if TYPE_CHECKING:
    from cli.conftest import Run, ScriptedDaemon

ROOT = Path(__file__).resolve().parents[2]
NOW = 1795377436.0
GUARD: dict[str, Any] = {**dict.fromkeys(GUARD_FIELDS, 0), "enabled": True, "last_failover_ms": 412}
ALIVE = {
    "mac": "02:00:00:00:00:03",
    "node": "node_3",
    "state": "alive",
    "rtt_us": 632,
    "answered_ms": 1250,
    "clients": 2,
}
SILENT = ALIVE | {
    "mac": "02:00:00:00:00:02",
    "node": "node_2",
    "state": "silent",
    "rtt_us": None,
    "answered_ms": 4000,
    "clients": 0,
}
CLIENT = {
    "mac": "06:00:00:00:00:01",
    "address": "10.1.1.1",
    "node": "alpha",
    "holder": "02:00:00:00:00:03",
    "idle_ms": 310,
}
MUTE = CLIENT | {"mac": "06:00:00:00:00:02", "address": None, "node": None, "holder": None, "idle_ms": 61000}
FAILOVER = {
    "ago_ms": 12000,
    "reason": "silent",
    "from_node": "node_2",
    "to_node": "node_3",
    "silent_ms": 305,
    "took_ms": 412,
    "clients": 2,
}
SHARED: dict[str, Any] = {
    "address": "10.1.1.10",
    "shared": True,
    "holders_total": 2,
    "holders": [ALIVE, SILENT],
    "clients_total": 2,
    "clients": [CLIENT, MUTE],
    "failover": FAILOVER,
}
USED: dict[str, Any] = {
    "address": "fd00::7",
    "shared": False,
    "holders_total": 1,
    "holders": [ALIVE | {"mac": "02:00:00:00:00:07", "node": None, "state": "unwatched", "rtt_us": None}],
    "clients_total": 0,
    "clients": [],
    "failover": None,
}
LINES = """\
10.1.1.10 shared yes holders 2 clients 2
10.1.1.10 failover silent from node_2 to node_3 silent 0.305 took 0.412 clients 2 ago 12.000
10.1.1.10 holder 02:00:00:00:00:03 node node_3 state alive rtt 0.632 answered 1.250 clients 2
10.1.1.10 holder 02:00:00:00:00:02 node node_2 state silent rtt - answered 4.000 clients 0
10.1.1.10 client 06:00:00:00:00:01 at 10.1.1.1 node alpha holder 02:00:00:00:00:03 of node_3 idle 0.310
10.1.1.10 client 06:00:00:00:00:02 at - node - holder - of - idle 61.000
fd00::7 shared no holders 1 clients 0
fd00::7 holder 02:00:00:00:00:07 node - state unwatched rtt - answered 1.250 clients 2
"""
SUBNETS = "18 5 10.1.1.0/24 alpha\n18 5 02:00:00:00:00:03 node_3\n18 5\n"
C_DAEMON = "18 -1\n"


def answer(*addresses: dict[str, Any], **guard: object) -> str:
    guard = {"addresses_total": len(addresses), **guard}
    rows = [format_guard({**GUARD, **guard}), *map(format_address, addresses)]
    return "\n".join([*rows, "18 4097\n"])


@pytest.fixture
def ask(run: Run, daemon: ScriptedDaemon, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(time, "time", lambda: NOW)
    daemon.answers |= {"5": SUBNETS, "4097": answer(SHARED, USED)}
    return lambda *words: run("-c", "conf", "--pidfile", daemon.pidfile, *words)


# -- dump ----------------------------------------------------------------------------------------------------


def test_each_address_has_a_line_and_so_have_its_failover_holders_and_clients(ask: Run) -> None:
    assert ask("dump", "shared") == (0, LINES, "")
    assert ask("LIST", "Shared") == (0, LINES, "")


def test_lines_of_a_kind_have_their_words_in_the_same_places(ask: Run) -> None:
    counts: dict[str, set[int]] = {}
    for line in ask("dump", "shared").out.splitlines():
        words = line.split(" ")
        counts.setdefault(words[1], set()).add(len(words))
    assert {kind: len(found) for kind, found in counts.items()} == dict.fromkeys(
        ("shared", "failover", "holder", "client"), 1
    )


@pytest.mark.parametrize(
    ("to_node", "took_ms", "words"),
    [(None, None, "to - silent 0.305 took -"), ("node_3", None, "to node_3 silent 0.305 took -")],
)
def test_what_is_not_known_of_a_failover_is_a_dash(
    ask: Run, daemon: ScriptedDaemon, to_node: str | None, took_ms: int | None, words: str
) -> None:
    failover = FAILOVER | {"to_node": to_node, "took_ms": took_ms}
    daemon.answers["4097"] = answer(SHARED | {"failover": failover})
    assert words in ask("dump", "shared").out


@pytest.mark.parametrize("reply", [C_DAEMON, None])
def test_a_daemon_without_a_guard_is_reported_in_one_line(
    ask: Run, daemon: ScriptedDaemon, reply: str | None
) -> None:
    del daemon.answers["4097"]
    if reply is not None:
        daemon.answers["4097"] = reply
    assert ask("dump", "shared") == (1, "", f"{NOT_TOLD}\n")
    assert ask("dump", "shared", "--json") == (1, "", f"{NOT_TOLD}\n")


@pytest.mark.parametrize(
    ("reply", "remark"),
    [
        (answer(), "No shared addresses, and none in use.\n"),
        (answer(enabled=False), "The neighbour guard is off.\n"),
        (answer(USED, addresses_total=1025), "1024 more addresses are not listed.\n"),
    ],
)
def test_why_something_is_missing_is_said_beside_the_list(
    ask: Run, daemon: ScriptedDaemon, reply: str, remark: str
) -> None:
    daemon.answers["4097"] = reply
    result = ask("dump", "shared")
    assert (result.status, result.err) == (0, remark)
    assert ask("dump", "shared", "--json").err == ""


@pytest.mark.parametrize("reply", ["18 4097 guard {}\n18 4097\n", "18 4097\n", "18 3\n", "17\n"])
def test_a_malformed_answer_is_an_error(ask: Run, daemon: ScriptedDaemon, reply: str) -> None:
    daemon.answers["4097"] = reply
    result = ask("dump", "shared")
    assert (result.status, result.out) == (1, "")
    assert result.err == "Unable to parse dump from tincd.\n"


def test_shared_takes_no_other_words(ask: Run) -> None:
    assert ask("dump", "shared", "10.1.1.10").err.startswith("Invalid number of arguments.\n")
    assert ask("dump", "reachable", "shared").err.startswith("`reachable' only supported for nodes.\n")


def test_the_man_page_has_the_words_of_every_line() -> None:
    page = re.sub(r"\s+", " ", (ROOT / "man/pytinc.8").read_text())
    for line in LINES.splitlines()[:5]:
        assert re.search(r" \S+ ".join(line.split()[1::2]), page), line


# -- info ----------------------------------------------------------------------------------------------------

REPORT = """\
Address:      10.1.1.10
Shared:       yes
Held by:      node_3 (02:00:00:00:00:03), alive, RTT 0.632 ms, answered 1.25 s ago
Held by:      node_2 (02:00:00:00:00:02), silent, answered 4.00 s ago
Client:       10.1.1.1 (06:00:00:00:00:01) behind alpha, answered by node_3, seen 0.31 s ago
Client:       address unknown (06:00:00:00:00:02), seen 61.00 s ago
Failover:     2026-11-22 19:57:04, node_2 silent for 0.30 s, 2 clients asked, node_3 answered after 0.41 s
"""


def test_an_address_that_the_guard_knows_is_described_after_its_subnets(ask: Run) -> None:
    assert ask("info", "10.1.1.10") == (0, f"Subnet: 10.1.1.0/24\nOwner:  alpha\n{REPORT}", "")


def test_an_address_without_a_subnet_is_described_alone_however_it_is_written(ask: Run) -> None:
    result = ask("info", "FD00:0:0::7")
    assert (result.status, result.err) == (0, "")
    assert result.out == (
        "Address:      fd00::7\n"
        "Shared:       no\n"
        "Held by:      no node (02:00:00:00:00:07), unwatched, answered 1.25 s ago\n"
    )


@pytest.mark.parametrize(
    ("failover", "end"),
    [
        ({"reason": "withdrawn"}, "node_2 withdrew, 2 clients asked, node_3 answered after 0.41 s"),
        ({"reason": "removed"}, "node_2 no longer had it, 2 clients asked, node_3 answered after 0.41 s"),
        (
            {"reason": "moved"},
            "node_2 no longer serves it by policy, 2 clients asked, node_3 answered after 0.41 s",
        ),
        ({"reason": "unreachable", "clients": 1}, "node_2 unreachable for 0.30 s, 1 client asked, node_3 "),
        ({"took_ms": None}, "2 clients asked, node_3 was asked for\n"),
        ({"to_node": None, "took_ms": None}, "2 clients asked, no answer was seen\n"),
        ({"to_node": None}, "2 clients asked, another holder answered after 0.41 s\n"),
    ],
)
def test_a_failover_is_described_in_words(
    ask: Run, daemon: ScriptedDaemon, failover: dict[str, object], end: str
) -> None:
    daemon.answers["4097"] = answer(SHARED | {"failover": FAILOVER | failover})
    assert end in ask("info", "10.1.1.10").out


def test_clients_that_are_not_reported_are_counted(ask: Run, daemon: ScriptedDaemon) -> None:
    daemon.answers["4097"] = answer(SHARED | {"clients_total": 4096, "holders": [], "holders_total": 0})
    lines = ask("info", "10.1.1.10").out.splitlines()
    assert "Client:       4094 more" in lines
    assert "Held by:      nobody known" in lines


@pytest.mark.parametrize("item", ["10.1.1.9", "10.1.1.0/24", "10.1.1.10/32", "10.1.1.10#10", "2:0:0:0:0:3"])
@pytest.mark.parametrize("knows", [False, True])
def test_what_the_guard_does_not_know_is_answered_as_by_tinc(
    ask: Run, daemon: ScriptedDaemon, item: str, knows: bool
) -> None:
    if not knows:
        daemon.answers["4097"] = C_DAEMON
    result = ask("info", item)
    if item == "10.1.1.10/32":
        assert result == (1, "", "Unknown subnet 10.1.1.10/32.\n")
    elif item == "10.1.1.10#10" or "." in item:
        assert result == (0, "Subnet: 10.1.1.0/24\nOwner:  alpha\n", "")
    else:
        assert result == (0, "Subnet: 02:00:00:00:00:03\nOwner:  node_3\n", "")


def test_an_unknown_address_stays_unknown(ask: Run, daemon: ScriptedDaemon) -> None:
    for answer in (daemon.answers["4097"], C_DAEMON):
        daemon.answers["4097"] = answer
        status, out, err = ask("info", "11.0.0.1")
        assert (status, out, err.splitlines()[0]) == (1, "", "Unknown address 11.0.0.1.")


def test_the_guard_is_asked_about_addresses_only(ask: Run, daemon: ScriptedDaemon) -> None:
    for item in ("10.1.1.0/24", "2:0:0:0:0:3"):
        assert ask("info", item).status == 0
    assert "18 4097" not in daemon.requests


def test_an_invalid_address_is_an_error(ask: Run, daemon: ScriptedDaemon) -> None:
    daemon.answers["4097"] = answer(SHARED | {"address": "somewhere"})
    assert ask("info", "10.1.1.10") == (1, "", "Unable to parse dump from tincd.\n")


def test_a_failover_at_an_impossible_time_is_an_error(ask: Run, daemon: ScriptedDaemon) -> None:
    daemon.answers["4097"] = answer(SHARED | {"failover": FAILOVER | {"ago_ms": 2**63 - 1}})
    result = ask("info", "10.1.1.10")
    assert result.status in (0, 1)  # some C libraries know such years
    assert result.err in ("", "Unable to parse dump from tincd.\n")


# -- top -----------------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(time, "time", lambda: NOW)


@pytest.mark.usefixtures("clock")
def test_the_headline_shows_the_holder_of_a_shared_address_its_clients_and_its_last_failover() -> None:
    line = "shared 10.1.1.10: node_3 alive, 2 clients; last failover 0.41 s 19:57:04"
    assert headline(Shared(GUARD, (SHARED, USED))) == line


@pytest.mark.usefixtures("clock")
def test_the_shared_address_with_the_latest_failover_is_shown() -> None:
    quiet = SHARED | {"address": "10.1.1.11", "failover": None}
    earlier = SHARED | {"address": "10.1.1.12", "failover": FAILOVER | {"ago_ms": 99000}}
    line = headline(Shared(GUARD, (quiet, earlier, SHARED)))
    assert line.startswith("shared 10.1.1.10: ")
    assert line.endswith("; 2 more shared")


def test_without_a_failover_the_first_shared_address_is_shown() -> None:
    quiet = SHARED | {"failover": None, "clients_total": 1}
    other = quiet | {"address": "10.1.1.11"}
    assert headline(Shared(GUARD, (quiet,))) == "shared 10.1.1.10: node_3 alive, 1 client"
    assert (
        headline(Shared(GUARD, (quiet, other))) == "shared 10.1.1.10: node_3 alive, 1 client; 1 more shared"
    )


@pytest.mark.usefixtures("clock")
def test_if_the_new_holder_was_not_seen_the_silence_is_shown() -> None:
    address = SHARED | {"failover": FAILOVER | {"took_ms": None}}
    assert "last failover 0.30 s" in headline(Shared(GUARD, (address,)))


def test_a_shared_address_without_holders_has_a_headline() -> None:
    address = SHARED | {"holders": [], "failover": None}
    assert headline(Shared(GUARD, (address,))) == "shared 10.1.1.10: held by nobody, 2 clients"


def test_without_shared_addresses_there_is_no_headline() -> None:
    assert headline(Shared(GUARD, (USED,))) == ""
