"""Virtual IPs by policy, as lines of the control socket (docs/json.md), and orders about them. Not in tinc.

The request `pytinc.control.messages.Request.DUMP_VIPS` has the answer of every dump: rows, then an end.
Each row is ``18 4098 KIND OBJECT`` where OBJECT is JSON: first one of KIND ``policy``, then one of KIND
``address`` for each virtual address. All numbers are integers.

The request VIP_ORDER is ``18 4099 VERB [ADDRESS [NODE]]``. Its answer is ``18 4099 0``, or ``18 4099 -2`` and
the reason why the order is refused, in words for people.

The server's side (`pytinc.net.vips`) formats what the client's side (`pytinc.cli.vip`) parses. A C daemon
answers that it knows neither request.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from pytinc.control.messages import CONTROL, Request, format_result
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
from pytinc.wire.names import parse_name
from pytinc.wire.subnet import SubnetKind, parse_subnet

POLICY: Final = "policy"
ADDRESS: Final = "address"

MAX_ROW: Final = 60_000
"""Characters of a row; transitions and members that do not fit are left out. Our client reads lines of up to
64 KiB."""
MAX_ADDRESSES: Final = 256
"""Virtual addresses reported in one answer: packets wait while it is made. A node may have 64 of its own."""
MAX_TEXT: Final = 256
"""Characters of a text for people; longer ones are cut."""

_FLAG_OR_NONE: Final = (bool, type(None))
_WHAT: Final = "virtual IPs"

POLICY_FIELDS: Final[Fields] = {
    "draining": FLAG,
    "addresses_total": COUNT,
}
"""The fields of the node, and the types of their values."""
ADDRESS_FIELDS: Final[Fields] = {
    "address": WORD,
    "owner": WORD_OR_NONE,
    "state": WORD_OR_NONE,
    "term": COUNT,
    "frozen": FLAG,
    "balance": WORD,
    "preempt_ms": COUNT_OR_NONE,
    "held_ms": COUNT,
    "members_total": COUNT,
    "members": ROWS,
    "checks": ROWS,
    "clients": COUNT,
    "transitions": ROWS,
}
"""The fields of each virtual address."""
MEMBER_FIELDS: Final[Fields] = {
    "node": WORD,
    "state": WORD,
    "priority": COUNT,
    "heard_ms": COUNT_OR_NONE,
    "alive": FLAG,
    "balance": WORD,
    "weight": COUNT,
    "guardian": WORD_OR_NONE,
    "clients": COUNT_OR_NONE,
    "flows": COUNT_OR_NONE,
}
"""The fields of each member; ``heard_ms`` is null for the node that answers, ``clients`` and ``flows`` where
they are not shared or not known."""
CHECK_FIELDS: Final[Fields] = {
    "check": WORD,
    "node": WORD_OR_NONE,
    "well": _FLAG_OR_NONE,
    "detail": WORD,
    "took_us": COUNT_OR_NONE,
    "since_ms": COUNT_OR_NONE,
}
"""The fields of each health check; ``check`` is the text of the configuration, ``node`` the ward that it is
about, or null."""
TRANSITION_FIELDS: Final[Fields] = {
    "ago_ms": COUNT,
    "state": WORD_OR_NONE,
    "owner": WORD_OR_NONE,
    "reason": WORD,
}
"""The fields of each transition."""
_TEXTS: Final = frozenset(("check", "detail", "reason"))
"""Fields with texts for people, which may have blanks."""


@dataclass(frozen=True, slots=True)
class Vips:
    """The answer to DUMP_VIPS."""

    policy: Values
    """The values of `POLICY_FIELDS`."""
    addresses: tuple[Values, ...]
    """The values of `ADDRESS_FIELDS` for each virtual address, in the daemon's order."""


# -- Rows --------------------------------------------------------------------------------------------------


def format_policy(values: Mapping[str, object]) -> str:
    """Return the row of the node."""
    return _row(POLICY, values)


