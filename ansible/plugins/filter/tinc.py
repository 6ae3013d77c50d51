"""Filters of the role: where a host stands in its network, and files of tinc with other values.

They run on the controller and change nothing. Ansible reads them as ``pytinc.tinc.network`` and
``pytinc.tinc.with_variables``. A ValueError becomes an error of the task.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

_LINE: Final = re.compile(r"\s*(\w+)")
HostVariables = Mapping[str, Mapping[str, Any]]


def node_name(variables: Mapping[str, Any], host: str) -> str:
    """Return the name of a host's node: ``tinc_name``, or the host's with ``_`` for what tinc refuses."""
    return str(variables.get("tinc_name") or re.sub(r"\W", "_", host, flags=re.ASCII))


def network(hostvars: HostVariables, host: str) -> dict[str, Any]:
    """Return where ``host`` stands in its network.

    The how-to's inventory says the name of the network only for the joining nodes. So a host without
    ``tinc_netname`` is in the network whose entry node it is, or in the only network of the inventory.

    The result has ``netname``; ``name`` of the node; ``master``, the host of the entry node, and
    ``master_name``; ``is_master``; ``hosts`` of the network, sorted; ``subnet``, or an empty string;
    ``shared``: another host has the same ``tinc_address``. Raises ValueError if the inventory does
    not tell the network or its entry node.
    """
    masters = {
        str(variables["tinc_netname"]): str(variables.get("tinc_master") or variables["tinc_netname"])
        for variables in map(hostvars.__getitem__, hostvars)
        if variables.get("tinc_netname")
    }
    netnames = {other: _netname(hostvars[other], other, masters) for other in hostvars}
    netname = netnames[host]
    if netname is None:
        raise ValueError(
            f"{host}: set tinc_netname, the name of its network (the inventory has "
            f"{', '.join(sorted(masters)) or 'none'})"
        )
    hosts = sorted(other for other, its in netnames.items() if its == netname)
    wanted = str(hostvars[host].get("tinc_master") or masters.get(netname, netname))
    master = next((other for other in hosts if wanted in (other, node_name(hostvars[other], other))), None)
    if master is None:
        raise ValueError(
            f"{host}: no host of the network {netname} is called {wanted}; set tinc_master to its entry node"
        )
    address = hostvars[host].get("tinc_address")
    subnets = [
        str(hostvars[other]["tinc_subnet"]) for other in (host, *hosts) if hostvars[other].get("tinc_subnet")
    ]
    return {
        "netname": netname,
        "name": node_name(hostvars[host], host),
        "master": master,
        "master_name": node_name(hostvars[master], master),
        "is_master": host == master,
        "hosts": hosts,
        "subnet": subnets[0] if subnets else "",
        "shared": bool(address)
        and sum(hostvars[other].get("tinc_address") == address for other in hosts) > 1,
    }


def _netname(variables: Mapping[str, Any], host: str, masters: Mapping[str, str]) -> str | None:
    if variables.get("tinc_netname"):
        return str(variables["tinc_netname"])
    for netname, master in masters.items():
        if master in (host, node_name(variables, host)):
            return netname
    return next(iter(masters)) if len(masters) == 1 else None


def interface_addresses(place: Mapping[str, Any], address: str, own: Iterable[str]) -> list[dict[str, Any]]:
    """Return the addresses for an interface, in the order to set them, each with ``address`` and ``nodad``.

    ``place`` is what `network` returns. A node's own addresses come first: the kernel uses the first one as
    the sender of its questions. An address without a prefix length gets that of the subnet, but an address
    that other hosts have as well is a single one (/32 or /128) if the node has one of its own.
    """
    own = list(own)
    wanted = [(text, False) for text in own] + ([(address, bool(place["shared"]))] if address else [])
    addresses = []
    for text, shared in wanted:
        try:
            interface = ipaddress.ip_interface(text)
            subnet = ipaddress.ip_network(place["subnet"], strict=False) if place["subnet"] else None
        except ValueError as error:
            raise ValueError(f"tinc_address, tinc_addresses, tinc_subnet: {error}") from error
        if "/" not in text and subnet is not None and interface.ip in subnet and not (shared and own):
            text = f"{text}/{subnet.prefixlen}"
        elif "/" not in text:
            text = str(interface)
        addresses.append({"address": text, "nodad": shared and interface.version == 6})
    return addresses


def with_variables(text: str, wanted: Iterable[Mapping[str, Any]]) -> str:
    """Return the text of tinc.conf or a host file in which the variables of ``wanted`` have these values.

    ``wanted`` is a list of ``{name, value}``. The same name several times, or a list as value, gives several
    lines; an empty list removes the variable. Lines of other variables, comments and the key stay as they
    are. The new lines stand where the first old one was, or before the key of a host file.
    """
    values: dict[str, tuple[str, list[str]]] = {}
    for item in wanted:
        name, value = str(item["name"]), item["value"]
        if not _LINE.fullmatch(name):
            raise ValueError(f"{name!r} is not a name of a variable")
        parts = value if isinstance(value, list | tuple) else [value]
        values.setdefault(name.lower(), (name, []))[1].extend(map(_text, parts))
    before: list[str] = []
    key: list[str] = []
    for line in text.splitlines():
        (key if key or line.startswith("-----BEGIN") else before).append(line)
    lines: list[str] = []
    for line in before:
        match = _LINE.match(line)
        entry = values.get(match[1].lower()) if match else None
        if entry is None:
            lines.append(line)
        elif entry[1]:
            lines += _lines(*entry)
            entry[1].clear()
        # Another old line of the same variable, or one that is to go.
    for name, rest in values.values():
        lines += _lines(name, rest)
    return "".join(f"{line}\n" for line in (*lines, *key))


def _lines(name: str, values: Iterable[str]) -> list[str]:
    return [f"{name} = {value}" for value in values]


def _text(value: object) -> str:
    """Return a value as it stands in the file; YAML makes booleans of yes and no."""
    text = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
    if "\n" in text:
        raise ValueError("a value has one line")
    return text


def holders(text: str, address: str) -> int:
    """Return how many nodes answer for ``address``, by the output of ``pytinc dump shared --json``.

    0 means that the guard does not know the address: nobody that it knows uses it.
    """
    try:
        wanted = ipaddress.ip_interface(address).ip
        for shared in json.loads(text)["addresses"]:
            if ipaddress.ip_address(shared["address"]) == wanted:
                gone = ("silent", "unreachable")
                return len(
                    {one["node"] for one in shared["holders"] if one["node"] and one["state"] not in gone}
                )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"not an answer of pytinc dump shared --json: {error}") from error
    return 0


def listing(directory: str) -> str:
    """Return a line with the digest and the name of each file of a directory on the controller."""
    try:
        files = sorted(path for path in Path(directory).iterdir() if path.is_file())
        return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)
    except OSError as error:
        raise ValueError(f"{directory}: {error.strerror}") from error


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "network": network,
            "interface_addresses": interface_addresses,
            "with_variables": with_variables,
            "holders": holders,
            "listing": listing,
        }
