"""Times as control rows and events tell them."""

from __future__ import annotations

from pytinc.wire.times import milliseconds


def test_a_time_is_rounded_to_milliseconds_and_never_negative() -> None:
    assert milliseconds(1.2344) == 1234
    assert milliseconds(0.0006) == 1
    assert milliseconds(-0.003) == 0
