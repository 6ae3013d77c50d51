"""The pid file: five words, one of them a secret."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.control.pidfile import PidFile
from pytinc.errors import DecodeError

COOKIE = "9D43B81CF40ABAD0E9C3DE0F2722365FF3FEBD4CDC922AE9900DA093657CD1DE"
LINE = f"26864 {COOKIE} 127.0.0.1 port 39607\n"


def test_the_line_of_a_real_daemon_survives_parsing_and_formatting() -> None:
    parsed = PidFile.parse(LINE)
    assert parsed == PidFile(26864, COOKIE, "127.0.0.1", "39607")
    assert parsed.format() == LINE


def test_the_cookie_is_not_shown() -> None:
    assert COOKIE not in repr(PidFile.parse(LINE))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        LINE.replace("port", "PORT"),
        LINE.strip() + " more",
        LINE.replace("26864", "x"),
        LINE.replace("26864", "²"),
        LINE.replace("26864", "-1"),
        LINE.replace("26864", "9" * 30),
        LINE.replace(COOKIE, COOKIE[1:]),
        LINE.replace(COOKIE, "^" * 64),
    ],
)
def test_anything_else_is_not_a_pid_file(text: str) -> None:
    with pytest.raises(DecodeError):
        PidFile.parse(text)


@given(st.text(max_size=200))
def test_parsing_raises_nothing_but_decode_errors(text: str) -> None:
    with contextlib.suppress(DecodeError):
        PidFile.parse(text)
