"""Times as the lists and reports show them."""

from __future__ import annotations

import time

from pytinc.control.messages import NOT_PARSED
from pytinc.errors import ControlError


def milliseconds(microseconds: int) -> str:
    """Return a time in microseconds as milliseconds with three decimals; likewise milliseconds as seconds."""
    return f"{microseconds // 1000}.{microseconds % 1000:03}"


def seconds(thousandths: int) -> str:
    """Return a time in milliseconds as seconds, with two decimals below 100 s and none above."""
    value = thousandths / 1000
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


def local_time(when: float, form: str) -> str:
    """Return seconds since 1970 as local time in a form of strftime.

    Raises `ControlError`: a daemon told what no calendar has.
    """
    try:
        return time.strftime(form, time.localtime(when))
    except (OverflowError, ValueError, OSError) as error:
        raise ControlError(NOT_PARSED) from error


def local_milliseconds(when: float, form: str) -> str:
    """Return what `local_time` does, with milliseconds at the end."""
    thousandths = round(when * 1000)
    return f"{local_time(thousandths // 1000, form)}.{thousandths % 1000:03}"


def clock_time(ago_ms: int, form: str) -> str:
    """Return the local time of something that happened ``ago_ms`` ago, in a form of strftime."""
    return local_time(time.time() - ago_ms / 1000, form)


def age(thousandths: int) -> str:
    """Return a time in milliseconds in whole seconds, minutes, hours or days, short enough for a table."""
    count = thousandths // 1000
    for unit, size in (("s", 60), ("min", 60), ("h", 24)):
        if count < 2 * size:
            return f"{count} {unit}"
        count //= size
    return f"{count} d"
