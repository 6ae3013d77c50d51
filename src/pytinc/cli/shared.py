"""Shared addresses, which only pytinc's daemon reports: `dump shared`, and what `info` and `top` add.

Programs rely on the lines of `dump shared` as on those of tinc's lists: each word keeps its place.
`pytinc.cli.tables` lays out tables for a terminal, `pytinc.cli.machine` makes documents for programs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytinc.cli.session import say
from pytinc.cli.times import clock_time, milliseconds, seconds
from pytinc.control.messages import NOT_PARSED, Request
from pytinc.control.objects import Values
from pytinc.control.shared import Shared, parse_rows
from pytinc.errors import ControlError, DecodeError
from pytinc.wire.subnet import Subnet, parse_subnet

if TYPE_CHECKING:
    from pytinc.cli.session import Session
    from pytinc.control.client import ControlClient

NOT_TOLD: Final = "This daemon does not report shared addresses: it is not pytinc's, or an older one."
_NOTHING: Final = "-"
_REASONS: Final = {
    "withdrawn": "withdrew",
    "removed": "no longer had it",
    "moved": "no longer serves it by policy",
}
"""Words for the reasons of failovers without silence."""


def shared_addresses(client: ControlClient) -> Shared | None:
    """Return the report of the daemon's guard; None if it has no guard: a C daemon, or an older pytinc."""
    return client.parsed_dump_if_known(Request.DUMP_SHARED, parse_rows)


def dump_shared(session: Session) -> int:
    """Print every address that the guard knows, shared addresses first."""
    shared = shared_addresses(session.client())
    if shared is None:
        raise ControlError(NOT_TOLD)
    if session.json:
        from pytinc.cli import machine

        machine.print_json(machine.shared(shared))
        return 0
    if session.pretty and shared.addresses:
        from pytinc.cli.tables import print_shared

        print_shared(shared)
    else:
        for address in shared.addresses:
            print("\n".join(address_lines(address)))
    _say_what_is_missing(shared)
    return 0


def _say_what_is_missing(shared: Shared) -> None:
    left_out = shared.guard["addresses_total"] - len(shared.addresses)
    if not shared.guard["enabled"]:
        say("The neighbour guard is off.")
    elif not shared.addresses:
        say("No shared addresses, and none in use.")
    elif left_out > 0:
        say(f"{left_out} more addresses are not listed.")


# -- Lines -------------------------------------------------------------------------------------------------


def address_lines(address: Values) -> list[str]:
    """Return the lines of an address: itself, its last failover, its holders and its clients."""
    about = [
        f"shared {'yes' if address['shared'] else 'no'}",
        f"holders {address['holders_total']}",
        f"clients {address['clients_total']}",
    ]
    nodes, failover = nodes_by_mac(address), address["failover"]
    lines = [" ".join(about)]
    if failover is not None:
        lines.append(_failover_line(failover))
    lines += [_holder_line(holder) for holder in address["holders"]]
    lines += [_client_line(client, nodes) for client in address["clients"]]
    return [f"{address['address']} {line}" for line in lines]


def _failover_line(failover: Values) -> str:
    return (
        f"failover {failover['reason']} from {failover['from_node']} to {_word(failover['to_node'])} "
        f"silent {milliseconds(failover['silent_ms'])} took {_number(failover['took_ms'])} "
        f"clients {failover['clients']} ago {milliseconds(failover['ago_ms'])}"
    )


def _holder_line(holder: Values) -> str:
    return (
        f"holder {holder['mac']} node {_word(holder['node'])} state {holder['state']} "
        f"rtt {_number(holder['rtt_us'])} answered {milliseconds(holder['answered_ms'])} "
        f"clients {holder['clients']}"
    )


def _client_line(client: Values, nodes: dict[str | None, str | None]) -> str:
    return (
        f"client {client['mac']} at {_word(client['address'])} node {_word(client['node'])} "
        f"holder {_word(client['holder'])} of {_word(nodes.get(client['holder']))} "
        f"idle {milliseconds(client['idle_ms'])}"
    )


def nodes_by_mac(address: Values) -> dict[str | None, str | None]:
    """Return the node of each holder of an address, by MAC address."""
    return {holder["mac"]: holder["node"] for holder in address["holders"]}


def _word(word: str | None) -> str:
    return _NOTHING if word is None else word


