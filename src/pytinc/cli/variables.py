"""get, set, add, del and config: single variables of tinc.conf and host files.

See docs/tinc-program.md, "get, set, add and del".

This module decides; `pytinc.config.edit` changes the text.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from pytinc.cli.files import open_failure, read_text, write_text
from pytinc.cli.session import say
from pytinc.config.edit import EditResult, add_value, delete_values, get_values, replace_values, set_value
from pytinc.config.variables import Variable, lookup
from pytinc.errors import ConfigError, DecodeError
from pytinc.wire.names import is_valid_name

if TYPE_CHECKING:
    from pytinc.cli.session import Session

MAX_WORDS_LENGTH: Final = 4095
"""The words after the verb are cut at this length, as tinc's buffer does."""
_ASSIGNMENT: Final = re.compile(r"([^\t =]*)[\t ]*=?[\t ]*(.*)", re.DOTALL)
_VIRTUAL_IP: Final = re.compile(r"(?:[^\t =.]*\.)?virtualip(?![^\t =])", re.IGNORECASE)
_BLANK: Final = re.compile(r"[\t ]")


class Target(NamedTuple):
    """The words ``[HOST.]VARIABLE [VALUE]`` of a command line. An absent value is empty."""

    host: str | None
    name: str
    value: str


def get(session: Session, words: list[str]) -> int:
    """Print the values of a variable; with a value, do what `set_` does."""
    target = parse_target(words)
    if target.value:
        if session.json:
            raise click.ClickException("`get --json' only prints values and takes none.")
        return _change(session, target, _setter(target))
    if target.name.lower() == "port" and (port := _port_in_use(session, target.host)) is not None:
        return _print_values(session, target, [port])
    _check_host(target)
    variable = lookup(target.name)
    if variable is None:
        _warn_unknown(target.name)
    values = get_values(_read(_file(session, target, variable)), variable or target.name)
    if not values:
        raise click.ClickException("No matching configuration variables found.")
    return _print_values(session, target, values)


def _print_values(session: Session, target: Target, values: list[str]) -> int:
    if session.json:
        from pytinc.cli.machine import print_json

        variable = lookup(target.name)
        name = target.name if variable is None else variable.name
        print_json({"variable": name, "host": target.host, "values": list(values)})
        return 0
    for value in values:
        print(value)
    return 0


def set_(session: Session, words: list[str]) -> int:
    """Set a variable to one value."""
    target = parse_target(words)
    return _change(session, target, _setter(target))


def add(session: Session, words: list[str]) -> int:
    """Add a value to a variable."""
    target = parse_target(words)
    return _change(session, target, _add_virtual_ip if _is_virtual_ip(target) else add_value)


def del_(session: Session, words: list[str]) -> int:
    """Remove a variable, or one value of it."""
    target = parse_target(words)
    _check_subnet(target)
    _check_host(target)
    variable = lookup(target.name)
    if variable is None:
        _warn_unknown(target.name)
    path = _file(session, target, variable)
    delete = _delete_virtual_ip if _is_virtual_ip(target) else delete_values
    result = delete(_read(path), variable or target.name, target.value or None)
    if not result.changed:
        raise click.ClickException("No configuration variables deleted.")
    _write(session, path, result)
    return 0


_VERBS: Final[dict[str, Callable[[Session, list[str]], int]]] = {
    "get": get,
    "set": set_,
    "replace": set_,
    "change": set_,
    "add": add,
    "del": del_,
}


def config(session: Session, words: list[str]) -> int:
    """``config VERB ...`` is ``VERB ...``; without a verb it gets or sets."""
    verb = _VERBS.get(words[0].lower())
    if verb is None:
        return get(session, words)
    if len(words) == 1:
        raise click.ClickException("Invalid number of arguments.")
    return verb(session, words[1:])


