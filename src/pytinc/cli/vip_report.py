"""What `vip` prints about virtual IPs by policy in plain text: a line for each, or a report about one.

`pytinc.cli.tables` lays the same out for a terminal. Programs rely on the lines as on those of `dump`: each
word keeps its place.
"""

from __future__ import annotations

from typing import Final

from pytinc.cli.times import clock_time, milliseconds, seconds
from pytinc.control.objects import Values
from pytinc.control.vips import Vips
from pytinc.wire.virtual_ip import Balance

_NOTHING: Final = "-"


def remarks(known: Vips) -> list[str]:
    """Return the remarks beside the list."""
    found = []
    if not known.addresses:
        found.append("No virtual IPs are known: no member has a line VirtualIP, or none is reachable.")
    left_out = known.policy["addresses_total"] - len(known.addresses)
    if left_out > 0:
        found.append(f"{left_out} more addresses are not listed.")
    if known.policy["draining"]:
        found.append("This node is drained: it serves nothing until `vip undrain'.")
    return found


def vip_line(address: Values) -> str:
    """Return the line of a virtual IP."""
    last = address["transitions"][0] if address["transitions"] else None
    return (
        f"{address['address']} owner {_word(address['owner'])} state {_word(address['state'])} "
        f"term {address['term']} frozen {'yes' if address['frozen'] else 'no'} "
        f"members {address['members_total']} alive {alive(address)} "
        f"checks {len(address['checks'])} good {good_checks(address)} clients {address['clients']} "
        f"changed {_NOTHING if last is None else milliseconds(last['ago_ms'])} "
        f"reason {_NOTHING if last is None else last['reason']}"
    )


def alive(address: Values) -> int:
    """Return how many of the listed members can serve an address as far as they are heard."""
    return sum(member["alive"] for member in address["members"])


def good_checks(address: Values) -> int:
    """Return how many health checks of this node and its wards are good."""
    return sum(check["well"] is True for check in address["checks"])


def _word(word: str | None) -> str:
    return _NOTHING if word is None else word


def report(address: Values) -> list[str]:
    """Return the report about a virtual IP: lines of label and value, as in that about a node."""
    preempt = address["preempt_ms"]
    lines = [
        f"Address:      {address['address']}",
        f"Served by:    {address['owner'] or 'nobody'}{', frozen' if address['frozen'] else ''}",
        f"Balance:      {address['balance']}",
        f"This node:    {address['state'] or 'no member'}",
        f"Preempts:     {'no' if preempt is None else f'after {seconds(preempt)} s'}{_held(address)}",
        f"Term:         {address['term']}",
        *(f"Member:       {_member_words(member, address)}" for member in address["members"]),
    ]
    left_out = address["members_total"] - len(address["members"])
    if left_out > 0:
        lines.append(f"Member:       {left_out} more")
    return [
        *lines,
        *(f"Check:        {_check_words(check)}" for check in address["checks"]),
        f"Clients:      {address['clients']}",
        *(f"Change:       {_transition_words(change)}" for change in address["transitions"]),
    ]


def _held(address: Values) -> str:
    if not address["held_ms"]:
        return ""
    return f"; held back for {seconds(address['held_ms'])} s, because it has been too often"


def member_state(member: Values) -> str:
    """Return a word for the state of a member, or for its absence."""
    return str(member["state"]) if member["alive"] else "gone"


def _member_words(member: Values, address: Values) -> str:
    heard = member["heard_ms"]
    when = "this node" if heard is None else f"heard {seconds(heard)} s ago"
    through = "" if member["guardian"] is None else f" through {member['guardian']}"
    shares = "" if address["balance"] == Balance.FAILOVER.word else f", weight {member['weight']}"
    if member["clients"] is not None:
        shares += f", {member['clients']} clients"
    if member["flows"] is not None:
        shares += f", {member['flows']} flows of this node"
    other = member["balance"] != address["balance"]
    differs = f", configured with balance={member['balance']}" if other else ""
    does = f"{member_state(member)}, priority {member['priority']}"
    return f"{member['node']}, {does}{shares}, {when}{through}{differs}"


def _check_words(check: Values) -> str:
    if check["well"] is None:
        state = "no result yet"
    else:
        state = "good" if check["well"] else "bad"
        if check["since_ms"] is not None:
            state += f" for {seconds(check['since_ms'])} s"
    took = "" if check["took_us"] is None else f", took {milliseconds(check['took_us'])} ms"
    of_node = "" if check["node"] is None else f" of {check['node']}"
    return f"{check['check']}{of_node}, {state}{took}{': ' if check['detail'] else ''}{check['detail']}"


def _transition_words(change: Values) -> str:
    when = clock_time(change["ago_ms"], "%Y-%m-%d %H:%M:%S")
    own = "" if change["state"] is None else f", this node {change['state']}"
    return f"{when}, {change['owner'] or 'nobody'} serves{own}: {change['reason']}"
