"""Ports: which one init and join choose for a new node, and whether there is one of some name."""

from __future__ import annotations

import errno
import random
import socket
from typing import Final

from pytinc.cli.session import say

DEFAULT_PORT: Final = 655
_TRIES: Final = 100
_LOWEST_PORT: Final = 4096
_HIGHEST_PORT: Final = 36863


def port_line() -> str:
    """Return the line for the own host file that sets a free port; empty if tinc's own is free."""
    port = choose_port()
    if port is None:
        say(f"Warning: could not bind to port {DEFAULT_PORT}. Please change tinc's Port manually.")
    elif port != DEFAULT_PORT:
        say(f"Warning: could not bind to port {DEFAULT_PORT}. Tinc will instead listen on port {port}.")
        return f"Port = {port}\n"
    return ""


def choose_port() -> int | None:
    """Return `DEFAULT_PORT` if it can be bound, else a random port that can; None if none was found."""
    if can_bind(DEFAULT_PORT):
        return DEFAULT_PORT
    ports = (random.randint(_LOWEST_PORT, _HIGHEST_PORT) for _ in range(_TRIES))
    return next(filter(can_bind, ports), None)


def is_udp_port(text: str) -> bool:
    """Return whether this is the number of a port, or the name of a UDP service that this machine knows."""
    try:
        socket.getaddrinfo(None, text, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        return False
    # The C library takes 65537 for 1.
    return not text.isdecimal() or int(text) < 65536


def can_bind(port: int) -> bool:
    """Return whether TCP ``port`` is free on all addresses of every family of this machine."""
    bound = False
    for family, address in ((socket.AF_INET, ""), (socket.AF_INET6, "")):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                # Like the daemon's sockets: a port in TIME_WAIT is free, and the families are separate.
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