def _number(thousandths: int | None) -> str:
    return _NOTHING if thousandths is None else milliseconds(thousandths)


# -- info --------------------------------------------------------------------------------------------------


def find_shared(shared: Shared, wanted: Subnet) -> Values | None:
    """Return the guard's report about an IP address; None if there is none."""
    return next((address for address in shared.addresses if _is(address["address"], wanted)), None)


def _is(text: str, wanted: Subnet) -> bool:
    try:
        found = parse_subnet(text)
    except DecodeError as error:
        raise ControlError(NOT_PARSED) from error
    return (found.kind, found.address) == (wanted.kind, wanted.address)


def address_report(address: Values) -> list[str]:
    """Return the report about an address: lines of label and value, as in that about a node."""
    nodes = nodes_by_mac(address)
    lines = [
        f"Address:      {address['address']}",
        f"Shared:       {'yes' if address['shared'] else 'no'}",
        *(f"Held by:      {_holder_words(holder)}" for holder in address["holders"]),
        *(f"Client:       {_client_words(client, nodes)}" for client in address["clients"]),
    ]
    if not address["holders"]:
        lines.append("Held by:      nobody known")
    left_out = address["clients_total"] - len(address["clients"])
    if left_out > 0:
        lines.append(f"Client:       {left_out} more")
    if address["failover"] is not None:
        lines.append(f"Failover:     {_failover_words(address['failover'])}")
    return lines


def _holder_words(holder: Values) -> str:
    rtt = "" if holder["rtt_us"] is None else f", RTT {milliseconds(holder['rtt_us'])} ms"
    return (
        f"{holder['node'] or 'no node'} ({holder['mac']}), {holder['state']}{rtt}, "
        f"answered {seconds(holder['answered_ms'])} s ago"
    )


def _client_words(client: Values, nodes: dict[str | None, str | None]) -> str:
    behind = "" if client["node"] is None else f" behind {client['node']}"
    holder = client["holder"]
    answered = "" if holder is None else f", answered by {nodes.get(holder) or holder}"
    return (
        f"{client['address'] or 'address unknown'} ({client['mac']}){behind}{answered}, "
        f"seen {seconds(client['idle_ms'])} s ago"
    )


def _failover_words(failover: Values) -> str:
    to_node, took = failover["to_node"], failover["took_ms"]
    asked = f"{failover['clients']} {'client' if failover['clients'] == 1 else 'clients'} asked"
    if took is not None:
        answer = f"{to_node or 'another holder'} answered after {seconds(took)} s"
    elif to_node is not None:
        answer = f"{to_node} was asked for"
    else:
        answer = "no answer was seen"
    when = clock_time(failover["ago_ms"], "%Y-%m-%d %H:%M:%S")
    return f"{when}, {failover['from_node']} {_reason_words(failover)}, {asked}, {answer}"


def _reason_words(failover: Values) -> str:
    if (words := _REASONS.get(failover["reason"])) is not None:
        return words
    return f"{failover['reason']} for {seconds(failover['silent_ms'])} s"


# -- top ---------------------------------------------------------------------------------------------------


def headline(shared: Shared) -> str:
    """Return a line about the shared address with the latest failover; empty if there is none."""
    addresses = [address for address in shared.addresses if address["shared"]]
    if not addresses:
        return ""
    address = min(addresses, key=_since_failover)
    count, more = address["clients_total"], len(addresses) - 1
    line = f"shared {address['address']}: {_main_holder(address)}, {count} client{'' if count == 1 else 's'}"
    failover = address["failover"]
    if failover is not None:
        took = failover["silent_ms"] if failover["took_ms"] is None else failover["took_ms"]
        line += f"; last failover {seconds(took)} s {clock_time(failover['ago_ms'], '%H:%M:%S')}"
    return f"{line}; {more} more shared" if more else line


def _since_failover(address: Values) -> float:
    return float("inf") if address["failover"] is None else float(address["failover"]["ago_ms"])


def _main_holder(address: Values) -> str:
    """Return the holder with the most clients, and its state."""
    if not address["holders"]:
        return "held by nobody"
    holder = max(address["holders"], key=lambda each: (each["clients"], -each["answered_ms"]))
    return f"{holder['node'] or holder['mac']} {holder['state']}"
