from __future__ import annotations

import re

import pytest

from pytinc.lab.outage import Trace
from pytinc.lab.pulse import COLOURED, COLUMNS, PLAIN, Outcome, draw, measure, objections, quiet

SECOND = 100
"""Pings."""


def probe(total: int, lost: set[int] | range = range(0)) -> Trace:
    """What a probe tells that pings every 10 ms from time 10 on: each answer takes 2 ms."""
    trace = Trace()
    for number in range(total):
        # In the middle of its hundredth, so that no rounding moves it to a neighbour's mark.
        when = 10.005 + number / SECOND
        trace.feed(f"ping {number} {when:.6f}\n")
        if number not in lost:
            trace.feed(f"pong {number} {when + 0.002:.6f}\n")
            trace.feed(f"tcp {when:.6f} {when + 0.003:.6f}\n")
    return trace


def outcome(silence: float = 0.34, lost: int = 30, successor: str | None = "node_2") -> Outcome:
    return Outcome("cut off", "pytincd", "node_3", successor, silence, lost, 0.4, 15.0)


def test_a_mark_shows_whether_all_some_or_none_of_its_pings_were_answered() -> None:
    # Five pings a mark; 13 to 27 are lost: the end of the third mark, two whole ones, the start of another.
    line = draw(probe(50, range(13, 28)), 10.5 + 0.101, 10, PLAIN)
    assert line == "##+..+####"


def test_the_last_tenth_of_a_second_is_not_shown_as_lost() -> None:
    trace = probe(2 * SECOND, range(2 * SECOND - 9, 2 * SECOND))
    assert draw(trace, 12.0, 20, PLAIN) == "#" * 20


def test_a_time_without_pings_stays_blank() -> None:
    assert draw(Trace(), 11.0, 4, PLAIN) == "    "
    assert draw(probe(10), 10.201 + 0.1, 4, PLAIN) == "##  "


def test_a_late_answer_does_not_count() -> None:
    trace = probe(5, range(5))
    for number in range(5):
        trace.feed(f"pong {number} 12.000000\n")
    assert draw(trace, 10.151, 1, PLAIN) == "."


def test_a_line_has_the_same_length_with_colours() -> None:
    line = draw(probe(SECOND, range(30, 50)), 11.0, 20, COLOURED)
    assert len(re.sub(r"\[[^]]*\]", "", line)) == 20


def test_quiet_counts_from_the_last_answered_ping() -> None:
    assert quiet(probe(SECOND), 11.0) == 0
    assert quiet(probe(SECOND, range(50, SECOND)), 11.0) == pytest.approx(11.0 - 0.1 - 10.495)
    assert quiet(Trace(), 11.0) == 0


def test_a_fault_is_measured_between_the_pings_that_were_answered() -> None:
    # Cut at the hundredth ping; the next 34 are lost.
    trace = probe(3 * SECOND, range(100, 134))
    found = measure("cut off", "pytincd", ("node_3", "node_2"), 11.0, 13.0)(trace)
    assert found.silence == pytest.approx(0.35)
    assert found.lost == 34
    assert found.connection_gap == pytest.approx(0.35)
    assert found.brief == "silence 0.35 s, 34 pings lost"
    assert found.row() == ("cut off", "pytincd", "node_3 -> node_2", "0.35 s", "34", "0.35 s")


def test_an_unfinished_silence_is_shown_as_a_lower_bound() -> None:
    found = measure("cut", "tincd (C)", ("node_3", None), 11.0, 13.0)(probe(3 * SECOND, range(100, 300)))
    assert not found.moved
    assert found.row()[2:4] == ("node_3 -> nobody", "> 2.0 s")
    assert found.row()[4].startswith("> 1")
    assert len(found.row()) == len(COLUMNS)


def test_without_a_lost_ping_no_silence_is_shown() -> None:
    found = measure("stop", "pytincd", ("node_3", "node_2"), 11.0, 13.0)(probe(3 * SECOND))
    assert (found.lost, found.brief) == (0, "no ping lost")
    assert found.silence == pytest.approx(0.01)
    one = measure("stop", "pytincd", ("node_3", "node_2"), 11.0, 13.0)(probe(3 * SECOND, {120}))
    assert one.brief == "silence 0.02 s, 1 ping lost"


def test_an_address_that_moves_in_time_causes_no_complaint() -> None:
    assert objections([outcome(), outcome(silence=4.9)], 5) == []


def test_an_address_that_stays_or_moves_slowly_causes_a_complaint() -> None:
    bad = [outcome(silence=5.5), outcome(successor=None), outcome(successor="node_3")]
    assert objections(bad, 5) == [
        "cut off: the silence of 5.50 s is over 5 s",
        "cut off: no other node answers after 15 s",
        "cut off: no other node answers after 15 s",
    ]
