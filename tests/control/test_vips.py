"""Rows of DUMP_VIPS and orders: one side parses the rows that the other formats, and refuses all others."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.control.client import MAX_LINE
from pytinc.control.vips import (
    ADDRESS_FIELDS,
    MAX_ROW,
    MAX_TEXT,
    VERBS,
    Drain,
    Freeze,
    Move,
    Order,
    Thaw,
    Undrain,
    format_address,
    format_order,
    format_outcome,
    format_policy,
    one_line,
    parse_address,
    parse_order,
    parse_outcome,
    parse_rows,
    text_of,
)
from pytinc.errors import DecodeError
from pytinc.wire.names import MAX_NAME_LENGTH

POLICY: dict[str, Any] = {"draining": False, "addresses_total": 1}
MEMBER: dict[str, Any] = {
    "node": "node_2",
    "state": "active",
    "priority": 150,
    "heard_ms": 310,
    "alive": True,
    "balance": "client",
    "weight": 20,
    "guardian": "node_4",
    "clients": 34,
    "flows": None,
}
CHECK: dict[str, Any] = {
    "check": "http://127.0.0.1/health",
    "node": "node_2",
    "well": None,
    "detail": "status 503, not 200 to 399",
    "took_us": 412,
    "since_ms": None,
}
TRANSITION: dict[str, Any] = {
    "ago_ms": 61000,
    "state": "backup",
    "owner": "node_2",
    "reason": "node_1 is silent",
}
ADDRESS: dict[str, Any] = {
    "address": "10.1.1.10",
    "owner": "node_2",
    "state": "backup",
    "term": 4,
    "frozen": False,
    "balance": "client",
    "preempt_ms": None,
    "held_ms": 0,
    "members_total": 1,
    "members": [MEMBER],
    "checks": [CHECK],
    "clients": 12,
    "transitions": [TRANSITION],
}

# -- rows ----------------------------------------------------------------------------------------------------


def rows(policy: dict[str, Any] = POLICY, **changes: object) -> list[str]:
    return [format_policy(policy), format_address({**ADDRESS, **changes})]


def test_what_is_formatted_is_parsed() -> None:
    stranger = {
        **ADDRESS,
        "address": "fd00::1",
        "owner": None,
        "state": None,
        "checks": [],
        "transitions": [],
    }
    told = parse_rows([*rows(), format_address(stranger)])
    assert told.policy == POLICY
    assert told.addresses == (ADDRESS, stranger)


def test_rows_differ_from_the_end_by_their_words() -> None:
    assert all(row.startswith("18 4098 ") and len(row.split()) > 2 for row in rows())


LONG = "n" * MAX_NAME_LENGTH


@pytest.mark.parametrize(("members", "transitions"), [(32, 16), (1000, 0), (1, 100), (1000, 100)])
def test_a_row_fits_the_client_even_with_the_longest_names(members: int, transitions: int) -> None:
    text = "\u00fc" * MAX_TEXT
    row = format_address(
        {
            **ADDRESS,
            "owner": LONG,
            "members": [{**MEMBER, "node": LONG, "priority": number} for number in range(members)],
            "members_total": members,
            "checks": [{**CHECK, "check": text, "detail": text}] * 8,
            "transitions": [
                {**TRANSITION, "owner": LONG, "reason": text, "ago_ms": number}
                for number in range(transitions)
            ],
        }
    )
    assert len(row) <= MAX_ROW < MAX_LINE
    (told,) = parse_rows([*rows()[:1], row]).addresses
    assert (told["members_total"], len(told["checks"])) == (members, 8)
    # The first of both remain: the most important ones.
    kept = [member["priority"] for member in told["members"]]
    assert kept == list(range(len(kept)))
    kept = [change["ago_ms"] for change in told["transitions"]]
    assert kept == list(range(len(kept)))


def test_with_ordinary_names_everything_fits() -> None:
    (told,) = parse_rows(
        rows(members=[MEMBER] * 32, checks=[CHECK] * 8, transitions=[TRANSITION] * 16)
    ).addresses
    assert [len(told[name]) for name in ("members", "checks", "transitions")] == [32, 8, 16]


def test_fields_and_kinds_of_a_newer_daemon_are_left_out() -> None:
    newer = rows(
        {**POLICY, "mood": "good"},
        colour="blue",
        members=[{**MEMBER, "shoes": 2}],
        checks=[{**CHECK, "hat": 1}],
        transitions=[{**TRANSITION, "witnesses": 3}],
    )
    told = parse_rows([*newer, '18 4098 moon {"x":1}'])
    assert told.policy == POLICY
    assert told.addresses == (ADDRESS,)
    assert set(told.addresses[0]) == set(ADDRESS_FIELDS)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["18 4098 policy"],
        ["18 4098 policy []"],
        ["18 4098 policy {}"],
        rows()[1:],
        [rows()[0], "18 4098 address {}"],
        rows({**POLICY, "draining": 1}),
        rows({**POLICY, "addresses_total": -1}),
        rows(address=None),
        rows(address="10.1.1.10/24"),
        rows(address="10.1.1.10#5"),
        rows(address="02:00:00:00:00:01"),
        rows(address="somewhere"),
        rows(owner="a b"),
        rows(owner="a\x1b[31m"),
        rows(term=1.5),
        rows(term=2**63),
        rows(frozen=None),
        rows(members=None),
        rows(members=[None]),
        rows(members=[{**MEMBER, "alive": 1}]),
        rows(checks=[{**CHECK, "well": 1}]),
        rows(checks=[{**CHECK, "detail": "two\nlines"}]),
        rows(checks=[{**CHECK, "check": "\x1b[31mred"}]),
        rows(transitions=[{**TRANSITION, "reason": None}]),
        rows(transitions=[{**TRANSITION, "reason": "\u202eevil"}]),
        rows(transitions=[{**TRANSITION, "state": "a b"}]),
    ],
)
def test_other_rows_are_refused(lines: list[str]) -> None:
    with pytest.raises(DecodeError):
        parse_rows(lines)


@given(st.lists(st.text() | st.from_regex(r"18 4098 (policy|address) \{.*\}")))
def test_any_rows_raise_nothing_but_decode_errors(lines: list[str]) -> None:
    with suppress(DecodeError):
        parse_rows(lines)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*ADDRESS, *MEMBER, *CHECK]), inner)
    ),
    max_leaves=8,
)


@given(st.sampled_from([name for name in ADDRESS if name not in ("members", "transitions")]), VALUES)
def test_any_field_raises_nothing_but_decode_errors(name: str, value: object) -> None:
    with suppress(DecodeError):
        parse_rows([format_policy(POLICY), format_address({**ADDRESS, name: value})])


# -- orders --------------------------------------------------------------------------------------------------

ADDRESSES = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)
ORDERS: st.SearchStrategy[Order] = st.one_of(
    st.just(Drain()),
    st.just(Undrain()),
    st.builds(Move, ADDRESSES, st.from_regex(r"[A-Za-z0-9_]{1,20}", fullmatch=True)),
    st.builds(Freeze, ADDRESSES),
    st.builds(Thaw, ADDRESSES),
)


@given(ORDERS)
def test_an_order_is_understood(order: Order) -> None:
    words = format_order(order)
    assert parse_order(words) == order
    assert words[0] in VERBS
    assert all(word.isascii() and len(word.split()) == 1 for word in words)


def test_the_words_of_an_order_are_those_of_the_command_line() -> None:
    assert format_order(Move(bytes((10, 1, 1, 10)), "node_3")) == ["move", "10.1.1.10", "node_3"]
    assert format_order(Freeze(bytes(15) + b"\1")) == ["freeze", "::1"]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["dance"],
        ["drain", "node_1"],
        ["undrain", "10.1.1.10"],
        ["move"],
        ["move", "10.1.1.10"],
        ["move", "10.1.1.10", "a-b"],
        ["move", "node_3", "10.1.1.10"],
        ["move", "10.1.1.10", "node_3", "now"],
        ["freeze"],
        ["freeze", "10.1.1.10/24"],
        ["thaw", "02:00:00:00:00:01"],
        ["DRAIN"],
    ],
)
def test_other_words_are_no_order(words: list[str]) -> None:
    with pytest.raises(DecodeError):
        parse_order(words)


@given(st.lists(st.sampled_from(VERBS) | st.text(max_size=20), max_size=4))
def test_any_words_raise_nothing_but_decode_errors(words: list[str]) -> None:
    with suppress(DecodeError):
        assert format_order(parse_order(words))[0] == words[0]


@given(ADDRESSES)
def test_an_address_is_read_as_it_is_written(address: bytes) -> None:
    assert parse_address(text_of(address)) == address


# -- outcomes ------------------------------------------------------------------------------------------------


def test_an_outcome_is_one_line() -> None:
    assert format_outcome(None) == "18 4099 0"
    assert format_outcome("node_3 is\nno  member") == "18 4099 -2 node_3 is no member"


@given(st.none() | st.text())
def test_an_outcome_is_understood(refusal: str | None) -> None:
    told = parse_outcome(format_outcome(refusal))
    if refusal is None:
        assert told is None
    else:
        assert told == (one_line(refusal) or "for no reason given")


@pytest.mark.parametrize(
    "line", ["", "18", "18 -1", "18 4099", "18 4098 0", "18 4099 1", "18 4099 0 yes", "18 4099 -2 \x1b[31m"]
)
def test_another_line_is_no_outcome(line: str) -> None:
    with pytest.raises(DecodeError):
        parse_outcome(line)


@given(st.text())
def test_any_outcome_raises_nothing_but_decode_errors(line: str) -> None:
    with suppress(DecodeError):
        parse_outcome(line)


@given(st.text(max_size=2000))
def test_a_text_for_people_is_bounded_and_can_be_printed(text: str) -> None:
    line = one_line(text)
    assert len(line) <= MAX_TEXT
    assert line.isprintable()
    assert line == line.strip()


def test_a_long_text_is_cut_visibly() -> None:
    assert one_line("x" * MAX_TEXT) == "x" * MAX_TEXT
    assert one_line("x" * (MAX_TEXT + 1)) == "x" * (MAX_TEXT - 3) + "..."
