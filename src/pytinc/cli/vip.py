"""vip: virtual IPs by policy, which only pytinc's daemon knows: their state, and orders about them.

See docs/virtual-ip.md, "Commands".

`pytinc.cli.vip_report` makes the lines, `pytinc.cli.tables` lays them out for a terminal, and
`pytinc.cli.machine` makes documents for programs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

import click

from pytinc.cli.session import say
from pytinc.cli.vip_report import remarks, report, vip_line
from pytinc.control import vips
from pytinc.control.messages import NOT_PARSED, Request
from pytinc.control.objects import Values
from pytinc.control.vips import Order, Vips
from pytinc.errors import ControlError, DecodeError
from pytinc.wire.names import is_valid_name

if TYPE_CHECKING:
    from pytinc.cli.session import Session
    from pytinc.cli.tables import Picture
    from pytinc.control.client import ControlClient

NOT_TOLD: Final = "This daemon does not know virtual IPs by policy: it is not pytinc's, or an older one."
WATCH: Final = "--watch"
WATCH_S: Final = 1.0
"""Seconds between two pictures."""
PATIENCE_S: Final = 5.0
"""How long a command waits for its order to take effect: the old owner may stay for a second or two."""
POLL_S: Final = 0.1
_Owners: TypeAlias = dict[bytes, str | None]
"""The owner of each address."""
_WRONG_COUNT: Final = "Invalid number of arguments."


def vip(session: Session, words: list[str]) -> int:
    """Show the virtual IPs, or carry out an order about them."""
    watched = WATCH in words
    words = [word for word in words if word != WATCH]
    if words and (order := _ORDERS.get(words[0].lower())) is not None:
        if watched or session.json:
            option = WATCH if watched else "--json"
            raise click.UsageError(f"`{option}' does not apply to `vip {words[0].lower()}'.")
        return order(session, words[1:])
    if len(words) > 1:
        raise click.UsageError(_WRONG_COUNT)
    if watched and session.json:
        raise click.UsageError(f"`{WATCH}' does not apply to JSON.")
    wanted = _address(words[0], "Neither an address nor an order:") if words else None
    if watched:
        return _watch(session, wanted)
    _show(session, told(session.client()), wanted)
    return 0


def _address(word: str, complaint: str = "Invalid address") -> bytes:
    try:
        return vips.parse_address(word)
    except DecodeError as error:
        raise click.UsageError(f"{complaint} `{word}'.") from error


def told(client: ControlClient) -> Vips:
    """Return the daemon's report about virtual IPs. Raises `ControlError` also if the daemon has none."""
    answer = client.parsed_dump_if_known(Request.DUMP_VIPS, vips.parse_rows)
    if answer is None:
        raise ControlError(NOT_TOLD)
    return answer


def _told_again(client: ControlClient) -> Vips:
    """Return the same from a daemon that has answered before: if it hangs up now, it has ended."""
    try:
        return vips.parse_rows(client.dump(Request.DUMP_VIPS))
    except DecodeError as error:
        raise ControlError(NOT_PARSED) from error


# -- What is shown -----------------------------------------------------------------------------------------


def _show(session: Session, known: Vips, wanted: bytes | None) -> None:
    """Show all virtual IPs, or the one that is wanted, once."""
    if session.json:
        from pytinc.cli import machine

        machine.print_json(machine.vips(known) if wanted is None else _find(known, wanted))
        return
    if wanted is not None:
        address = _find(known, wanted)
        lines = report(address)
        if session.pretty:
            from pytinc.cli.tables import print_vip_report

            print_vip_report(lines, address)
        else:
            print("\n".join(lines))
    elif session.pretty and known.addresses:
        from pytinc.cli.tables import print_vips

        print_vips(known)
    else:
        for address in known.addresses:
            print(vip_line(address))
    for remark in remarks(known):
        say(remark)


def _find(known: Vips, wanted: bytes) -> Values:
    for address in known.addresses:
        if vips.parse_address(address["address"]) == wanted:
            return address
    raise click.ClickException("Unknown address: no node that is known here has it as a VirtualIP.")


# -- --watch -----------------------------------------------------------------------------------------------


def _watch(session: Session, wanted: bytes | None) -> int:
    """Show the virtual IPs again every second, until Ctrl-C."""
    answers = _answers(session.client())
    try:
        if session.pretty:
            from pytinc.cli.tables import redraw

            redraw(_picture(known, wanted) for known in answers)
        else:
            for known in answers:
                _show(session, known, wanted)
                print(flush=True)
    except KeyboardInterrupt:
        # An answer may be on its way: the connection cannot be used for anything else.
        session.disconnect()
        say("")
    return 0


