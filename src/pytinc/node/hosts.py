"""The interface to the files of the configuration directory: host files, address caches, invitations.

The daemon passes `pytinc.config.store.ConfigTree`, tests pass a dictionary.
"""

from __future__ import annotations

from typing import Protocol

from pytinc.config.settings import HostSettings
from pytinc.wire.address import Address


class InvitationFiles(Protocol):
    """The store of invitations. Every method raises `ConfigError` if the system refuses an operation."""

    def invitation_key_text(self) -> str | None:
        """Return the private key file that invitations are made with, None if there is none."""

    def take_invitation(self, file_name: str) -> tuple[bytes, float] | None:
        """Take an open invitation away permanently.

        Return its content and when it was made (wall clock, seconds), None if there is none of that name.
        """

    def forget_taken(self, file_name: str) -> None:
        """Remove the rest of a taken invitation."""

    def add_host(self, name: str, public_key: str) -> bool:
        """Make the host file of a new node; False, and nothing changed, if there is one already."""


class HostSource(InvitationFiles, Protocol):
    """All files that the node reads or has changed."""

    def host_settings(self, name: str) -> HostSettings | None:
        """Return the host configuration of ``name``, None if there is no readable file."""

    def host_names(self) -> list[str]:
        """Return the names that have a host file."""

    def host_mtime(self, name: str) -> float | None:
        """Return when the host file of ``name`` was last modified (wall clock)."""

    def load_address_cache(self, name: str) -> tuple[Address, ...]:
        """Return the cached addresses of ``name``, most recent first."""
