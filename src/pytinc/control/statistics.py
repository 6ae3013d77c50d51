"""Statistics of pytinc's daemon as lines of the control socket (docs/json.md). tinc has none.

The request is `pytinc.control.messages.Request.DUMP_STATISTICS`. Its answer has the form of every dump: rows,
then an end. Each row is ``18 4096 KIND OBJECT`` where OBJECT is JSON without blanks: first one of KIND
``daemon``, then one of KIND ``node`` for each node; reasons for drops that never occurred may be left out.
The server's side (`pytinc.net.statistics`) formats what the client's side (`pytinc.cli.statistics`) parses. A
C daemon answers that it does not know the request.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pytinc.control.messages import Request
from pytinc.control.objects import (
    COUNT,
    COUNT_OR_NONE,
    WORD,
    WORD_OR_NONE,
    Fields,
    Values,
    check_types,
    format_object,
    parse_object,
)
from pytinc.errors import DecodeError

DAEMON: Final = "daemon"
NODE: Final = "node"
_FLAG_OR_NONE: Final = (bool, type(None))
_WORDS: Final = (list,)
_COUNTS_OR_NONE: Final = (dict, type(None))
_WHAT: Final = "statistics"
_NAME: Final = re.compile(r"[A-Z_]{1,32}", re.ASCII)

DROPS: Final = (
    "short",
    "looped",
    "unreachable",
    "no_key",
    "no_path",
    "not_for_us",
    "unknown_source",
    "unknown_destination",
    "not_authentic",
    "bad_record",
    "oversized",
    "incomplete",
    "ttl_exceeded",
    "storm",
)
"""The reasons for which frames and datagrams are dropped: the fields of `pytinc.datapath.peer_slot.Drops`."""

DAEMON_FIELDS: Final[Fields] = {
    "uptime_s": COUNT,
    "connections": COUNT,
    "macs": COUNT,
    "own_macs": COUNT,
    "macs_learned": COUNT,
    "macs_moved": COUNT,
    "macs_claimed": COUNT_OR_NONE,
    "frames_returned": COUNT_OR_NONE,
    "lag_max_us": COUNT_OR_NONE,
    "lag_mean_us": COUNT_OR_NONE,
    "device_offloads": _WORDS,
    "udp_offloads": _WORDS,
    "drops": (dict,),
    "requests_in": _COUNTS_OR_NONE,
    "requests_out": _COUNTS_OR_NONE,
    "graph_runs": COUNT_OR_NONE,
}
"""The fields of the daemon, and the types of their values."""
NODE_FIELDS: Final[Fields] = {
    "path": WORD,
    "relay": WORD_OR_NONE,
    "pmtu": COUNT_OR_NONE,
    "rtt_us": COUNT_OR_NONE,
    "key_age_s": COUNT_OR_NONE,
    "fast_tag_sending": _FLAG_OR_NONE,
    "fast_tag_accepting": _FLAG_OR_NONE,
    "super_frames_sending": _FLAG_OR_NONE,
    "super_frames_accepting": _FLAG_OR_NONE,
    "cipher": WORD_OR_NONE,
    "super_frames_cipher": WORD_OR_NONE,
    "runs_pytinc": _FLAG_OR_NONE,
    "macs": COUNT,
    "rx_packets": COUNT,
    "rx_bytes": COUNT,
    "tx_packets": COUNT,
    "tx_bytes": COUNT,
    "drops": (dict,),
}
"""The fields of each node besides its ``name``."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """The answer to DUMP_STATISTICS."""

    daemon: Values
    """The values of `DAEMON_FIELDS`."""
    nodes: Mapping[str, Values]
    """The values of `NODE_FIELDS`, by name of the node."""


def format_row(kind: str, values: Mapping[str, object]) -> str:
    """Return a row; ``values`` are plain numbers, text, flags, None, and lists and dictionaries of them."""
    return format_object(Request.DUMP_STATISTICS, kind, values)


def parse_rows(lines: Iterable[str]) -> Statistics:
    """Parse the rows of an answer, without unknown fields and kinds. Raises `DecodeError`."""
    daemon: Values | None = None
    nodes: dict[str, Values] = {}
    for line in lines:
        kind, values = parse_object(line, _WHAT)
        if kind == DAEMON:
            daemon = _checked(values, DAEMON_FIELDS)
        elif kind == NODE:
            name = values.get("name")
            if not isinstance(name, str):
                raise DecodeError("statistics of a node without a name")
            nodes[name] = _checked(values, NODE_FIELDS)
    if daemon is None:
        raise DecodeError("statistics without a row of the daemon")
    return Statistics(daemon, nodes)


def _checked(values: Values, fields: Fields) -> Values:
    # A daemon that is older than this program does not report its offloads.
    checked = {name: values.get(name, [] if kinds is _WORDS else None) for name, kinds in fields.items()}
    check_types(checked, fields, _WHAT)
    lists = [value for value in checked.values() if isinstance(value, list)]
    if any(type(word) is not str for words in lists for word in words):
        raise DecodeError("statistics with an invalid word")
    for counts in (checked.get("requests_in"), checked.get("requests_out")):
        if any(
            _NAME.fullmatch(name) is None or type(count) is not int for name, count in (counts or {}).items()
        ):
            raise DecodeError("statistics with an invalid counter of requests")
    drops = {reason: values["drops"].get(reason, 0) for reason in DROPS}
    if any(type(count) is not int for count in drops.values()):
        raise DecodeError("statistics with an invalid drop counter")
    return {**checked, "drops": drops}
