"""Turning the text of an invitation into the files of a new node.

See docs/protocol-invitations.md, "Files of a new node".

`pytinc join` passes the received text to `read_invitation` and writes what that returns. Nothing here
touches the disk. The inviter controls every byte of the text, so: names are checked before they become names
of files, variables are accepted only if the table marks them as safe, and a script gets only addresses that
were parsed and formatted again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from pytinc.config.parser import split_assignment
from pytinc.config.variables import lookup
from pytinc.errors import ConfigError, DecodeError
from pytinc.wire.invitation import SEPARATOR
from pytinc.wire.names import is_safe_netname, is_valid_name
from pytinc.wire.subnet import Subnet, SubnetKind, parse_subnet

MAX_LINE: Final = 1023
"""Characters of a line. tinc's joiner reads no longer lines."""
MAX_HOSTS: Final = 1000
"""Host files that one invitation may contain: more than the nodes of any network of this kind."""
MAX_MESSAGES: Final = 50
"""Messages about ignored lines: an inviter must not flood the terminal."""
SCRIPT_START: Final = '#!/bin/sh\nip link set dev "$INTERFACE" up\n'
UNCONFIGURED: Final = """\

echo 'Unconfigured tinc-up script, please edit '$0'!'

#ip addr add <your vpn IP address>/<prefix length of whole VPN> dev $INTERFACE
"""


@dataclass(frozen=True, slots=True)
class JoinedNode:
    """The configuration that an invitation describes, except keys and port."""

    name: str
    """The new node's name, valid."""
    netname: str | None
    """The network's name, safe as the name of a directory; None if there is none or none is wanted."""
    tinc_conf: str
    own_host: str
    """The beginning of the own host file."""
    hosts: Mapping[str, str]
    """Text of the other nodes' host files, by valid name."""
    script: str
    """Text of tinc-up."""
    has_commands: bool
    """Whether the invitation has commands for the script: then the user must agree to it."""
    messages: tuple[str, ...]
    """Messages for the user about ignored lines."""


def read_invitation(text: str, *, force: bool, want_netname: bool) -> JoinedNode:
    """Turn the text of an invitation into files. Raises `ConfigError` if it cannot be used.

    ``force`` also accepts unsafe variables. ``want_netname``: the user has not named a network.
    """
    lines = [_Line.parse(number, line) for number, line in _split(text)]
    if not lines or lines[0].variable != "name":
        raise ConfigError("No Name found in invitation!")
    name = lines[0].value
    if not is_valid_name(name):
        raise ConfigError("Invalid Name found in invitation!")
    reader = _Reader(name, force)
    for line in lines:
        reader.take(line)
    return reader.result(_find_netname(lines) if want_netname else None)


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    text: str
    spelling: str
    """The variable as written."""
    value: str

    @classmethod
    def parse(cls, number: int, text: str) -> _Line:
        return cls(number, text, *split_assignment(text.rstrip()))

    @property
    def variable(self) -> str:
        return self.spelling.lower()


def _split(text: str) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line, without newlines."""
    if "\0" in text:
        raise ConfigError("Zero byte found in invitation!")
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        if len(line) > MAX_LINE:
            raise ConfigError(f"Line {number} of the invitation is longer than {MAX_LINE} characters!")
        yield number, line


def _find_netname(lines: list[_Line]) -> str | None:
    """Return the first NetName of all lines, as tinc does."""
    value = next((line.value for line in lines if line.variable == "netname"), None)
    if value is not None and not is_safe_netname(value):
        raise ConfigError("Unsafe NetName found in invitation!")
    return value


def _shown(text: str) -> str:
    """Make the inviter's text safe for a message: without anything that a terminal would act on."""
    return "".join(c if c.isprintable() else "?" for c in text)


