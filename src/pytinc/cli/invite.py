"""invite: makes an invitation and prints its URL. `join` accepts it.

See docs/protocol-invitations.md, "Inviting".

The address for the URL is found first, so that a failure leaves nothing behind. Departure from tinc: pytinc
does not ask a web service for it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pytinc.cli.files import read_text, split_lines, write_text
from pytinc.cli.options import is_host, take_options
from pytinc.cli.session import say
from pytinc.config.store import INVITATION_KEY
from pytinc.control.client import read_pidfile
from pytinc.crypto.keys import (
    SEED_SIZE,
    PrivateKey,
    format_private_key,
    invitation_file_name,
    key_hash,
    parse_private_key,
)
from pytinc.errors import ConfigError, ControlError, DecodeError, PytincError
from pytinc.wire.invitation import COOKIE_SIZE, FILE_NAME_LENGTH, SEPARATOR, InvitationUrl
from pytinc.wire.names import is_safe_netname, is_valid_name

if TYPE_CHECKING:
    from pytinc.cli.session import Session
    from pytinc.config.parser import Pool
    from pytinc.control.messages import NodeRow

DEFAULT_EXPIRE: Final = 604800
"""Seconds; the default of `InvitationExpire`."""
SCRIPT: Final = "invitation-created"
_PRIVATE_DIRECTORY: Final = 0o700
_PRIVATE_FILE: Final = 0o600
_CONFBASE_MODE: Final = 0o755
_HANDED_ON: Final = re.compile(r"(?:Mode|Broadcast)[ \t=]", re.IGNORECASE)
_PORT_LINE: Final = re.compile(r"Port(?=[ \t=\r\n]|$)", re.IGNORECASE)


def invite(session: Session, words: list[str]) -> int:
    """Make an invitation for a new node and print its URL."""
    words, given = take_options(words, ("--address",))
    if len(words) != 1:
        raise click.ClickException("Not enough arguments!" if not words else "Too many arguments!")
    name, own_name = words[0], _check(session, words[0])
    host, port = _contact(session, own_name)
    with _invitations(session) as directory:
        _remove_expired(directory, _expiry(session))
        key = _key(session, directory)
        cookie = os.urandom(COOKIE_SIZE)
        path = directory / invitation_file_name(cookie, key.public.text)
        # With the lock held: another command must not choose the same address.
        extra = "" if given["--address"] is None else _address_lines(session, given["--address"])
        write_text(str(path), _content(session, name, own_name, port, extra), mode=_PRIVATE_FILE)
    url = InvitationUrl(host, port, key_hash(key.public.text), cookie).text()
    _run_script(
        session, {"NAME": own_name, "NODE": name, "INVITATION_FILE": str(path), "INVITATION_URL": url}
    )
    print(url)
    return 0


def _check(session: Session, name: str) -> str:
    """Refuse a name that cannot be invited; return our own name."""
    if not is_valid_name(name):
        raise click.ClickException("Invalid name for node.")
    own_name = session.own_name()
    if os.access(session.host_file(name), os.F_OK):
        raise click.ClickException(f"A host config file for {name} already exists!")
    row = _node_of_daemon(session, name)
    if row is not None:
        raise click.ClickException(f"A node with name {name} is already known! {_advice(session, row)}")
    return own_name


def _advice(session: Session, row: NodeRow) -> str:
    """Return what to do about a node that the daemon knows, although it has no host file here."""
    from pytinc.control.messages import Request
    from pytinc.wire.bits import NodeStatus

    if row.status & NodeStatus.REACHABLE:
        return (
            f"It is online, through {row.nexthop}: choose another name. If that node was removed, stop its "
            "daemon, delete its host file on all nodes that still have it, `reload' them, and "
            f"`{session.suggestion} purge'."
        )
    forget = f"If it is gone permanently, make the daemon forget it: `{session.suggestion} purge'"
    if session.client().dump_if_known(Request.DUMP_SHARED) is None:  # tinc's daemon
        forget += f", or `{session.suggestion} restart' with AutoConnect, which is on by default"
    return f"{forget}. Then invite it again."


def _node_of_daemon(session: Session, name: str) -> NodeRow | None:
    from pytinc.control.messages import NodeRow, Request

    try:
        rows = session.client().dump(Request.DUMP_NODES)
    except ControlError:
        return None  # no daemon to ask
    return next((node for row in rows if (node := NodeRow.parse(row)).name == name), None)


# -- where the joining node will find us -------------------------------------------------------------------


def _contact(session: Session, own_name: str) -> tuple[str, str]:
    """Return host and port for the URL (docs/protocol-invitations.md, "Inviting")."""
    tree = session.tree
    pools = [tree.read_host(own_name).pool, tree.read_server()]
    host, port = _first_address(pools)
    if port is None:
        port = _first(pools, "Port")
    if port is None or port == "0":
        port = _port_of_daemon(session)
    return host or _ask_address(session, own_name), port


def _first(pools: list[Pool], variable: str) -> str | None:
    return next((entry.value for pool in pools if (entry := pool.first(variable)) is not None), None)


def _first_address(pools: list[Pool]) -> tuple[str | None, str | None]:
    value = _first(pools, "Address")
    if value is None:
        return None, None
    host, _, port = value.strip().partition(" ")
    return host, port.strip() or None


def _port_of_daemon(session: Session) -> str:
    try:
        return read_pidfile(session.paths.pidfile).port
    except (ControlError, OSError, DecodeError) as error:
        raise click.ClickException(
            f"The port is not known: {error}\nPlease start tincd first, or set Port in your host file."
        ) from error


def _ask_address(session: Session, own_name: str) -> str:
    """Ask the user for our address, and keep it in the host file; tinc would ask a web service."""
    answer = None
    if session.tty:
        answer = session.ask("Enter your host's public address or hostname: ")
    if not answer:
        raise click.ClickException(
            "No Address is known: other nodes could not find this one. Set the address or host name by which "
            f"they can, with `{session.suggestion} set {own_name}.Address HOST', and invite again."
        )
    if not is_host(answer):
        raise click.ClickException(f"Invalid address or host name: {answer}")
    path = session.host_file(own_name)
    text = read_text(path) if os.access(path, os.F_OK) else ""
    newline = "\n" if text and not text.endswith("\n") else ""
    write_text(path, f"{text}{newline}Address = {answer}\n")
    return answer


# -- the directory of open invitations ---------------------------------------------------------------------


@contextlib.contextmanager
def _invitations(session: Session) -> Iterator[Path]:
    """Make the directory if it is missing, and hold its lock: two commands must not both make a key."""
    directory = Path(session.confbase) / "invitations"
    _set_mode(directory.parent, _CONFBASE_MODE)
    try:
        directory.mkdir(mode=_PRIVATE_DIRECTORY, exist_ok=True)
    except OSError as error:
        raise click.ClickException(f"Could not create directory {directory}: {error.strerror}") from error
    _set_mode(directory, _PRIVATE_DIRECTORY)
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield directory
    finally:
        os.close(descriptor)


def _set_mode(path: Path, mode: int) -> None:
    if stat.S_IMODE(path.stat().st_mode) != mode:
        path.chmod(mode)


def _expiry(session: Session) -> int:
    entry = session.tree.read_server().first("InvitationExpire")
    text = "" if entry is None else entry.value
    return int(text) if text.isascii() and text.isdecimal() else DEFAULT_EXPIRE


def _remove_expired(directory: Path, expire: int) -> None:
    """Delete invitations that have expired; if none is left, delete the key as well."""
    deadline = time.time() - expire
    is_open = False
    for path in directory.iterdir():
        if len(path.name) == FILE_NAME_LENGTH:
            try:
                expired = path.stat().st_mtime < deadline
            except FileNotFoundError:
                continue  # the daemon has just taken it
            if expired:
                path.unlink(missing_ok=True)
            else:
                is_open = True
    if not is_open:
        (directory.parent / INVITATION_KEY).unlink(missing_ok=True)


def _key(session: Session, directory: Path) -> PrivateKey:
    """Return the key of all open invitations; if it is new, tell the daemon at once."""
    path = directory.parent / INVITATION_KEY
    try:
        return parse_private_key(read_text(str(path)))
    except FileNotFoundError:
        pass
    except DecodeError as error:
        raise click.ClickException(f"Could not read private key from {path}: {error}") from error
    key = PrivateKey.from_seed(os.urandom(SEED_SIZE))
    write_text(str(path), format_private_key(key), mode=_PRIVATE_FILE)
    _tell_daemon(session)
    return key


def _tell_daemon(session: Session) -> None:
    """Make the daemon read the new key: it needs the key before anybody can use the URL."""
    from pytinc.control.messages import Request

    try:
        result = session.client().command(Request.RELOAD)
    except ControlError as error:
        say(f"{error}\nCould not signal the tinc daemon. Please restart or reload it manually.")
    else:
        if result != 0:
            say("The tinc daemon could not reload its configuration. Until it does, no invitation works.")


# -- what the joining node gets ----------------------------------------------------------------------------


def _address_lines(session: Session, text: str) -> str:
    """Return the lines that give the new node an address, in tinc's words: its `join` takes them as well."""
    from pytinc.cli.pool import chosen_address

    address = chosen_address(session, text)
    say(f"The new node gets the address {address}.")
    # A switch has no use for the subnet, but does no harm with it, and it shows which addresses are taken.
    return f"Ifconfig = {address}\nSubnet = {address.ip}\n"


