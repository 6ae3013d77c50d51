"""Reads typed values from the entries of configuration files, and says what is wrong with them.

A complaint names the variable and the place. `pytinc.config.values` knows how each kind of value is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from pytinc.config.parser import Entry, Pool
from pytinc.config.settings import (
    HostPort,
)
from pytinc.config.values import (
    parse_boolean,
    parse_configured_subnet,
    parse_host_port,
    parse_integer,
)
from pytinc.config.variables import DAEMON_ONLY, VARIABLES, lookup
from pytinc.config.virtual_ips import missing
from pytinc.errors import ConfigError, DecodeError
from pytinc.wire.names import is_valid_name
from pytinc.wire.subnet import Subnet
from pytinc.wire.virtual_ip import MAX_VIRTUAL_IPS, VirtualIP, parse_address, parse_virtual_ip

_T = TypeVar("_T")
_V = TypeVar("_V")


class Reader:
    """Reads typed values from a pool, and collects complaints that are not fatal.

    With ``tolerant``, as in a reload, what is fatal at the start is also a complaint. ``default`` is what an
    absent variable counts as, ``kept`` what stays in force in place of a value that was rejected.
    """

    def __init__(self, pool: Pool, *, tolerant: bool) -> None:
        self._pool = pool
        self._tolerant = tolerant
        self.warnings: list[str] = []
        self.rejected: list[ConfigError] = []
        """What would be fatal at the start."""

    def text(self, name: str, default: _T) -> str | _T:
        """Read a value as it is."""
        entry = self._pool.first(name)
        return default if entry is None else entry.value

    def boolean(self, name: str, default: _T) -> bool | _T:
        """Read yes or no; another value is reported, and counts as absent."""
        return self._plain(name, parse_boolean, '"yes" or "no"', default)

    def integer(self, name: str, default: _T) -> int | _T:
        """Read an integer; another value is reported, and counts as absent."""
        return self._plain(name, parse_integer, "Integer", default)

    def _plain(self, name: str, parse: Callable[[str], _V | None], expected: str, default: _T) -> _V | _T:
        """Read a value with ``parse``, which returns None for one that is not as ``expected``."""
        entry = self._pool.first(name)
        if entry is None:
            return default
        value = parse(entry.value)
        if value is None:
            self._expected(expected, entry)
            return default
        return value

    def at_least(self, lowest: int, name: str, default: int) -> int:
        """Read an integer; one below ``lowest`` is reported and replaced by the default.

        tinc accepts it, and then its timers run without pause.
        """
        value = self.integer(name, default)
        entry = self._pool.first(name)
        if value >= lowest or entry is None:
            return value
        self.warnings.append(f"{entry.variable} must be at least {lowest}, using {default} ({entry.where})")
        return default

    def fatal_below(self, lowest: int, name: str, default: int, kept: int) -> int:
        """Read an integer; one below ``lowest`` is rejected."""
        value = self.integer(name, default)
        entry = self._pool.first(name)
        if value >= lowest or entry is None:
            return value
        self.reject(entry, f"{entry.variable} cannot be smaller than {lowest}!")
        return kept

    def fatal_outside(self, lowest: int, highest: int, unit: str, name: str, default: int, kept: int) -> int:
        """Read an integer; one outside ``lowest`` to ``highest`` is rejected."""
        value = self.integer(name, default)
        entry = self._pool.first(name)
        if lowest <= value <= highest or entry is None:
            return value
        self.reject(entry, f"{entry.variable} must be {lowest} to {highest} {unit}, not {value}!")
        return kept

    def keyword(self, name: str, words: Mapping[str, _T], default: _T, kept: _T, complaint: str) -> _T:
        """Read one of some words, in any case; others are rejected with ``complaint.format(word)``."""
        entry = self._pool.first(name)
        if entry is None:
            return default
        value = words.get(entry.value.lower())
        if value is None:
            self.reject(entry, complaint.format(entry.value))
            return kept
        return value

    def host_ports(self, name: str) -> tuple[HostPort, ...]:
        """Read addresses with or without a port."""
        return tuple(parse_host_port(entry.value) for entry in self._pool.all(name))

    def subnets(self, name: str, *, fatal: bool) -> tuple[Subnet, ...]:
        """Read subnets, each once; bad ones are rejected if they are ``fatal``, else reported."""
        found: dict[Subnet, None] = {}
        for entry in self._pool.all(name):
            try:
                found[parse_configured_subnet(entry.value)] = None
            except DecodeError as error:
                if fatal:
                    self.reject(entry, str(error))
                else:
                    self._report(entry, str(error))
        return tuple(found)

    def held_addresses(self) -> tuple[bytes, ...]:
        """Read the lines VirtualIP of a host file; bad ones are reported."""
        found: dict[bytes, None] = {}
        for entry in self._pool.all("VirtualIP"):
            try:
                address = parse_address(entry.value)
            except DecodeError as error:
                self._report(entry, str(error))
                continue
            if len(found) == MAX_VIRTUAL_IPS and address not in found:
                self._report(entry, f"A node has at most {MAX_VIRTUAL_IPS} virtual IPs")
            else:
                found[address] = None
        return tuple(found)

    def virtual_ips(self, name: str, device_type: str | None) -> tuple[VirtualIP, ...] | None:
        """Read the lines VirtualIP of the server configuration; None if one is bad.

        ``name`` is that of the own node.
        """
        found: dict[tuple[bytes, str | None], tuple[VirtualIP, Entry]] = {}
        fine = True
        for entry in self._pool.all("VirtualIP"):
            try:
                virtual_ip = parse_virtual_ip(entry.value)
                complaint = missing(virtual_ip, device_type)
            except DecodeError as error:
                complaint = str(error)
            else:
                if virtual_ip.key in found:
                    other = found[virtual_ip.key][1]
                    of_node = "" if virtual_ip.node is None else f" of {virtual_ip.node}"
                    complaint = f"{virtual_ip.address_text}{of_node} occurs twice, first in {other.where}"
                elif virtual_ip.node == name:
                    complaint = f"node={name} is this node itself: leave node= out"
                elif len(found) == MAX_VIRTUAL_IPS:
                    complaint = f"A node has at most {MAX_VIRTUAL_IPS} virtual IPs"
                else:
                    found[virtual_ip.key] = virtual_ip, entry
            if complaint is not None:
                self.reject(entry, complaint)
                fine = False
        return tuple(virtual_ip for virtual_ip, _ in found.values()) if fine else None

    def parsed(self, name: str, parse: Callable[[str], _T], default: _T, kept: _T) -> _T:
        """Read a value with a parser of its own; what it raises `DecodeError` for is rejected."""
        entry = self._pool.first(name)
        if entry is None:
            return default
        try:
            return parse(entry.value)
        except DecodeError as error:
            self.reject(entry, str(error))
            return kept

    def node_names(self, name: str, own_name: str) -> tuple[str, ...]:
        """Read node names; invalid names are reported, and the own name is left out."""
        found: dict[str, None] = {}
        for entry in self._pool.all(name):
            if not is_valid_name(entry.value):
                self._report(entry, f"Invalid name for node {entry.value}")
            elif entry.value != own_name:
                found[entry.value] = None
        return tuple(found)

    def reject(self, entry: Entry, complaint: str) -> None:
        """Raise `ConfigError`, or report it if this reader is tolerant."""
        error = located(entry, complaint)
        if not self._tolerant:
            raise error
        self.rejected.append(error)
        self.warnings.append(str(error))

    def report_unknown(self) -> None:
        """Report unknown variables, with the most similar known one."""
        for entry in self._pool.entries:
            name = entry.variable.lower()
            if not name:
                self.warnings.append(f"Ignoring a line that begins with white space ({entry.where})")
            elif name not in VARIABLES and name not in DAEMON_ONLY:
                self.warnings.append(f"Unknown variable {entry.variable} in {entry.where}{_suggestion(name)}")

    def _expected(self, what: str, entry: Entry) -> None:
        self.warnings.append(f"{what} expected for configuration variable {entry.variable} in {entry.where}")

    def _report(self, entry: Entry, complaint: str) -> None:
        self.warnings.append(str(located(entry, complaint)))


def located(entry: Entry, complaint: str) -> ConfigError:
    """Return the error that a complaint about an entry becomes."""
    return ConfigError(f"{complaint} (variable {entry.variable} in {entry.where})", entry.path, entry.line)


def _suggestion(name: str) -> str:
    from difflib import get_close_matches  # seldom needed

    nearest = get_close_matches(name, VARIABLES, n=1, cutoff=0.7)
    known = lookup(nearest[0]) if nearest else None
    return "" if known is None else f", did you mean {known.name}?"