def format_address(values: Mapping[str, Any]) -> str:
    """Return the row of a virtual address, without the last transitions and members that do not fit."""
    row = _row(ADDRESS, values)
    while len(row) > MAX_ROW and (values["members"] or values["transitions"]):
        longest = max(("transitions", "members"), key=lambda name: len(values[name]))
        values = {**values, longest: values[longest][: len(values[longest]) // 2]}
        row = _row(ADDRESS, values)
    return row


def _row(kind: str, values: Mapping[str, object]) -> str:
    return format_object(Request.DUMP_VIPS, kind, values)


def parse_rows(lines: Iterable[str]) -> Vips:
    """Parse the rows of an answer, without unknown fields and kinds. Raises `DecodeError`."""
    rows = parse_dump(lines, _WHAT, {POLICY: _policy, ADDRESS: _address})
    if not rows[POLICY]:
        raise DecodeError("virtual IPs without a row of the node")
    return Vips(rows[POLICY][-1], tuple(rows[ADDRESS]))


def _policy(values: Values) -> Values:
    return checked(values, POLICY_FIELDS, _WHAT)


def _address(values: Values) -> Values:
    told = checked(values, ADDRESS_FIELDS, _WHAT)
    parse_address(told["address"])
    return {
        **told,
        "members": [checked(member, MEMBER_FIELDS, _WHAT) for member in told["members"]],
        "checks": [checked(check, CHECK_FIELDS, _WHAT, _TEXTS) for check in told["checks"]],
        "transitions": [checked(change, TRANSITION_FIELDS, _WHAT, _TEXTS) for change in told["transitions"]],
    }


def parse_address(text: str) -> bytes:
    """Return the 4 or 16 bytes of an IP address without prefix length. Raises `DecodeError`."""
    subnet = parse_subnet(text)
    if subnet.kind is SubnetKind.MAC or "/" in text or "#" in text:
        raise DecodeError("not an IP address")
    return subnet.address


# -- Orders ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Drain:
    """The node that gets the order serves nothing from now on."""


@dataclass(frozen=True, slots=True)
class Undrain:
    """The node that gets the order serves again."""


@dataclass(frozen=True, slots=True)
class Move:
    """Another member serves a virtual address."""

    address: bytes
    node: str


@dataclass(frozen=True, slots=True)
class Freeze:
    """The present owner keeps a virtual address."""

    address: bytes


@dataclass(frozen=True, slots=True)
class Thaw:
    """The owner of a virtual address may change again."""

    address: bytes


@dataclass(frozen=True, slots=True)
class Rebalance:
    """The clients of a virtual address are shared evenly."""

    address: bytes


Order: TypeAlias = Drain | Undrain | Move | Freeze | Thaw | Rebalance
"""An operator's order about the virtual IPs."""

DRAIN: Final = "drain"
UNDRAIN: Final = "undrain"
MOVE: Final = "move"
FREEZE: Final = "freeze"
THAW: Final = "thaw"
REBALANCE: Final = "rebalance"
VERBS: Final = (DRAIN, UNDRAIN, MOVE, FREEZE, THAW, REBALANCE)
"""The words of the orders, in a request and on the command line."""

_PARSERS: Final[dict[tuple[str, int], Callable[[Sequence[str]], Order]]] = {
    (DRAIN, 0): lambda words: Drain(),
    (UNDRAIN, 0): lambda words: Undrain(),
    (MOVE, 2): lambda words: Move(parse_address(words[0]), parse_name(words[1])),
    (FREEZE, 1): lambda words: Freeze(parse_address(words[0])),
    (THAW, 1): lambda words: Thaw(parse_address(words[0])),
    (REBALANCE, 1): lambda words: Rebalance(parse_address(words[0])),
}
"""By verb and the number of words after it."""


def format_order(order: Order) -> list[str]:
    """Return the words of an order: the arguments of its request."""
    match order:
        case Drain():
            return [DRAIN]
        case Undrain():
            return [UNDRAIN]
        case Move(address, node):
            return [MOVE, text_of(address), node]
        case Freeze(address):
            return [FREEZE, text_of(address)]
        case Thaw(address):
            return [THAW, text_of(address)]
        case Rebalance(address):
            return [REBALANCE, text_of(address)]


def parse_order(words: Sequence[str]) -> Order:
    """Parse the words of an order. Raises `DecodeError`, in words for people."""
    parse = _PARSERS.get((words[0], len(words) - 1)) if words else None
    if parse is None:
        raise DecodeError("unknown order, or a wrong number of words")
    return parse(words[1:])


def text_of(address: bytes) -> str:
    """Return an address of 4 or 16 bytes as the daemon writes it."""
    return str(ipaddress.ip_address(address))


def format_outcome(refusal: str | None) -> str:
    """Return the answer to an order: it is carried out, or refused for the reason given."""
    if refusal is None:
        return format_result(Request.VIP_ORDER, 0)
    return f"{format_result(Request.VIP_ORDER, -2)} {one_line(refusal)}"


def parse_outcome(line: str) -> str | None:
    """Return why an order is refused; None if it is carried out. Raises `DecodeError`."""
    begin = [str(CONTROL), str(int(Request.VIP_ORDER))]
    words = line.split(maxsplit=3)
    if words[:2] != begin or len(words) < 3:
        raise DecodeError("not an answer to an order")
    if words[2:] == ["0"]:
        return None
    refusal = words[3] if len(words) == 4 else "for no reason given"
    if words[2] != "-2" or not refusal.isprintable():
        raise DecodeError("not an answer to an order")
    return refusal


def one_line(text: str) -> str:
    """Return a text for people as one line of bounded length, without characters that do not print."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * MAX_TEXT])
    line = " ".join(shown.split())
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 3] + "..."
