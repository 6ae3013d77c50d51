"""The rows of DUMP_SHARED: one side parses the rows that the other formats, and refuses all others."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.control.client import MAX_LINE
from pytinc.control.shared import (
    ADDRESS_FIELDS,
    COUNTERS,
    FAILOVER_FIELDS,
    GUARD_FIELDS,
    MAX_CLIENTS,
    MAX_HOLDERS,
    MAX_ROW,
    format_address,
    format_guard,
    parse_rows,
)
from pytinc.errors import DecodeError
from pytinc.vip.views import GuardCounters
from pytinc.wire.names import MAX_NAME_LENGTH

GUARD: dict[str, Any] = {**dict.fromkeys(GUARD_FIELDS, 7), "enabled": True, "last_failover_ms": None}
HOLDER: dict[str, Any] = {
    "mac": "02:00:00:00:00:03",
    "node": "node_3",
    "state": "alive",
    "rtt_us": 632,
    "answered_ms": 1250,
    "clients": 1,
}
CLIENT: dict[str, Any] = {
    "mac": "02:00:00:00:00:01",
    "address": None,
    "node": "alpha",
    "holder": "02:00:00:00:00:03",
    "idle_ms": 310,
}
FAILOVER: dict[str, Any] = {
    **dict.fromkeys(FAILOVER_FIELDS, 5),
    "reason": "silent",
    "from_node": "node_2",
    "to_node": None,
    "took_ms": None,
}
ADDRESS: dict[str, Any] = {
    "address": "10.1.1.10",
    "shared": True,
    "holders_total": 1,
    "holders": [HOLDER],
    "clients_total": 1,
    "clients": [CLIENT],
    "failover": FAILOVER,
}


def rows(guard: dict[str, Any] = GUARD, **changes: object) -> list[str]:
    return [format_guard(guard), format_address({**ADDRESS, **changes})]


def test_what_is_formatted_is_parsed() -> None:
    told = parse_rows([*rows(), format_address({**ADDRESS, "address": "fd00::1", "failover": None})])
    assert told.guard == GUARD
    assert told.addresses == (ADDRESS, {**ADDRESS, "address": "fd00::1", "failover": None})


def test_rows_differ_from_the_end_by_their_words() -> None:
    assert all(row.startswith("18 4097 ") and len(row.split()) == 4 for row in rows())


def test_counters_are_those_of_the_guard() -> None:
    assert tuple(field.name for field in fields(GuardCounters)) == COUNTERS


LONG = "n" * MAX_NAME_LENGTH
LONG_CLIENT = {**CLIENT, "node": LONG, "address": "fd00:" + "1234:" * 6 + "1"}


def longest() -> dict[str, Any]:
    holder = {**HOLDER, "node": LONG, "state": "unreachable", "answered_ms": 2**62, "rtt_us": 2**62}
    return {
        **ADDRESS,
        "holders": [holder] * MAX_HOLDERS,
        "clients": [{**LONG_CLIENT, "idle_ms": number} for number in range(MAX_CLIENTS)],
        "clients_total": 4096,
        "failover": {**FAILOVER, "from_node": LONG, "to_node": LONG},
    }


def test_a_row_fits_the_client_with_the_longest_names_for_which_the_last_clients_are_left_out() -> None:
    row = format_address(longest())
    assert len(row) <= MAX_ROW < MAX_LINE
    (told,) = parse_rows([*rows()[:1], row]).addresses
    assert len(told["holders"]) == MAX_HOLDERS
    assert 0 < len(told["clients"]) < MAX_CLIENTS
    assert [client["idle_ms"] for client in told["clients"]] == list(range(len(told["clients"])))
    assert told["clients_total"] == 4096


def test_with_ordinary_names_all_clients_fit() -> None:
    (told,) = parse_rows(rows(clients=[CLIENT] * MAX_CLIENTS)).addresses
    assert len(told["clients"]) == MAX_CLIENTS


def test_fields_and_kinds_of_a_newer_daemon_are_left_out() -> None:
    newer = rows(
        {**GUARD, "mood": "good"},
        colour="blue",
        holders=[{**HOLDER, "shoes": 2}],
        clients=[{**CLIENT, "hat": 1}],
        failover={**FAILOVER, "witnesses": 3},
    )
    told = parse_rows([*newer, '18 4097 moon {"x":1}'])
    assert told.guard == GUARD
    assert told.addresses == (ADDRESS,)
    assert set(told.addresses[0]) == set(ADDRESS_FIELDS)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["18 4097 guard"],
        ["18 4097 guard {"],
        ["18 4097 guard []"],
        ["18 4097 guard " + "[" * 4000],
        ["18 4097 guard {}"],
        rows()[1:],
        [rows()[0], "18 4097 address {}"],
        rows({**GUARD, "enabled": 1}),
        rows({**GUARD, "probes": True}),
        rows({**GUARD, "probes": -1}),
        rows({**GUARD, "probes": 2**63}),
        rows({**GUARD, "probes": 1.5}),
        rows({**GUARD, "probes": float("nan")}),
        rows(address=None),
        rows(address="10.1.1.10 10.1.1.11"),
        rows(address=""),
        rows(address="10.1.1.10\n"),
        rows(shared=None),
        rows(holders=None),
        rows(holders=[None]),
        rows(holders=[{**HOLDER, "state": None}]),
        rows(holders=[{**HOLDER, "node": "a\x1b[31m"}]),
        rows(clients=[[]]),
        rows(clients=[{**CLIENT, "idle_ms": "5"}]),
        rows(failover=[]),
        rows(failover={**FAILOVER, "from_node": None}),
    ],
)
def test_other_rows_are_refused(lines: list[str]) -> None:
    with pytest.raises(DecodeError):
        parse_rows(lines)


@given(st.lists(st.text() | st.from_regex(r"18 4097 (guard|address) \{.*\}")))
def test_any_rows_raise_nothing_but_decode_errors(lines: list[str]) -> None:
    with suppress(DecodeError):
        parse_rows(lines)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*ADDRESS, *HOLDER]), inner),
    max_leaves=8,
)


@given(st.sampled_from(list(ADDRESS)), VALUES)
def test_any_field_raises_nothing_but_decode_errors(name: str, value: object) -> None:
    with suppress(DecodeError):
        parse_rows([format_guard(GUARD), format_address({**ADDRESS, name: value})])
