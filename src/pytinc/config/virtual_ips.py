"""What lines VirtualIP need besides their own syntax: other settings, and libraries.

`pytinc.config.reader` (`missing`) and `pytinc.config.building` (`find_obstacle`) refuse a configuration in
which they could not work, and say why. The syntax is in
`pytinc.wire.virtual_ip`. See docs/virtual-ip.md, "Virtual IPs by policy".
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from pytinc.config.settings import Broadcast, Forwarding, Mode, Settings
from pytinc.wire.virtual_ip import HttpCheck, VirtualIP


class Obstacle(NamedTuple):
    """A setting with which no virtual IP works."""

    variable: str
    value: str
    reason: str


_OBSTACLES: Final[tuple[tuple[Callable[[Settings], bool], Obstacle], ...]] = (
    (
        lambda settings: settings.mode is Mode.ROUTER,
        Obstacle("Mode", "router", "it needs Mode = switch; routers announce the same Subnet instead"),
    ),
    (
        lambda settings: settings.mode is Mode.HUB,
        Obstacle("Mode", "hub", "it needs Mode = switch; in a hub no node owns a MAC address"),
    ),
    (
        lambda settings: settings.broadcast is Broadcast.NO,
        Obstacle("Broadcast", "no", "questions for the address would not reach the other nodes"),
    ),
    (
        lambda settings: settings.forwarding is Forwarding.KERNEL,
        Obstacle("Forwarding", "kernel", "questions for the address would not pass this node"),
    ),
    (
        lambda settings: settings.tunnel_server,
        Obstacle("TunnelServer", "yes", "the members would not know of each other"),
    ),
    (
        lambda settings: not settings.neighbour_guard,
        Obstacle("NeighbourGuard", "no", "the guard watches the members and tells the clients"),
    ),
)


def find_obstacle(settings: Settings) -> Obstacle | None:
    """Return the first setting with which virtual IPs cannot work; None if they can."""
    return next((obstacle for stands, obstacle in _OBSTACLES if stands(settings)), None)


def rights_needed(virtual_ip: VirtualIP, name: str) -> Iterator[tuple[str, str]]:
    """Yield the nodes whose host files must allow an address, each with what other nodes do only if it does.

    ``name`` is that of the own node.
    """
    if virtual_ip.node is None:
        yield name, "let this node serve it"
    else:
        yield name, f"let this node speak for {virtual_ip.node}"
        yield virtual_ip.node, f"let {virtual_ip.node} serve it"


def missing(virtual_ip: VirtualIP, device_type: str | None) -> str | None:
    """Return what the line needs and this host lacks; None if it lacks nothing."""
    if virtual_ip.manage and device_type not in (None, "tap"):
        return (
            f"manage=yes does not work with DeviceType = {device_type}: only a tap is an interface of our own"
        )
    if virtual_ip.manage and not _is_installed("pyroute2"):
        return _library("manage=yes", "pyroute2", "manage", "let tinc-up set the address")
    url = next((check.url for check in virtual_ip.checks if isinstance(check, HttpCheck)), None)
    if url is not None and not _is_installed("httpx"):
        return _library(f"check={url}", "httpx", "checks", "check tcp:PORT or exec:SCRIPT")
    return None


def _is_installed(library: str) -> bool:
    return importlib.util.find_spec(library) is not None


def _library(what: str, library: str, extra: str, instead: str) -> str:
    return (
        f"{what} needs the Python library {library}, which is not installed: install pytinc[{extra}], "
        f"or {instead}"
    )
