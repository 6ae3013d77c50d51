"""`VirtualIP`: what a member's configuration says about one virtual address, and its health checks.

A value without a state. The configuration reads it, `pytinc.vip` decides by it, and `pytinc.net.checks` runs
its checks. See docs/virtual-ip.md, "Virtual IPs by policy".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

DEFAULT_PRIORITY: Final = 100
MAX_PRIORITY: Final = 254
DEFAULT_RISE: Final = 2
DEFAULT_FALL: Final = 3
DEFAULT_INTERVAL: Final = 1.0
DEFAULT_TIMEOUT: Final = 1.0
MAX_VIRTUAL_IPS: Final = 64
"""Of one node."""
MAX_CHECKS: Final = 8
"""Of one address."""


@dataclass(frozen=True, slots=True)
class TcpCheck:
    """A TCP connection is accepted. ``host`` None: at the virtual address itself, which the host has."""

    port: int
    host: str | None = None

    def __str__(self) -> str:
        """Return the form of the configuration."""
        if self.host is None:
            return f"tcp:{self.port}"
        return f"tcp:[{self.host}]:{self.port}" if ":" in self.host else f"tcp:{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class HttpCheck:
    """An HTTP request (GET) is answered with an expected status, and a body with an expected text."""

    url: str
    status: tuple[int, int] = (200, 399)
    """The lowest and the highest status that are well."""
    text: str | None = None
    verify: bool = False
    """Check the certificate of https."""

    def __str__(self) -> str:
        """Return the URL."""
        return self.url


@dataclass(frozen=True, slots=True)
class ExecCheck:
    """A script of the configuration directory ends with status 0 (well), 2 (drain) or another (not well)."""

    script: str

    def __str__(self) -> str:
        """Return the form of the configuration."""
        return f"exec:{self.script}"


Check: TypeAlias = TcpCheck | HttpCheck | ExecCheck


@dataclass(frozen=True, slots=True)
class VirtualIP:
    """One line ``VirtualIP`` of ``tinc.conf``: this node may serve the address. Times are in seconds."""

    address: bytes
    """4 or 16 bytes."""
    prefix: int
    """Prefix length; that of a single address by default."""
    priority: int = DEFAULT_PRIORITY
    """1 to 254; the highest of the members that are well serves, when a new one is needed."""
    preempt: float | None = None
    """How long this node must have been well until it takes the address back from a member of lower priority;
    None: it does not."""
    checks: tuple[Check, ...] = ()
    """All must be well."""
    interval: float = DEFAULT_INTERVAL
    timeout: float = DEFAULT_TIMEOUT
    rise: int = DEFAULT_RISE
    """Good results in a row that make a check well, after it was not."""
    fall: int = DEFAULT_FALL
    """Bad results in a row that make it unwell."""
    manage: bool = False
    """The daemon puts the address on its interface; otherwise ``tinc-up`` does."""
