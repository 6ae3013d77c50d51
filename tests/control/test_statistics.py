"""The rows of DUMP_STATISTICS: what one side formats the other parses, and nothing else gets through."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.control.statistics import (
    DAEMON,
    DAEMON_FIELDS,
    DROPS,
    NODE,
    NODE_FIELDS,
    format_row,
    parse_rows,
)
from pytinc.datapath.peer_slot import Drops
from pytinc.errors import DecodeError

NO_DROPS = dict.fromkeys(DROPS, 0)
DAEMON_VALUES: dict[str, Any] = {
    **dict.fromkeys(DAEMON_FIELDS, 7),
    "lag_max_us": None,
    "device_offloads": ["checksum", "TSO4"],
    "udp_offloads": [],
    "drops": NO_DROPS,
    "requests_in": {"PING": 12, "ADD_EDGE": 3},
    "requests_out": {},
}
NODE_VALUES: dict[str, Any] = {
    **dict.fromkeys(NODE_FIELDS, 5),
    "path": "udp",
    "relay": None,
    "rtt_us": None,
    "fast_tag_sending": True,
    "fast_tag_accepting": None,
    "super_frames_sending": False,
    "super_frames_accepting": True,
    "cipher": "chacha20-poly1305",
    "super_frames_cipher": None,
    "runs_pytinc": None,
    "drops": NO_DROPS | {"no_key": 3},
}


def rows(node: dict[str, Any] = NODE_VALUES, daemon: dict[str, Any] = DAEMON_VALUES) -> list[str]:
    return [format_row(DAEMON, daemon), format_row(NODE, {"name": "beta", **node})]


def test_what_is_formatted_is_parsed() -> None:
    told = parse_rows(rows())
    assert told.daemon == DAEMON_VALUES
    assert told.nodes == {"beta": NODE_VALUES}


def test_rows_differ_from_the_end_by_their_words() -> None:
    assert all(row.startswith("18 4096 ") and len(row.split()) == 4 for row in rows())


def test_reasons_are_those_of_the_data_path() -> None:
    assert tuple(field.name for field in fields(Drops)) == DROPS


def test_a_row_fits_the_client_with_the_longest_names() -> None:
    from pytinc.control.client import MAX_LINE

    node: dict[str, Any] = dict.fromkeys(NODE_FIELDS, 2**64) | {"path": "relayed", "relay": "r" * 2048}
    node["drops"] = dict.fromkeys(DROPS, 2**64)
    assert len(format_row(NODE, {"name": "n" * 2048, **node})) < MAX_LINE


def test_fields_and_kinds_of_a_newer_daemon_are_left_out() -> None:
    newer = [
        *rows({**NODE_VALUES, "colour": "blue", "drops": {**NO_DROPS, "bored": 1}}),
        '18 4096 moon {"x":1}',
    ]
    told = parse_rows(newer)
    assert set(told.nodes["beta"]) == set(NODE_FIELDS)
    assert set(told.nodes["beta"]["drops"]) == set(DROPS)


def test_reasons_that_are_left_out_count_zero() -> None:
    told = parse_rows(rows({**NODE_VALUES, "drops": {"no_key": 3}}))
    assert told.nodes == {"beta": NODE_VALUES}


def test_an_older_daemon_that_does_not_report_fast_tag_and_offloads_is_understood() -> None:
    tags = ("fast_tag_sending", "fast_tag_accepting", "super_frames_sending", "super_frames_accepting")
    added = (
        *tags,
        "cipher",
        "super_frames_cipher",
        "device_offloads",
        "udp_offloads",
        "requests_in",
        "requests_out",
        "graph_runs",
    )
    older = [
        {key: values[key] for key in values if key not in added} for values in (NODE_VALUES, DAEMON_VALUES)
    ]
    told = parse_rows(rows(*older))
    assert (told.daemon["device_offloads"], told.daemon["udp_offloads"]) == ([], [])
    assert (told.daemon["requests_in"], told.daemon["graph_runs"]) == (None, None)
    assert told.nodes["beta"]["fast_tag_sending"] is None


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["18 4096 daemon"],
        ["18 4096 daemon {"],
        ["18 4096 daemon []"],
        ["18 4096 daemon " + "[" * 4000],
        ["18 4096 daemon {}"],
        rows()[1:],
        [rows()[0], '18 4096 node {"path":"udp"}'],
        rows({**NODE_VALUES, "macs": True}),
        rows({**NODE_VALUES, "macs": 1.5}),
        rows({**NODE_VALUES, "path": None}),
        rows({**NODE_VALUES, "fast_tag_sending": 1}),
        rows(daemon={**DAEMON_VALUES, "udp_offloads": [1]}),
        rows(daemon={**DAEMON_VALUES, "udp_offloads": "GSO"}),
        rows({**NODE_VALUES, "drops": None}),
        rows({**NODE_VALUES, "drops": {**NO_DROPS, "short": "1"}}),
    ],
)
def test_other_rows_are_refused(lines: list[str]) -> None:
    with pytest.raises(DecodeError):
        parse_rows(lines)


@given(st.lists(st.text() | st.from_regex(r"18 4096 (daemon|node) \{.*\}")))
def test_any_rows_raise_nothing_but_decode_errors(lines: list[str]) -> None:
    with suppress(DecodeError):
        parse_rows(lines)
