"""top: what its tabs show, without a screen."""

from __future__ import annotations

import time
from typing import Any

import pytest

from cli.node_rows import ALL
from cli.test_shared import GUARD, NOW, SHARED, USED
from cli.vip_answers import FOREIGN, SERVED
from pytinc.cli.top_views import (
    ADDRESS_HEADING,
    EDGE_HEADING,
    EVENT_HEADING,
    NO_ADDRESSES,
    NOT_TOLD,
    Events,
    Path,
    Table,
    address_lines,
    edge_lines,
    paths_of_rows,
    paths_of_statistics,
)
from pytinc.control.messages import EdgeRow, NodeRow, SubnetRow, TrafficRow
from pytinc.control.shared import Shared
from pytinc.control.statistics import Statistics
from pytinc.control.vips import Vips

FIRST = [TrafficRow("alpha", 10, 1000, 0, 0), TrafficRow("beta", 5, 0, 1, 62)]


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(time, "time", lambda: NOW)


def polled_twice(*, traffic: bool = True) -> Table:
    table = Table("vpn")
    if traffic:
        table.press("d")
    table.update(FIRST, 100.0)
    table.update([TrafficRow("alpha", 14, 1248, 0, 0), TrafficRow("beta", 5, 0, 2, 124)], 102.0)
    return table


def test_the_title_is_the_one_of_tinc() -> None:
    assert polled_twice().title() == "Tinc vpn               Nodes:    2  Sort: name        Current"


# -- tinc's table --


def test_the_columns_line_up_with_their_headings() -> None:
    table = polled_twice()
    assert table.heading() == "Node                IN pkts   IN bytes   OUT pkts  OUT bytes"
    assert [text for _, text in table.lines()] == [
        "alpha                     2        124          0          0",
        "beta                      0          0          0         31",
    ]


def test_the_first_poll_has_no_rates_but_totals() -> None:
    table = Table("vpn")
    table.press("d")
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
        table.press(key)
        assert "".join(text[0] for _, text in table.lines()) == order, key


def test_units_divide_the_numbers() -> None:
    table = polled_twice()
    table.press("c")
    table.press("k")
    assert "IN kbyte" in table.heading()
    assert table.lines()[0][1].split() == ["alpha", "14", "1", "0", "0"]
    table.press("M")
    assert table.heading().split()[1:] == ["IN", "kpkt", "IN", "Mbyte", "OUT", "kpkt", "OUT", "Mbyte"]


def test_keys_without_a_meaning_do_nothing() -> None:
    table = polled_twice()
    before = table.lines()
    table.press("z")
    assert table.lines() == before


# -- paths --

DROPS = dict.fromkeys(("no_key", "oversized"), 2)
UNKNOWN: dict[str, Any] = {
    "path": "none",
    "relay": None,
    "rtt_us": None,
    "pmtu": None,
    "key_age_s": None,
    "fast_tag_sending": None,
    "macs": 0,
    "drops": DROPS,
}
TOLD = Statistics(
    {},
    {
        "alpha": UNKNOWN
        | {"path": "relayed", "relay": "hub", "rtt_us": 1234, "pmtu": 1439, "key_age_s": 3599, "macs": 12}
        | {"fast_tag_sending": True, "drops": {"no_key": 9}},
        "beta": UNKNOWN,
    },
)


def test_the_first_view_has_path_round_trip_drops_bit_rates_and_macs() -> None:
    table = polled_twice(traffic=False)
    table.update_paths(paths_of_statistics(TOLD))
    wide = [table.heading(), *(text for _, text in table.lines())]
    assert [text[:79] for text in wide] == [
        "Node             path            RTT ms  dropped    IN bit/s   OUT bit/s  MACs ",
        "alpha            via hub          1.234        9         992           0    12 ",
        "beta             -                    -        4           0         248     0 ",
    ]
    assert [text[79:] for text in wide] == [
        " PMTU key age s   tag",
        " 1439      3599  fast",
        "    -         -     -",
    ]
    table.press("k")
    assert "IN kbit/s" in table.heading()
    assert "0.99        0.00" in table.lines()[0][1]
    table.press("c")
    assert "IN kbyte" in table.heading()
    assert "1.25        0.00" in table.lines()[0][1]
    table.press("d")
    assert "IN pkts" in table.heading()


def test_paths_are_sorted_by_round_trip_or_drops() -> None:
    table = polled_twice(traffic=False)
    table.update_paths(paths_of_statistics(TOLD))
    table.press("r")
    assert "Sort: round trip" in table.title()
    assert [text[0] for _, text in table.lines()] == ["a", "b"]
    table.update_paths({"alpha": Path("UDP", 10, dropped=0), "beta": Path("UDP", 20, dropped=1)})
    assert [text[0] for _, text in table.lines()] == ["b", "a"]
    table.press("x")
    assert [text[0] for _, text in table.lines()] == ["b", "a"]


def test_a_node_without_a_path_yet_has_a_line() -> None:
    table = polled_twice(traffic=False)
    table.update_paths({})
    assert [text.split()[0] for _, text in table.lines()] == ["alpha", "beta"]