def parse_target(words: list[str]) -> Target:
    """Parse the words after a verb: ``Mode switch``, ``Mode=switch`` and ``Mode = switch`` are the same."""
    if _VIRTUAL_IP.match(words[0]):
        words = [_with_quotes(word) for word in words]
    match = _ASSIGNMENT.fullmatch(" ".join(words)[:MAX_WORDS_LENGTH])
    assert match is not None, "the pattern matches every text"
    host, dot, name = match[1].partition(".")
    if not dot:
        host, name = "", match[1]
    if not name:
        raise click.ClickException("No variable given.")
    return Target(host if dot else None, name, match[2].rstrip("\t "))


# -- Virtual IPs: a line for each address and node ---------------------------------------------------------


def _is_virtual_ip(target: Target) -> bool:
    return target.name.lower() == "virtualip"


def _setter(target: Target) -> Callable[[str, Variable | str, str], EditResult]:
    return _set_virtual_ip if _is_virtual_ip(target) and target.host is None else set_value


def _with_quotes(word: str) -> str:
    """Put the quotes back that the shell has taken from ``text="all is well"``."""
    from pytinc.wire.virtual_ip import quote

    key, equals, value = word.partition("=")
    if key.lower() != "text" or not equals or value.startswith('"') or not _BLANK.search(value):
        return word
    return f"{key}={quote(value)}"


def _check_virtual_ip(target: Target) -> None:
    from pytinc.wire.virtual_ip import parse_address, parse_virtual_ip

    try:
        if target.host is None:
            parse_virtual_ip(target.value)
        else:
            parse_address(target.value)
    except DecodeError as error:
        raise click.ClickException(f"Malformed virtual IP: {error}") from error


def _set_virtual_ip(text: str, variable: Variable | str, value: str) -> EditResult:
    """Change the line of one address and node; others stay, since each is a setting of its own."""
    from pytinc.wire.virtual_ip import line_key

    old = _lines_of(text, line_key(value))
    return replace_values(text, variable, value, old.__contains__)


def _add_virtual_ip(text: str, variable: Variable | str, value: str) -> EditResult:
    """Add a line, unless there is one for the address and node: the daemon would refuse the second."""
    from pytinc.wire.virtual_ip import line_key

    result = add_value(text, variable, value)
    others = _lines_of(text, line_key(value))
    if result.changed and others:
        raise click.ClickException(
            f"There is a line for this address already: VirtualIP = {others[0]}\nChange it with `set'."
        )
    return result


def _delete_virtual_ip(text: str, variable: Variable | str, value: str | None) -> EditResult:
    """Remove the line of an address, or of an address and a node, whatever else is there.

    With more words, ``value`` must be exactly the line.
    """
    from pytinc.wire.virtual_ip import line_key, parse_address

    words = (value or "").split()
    try:
        parse_address(words[0] if words else "")
        key = line_key(value or "")
    except DecodeError:
        return delete_values(text, variable, value)
    if len(words) > (1 if key[1] is None else 2):
        return delete_values(text, variable, value)
    lines = _lines_of(text, key)
    for line in lines:
        text = delete_values(text, variable, line).text
    return EditResult(text, (), changed=bool(lines))


def _lines_of(text: str, key: tuple[bytes, str | None]) -> list[str]:
    """Return the values of the lines for an address and a node."""
    from pytinc.wire.virtual_ip import line_key

    found = []
    for value in get_values(text, "VirtualIP"):
        with contextlib.suppress(DecodeError):
            if line_key(value) == key:
                found.append(value)
    return found


# -- Checks, in tinc's order -------------------------------------------------------------------------------


