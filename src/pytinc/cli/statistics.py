"""Asking the daemon for its statistics, which only pytinc's daemon has (`info --json`, `top`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytinc.control.messages import Request
from pytinc.control.statistics import Statistics, parse_rows

if TYPE_CHECKING:
    from pytinc.control.client import ControlClient


def statistics(client: ControlClient) -> Statistics | None:
    """Return the daemon's statistics; None if it has none: a C daemon, or an older pytinc."""
    return client.parsed_dump_if_known(Request.DUMP_STATISTICS, parse_rows)
