"""join: accepts an invitation and makes the new node's configuration.

See docs/protocol-invitations.md, "Joiner".

The order of the steps makes a lost connection harmless: everything is on disk, beside its final place, before
the inviter is told the new key, and it is renamed as soon as the inviter has confirmed the key. The user is
asked only after that, because the inviter waits only a few seconds.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pytinc.cli.join_files import fill, rename_network, settle_script
from pytinc.cli.session import say
from pytinc.cli.staging import staged
from pytinc.config.joined import JoinedNode, read_invitation
from pytinc.errors import AuthenticationError, ConfigError, DecodeError, ProtocolError
from pytinc.wire.invitation import DEFAULT_PORT as DEFAULT_URL_PORT
from pytinc.wire.invitation import InvitationUrl, parse_url

if TYPE_CHECKING:
    from pytinc.cli.session import Session
    from pytinc.crypto.keys import PublicKey
    from pytinc.protocol.joining import Joiner, JoinEvent


CONNECT_TIMEOUT_S: Final = 10.0
REPLY_TIMEOUT_S: Final = 5.0
"""How long the inviter may be silent."""
TOTAL_TIMEOUT_S: Final = 60.0
"""How long an inviter may take in all, even if it sends a byte now and then (tinc: 5 seconds)."""
_READ_SIZE: Final = 65536
_MAX_PORT: Final = 65535
_PARTS_OF_CONFBASE: Final = frozenset({"hosts", "cache", "invitations"})
_CANCELLED: Final = (
    "Invitation cancelled. Please try again and contact the inviter for assistance if this error persists."
)
_UNREACHABLE: Final = "Could not connect to inviter. Please make sure the URL you entered is valid."
_WRONG_KEY: Final = "Peer has an invalid key. Please make sure you're using the correct URL."
_SILENT: Final = "Timed out waiting for the server to reply."


def join(session: Session, words: list[str]) -> int:
    """Make the configuration that an invitation describes, and register the new node with the inviter."""
    if len(words) > 1:
        raise click.ClickException("Too many arguments!")
    netname_before = session.netname
    explicit = session.given_confbase is not None or session.netname is not None
    _check_place(Path(session.confbase), explicit=explicit)
    url = _read_url(session, words)
    try:
        with contextlib.closing(_find_inviter(url)) as visit, _cancelled_by_failure():
            data = visit.invitation()
            node = _read(data, force=session.force, want_netname=not explicit)
            replaced = not explicit and _choose_network(session, node)
            _store(visit, Path(session.confbase), node, data)
    except BaseException:
        session.netname = netname_before
        raise
    say("Invitation successfully accepted.")
    say(f"Configuration stored in: {session.confbase}")
    if node.has_commands:
        settle_script(session)
    if replaced:
        say(
            f"There is a network {node.netname or 'without a name'} here already, so this one is "
            f"{session.netname}: `join -n NETNAME' chooses a name."
        )
        rename_network(session)
    return 0


# -- before anything is sent -------------------------------------------------------------------------------


def _check_place(confbase: Path, *, explicit: bool) -> None:
    """Refuse a directory that is configured or not writable, before the invitation is used up."""
    if explicit and (confbase / "tinc.conf").exists():
        raise click.ClickException(f"Configuration file {confbase}/tinc.conf already exists!")
    # Nothing is made yet: the part of the path that exists must allow it later.
    place = next(path for path in (confbase, *confbase.absolute().parents) if path.exists())
    if not place.is_dir() or not os.access(place, os.R_OK | os.W_OK | os.X_OK):
        raise click.ClickException(f"No permission to write in directory {place}.")


def _read_url(session: Session, words: list[str]) -> InvitationUrl:
    """Return the given URL, or read one from standard input."""
    text = words[0] if words else session.ask("Enter invitation URL: " if session.tty else "")
    if text is None:
        raise click.ClickException("Error while reading stdin: end of file")
    try:
        url = parse_url(text.strip())
    except DecodeError as error:
        raise click.ClickException(f"Invalid invitation URL: {error}.") from error
    port = url.port
    # getaddrinfo() would take any number modulo 65536.
    if port is not None and port.isdecimal() and not 0 < int(port[:6]) <= _MAX_PORT:
        raise click.ClickException("Invalid invitation URL: there is no such port.")
    return url


# -- the connection ----------------------------------------------------------------------------------------


class _Visit:
    """A connection to the inviter, and the state machine that speaks on it.

    Failures raise `OSError` or `ProtocolError`; silence raises `TimeoutError`.
    """

    def __init__(self, connection: socket.socket, joiner: Joiner) -> None:
        self._socket = connection
        self._joiner = joiner
        self._deadline = time.monotonic() + TOTAL_TIMEOUT_S

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def next_event(self) -> JoinEvent:
        """Wait for the inviter's next step and return it."""
        while True:
            event = self._joiner.next_event()
            self._socket.sendall(self._joiner.take_output())
            if event is not None:
                return event
            if time.monotonic() > self._deadline:
                raise TimeoutError
            data = self._socket.recv(_READ_SIZE)
            if not data:
                raise ConnectionError(self._why_closed())
            self._joiner.feed(data)

    def _why_closed(self) -> str:
        from pytinc.protocol.joining import Stage

        if self._joiner.stage is not Stage.DATA:
            return "The inviter closed the connection."
        return (
            "The inviter closed the connection: the invitation may have expired or been used before, "
            "or line 1 of its file may not be `Name = NODE'. The inviter's log tells which."
        )

    def invitation(self) -> bytes:
        """Return the whole invitation. After that the inviter waits for a key."""
        from pytinc.protocol.joining import InvitationReceived

        event = self.next_event()
        assert isinstance(event, InvitationReceived), "nothing else follows the greeting"
        return event.data

    def register(self, key: PublicKey) -> None:
        """Send the new node's key, and wait until the inviter has stored it."""
        self._joiner.register(key)
        self.next_event()


