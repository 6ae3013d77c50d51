"""Opens the listening sockets: their addresses and options (docs/protocol-data.md, "UDP sockets").

There is one TCP and one UDP socket for each address, on the same port. The daemon calls this module at its
start; `pytinc.net.meta` and `pytinc.net.udp` use the sockets.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, cast

from pytinc.config.settings import AddressFamily, HostPort, Settings
from pytinc.errors import DeviceError
from pytinc.net.log import LogFunction, reason
from pytinc.wire.address import Address, SockAddr, from_sockaddr

MAX_LISTENERS: Final = 8
"""tinc's limit (MAXSOCKETS)."""
BACKLOG: Final = 3
"""Connections that the kernel queues for us, as in tinc: only other nodes connect here."""
FIRST_INHERITED: Final = 3
"""The first descriptor that a service manager passes (sd_listen_fds)."""

FAMILIES: Final = {
    AddressFamily.ANY: socket.AF_UNSPEC,
    AddressFamily.IPV4: socket.AF_INET,
    AddressFamily.IPV6: socket.AF_INET6,
}

_IPTOS_LOWDELAY: Final = 0x10
# From linux/in.h and linux/in6.h: Python 3.11's socket module does not have all of them.
_IP_MTU_DISCOVER: Final = 10
_IP_PMTUDISC_DO: Final = 2
_IP_MTU: Final = 14
_IPV6_MTU_DISCOVER: Final = 23
_IPV6_PMTUDISC_DO: Final = 2
_IPV6_MTU: Final = 24
_SO_MARK: Final = 36


@dataclass(frozen=True, slots=True)
class Listener:
    """The two sockets of one listening address."""

    tcp: socket.socket
    udp: socket.socket
    address: Address
    """The address they are bound to, with the real port."""
    is_source: bool = False
    """From BindToAddress: outgoing connections use this address if it is the only one of its family."""

    @property
    def family(self) -> int:
        """4 or 6."""
        return 6 if self.tcp.family == socket.AF_INET6 else 4

    def close(self) -> None:
        """Close both."""
        self.tcp.close()
        self.udp.close()


def open_listeners(settings: Settings, log: LogFunction, *, inherited: int = 0) -> list[Listener]:
    """Open all listening sockets; the service manager has passed ``inherited`` of them.

    An unusable address is reported and skipped. Raises `DeviceError` if none is left, or if there are too
    many.
    """
    if inherited > MAX_LISTENERS:
        raise DeviceError("Too many listening sockets")
    listeners: list[Listener] = []
    try:
        if inherited:
            for descriptor in range(FIRST_INHERITED, FIRST_INHERITED + inherited):
                _append(listeners, _adopt(descriptor, settings, log))
        else:
            for family, sockaddr, is_source in _wanted(settings, log):
                if len(listeners) >= MAX_LISTENERS:
                    raise DeviceError("Too many listening sockets")
                listener = _open_pair(family, _with_common_port(sockaddr, listeners), settings, log)
                _append(listeners, listener and replace(listener, is_source=is_source))
        if not listeners:
            raise DeviceError("Unable to create any listening socket!")
    except DeviceError:
        for listener in listeners:
            listener.close()
        raise
    for listener in listeners:
        log(1, "notice", f"Listening on {listener.address}")
    return listeners


def _append(listeners: list[Listener], listener: Listener | None) -> None:
    if listener is not None:
        listeners.append(listener)


def _wanted(settings: Settings, log: LogFunction) -> Iterator[tuple[int, SockAddr, bool]]:
    """Yield family, address and whether it is from BindToAddress, for each socket, without duplicates."""
    seen: set[tuple[int, SockAddr]] = set()
    for entries, is_source in ((settings.bind_to_address, True), (settings.listen_address, False)):
        for entry in entries:
            yield from _new(_look_up(entry, settings, log), is_source, seen)
    if not settings.bind_to_address and not settings.listen_address:
        yield from _new(_look_up(HostPort("*"), settings, log), False, seen)


def _new(
    found: list[tuple[int, SockAddr]], is_source: bool, seen: set[tuple[int, SockAddr]]
) -> Iterator[tuple[int, SockAddr, bool]]:
    for family, sockaddr in found:
        if (family, sockaddr) not in seen:
            seen.add((family, sockaddr))
            yield family, sockaddr, is_source


