"""Events as rows of the control socket, and back."""

from __future__ import annotations

import json

import pytest

from pytinc.control.events import MAX_ROW, format_event, format_ring, parse_dump, parse_event, parse_ring
from pytinc.errors import DecodeError

RING = format_ring(1000.5, 1, 7)
EVENT = format_event(
    7, 1000.6123456789, "silent", {"node": "b", "silence_ms": 161, "detection_ms": None, "behind": ["b", "c"]}
)


def test_rows_are_what_the_document_says() -> None:
    assert RING == '18 4100 ring {"started":1000.5,"first":1,"last":7}'
    assert EVENT == (
        '18 4100 event {"seq":7,"time":1000.612346,"kind":"silent","node":"b","silence_ms":161,'
        '"detection_ms":null,"behind":["b","c"]}'
    )


def test_rows_are_parsed_again() -> None:
    assert parse_ring(RING) == {"started": 1000.5, "first": 1, "last": 7}
    assert parse_event(EVENT)["behind"] == ["b", "c"]
    ring, events = parse_dump([RING, EVENT])
    assert ring["last"] == 7
    assert [event["seq"] for event in events] == [7]


def test_a_row_is_no_longer_than_a_client_reads_however_long_the_names_are() -> None:
    names = [f"{'n' * 2040}{number:03}" for number in range(500)]
    row = format_event(1, 2.0, "silent", {"node": names[0], "behind": names})
    assert MAX_ROW // 2 < len(row) <= MAX_ROW
    behind = parse_event(row)["behind"]
    assert behind == names[: len(behind)]
    assert len(format_event(1, 2.0, "script", {"error": "x" * 2 * MAX_ROW, "behind": names})) > MAX_ROW


def test_a_kind_and_fields_of_a_newer_daemon_are_kept() -> None:
    event = parse_event(format_event(1, 2.0, "eclipse", {"moon": True, "share": 0.5}))
    assert event == {"seq": 1, "time": 2.0, "kind": "eclipse", "moon": True, "share": 0.5}


def test_text_is_made_fit_to_be_shown() -> None:
    event = parse_event(format_event(1, 2.0, "script", {"error": "\x1b[2J\nno", "behind": ["a\rb"]}))
    assert (event["error"], event["behind"]) == ("?[2J?no", ["a?b"])


def row(kind: str, value: object) -> str:
    return f"18 4100 {kind} {json.dumps(value, separators=(',', ':'))}"


GOOD = {"seq": 1, "time": 2.0, "kind": "start"}


@pytest.mark.parametrize(
    "line",
    [
        RING,
        "18 4100",
        "18 4100 event",
        row("event", []),
        row("event", GOOD | {"seq": "1"}),
        row("event", GOOD | {"seq": True}),
        row("event", GOOD | {"seq": -1}),
        row("event", GOOD | {"seq": 2**63}),
        row("event", GOOD | {"time": None}),
        row("event", GOOD | {"kind": "<b>"}),
        row("event", GOOD | {"kind": None}),
        row("event", GOOD | {"two words": 1}),
        row("event", GOOD | {"deep": {"a": 1}}),
        row("event", GOOD | {"list": [1]}),
        row("event", GOOD | {"huge": 2**70}),
        row("event", GOOD | {f"f{number}": 0 for number in range(64)}),
        '18 4100 event {"seq":1,"time":NaN,"kind":"start"}',
        '18 4100 event {"seq":1,"time":1e999,"kind":"start"}',
    ],
)
def test_what_is_no_event_is_refused(line: str) -> None:
    with pytest.raises(DecodeError):
        parse_event(line)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [EVENT],
        [row("ring", {"started": 1.0, "first": 1})],
        [row("ring", {"started": "1", "first": 1, "last": 1})],
        [RING, RING],
    ],
)
def test_a_dump_begins_with_its_ring(lines: list[str]) -> None:
    with pytest.raises(DecodeError):
        parse_dump(lines)
