"""events: recent events of the mesh, as pytinc's daemon remembers them, and new ones as they happen.

docs/json.md, "events", lists the kinds of events and their fields. A daemon may be newer than this program:
an event of an unknown kind is shown with all its fields.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

import click

from pytinc.cli.options import take_options
from pytinc.cli.session import say
from pytinc.cli.times import local_milliseconds
from pytinc.control.events import parse_dump, parse_event, parse_ring
from pytinc.control.messages import NOT_PARSED, Request
from pytinc.control.objects import Values
from pytinc.errors import ControlError, DecodeError

if TYPE_CHECKING:
    from pytinc.cli.session import Session
    from pytinc.control.client import ControlClient

NOT_TOLD: Final = "This daemon does not report events: it is not pytinc's, or an older one."
FOLLOW: Final = "--follow"
SINCE: Final = "--since"
MAX_DIGITS: Final = 15
_KIND_WIDTH: Final = 15


def events(session: Session, words: list[str]) -> int:
    """Print the events that the daemon remembers; with --follow also those to come, until Ctrl-C."""
    follow = FOLLOW in words
    words, given = take_options([word for word in words if word != FOLLOW], [SINCE])
    if words:
        raise click.UsageError("Too many arguments!")
    since = _number(given[SINCE])
    show = _show_json if session.json else _show_text
    client = session.client()
    if not follow:
        show(past_events(client, since), since)
        return 0
    try:
        show(_coming_events(client, since), since)
    except KeyboardInterrupt:
        say("")
    finally:
        # A stream has no end marker: the connection cannot be used for anything else.
        session.disconnect()
    return 0


def _number(word: str | None) -> int:
    if word is None:
        return 0
    if not (word.isascii() and word.isdecimal() and len(word) <= MAX_DIGITS):
        raise click.UsageError(f"`{SINCE}' needs the number of an event, not `{word}'.")
    return int(word)


def past_events(client: ControlClient, since: int = 0) -> list[Values]:
    """Return the events after number ``since``. Raises `ControlError` if the daemon has none."""
    found = past_events_if_known(client, since)
    if found is None:
        raise ControlError(NOT_TOLD)
    return found


def past_events_if_known(client: ControlClient, since: int = 0) -> list[Values] | None:
    """Return the events after number ``since``; None if the daemon has none."""
    answer = client.parsed_dump_if_known(Request.EVENTS, parse_dump, since, 0)
    return None if answer is None else answer[1]


def _coming_events(client: ControlClient, since: int) -> Iterator[Values]:
    rows = client.follow(Request.EVENTS, since, 1)
    if rows is None:
        raise ControlError(NOT_TOLD)
    try:
        parse_ring(next(rows))
        yield from map(parse_event, rows)
    except DecodeError as error:
        raise ControlError(NOT_PARSED) from error


def _show_json(found: Iterable[Values], since: int) -> None:
    for event in found:
        print(json.dumps(event), flush=True)


def _show_text(found: Iterable[Values], since: int) -> None:
    last = since
    for event in found:
        if last and (missing := event["seq"] - last - 1) > 0:
            what = "1 event before this one is" if missing == 1 else f"{missing} events before this one are"
            print(f"({what} forgotten)")
        last = event["seq"]
        print(event_line(event), flush=True)


def event_line(event: Values) -> str:
    """Return the line of an event: number, local time, kind, and words for people."""
    when = local_milliseconds(event["time"], "%Y-%m-%d %H:%M:%S")
    return f"{event['seq']:>6}  {when}  {event['kind']:<{_KIND_WIDTH}} {describe(event)}"


# -- words -------------------------------------------------------------------------------------------------


def describe(event: Values) -> str:
    """Return an event in words for people; for an unknown kind, return its fields."""
    words = _WORDS.get(event["kind"])
    if words is not None:
        try:
            return words(event)
        except (KeyError, TypeError, ValueError):
            pass  # of a daemon whose events have other fields
    return " ".join(
        f"{name}={json.dumps(value)}" for name, value in event.items() if name not in ("seq", "time", "kind")
    )


def _at(event: Values) -> str:
    return "" if event["host"] is None else f" ({event['host']} port {event['port']})"


def _way(path: str, relay: str | None) -> str:
    words = {"udp": "UDP", "relayed": "UDP", "tcp": "TCP", "none": "no path yet"}.get(path, path)
    return words if relay is None else f"{words} via {relay}"


def _nobody(node: str | None) -> str:
    return "nobody" if node is None else node


def _times(event: Values) -> str:
    """Return the known phases of a failover."""
    names = {"silence_ms": "silence", "detection_ms": "detection", "healing_ms": "healing"}
    known = [f"{word} {event[name]} ms" for name, word in names.items() if event.get(name) is not None]
    total = event.get("total_ms")
    text = ", ".join(known)
    return "" if not known else f": {text}" if total is None else f": {text}, {total} ms in all"


def _silent(event: Values) -> str:
    others = [node for node in event["behind"] if node != event["node"]]
    return f"{event['node']} is silent{_times(event)}" + (f"; so are {', '.join(others)}" if others else "")


def _failover(event: Values) -> str:
    clients = "1 client" if event["clients"] == 1 else f"{event['clients']} clients"
    way = f"from {event['from_node']} ({event['reason']}) to {_nobody(event['to_node'])}"
    return f"{event['address']}: {clients} led {way}{_times(event)}"


def _vip_owner(event: Values) -> str:
    serves = f"{_nobody(event['to_node'])} serves after {_nobody(event['from_node'])}"
    return f"{event['address']}: {serves}; {event['text']}{_times(event)}"


def _vip_state(event: Values) -> str:
    before = "" if event["before"] is None else f" after {event['before']}"
    reason = "" if event["reason"] is None else f": {event['reason']}"
    return f"{event['address']}: {event['node']} is {event['state']}{before}{reason}"


def _script(event: Values) -> str:
    status = event["status"]
    if status is None:
        return f"{event['name']} could not be run: {event['error']}"
    end = f"was killed by signal {-status}" if status < 0 else f"exited with status {status}"
    return f"{event['name']} {end} after {event['ms']} ms"


def _storm(event: Values) -> str:
    if event["state"] == "begin":
        return f"{event['node']} sends too much to all: the rest is dropped"
    return f"{event['node']} no longer sends too much to all: {event['dropped']} packets were dropped"


_WORDS: Final[dict[str, Callable[[Values], str]]] = {
    "start": lambda event: f"pytincd {event['version']} of {event['name']} started",
    "reload": lambda event: "the configuration was read again",
    "node-up": lambda event: f"{event['node']}{_at(event)} became reachable",
    "node-down": lambda event: f"{event['node']} became unreachable",
    "path": lambda event: (
        f"{event['node']}: {_way(event['path'], event['relay'])}, "
        f"before {_way(event['before'], event['before_relay'])}"
    ),
    "connection-up": lambda event: (
        f"connection {'to' if event['dialled'] else 'from'} {event['node']}{_at(event)}"
    ),
    "connection-down": lambda event: (
        f"connection {'to' if event['dialled'] else 'from'} {event['node']}{_at(event)} ended "
        f"after {event['lasted_s']} s"
    ),
    "mac-moved": lambda event: f"{event['mac']} moved from {event['from_node']} to {event['to_node']}",
    "suspect": lambda event: f"{event['node']} does not answer probes",
    "cleared": lambda event: f"{event['node']} answers after all, {event['after_ms']} ms later",
    "silent": _silent,
    "answers": lambda event: f"{event['node']} answers again, {event['after_ms']} ms later",
    "failover": _failover,
    "vip-owner": _vip_owner,
    "vip-state": _vip_state,
    "script": _script,
    "drops": lambda event: f"{event['count']} packets dropped in {event['seconds']} s: {event['reason']}",
    "storm": _storm,
    "loop": lambda event: (
        f"a loop: broadcasts of {event['mac']} come back from {event['node']} ({event['packets']} packets)"
    ),
}