def _find_inviter(url: InvitationUrl) -> _Visit:
    """Try all addresses; return the first connection to a peer with the right key."""
    port = url.port or DEFAULT_URL_PORT
    try:
        addresses = socket.getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:  # ValueError: a text that can be no host name
        reason = error.strerror if isinstance(error, OSError) else "invalid name"
        raise click.ClickException(f"Error looking up {url.host} port {port}: {reason}") from error
    for family, _, _, _, address in addresses:
        visit = _call_at(family, address, url)
        if visit is not None:
            return visit
    raise click.ClickException(_UNREACHABLE)


def _call_at(family: int, address: tuple[Any, ...], url: InvitationUrl) -> _Visit | None:
    """Return the connection; None if no inviter answers there."""
    from pytinc.crypto.keys import SEED_SIZE, PrivateKey
    from pytinc.protocol.joining import Joiner

    where = f"{address[0]} port {address[1]}"
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(CONNECT_TIMEOUT_S)
        connection.connect(address)
        say(f"Connected to {where}...")
        connection.settimeout(REPLY_TIMEOUT_S)
        key = PrivateKey.from_seed(os.urandom(SEED_SIZE))
        visit = _Visit(connection, Joiner(url.key_hash, url.cookie, key, os.urandom))
    except OSError as error:
        connection.close()
        say(f"Could not connect to {where}: {error.strerror or error}")
        return None
    try:
        visit.next_event()
    except AuthenticationError as error:
        visit.close()
        raise click.ClickException(_WRONG_KEY) from error
    except (OSError, DecodeError) as error:
        visit.close()
        say(_SILENT if isinstance(error, TimeoutError) else f"No inviter at {where}: {_reason(error)}")
        return None
    except BaseException:
        visit.close()
        raise
    return visit


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return _SILENT
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


@contextlib.contextmanager
def _cancelled_by_failure() -> Iterator[None]:
    """Turn a failure into a message that says what failed and that the invitation is cancelled."""
    try:
        yield
    except (ProtocolError, ConfigError, OSError) as error:
        raise click.ClickException(f"{_reason(error)}\n{_CANCELLED}") from error


# -- what is made of the invitation ------------------------------------------------------------------------


def _read(data: bytes, *, force: bool, want_netname: bool) -> JoinedNode:
    node = read_invitation(data.decode("utf-8", "surrogateescape"), force=force, want_netname=want_netname)
    for message in node.messages:
        say(message)
    return node


def _choose_network(session: Session, node: JoinedNode) -> bool:
    """Use the invitation's network name; return True if it is taken, and another is used instead."""
    session.netname = node.netname
    confdir = Path(session.paths.confdir)
    # In a configuration without a net name, some names are those of its own directories.
    is_part = node.netname in _PARTS_OF_CONFBASE and (confdir / "tinc.conf").exists()
    if not is_part and not Path(session.tinc_conf).exists():
        return False
    session.netname = f"join_{secrets.token_hex(4)}"
    return True


def _store(visit: _Visit, confbase: Path, node: JoinedNode, data: bytes) -> None:
    """Write everything, register the new key, then move everything to its final place."""
    with staged(confbase) as staging:
        key = fill(staging, node, data)
        # From here on the inviter may know the key, and accepts no other for this name.
        staging.keep = (
            f"The inviter was told the key of {node.name}. If it has stored it in hosts/{node.name}, "
            f"you only need to move the new configuration to {confbase}. It was kept in"
        )
        visit.register(key)
        staging.publish()
