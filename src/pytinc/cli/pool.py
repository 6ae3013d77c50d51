"""The next free address of the VPN for an invitation (``invite NAME --address auto``).

The pool is the network of the address that `tinc-up` sets. Addresses in host files, in open invitations and
known to the daemon (subnets of nodes, shared addresses in use) are taken. Two nodes that invite may choose
the same address, since they do not know of each other's invitations.
"""

from __future__ import annotations

import ipaddress
import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import click

from pytinc.errors import ControlError, DecodeError

if TYPE_CHECKING:
    from pytinc.cli.session import Session

    Interface: TypeAlias = ipaddress.IPv4Interface | ipaddress.IPv6Interface
    IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_TRIED: Final = 65536
"""Most addresses that are tried: an IPv6 network is too large to try all."""
_SET: Final = re.compile(
    r"\bip\b[^\n]*\baddr(?:ess)?\s+(?:add|replace)\s+(?:local\s+)?([0-9a-fA-F.:]+/[0-9]+)"
)
_TAKEN: Final = re.compile(
    r"^\s*(?:Subnet|Ifconfig|VirtualIP)\s*=?\s*([0-9a-fA-F.:]+)", re.MULTILINE | re.IGNORECASE
)


def chosen_address(session: Session, text: str) -> Interface:
    """Return the address for a new node: a free one for ``auto``, else the one given."""
    own = _own_address(session)
    taken = _taken(session)
    if text.lower() != "auto":
        try:
            address = ipaddress.ip_interface(text)
        except ValueError as error:
            raise click.ClickException(f"{text} is no IP address, and not `auto'.") from error
        if "/" not in text and own is not None and address.ip in own.network:
            address = ipaddress.ip_interface(f"{text}/{own.network.prefixlen}")
        if address.ip in taken or (own is not None and address.ip == own.ip):
            raise click.ClickException(f"The address {address.ip} is taken already.")
        return address
    if own is None:
        raise click.ClickException(
            f"The network to take an address from is not known: {session.confbase}/tinc-up has no line like "
            "`ip addr add 10.1.1.1/24 dev $INTERFACE'. Give the address itself instead of `auto'."
        )
    network = own.network
    for host in itertools.islice(network.hosts(), MAX_TRIED):
        if host != own.ip and host not in taken:
            return ipaddress.ip_interface(f"{host}/{network.prefixlen}")
    raise click.ClickException(f"No address of {network} is free.")


def _own_address(session: Session) -> Interface | None:
    """Return the first address that tinc-up sets."""
    try:
        lines = Path(session.script("tinc-up")).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        found = None if line.lstrip().startswith("#") else _SET.search(line)
        if found is not None:
            try:
                return ipaddress.ip_interface(found[1])
            except ValueError:
                continue
    return None


def _taken(session: Session) -> set[IPAddress]:
    """Return the addresses in host files and invitations, and those that the daemon knows of."""
    base = Path(session.confbase)
    texts = []
    for path in [*base.glob("hosts/*"), *base.glob("invitations/*"), base / "tinc.conf"]:
        if path.is_file() and path.suffix != ".priv":
            texts += _TAKEN.findall(path.read_text(encoding="utf-8", errors="replace"))
    texts += _known_to_daemon(session)
    taken = set()
    for text in texts:
        try:
            taken.add(ipaddress.ip_address(text))
        except ValueError:
            continue
    return taken


def _known_to_daemon(session: Session) -> list[str]:
    from pytinc.cli.lists import dump_subnets
    from pytinc.cli.shared import shared_addresses

    try:
        client = session.client()
        shared = shared_addresses(client)
        used = [] if shared is None else [str(address["address"]) for address in shared.addresses]
        return used + [row.subnet.partition("#")[0].partition("/")[0] for row in dump_subnets(client)]
    except (ControlError, DecodeError):
        return []  # no daemon to ask
