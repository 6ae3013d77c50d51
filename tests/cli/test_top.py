"""top: what the screen shows, without a screen."""

from __future__ import annotations

from pytinc.cli.top import NO_PATHS, Table
from pytinc.control.messages import TrafficRow
from pytinc.control.statistics import Statistics

FIRST = [TrafficRow("alpha", 10, 1000, 0, 0), TrafficRow("beta", 5, 0, 1, 62)]


def polled_twice() -> Table:
    table = Table("vpn")
    table.update(FIRST, 100.0)
    table.update([TrafficRow("alpha", 14, 1248, 0, 0), TrafficRow("beta", 5, 0, 2, 124)], 102.0)
    return table


def test_the_title_is_the_one_of_tinc() -> None:
    assert polled_twice().title() == "Tinc vpn               Nodes:    2  Sort: name        Current"


def test_the_columns_line_up_with_their_headings() -> None:
    table = polled_twice()
    assert table.heading() == "Node                IN pkts   IN bytes   OUT pkts  OUT bytes"
    assert [text for _, text in table.lines()] == [
        "alpha                     2        124          0          0",
        "beta                      0          0          0         31",
    ]


def test_the_first_poll_has_no_rates_but_totals() -> None:
    table = Table("vpn")
    table.update(FIRST, 100.0)
    assert table.lines()[0] == ("normal", "alpha                     0          0          0          0")
    table.press("c")
    assert table.title().endswith("Cumulative")
    assert table.lines()[0] == ("normal", "alpha                    10       1000          0          0")


def test_active_nodes_are_bold_and_vanished_ones_dim() -> None:
    table = polled_twice()
    assert [style for style, _ in table.lines()] == ["bold", "bold"]
    table.update([TrafficRow("beta", 5, 0, 2, 124)], 103.0)
    assert [style for style, _ in table.lines()] == ["dim", "normal"]
    assert "Nodes:    1" in table.title()


def test_numeric_sorts_descend() -> None:
    table = polled_twice()
    for key, order in {"i": "ab", "o": "ba", "O": "ba", "t": "ab", "T": "ab", "n": "ab"}.items():
        assert table.press(key)
        assert "".join(text[0] for _, text in table.lines()) == order, key


def test_units_divide_the_numbers() -> None:
    table = polled_twice()
    table.press("c")
    table.press("k")
    assert "IN kbyte" in table.heading()
    assert table.lines()[0][1].split() == ["alpha", "14", "1", "0", "0"]
    table.press("M")
    assert table.heading().split()[1:] == ["IN", "kpkt", "IN", "Mbyte", "OUT", "kpkt", "OUT", "Mbyte"]


def test_q_ends_it_and_other_keys_do_nothing() -> None:
    table = polled_twice()
    before = table.lines()
    assert table.press("x")
    assert table.lines() == before
    assert not table.press("q")


DROPS = dict.fromkeys(("no_key", "oversized"), 2)
UNKNOWN = {
    "path": "none",
    "relay": None,
    "rtt_us": None,
    "pmtu": None,
    "key_age_s": None,
    "fast_tag_sending": None,
    "super_frames_sending": None,
    "super_frames_accepting": None,
    "drops": DROPS,
}
TOLD = Statistics(
    {},
    {
        "alpha": UNKNOWN
        | {"path": "relayed", "relay": "hub", "rtt_us": 1234, "pmtu": 1439, "key_age_s": 3599}
        | {"fast_tag_sending": True},
        "beta": UNKNOWN,
    },
)


def test_d_switches_between_traffic_and_paths() -> None:
    table = polled_twice()
    traffic = (table.heading(), table.lines())
    table.press("d")
    assert table.shows_paths
    table.update_paths(TOLD)
    assert table.heading() == (
        "Node                   path     RTT ms  PMTU  key age s   tag    dropped  via"
    )
    assert [text for _, text in table.lines()] == [
        "alpha               relayed      1.234  1439       3599  fast          4  hub",
        "beta                   none          -     -          -     -          4",
    ]
    table.press("d")
    assert (table.heading(), table.lines()) == traffic


def test_a_node_without_a_path_yet_has_a_line() -> None:
    table = polled_twice()
    table.press("d")
    table.update_paths(Statistics({}, {}))
    assert [text.rstrip() for _, text in table.lines()] == ["alpha", "beta"]


def test_top_goes_on_with_a_daemon_that_reports_no_paths() -> None:
    table = polled_twice()
    table.press("d")
    table.update_paths(None)
    assert not table.shows_paths
    assert table.note == NO_PATHS
    assert table.heading() == polled_twice().heading()
    table.press("d")
    table.update_paths(TOLD)
    assert table.note == ""
