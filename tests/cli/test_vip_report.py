"""The lines about a virtual IP."""

from __future__ import annotations

import time

import pytest

from cli.vip_answers import CHECKS, FOREIGN, MEMBERS, SERVED
from pytinc.cli.vip_report import member_state, remarks, report, vip_line
from pytinc.control.vips import Vips

NOW = 1795377436.0


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(time, "time", lambda: NOW)


def test_a_line_has_its_words_in_the_same_places() -> None:
    # Only the last value, the reason, may have blanks.
    words = [vip_line(address).split(" ", 22) for address in (SERVED, FOREIGN)]
    assert words[0][1::2] == words[1][1::2]
    assert words[0][19:] == ["changed", "61.204", "reason", "alpha was drained"]
    assert words[1][19:] == ["changed", "-", "reason", "-"]


def test_a_report_has_members_checks_and_changes() -> None:
    assert report(SERVED) == [
        "Address:      10.1.1.10",
        "Served by:    node_2, frozen",
        "Balance:      failover",
        "This node:    backup",
        "Preempts:     after 30.00 s",
        "Term:         4",
        "Member:       alpha, backup, priority 150, this node",
        "Member:       node_2, active, priority 100, heard 0.31 s ago",
        "Member:       node_3, fault, priority 50, heard 0.48 s ago",
        "Member:       node_4, gone, priority 50, heard 9.00 s ago",
        "Check:        tcp:80, good for 312 s, took 0.412 ms",
        "Check:        exec:look, bad for 12.00 s, took 3.100 ms: exit status 1",
        "Check:        tcp:[::1]:443, no result yet",
        "Clients:      12",
        "Change:       2026-11-22 19:56:14, node_2 serves, this node backup: alpha was drained",
        "Change:       2026-11-22 19:55:37, nobody serves: start",
    ]


def test_a_report_about_an_address_of_others_says_so() -> None:
    assert report(FOREIGN) == [
        "Address:      fd00::7",
        "Served by:    nobody",
        "Balance:      failover",
        "This node:    no member",
        "Preempts:     no",
        "Term:         0",
        "Member:       node_4, gone, priority 50, heard 9.00 s ago",
        "Member:       39 more",
        "Clients:      0",
    ]


def test_a_check_without_a_time_is_good_or_bad_all_the_same() -> None:
    (line,) = (
        line for line in report({**FOREIGN, "checks": [{**CHECKS[0], "since_ms": None}]}) if "tcp" in line
    )
    assert line == "Check:        tcp:80, good, took 0.412 ms"


def test_a_member_that_is_not_heard_is_gone_whatever_it_said_last() -> None:
    assert [member_state(member) for member in MEMBERS] == ["backup", "active", "fault", "gone"]


def test_there_is_nothing_to_remark_on_a_complete_list() -> None:
    assert remarks(Vips({"draining": False, "addresses_total": 2}, (SERVED, FOREIGN))) == []
    assert len(remarks(Vips({"draining": True, "addresses_total": 3}, (SERVED, FOREIGN)))) == 2


def test_a_member_that_is_held_back_says_for_how_long() -> None:
    (line,) = (line for line in report({**SERVED, "held_ms": 12500}) if line.startswith("Preempts:"))
    assert line == "Preempts:     after 30.00 s; held back for 12.50 s, because it has been too often"


def test_where_flows_are_shared_each_member_tells_how_many_it_has() -> None:
    shared = {**MEMBERS[1], "balance": "flow", "clients": 3, "flows": 90}
    lines = report({**SERVED, "balance": "flow", "members": [shared]})
    assert (
        "Member:       node_2, active, priority 100, weight 10, 3 clients, 90 flows of this node, "
        "heard 0.31 s ago" in lines
    )
