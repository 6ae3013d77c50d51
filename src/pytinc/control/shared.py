"""Shared addresses known to pytinc's daemon, as lines of the control socket (docs/json.md). Not in tinc.

The request is `pytinc.control.messages.Request.DUMP_SHARED`. Its answer has the form of every dump: rows,
then an end. Each row is ``18 4097 KIND OBJECT`` where OBJECT is JSON without blanks: first one of KIND
``guard``, then one of KIND ``address`` for each address. All numbers are integers, and texts have no blanks.
The server's side (`pytinc.net.shared`) formats what the client's side (`pytinc.cli.shared`) parses. A C
daemon answers that it does not know the request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pytinc.control.messages import Request
from pytinc.control.objects import (
    COUNT,
    COUNT_OR_NONE,
    FLAG,
    ROWS,
    WORD,
    WORD_OR_NONE,
    Fields,
    Values,
    checked,
    format_object,
    parse_dump,
)
from pytinc.errors import DecodeError

GUARD: Final = "guard"
ADDRESS: Final = "address"

MAX_ROW: Final = 60_000
"""Characters of a row; clients that do not fit are left out. Our client reads lines of up to 64 KiB."""
MAX_HOLDERS: Final = 16
"""Holders reported for an address, those that answered last. More are a mistake or an attack; this many fit
into a row even with the longest names."""
MAX_CLIENTS: Final = 64
"""Clients reported for an address, those that were active last: enough to see which holder serves which
clients."""
MAX_CLIENTS_IN_ALL: Final = 4096
"""Clients reported in one answer: packets wait while it is made."""
MAX_ADDRESSES: Final = 1024
"""Addresses reported in one answer, shared ones first, for the same reason."""

_ROW_OR_NONE: Final = (dict, type(None))
_WHAT: Final = "shared addresses"

COUNTERS: Final = (
    "failovers",
    "suspicions",
    "false_suspicions",
    "stalls",
    "probes",
    "probe_bytes",
    "questions",
    "lone_questions",
    "notices",
    "corrections",
    "rewritten",
    "withheld",
)
"""Counts since the daemon's start: the fields of `pytinc.vip.views.GuardCounters`."""

GUARD_FIELDS: Final[Fields] = {
    "enabled": FLAG,
    "interval_ms": COUNT,
    "watched": COUNT,
    "last_failover_ms": COUNT_OR_NONE,
    "addresses_total": COUNT,
    **dict.fromkeys(COUNTERS, COUNT),
}
"""The fields of the guard, and the types of their values."""
ADDRESS_FIELDS: Final[Fields] = {
    "address": WORD,
    "shared": FLAG,
    "holders_total": COUNT,
    "holders": ROWS,
    "clients_total": COUNT,
    "clients": ROWS,
    "failover": _ROW_OR_NONE,
}
"""The fields of each address."""
HOLDER_FIELDS: Final[Fields] = {
    "mac": WORD,
    "node": WORD_OR_NONE,
    "state": WORD,
    "rtt_us": COUNT_OR_NONE,
    "answered_ms": COUNT,
    "clients": COUNT,
}
"""The fields of each holder; ``clients`` counts the clients that use it."""
CLIENT_FIELDS: Final[Fields] = {
    "mac": WORD,
    "address": WORD_OR_NONE,
    "node": WORD_OR_NONE,
    "holder": WORD_OR_NONE,
    "idle_ms": COUNT,
}
"""The fields of each client; ``holder`` is the MAC address of the holder that it uses."""
FAILOVER_FIELDS: Final[Fields] = {
    "ago_ms": COUNT,
    "reason": WORD,
    "from_node": WORD,
    "to_node": WORD_OR_NONE,
    "silent_ms": COUNT,
    "took_ms": COUNT_OR_NONE,
    "clients": COUNT,
}
"""The fields of the last failover of an address."""


@dataclass(frozen=True, slots=True)
class Shared:
    """The answer to DUMP_SHARED."""

    guard: Values
    """The values of `GUARD_FIELDS`."""
    addresses: tuple[Values, ...]
    """The values of `ADDRESS_FIELDS` for each address, in the daemon's order: shared addresses first."""


def format_guard(values: Mapping[str, object]) -> str:
    """Return the row of the guard."""
    return _row(GUARD, values)


def format_address(values: Mapping[str, Any]) -> str:
    """Return the row of an address, without its last clients if it would be too long."""
    row = _row(ADDRESS, values)
    while len(row) > MAX_ROW and values["clients"]:
        clients = values["clients"]
        values = {**values, "clients": clients[: len(clients) // 2]}
        row = _row(ADDRESS, values)
    return row


def _row(kind: str, values: Mapping[str, object]) -> str:
    return format_object(Request.DUMP_SHARED, kind, values)


def parse_rows(lines: Iterable[str]) -> Shared:
    """Parse the rows of an answer, without unknown fields and kinds. Raises `DecodeError`."""
    rows = parse_dump(lines, _WHAT, {GUARD: _guard, ADDRESS: _address})
    if not rows[GUARD]:
        raise DecodeError("shared addresses without a row of the guard")
    return Shared(rows[GUARD][-1], tuple(rows[ADDRESS]))


def _guard(values: Values) -> Values:
    return checked(values, GUARD_FIELDS, _WHAT)


def _address(values: Values) -> Values:
    told = checked(values, ADDRESS_FIELDS, _WHAT)
    failover = told["failover"]
    return {
        **told,
        "holders": [checked(holder, HOLDER_FIELDS, _WHAT) for holder in told["holders"]],
        "clients": [checked(client, CLIENT_FIELDS, _WHAT) for client in told["clients"]],
        "failover": None if failover is None else checked(failover, FAILOVER_FIELDS, _WHAT),
    }
