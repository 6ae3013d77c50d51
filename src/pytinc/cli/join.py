"""join, which is not in this release, and the choice of a free port that init shares with join.

The only module of `cli` that may use sockets.
"""

from __future__ import annotations

import errno
import random
import socket
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from pytinc.cli.session import Session

DEFAULT_PORT: Final = 655
_TRIES: Final = 100
_LOWEST_PORT: Final = 4096
_HIGHEST_PORT: Final = 36863


def join(session: Session, words: list[str]) -> int:
    """Tell that invitations cannot be accepted yet."""
    raise click.ClickException("join is not in this release of pytinc; use tinc's, or export and import.")


def choose_port() -> int | None:
    """Return `DEFAULT_PORT` if it can be bound here, else a random port that can; None if none was found."""
    if _can_bind(DEFAULT_PORT):
        return DEFAULT_PORT
    ports = (random.randint(_LOWEST_PORT, _HIGHEST_PORT) for _ in range(_TRIES))
    return next(filter(_can_bind, ports), None)


def _can_bind(port: int) -> bool:
    """Tell whether TCP ``port`` is free on all addresses of every family this machine has."""
    bound = False
    for family, address in ((socket.AF_INET, ""), (socket.AF_INET6, "")):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                # As the daemon's own sockets: a port in TIME_WAIT is free, and the families do not mix.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind((address, port))
                bound = True
        except OSError as error:
            if not _is_missing_family(error):
                return False
    return bound


def _is_missing_family(error: OSError) -> bool:
    return error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)
