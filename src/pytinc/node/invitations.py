"""The inviter's side of invitations: what a stranger gets, and how the new node becomes known.

See docs/protocol-invitations.md, "Inviter".

The wire side is `pytinc.protocol.invitation`; `pytinc.node.hosts.InvitationFiles` handles the files. An
invitation works once: it is taken away before anything else happens.
"""

from __future__ import annotations

import re
from typing import Final

from pytinc.crypto.keys import PrivateKey, PublicKey, parse_private_key
from pytinc.errors import AuthenticationError, ConfigError, DecodeError
from pytinc.node.actions import RunScript, SaveAddressCache
from pytinc.node.core import Core
from pytinc.node.records import Connection
from pytinc.node.topology import Topology
from pytinc.wire.names import is_valid_name

DEFAULT_PORT: Final = "655"
_MAX_QUOTED: Final = 60
"""Most bytes of a wrong line that are logged."""
_FIRST_LINE: Final = re.compile(rb"name(?=[ \t=])[ \t]*=?[ \t]*([^\n]*)", re.IGNORECASE)


class Invitations:
    """The inviter's part of the node."""

    def __init__(self, core: Core, topology: Topology) -> None:
        self._core = core
        self._topology = topology
        self.key: PrivateKey | None = None
        """The key that open invitations were made with; strangers are not served without."""

    def load(self) -> None:
        """Read the invitation key; called at start and for each reload, as in tinc."""
        self.key = None
        try:
            text = self._core.hosts.invitation_key_text()
            if text is not None:
                self.key = parse_private_key(text)
        except (ConfigError, DecodeError) as error:
            self._core.log(0, "error", f"Cannot use the invitation key: {error}")

    def claim(self, connection: Connection, file_name: str) -> None:
        """Hand out the invitation with this name. `AuthenticationError` if there is none that is good."""
        content, name = self._take(file_name)
        connection.meta.name = name
        connection.meta.invitation.offer(content)
        try:
            self._core.hosts.forget_taken(file_name)
        except ConfigError as error:
            self._core.log(0, "warning", str(error))
        self._core.log(1, "info", f"Invitation {file_name} successfully sent to {connection.describe()}")

    def _take(self, file_name: str) -> tuple[bytes, str]:
        core = self._core
        try:
            taken = core.hosts.take_invitation(file_name)
        except ConfigError as error:
            raise AuthenticationError(str(error)) from error
        if taken is None:
            raise AuthenticationError(
                f"tried to use non-existing invitation {file_name}: it is made up, or was used before"
            )
        content, modified = taken
        if modified + core.settings.invitation_expire < core.wall_clock():
            raise AuthenticationError(f"tried to use expired invitation {file_name}")
        name = _invited_name(content)
        if name is None:
            line = content.partition(b"\n")[0][:_MAX_QUOTED].decode("utf-8", "replace")
            raise AuthenticationError(
                f"line 1 of invitation {file_name} must be `Name = NODE', but is `{line}'; nothing may stand "
                "before it, not even a comment"
            )
        if name == core.me.name:
            raise AuthenticationError(f"invitation {file_name} is for this node itself")
        return content, name

    def register(self, connection: Connection, key: PublicKey) -> None:
        """Make the invited node known: its host file, so that it can log in at once.

        `AuthenticationError` if there is a node of that name, or its file cannot be written.
        """
        core, name = self._core, connection.name
        self._topology.peer(name, limited=False)
        try:
            is_new = core.hosts.add_host(name, key.text)
        except ConfigError as error:
            raise AuthenticationError(str(error)) from error
        if not is_new:
            raise AuthenticationError(f"host config file of {name} already exists")
        core.log(1, "info", f"Key successfully received from {connection.describe()}")
        # Departure from tinc, which keeps the port that the joining command was given by chance.
        core.act(SaveAddressCache(name, (connection.remote.with_port(DEFAULT_PORT),)))
        core.act(RunScript("invitation-accepted", {"NODE": name, "REMOTEADDRESS": connection.remote.host}))
        connection.meta.invitation.accept()


def _invited_name(content: bytes) -> str | None:
    match = _FIRST_LINE.match(content)
    if match is None:
        return None
    name = match[1].rstrip().decode("ascii", "replace")
    return name if is_valid_name(name) else None
