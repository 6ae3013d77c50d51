"""Asking the daemon for its statistics, which only pytinc's has (`info --json`, `top`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytinc.control.messages import Request
from pytinc.control.statistics import Statistics, parse_rows
from pytinc.errors import ControlError, DecodeError

if TYPE_CHECKING:
    from pytinc.control.client import ControlClient


def statistics(client: ControlClient) -> Statistics | None:
    """Return the statistics of the daemon, None from one that has none: a C daemon, or an older pytinc."""
    lines = client.dump_if_known(Request.DUMP_STATISTICS)
    if lines is None:
        return None
    try:
        return parse_rows(lines)
    except DecodeError as error:
        raise ControlError("Unable to parse dump from tincd.") from error