def _change(session: Session, target: Target, edit: Callable[[str, Variable | str, str], EditResult]) -> int:
    if not target.value:
        raise click.ClickException("No value for variable given.")
    _check_subnet(target)
    if _is_virtual_ip(target):
        _check_virtual_ip(target)
    variable = lookup(target.name)
    if variable is not None and variable.obsolete:
        _refuse(session, f"{variable.name} is an obsolete variable!")
    if variable is not None and target.host is not None and not variable.host:
        _refuse(session, f"{variable.name} is not a host configuration variable!")
    _check_host(target)
    if variable is None and session.force:
        _warn_unknown(target.name)
    elif variable is None:
        raise click.ClickException(
            f"{target.name}: is not a known configuration variable! Use --force to use it anyway."
        )
    if variable is not None and not _is_virtual_ip(target):
        _check_value(session, target, variable)
    path = _file(session, target, variable)
    result = edit(_read(path), variable or target.name, target.value)
    for warning in result.warnings:
        say(warning)
    if result.changed:
        _write(session, path, result)
    return 0


def _refuse(session: Session, complaint: str) -> None:
    if not session.force:
        stop = "" if complaint.endswith(("!", ".")) else "."
        raise click.ClickException(f"{complaint}{stop} Use --force to use it anyway.")
    say(f"Warning: {complaint}")


def _warn_unknown(name: str) -> None:
    say(f"Warning: {name} is not a known configuration variable!")


def _check_subnet(target: Target) -> None:
    if target.name.lower() != "subnet" or not target.value:
        return
    from pytinc.wire.subnet import parse_subnet

    try:
        subnet = parse_subnet(target.value)
    except DecodeError as error:
        raise click.ClickException(f"Malformed subnet definition {target.value}") from error
    if subnet.has_host_bits:
        raise click.ClickException(f"Network address and prefix length do not match: {target.value}")


def _check_value(session: Session, target: Target, variable: Variable) -> None:
    """Refuse a value with which the daemon would not start, and warn of one that it would ignore."""
    from pytinc.config.building import build_host_settings, checked_settings
    from pytinc.config.parser import Entry, Pool

    entry = Entry(variable.name, target.value, "", 1)
    if target.host is not None:
        warnings: list[str] = list(build_host_settings(target.host, Pool([entry]), None).warnings)
    else:
        # Some device types need a Device, which may be set after this.
        pool = Pool([entry, Entry("Device", "", "", 2)])
        _, refused, warnings = checked_settings(pool, "self")
        for problem in refused:
            if problem.line == entry.line:
                _refuse(session, _without_place(str(problem)))
    if variable.name == "Port":
        from pytinc.cli.port import is_udp_port

        if not is_udp_port(target.value):
            _refuse(session, f"There is no UDP port {target.value}")
    for warning in warnings:
        say(f"Warning: {_without_place(warning)}")


def _without_place(complaint: str) -> str:
    """Return what the daemon says of a line, without the file and line that it adds."""
    return re.split(r" (?:\(variable|in  line|\( line) ", complaint, maxsplit=1)[0]


def _check_host(target: Target) -> None:
    if target.host is not None and not is_valid_name(target.host):
        raise click.ClickException("Invalid name for node.")


def _file(session: Session, target: Target, variable: Variable | None) -> str:
    """Return the file to which the variable belongs."""
    if target.host is not None:
        return session.host_file(target.host)
    if variable is not None and not variable.server:
        return session.host_file(session.own_name())
    return session.tinc_conf


def _read(path: str) -> str:
    try:
        return read_text(path)
    except OSError as error:
        raise open_failure(path, error) from error


def _write(session: Session, path: str, result: EditResult) -> None:
    write_text(path, result.text)
    session.reload_quietly()


def _port_in_use(session: Session, host: str | None) -> str | None:
    """Return the port that the running daemon uses; None, with a message, if there is no daemon.

    Departure from tinc: only for this node, and only from the pid file of a live process.
    """
    from pytinc.control.client import NoDaemonError, process_exists, read_pidfile

    if host is not None:
        try:
            own = session.own_name()
        except (click.ClickException, ConfigError):
            return None
        if host != own:
            return None
    try:
        known = read_pidfile(session.paths.pidfile)
    except NoDaemonError as error:
        say(str(error))
        return None
    return known.port if process_exists(known.pid) else None