@dataclass(slots=True)
class _Reader:
    """Takes one line after the other: first the own part, then the host files of others."""

    name: str
    force: bool
    tinc_conf: list[str] = field(default_factory=list)
    own_host: list[str] = field(default_factory=list)
    hosts: dict[str, list[str]] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    _host: list[str] | None = None
    """Lines of the host file being read; None in the own part."""

    def result(self, netname: str | None) -> JoinedNode:
        left_out = len(self.messages) - MAX_MESSAGES
        if left_out > 0:
            self.messages[MAX_MESSAGES:] = [f"{left_out} more messages about the invitation are left out."]
        return JoinedNode(
            self.name,
            netname,
            f"Name = {self.name}\n" + "".join(self.tinc_conf),
            "".join(self.own_host),
            {name: "".join(lines) for name, lines in self.hosts.items()},
            SCRIPT_START + ("".join(f"{line}\n" for line in self.commands) or UNCONFIGURED),
            bool(self.commands),
            tuple(self.messages),
        )

    def take(self, line: _Line) -> None:
        if line.variable == "name" and (self._host is not None or line.value != self.name):
            self._begin_host(line)
        elif self._host is None:
            self._take_own(line)
        elif line.text.rstrip("\r") != SEPARATOR:
            self._host.append(f"{line.text}\n")

    def _begin_host(self, line: _Line) -> None:
        name = line.value
        if not is_valid_name(name):
            raise ConfigError(f"Invalid Name found in line {line.number} of the invitation!")
        if name == self.name:
            raise ConfigError("Secondary chunk would overwrite our own host config file.")
        if name not in self.hosts and len(self.hosts) == MAX_HOSTS:
            raise ConfigError(f"More than {MAX_HOSTS} host files found in invitation!")
        # A second part of the same name replaces the first, as in tinc.
        self._host = self.hosts[name] = []

    def _take_own(self, line: _Line) -> None:
        if not line.spelling or line.text.startswith("#") or line.variable in ("name", "netname"):
            return
        if line.variable in _COMMANDS:
            self._take_command(line)
        else:
            self._take_variable(line)

    def _take_command(self, line: _Line) -> None:
        try:
            self.commands += _COMMANDS[line.variable](line.value)
        except DecodeError as error:
            self._remark(f"Ignoring line {line.number} of the invitation, {line.spelling}: {error}.")

    def _take_variable(self, line: _Line) -> None:
        variable = lookup(line.spelling)
        if variable is None:
            self._remark(f"Ignoring unknown variable '{_shown(line.spelling)}' in invitation.")
            return
        if not variable.safe:
            if not self.force:
                self._remark(f"Ignoring unsafe variable '{variable.name}' in invitation.")
                return
            self._remark(f"Warning: unsafe variable '{variable.name}' in invitation.")
        if not line.value:
            self._remark(f"Ignoring variable '{variable.name}' without a value in invitation.")
            return
        (self.own_host if variable.host else self.tinc_conf).append(f"{line.spelling} = {line.value}\n")

    def _remark(self, text: str) -> None:
        self.messages.append(text)


# -- commands for tinc-up ----------------------------------------------------------------------------------


def _ifconfig(value: str) -> list[str]:
    """Return the commands that set an address of the interface (tinc: ifconfig_*())."""
    if value.lower() in _AUTOMATIC:
        return list(_AUTOMATIC[value.lower()])
    address = parse_subnet(value)
    if address.kind is SubnetKind.MAC:
        return []
    return [f'ip addr replace {address.text_without_weight} dev "$INTERFACE"']


def _route(value: str) -> list[str]:
    """Return the command for a route through the interface, directly or by a gateway."""
    words = value.split(maxsplit=1)
    if not words:
        raise DecodeError("no network")
    net = _ip_subnet(words[0])
    via, how = "", ""
    if len(words) > 1:
        gateway = _ip_subnet(words[1])
        if gateway.kind is not net.kind:
            raise DecodeError("network and gateway are of different families")
        via, how = f"via {gateway.text_without_weight.partition('/')[0]} ", " onlink"
    return [f'ip route add {net.text_without_weight} {via}dev "$INTERFACE"{how}']


def _ip_subnet(text: str) -> Subnet:
    subnet = parse_subnet(text)
    if subnet.kind is SubnetKind.MAC:
        raise DecodeError("a MAC address has no route")
    return subnet


_AUTOMATIC: Final = {
    "dhcp": ('dhclient -nw "$INTERFACE"',),
    "dhcp6": ('dhclient -6 -nw "$INTERFACE"',),
    "slaac": (
        'echo 1 >"/proc/sys/net/ipv6/conf/$INTERFACE/accept_ra"',
        'echo 1 >"/proc/sys/net/ipv6/conf/$INTERFACE/autoconf"',
    ),
}
_COMMANDS: Final[dict[str, Callable[[str], list[str]]]] = {"ifconfig": _ifconfig, "route": _route}
