"""Times as lists and reports show them."""

from __future__ import annotations

import time

import pytest

from pytinc.cli.times import age, clock_time, local_milliseconds, milliseconds, seconds
from pytinc.errors import ControlError


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0.000"), (632, "0.632"), (1000, "1.000"), (65_432_100, "65432.100")],
)
def test_milliseconds_have_three_decimals(value: int, text: str) -> None:
    assert milliseconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0.00"), (1234, "1.23"), (99_990, "99.99"), (100_000, "100"), (3_600_400, "3600")]
)
def test_seconds_lose_their_decimals_from_a_hundred_on(value: int, text: str) -> None:
    assert seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 s"),
        (119_999, "119 s"),
        (120_000, "2 min"),
        (7_199_999, "119 min"),
        (7_200_000, "2 h"),
        (172_799_999, "47 h"),
        (172_800_000, "2 d"),
        (2**63, "106751991167 d"),
    ],
)
def test_an_age_is_short(value: int, text: str) -> None:
    assert age(value) == text


def test_a_clock_time_is_local_and_so_long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_700_000_000.0)
    monkeypatch.setenv("TZ", "UTC-2")
    time.tzset()
    try:
        assert clock_time(20_000, "%Y-%m-%d %H:%M:%S") == "2023-11-15 00:13:00"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_time_has_milliseconds_and_one_that_no_calendar_has_is_an_error() -> None:
    assert local_milliseconds(1_700_000_000.25, "%S") == "20.250"
    with pytest.raises(ControlError):
        local_milliseconds(1e300, "%S")