def _content(session: Session, name: str, own_name: str, port: str, extra: str) -> str:
    """Return the text of an invitation (docs/protocol-invitations.md, "Inviting")."""
    lines = [f"Name = {name}\n"]
    if session.netname is not None and is_safe_netname(session.netname):
        lines.append(f"NetName = {session.netname}\n")
    lines.append(f"ConnectTo = {own_name}\n")
    lines += [_ended(line) for line in split_lines(read_text(session.tinc_conf)) if _HANDED_ON.match(line)]
    lines += [extra, f"{SEPARATOR}\n", f"Name = {own_name}\n"]
    try:
        host_lines = split_lines(read_text(session.host_file(own_name)))
    except OSError as error:
        raise click.ClickException(f"Could not read own host file: {error}") from error
    lines += [f"Port = {port}\n" if _PORT_LINE.match(line) else line for line in host_lines]
    return "".join(lines)


def _ended(line: str) -> str:
    return line if line.endswith("\n") else line + "\n"


# -- the script --------------------------------------------------------------------------------------------


def _run_script(session: Session, environment: dict[str, str]) -> None:
    """Run ``invitation-created``, which may edit the invitation, before the URL is shown."""
    try:
        server = session.tree.read_server()
    except (ConfigError, PytincError):
        return
    extension, interpreter = server.first("ScriptsExtension"), server.first("ScriptsInterpreter")
    path = f"{session.confbase}/{SCRIPT}{'' if extension is None else extension.value}"
    if not os.access(path, os.F_OK):
        return
    command = f'"{path}"' if interpreter is None else f'{interpreter.value} "{path}"'
    if session.netname is not None:
        environment["NETNAME"] = session.netname
    say(f"Executing script {SCRIPT}")
    status = subprocess.run(
        ["/bin/sh", "-c", command], env={**os.environ, **environment}, check=False
    ).returncode
    if status:
        say(f"Script {SCRIPT} failed with status {status}.")