def _answers(client: ControlClient) -> Iterator[Vips]:
    yield told(client)
    while True:
        time.sleep(WATCH_S)
        yield _told_again(client)


def _picture(known: Vips, wanted: bytes | None) -> Picture:
    from pytinc.cli import tables

    if wanted is None:
        return tables.vips_picture(known, remarks(known))
    address = _find(known, wanted)
    return tables.vip_picture(report(address), address)


# -- Orders ------------------------------------------------------------------------------------------------


def _drain(session: Session, words: list[str]) -> int:
    client = _own_client(session, vips.DRAIN, words)
    own = client.daemon_name
    served = [address for address, owner in _owners(told(client)).items() if owner == own]
    _order(client, vips.Drain())
    owners = _await(client, lambda owners: own not in owners.values())
    for address in served:
        if owners.get(address) != own:
            _tell_owner(owners, address)
    kept = [vips.text_of(address) for address, owner in owners.items() if owner == own]
    if kept:
        raise click.ClickException(f"{own} still serves {', '.join(kept)}: no other member takes over.")
    return 0


def _undrain(session: Session, words: list[str]) -> int:
    _order(_own_client(session, vips.UNDRAIN, words), vips.Undrain())
    return 0


def _own_client(session: Session, verb: str, words: list[str]) -> ControlClient:
    """Return a connection to the daemon if the words name its node, or none."""
    if len(words) > 1:
        raise click.UsageError(_WRONG_COUNT)
    if words and not is_valid_name(words[0]):
        raise click.ClickException("Invalid name for node.")
    client = session.client()
    if words and words[0] != client.daemon_name:
        raise click.ClickException(f"This is {client.daemon_name}: run `vip {verb}' on {words[0]}.")
    return client


def _move(session: Session, words: list[str]) -> int:
    if len(words) != 2:
        raise click.UsageError(_WRONG_COUNT)
    address, node = _address(words[0]), words[1]
    if not is_valid_name(node):
        raise click.ClickException("Invalid name for node.")
    client = session.client()
    _order(client, vips.Move(address, node))
    owners = _await(client, lambda owners: owners.get(address) == node)
    if owners.get(address) != node:
        owner = owners.get(address) or "nobody"
        raise click.ClickException(f"{vips.text_of(address)}: {node} does not serve, but {owner}.")
    _tell_owner(owners, address)
    return 0


def _freeze(session: Session, words: list[str]) -> int:
    address = _only_address(words)
    _order(session.client(), vips.Freeze(address))
    return 0


def _thaw(session: Session, words: list[str]) -> int:
    address = _only_address(words)
    _order(session.client(), vips.Thaw(address))
    return 0


def _rebalance(session: Session, words: list[str]) -> int:
    address = _only_address(words)
    _order(session.client(), vips.Rebalance(address))
    return 0


def _only_address(words: list[str]) -> bytes:
    if len(words) != 1:
        raise click.UsageError(_WRONG_COUNT)
    return _address(words[0])


_ORDERS: Final = {
    vips.DRAIN: _drain,
    vips.UNDRAIN: _undrain,
    vips.MOVE: _move,
    vips.FREEZE: _freeze,
    vips.THAW: _thaw,
    vips.REBALANCE: _rebalance,
}


def _order(client: ControlClient, order: Order) -> None:
    """Give the daemon an order. Raises `click.ClickException` with the daemon's words if it refuses."""
    line = client.answer_if_known(Request.VIP_ORDER, *vips.format_order(order))
    if line is None:
        raise ControlError(NOT_TOLD)
    try:
        refusal = vips.parse_outcome(line)
    except DecodeError as error:
        raise ControlError("Unexpected answer from tincd.") from error
    if refusal is not None:
        raise click.ClickException(f"Refused: {refusal}.")


def _owners(known: Vips) -> _Owners:
    return {vips.parse_address(address["address"]): address["owner"] for address in known.addresses}


def _await(client: ControlClient, is_done: Callable[[_Owners], bool]) -> _Owners:
    """Return the owners by address, once they are as wished or patience has ended."""
    end = time.monotonic() + PATIENCE_S
    while not is_done(owners := _owners(_told_again(client))) and time.monotonic() < end:
        time.sleep(POLL_S)
    return owners


def _tell_owner(owners: _Owners, address: bytes) -> None:
    say(f"{vips.text_of(address)}: {owners.get(address) or 'nobody'} serves now.")
