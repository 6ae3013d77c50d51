"""Every exception type of pytinc. Each says whose fault it is.

A datagram that does not verify is not an exception but a counter (docs/architecture.md).
"""

from __future__ import annotations


class PytincError(Exception):
    """Base of all errors that pytinc raises on purpose."""


class ProtocolError(PytincError):
    """The peer broke the protocol: close its connection, count it, log one line."""


class DecodeError(ProtocolError):
    """Bytes or text from outside do not have the form they must have."""


class AuthenticationError(ProtocolError):
    """A record, signature or key of the peer does not verify."""


class UnexpectedRequest(ProtocolError):
    """A well-formed request or record that is not allowed at this point."""


class LimitError(ProtocolError):
    """A table fed by the network is full: what does not fit is ignored, the connection goes on."""


class UsageError(PytincError):
    """Our own caller broke the contract of an interface: a bug, never a peer's doing."""


class ConfigError(PytincError):
    """A configuration, host or key file cannot be used.

    ``path`` and ``line`` (1-based) tell where, when they are known; ``str()`` gives the whole message.
    """

    def __init__(self, text: str, path: str | None = None, line: int | None = None) -> None:
        super().__init__(text)
        self.path = path
        self.line = line


class DeviceError(PytincError):
    """The virtual network device or a socket cannot be opened or used."""


class PolicyError(PytincError):
    """A command about a virtual IP cannot be carried out; ``str()`` tells people why."""


class ControlError(PytincError):
    """The daemon cannot be reached or did not answer as the control protocol says."""
