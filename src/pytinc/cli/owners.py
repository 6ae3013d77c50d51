"""info: finds the owner of an address that no node announces, by members of a virtual IP or a MAC address.

In switch mode nodes own MAC addresses, not IP addresses. The kernel of this host knows the MAC address of an
IP address that it has talked to (`pytinc.cli.neighbours`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from pytinc.cli.lists import BROADCAST_OWNER
from pytinc.cli.neighbours import Neighbour, neighbours
from pytinc.control import vips
from pytinc.control.messages import NOT_PARSED, Request, SubnetRow
from pytinc.control.objects import Values
from pytinc.errors import ConfigError, ControlError, DecodeError
from pytinc.wire.subnet import Subnet, SubnetKind

if TYPE_CHECKING:
    from pytinc.cli.session import Session
    from pytinc.control.client import ControlClient

MAC_HINT: Final = (
    "A node owns a MAC address as soon as its host has sent a frame, and for MACExpire seconds (600 unless "
    "set) after the last one."
)


def find_virtual(client: ControlClient, wanted: Subnet) -> Values | None:
    """Return the report about an IP address with members; None if it has none."""
    told = client.parsed_dump_if_known(Request.DUMP_VIPS, vips.parse_rows)
    if told is None:
        return None
    try:
        return next(
            (each for each in told.addresses if vips.parse_address(each["address"]) == wanted.address), None
        )
    except DecodeError as error:
        raise ControlError(NOT_PARSED) from error


def find_neighbour(
    session: Session, rows: Iterable[tuple[SubnetRow, Subnet]], wanted: Subnet, item: str
) -> tuple[Neighbour | None, list[SubnetRow], str]:
    """Look for the owner of an address by the MAC address that the kernel knows for it.

    ``rows``: all subnets of the VPN; ``item``: the address as it was typed. Return the neighbour and its MAC
    address as a subnet with its owner; if there are none, a hint, which is empty if there is nothing to say.
    """
    if wanted.kind is SubnetKind.MAC:
        return None, [], MAC_HINT
    owned = {subnet.address: row for row, subnet in rows if _is_owned_mac(row, subnet)}
    if not owned and not _switches(session):
        return None, [], ""
    there = neighbours(wanted.address)
    for neighbour in there:
        if neighbour.mac is not None and neighbour.mac in owned:
            return neighbour, [owned[neighbour.mac]], ""
    return None, [], hint(there, item)


def hint(there: Sequence[Neighbour], item: str) -> str:
    """Return why an address has no owner, or advice for finding it."""
    for neighbour in there:
        where = f"interface {neighbour.interface}"
        if neighbour.is_own:
            return (
                f"It is an address of this host ({where}), which has sent nothing into the VPN lately. If "
                "that is the interface of the VPN, ping another host of the VPN, and ask again."
            )
        if neighbour.mac is not None:
            return (
                f"This host has it at the MAC address {neighbour.mac.hex(':')} ({where}), which no node owns "
                "now: the host there is in another network, or has sent nothing for a while."
            )
    if there:
        return f"No host answers for it on interface {there[0].interface}."
    return (
        "In switch mode nodes own MAC addresses, and this host knows none for it: `ping "
        f"{item}' here first (the host needs an address of the VPN), and ask again."
    )


def _is_owned_mac(row: SubnetRow, subnet: Subnet) -> bool:
    return subnet.kind is SubnetKind.MAC and row.owner != BROADCAST_OWNER


def _switches(session: Session) -> bool:
    """Tell whether the configuration, as far as it can be read, has a mode without routes to addresses."""
    try:
        mode = session.tree.read_server().first("Mode")
    except ConfigError:
        return False
    return mode is not None and mode.value.lower() in ("switch", "hub")