def _look_up(entry: HostPort, settings: Settings, log: LogFunction) -> list[tuple[int, SockAddr]]:
    host = None if entry.host == "*" else entry.host
    port = entry.port or settings.port
    # As in tinc, a Port that is the name of a service must be one of UDP.
    kind = socket.SOCK_STREAM if entry.port else socket.SOCK_DGRAM
    try:
        found = socket.getaddrinfo(
            host, port, FAMILIES[settings.address_family], kind, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        log(0, "error", f"Looking up {entry.host} port {port} failed: {reason(error)}")
        return []
    return [
        (int(family), cast("SockAddr", sockaddr)) for family, _, _, _, sockaddr in found if _is_inet(family)
    ]


def _is_inet(family: int) -> bool:
    return family in (socket.AF_INET, socket.AF_INET6)


def _with_common_port(sockaddr: SockAddr, listeners: list[Listener]) -> SockAddr:
    """Give an address without a port the port that the system chose for the first socket."""
    if sockaddr[1] != 0 or not listeners:
        return sockaddr
    return cast("SockAddr", (sockaddr[0], int(listeners[0].address.port), *sockaddr[2:]))


def _open_pair(family: int, sockaddr: SockAddr, settings: Settings, log: LogFunction) -> Listener | None:
    tcp = _bound(family, socket.SOCK_STREAM, sockaddr, settings, log)
    if tcp is None:
        return None
    try:
        tcp.listen(BACKLOG)
    except OSError as error:
        _report(sockaddr, "tcp", error, log)
        tcp.close()
        return None
    return _with_udp(tcp, settings, log)


def _with_udp(tcp: socket.socket, settings: Settings, log: LogFunction) -> Listener | None:
    """Open the UDP socket that belongs to a listening TCP socket."""
    bound = tcp.getsockname()
    udp = _bound(tcp.family, socket.SOCK_DGRAM, bound, settings, log)
    if udp is None:
        tcp.close()
        return None
    return Listener(tcp, udp, from_sockaddr(bound))


def _adopt(descriptor: int, settings: Settings, log: LogFunction) -> Listener | None:
    try:
        tcp = socket.socket(fileno=descriptor)
    except OSError as error:
        log(0, "error", f"Could not use inherited descriptor {descriptor}: {reason(error)}")
        return None
    if not _is_inet(tcp.family) or tcp.type != socket.SOCK_STREAM:
        log(0, "error", f"Inherited descriptor {descriptor} is not a TCP socket")
        tcp.close()
        return None
    tcp.set_inheritable(False)
    tcp.setblocking(False)
    return _with_udp(tcp, settings, log)


def _bound(
    family: int, kind: socket.SocketKind, sockaddr: SockAddr, settings: Settings, log: LogFunction
) -> socket.socket | None:
    """Make a socket with tinc's options and bind it; report and return None if this is impossible."""
    try:
        made = socket.socket(family, kind)
    except OSError as error:
        log(0, "error", f"Creating a socket for {from_sockaddr(sockaddr)} failed: {reason(error)}")
        return None
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_DGRAM:
            _set_udp_options(made, settings, log)
        else:
            set_tcp_options(made)
    except OSError as error:
        log(0, "error", f"Setting up a socket for {from_sockaddr(sockaddr)} failed: {reason(error)}")
        made.close()
        return None
    if not bind_to_path(made, settings, log):
        made.close()
        return None
    try:
        made.bind(sockaddr)
    except OSError as error:
        _report(sockaddr, "udp" if kind == socket.SOCK_DGRAM else "tcp", error, log)
        made.close()
        return None
    return made


def _report(sockaddr: SockAddr, protocol: str, error: OSError, log: LogFunction) -> None:
    log(0, "error", f"Can't bind to {from_sockaddr(sockaddr)}/{protocol}: {reason(error)}")


def set_tcp_options(stream: socket.socket) -> None:
    """Set the socket to send requests at once: no waiting for more, low delay."""
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if stream.family == socket.AF_INET6:
        stream.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, _IPTOS_LOWDELAY)
    else:
        stream.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _IPTOS_LOWDELAY)


def bind_to_path(made: socket.socket, settings: Settings, log: LogFunction) -> bool:
    """Apply FWMark and BindToInterface; False if the interface fails: the socket must not be used."""
    if settings.fwmark:
        try:
            made.setsockopt(socket.SOL_SOCKET, _SO_MARK, settings.fwmark & 0xFFFFFFFF)
        except OSError as error:
            log(0, "error", f"Can't set mark {settings.fwmark} on a socket: {reason(error)}")
    if settings.bind_to_interface is not None:
        name = os.fsencode(settings.bind_to_interface)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name + b"\0")
        except OSError as error:
            log(0, "error", f"Can't bind to interface {settings.bind_to_interface}: {reason(error)}")
            return False
    return True


def _set_udp_options(made: socket.socket, settings: Settings, log: LogFunction) -> None:
    made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    for option, name, size in (
        (socket.SO_RCVBUF, "UDPRcvBuf", settings.udp_rcvbuf),
        (socket.SO_SNDBUF, "UDPSndBuf", settings.udp_sndbuf),
    ):
        if size:
            _set_buffer(made, option, name, size, log if settings.udp_buffers_explicit else None)
    if settings.pmtu_discovery:
        made.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DO)
        if made.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _IPV6_PMTUDISC_DO)


def _set_buffer(made: socket.socket, option: int, name: str, size: int, log: LogFunction | None) -> None:
    """Set a buffer size. ``log`` is given if the user configured the size, to report problems."""
    try:
        made.setsockopt(socket.SOL_SOCKET, option, size)
    except OSError as error:
        if log is not None:
            log(0, "warning", f"Can't set {name} to {size}: {reason(error)}")
        return
    granted = made.getsockopt(socket.SOL_SOCKET, option)
    if log is not None and granted < size:
        log(0, "warning", f"{name} is {size}, but the system grants only {granted}")


def path_mtu(destination: SockAddr, settings: Settings) -> int | None:
    """Return the IP MTU that the kernel knows for a destination; None if it knows none.

    This connects a socket but sends nothing (tinc: choose_initial_maxmtu()).
    """
    family = socket.AF_INET6 if len(destination) == 4 else socket.AF_INET
    level, option = (
        (socket.IPPROTO_IPV6, _IPV6_MTU) if family == socket.AF_INET6 else (socket.IPPROTO_IP, _IP_MTU)
    )
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            if not bind_to_path(probe, settings, lambda level, priority, message: None):
                return None
            probe.connect(destination)
            return probe.getsockopt(level, option)
    except OSError:
        return None


def own_address(remote: bytes) -> bytes | None:
    """Return the IP address (packed) that this host uses towards another one; None if it has none.

    This connects a socket but sends nothing (tinc does the same for its own ICMP errors).
    """
    family = socket.AF_INET if len(remote) == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((socket.inet_ntop(family, remote), 9))  # any port will do
            return socket.inet_pton(family, probe.getsockname()[0].partition("%")[0])
    except OSError:
        return None