def test_the_words_for_a_path() -> None:
    words = {
        ("self", None): "self",
        ("udp", None): "UDP",
        ("relayed", "hub"): "via hub",
        ("tcp", None): "TCP",
        ("tcp", "hub"): "TCP by hub",
        ("none", None): "-",
    }
    for (path, relay), text in words.items():
        told = Statistics({}, {"a": UNKNOWN | {"path": path, "relay": relay}})
        assert paths_of_statistics(told)["a"].words == text


C_ROWS = "\n".join(ALL)


def test_the_lists_of_a_c_daemon_tell_paths_as_well() -> None:
    subnets = [
        SubnetRow("2:0:0:0:0:1", "beta"),
        SubnetRow("fd00::/16", "beta"),
        SubnetRow("10.0.0.1", "beta"),
    ]
    paths = paths_of_rows(map(NodeRow.parse, C_ROWS.splitlines()), subnets)
    assert {name: path.words for name, path in paths.items()} == {
        "alpha": "self",
        "beta": "UDP",
        "delta": "-",
        "far": "via beta",
        "mute": "-",
        "tcp": "TCP",
        "slow": "TCP by tcp",
    }
    assert paths["beta"] == Path("UDP", 632, dropped=None, macs=1, pmtu=1439)


# -- edges --


def test_a_link_has_one_line_and_one_without_its_other_end_is_dim() -> None:
    edges = [
        "18 4 alpha beta 192.168.77.2 port 655 192.168.77.1 port 655 700000c 1",
        "18 4 beta alpha 192.168.77.1 port 655 unspec port unspec 700000c 1",
        "18 4 gamma beta fd00::1 port 655 unspec port unspec 7000003 12",
    ]
    lines = edge_lines(map(EdgeRow.parse, edges))
    assert [style for style, _ in lines] == ["normal", "dim"]
    first, second = (text for _, text in lines)
    assert first.split() == ["alpha", "<->", "beta", "1", "192.168.77.2", "port", "655"]
    assert second.split() == [
        "gamma",
        "-->",
        "beta",
        "12",
        "fd00::1",
        "port",
        "655",
        "indirect,",
        "TCP",
        "only",
    ]
    assert first.index("192.") == EDGE_HEADING.index("address")
    assert second.index("indirect") == EDGE_HEADING.index("options")


# -- addresses --


def vips(*addresses: dict[str, Any]) -> Vips:
    return Vips({"draining": False, "addresses_total": len(addresses)}, addresses)


def test_addresses_have_their_members_and_holders() -> None:
    lines = address_lines(vips(SERVED, FOREIGN), Shared(GUARD, (SHARED | {"address": "10.1.1.20"}, USED)))
    words = "10.1.1.10 by node_2              virtual IP        12  failover, term 4, frozen; "
    assert lines[0] == ("bold", f"{words}19:56:14 alpha was drained")
    assert lines[1] == (
        "normal",
        "    alpha                        backup             -  priority 150, weight 10",
    )
    assert lines[4][0] == "dim"
    assert "silent" in lines[4][1]
    assert lines[5][1].startswith("fd00::7 by nobody ")
    shared = [text for _, text in lines if text.startswith("10.1.1.20")]
    assert shared == [
        "10.1.1.20                        shared             2  19:57:04 node_2 silent, to node_3 in 0.41 s"
    ]
    assert any("node_3" in text and "round trip 0.632 ms" in text for _, text in lines)
    assert not any(text.startswith("fd00::7  ") for _, text in lines), "it has only one holder"
    assert lines[0][1].index("12  failover") == ADDRESS_HEADING.index("clients") + 5


def test_an_address_with_members_is_not_shown_twice() -> None:
    lines = address_lines(vips(SERVED), Shared(GUARD, (SHARED,)))
    assert sum(text.startswith("10.1.1.10") for _, text in lines) == 1


def test_without_addresses_that_is_said() -> None:
    assert address_lines(vips(), Shared(GUARD, (USED,))) == [("dim", NO_ADDRESSES)]
    assert address_lines(None, None) == [("dim", NOT_TOLD)]
    assert len(address_lines(None, Shared(GUARD, (SHARED,)))) == 3


# -- events --


def event(seq: int, kind: str, **fields: object) -> dict[str, Any]:
    return {"seq": seq, "time": NOW + seq / 1000, "kind": kind, **fields}


def test_events_are_shown_the_latest_first_and_gaps_are_told() -> None:
    events = Events()
    events.add([event(3, "reload"), event(4, "node-down", node="beta")])
    events.add([])
    events.add([event(7, "suspect", node="beta")])
    assert events.last == 7
    assert events.lines() == [
        ("normal", "19:57:16.007  suspect         beta does not answer probes"),
        ("dim", "(2 events are forgotten)"),
        ("bold", "19:57:16.004  node-down       beta became unreachable"),
        ("normal", "19:57:16.003  reload          the configuration was read again"),
    ]
    assert events.lines()[0][1].index("suspect") == EVENT_HEADING.index("kind")
