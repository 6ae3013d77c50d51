"""``DeviceType = multicast``: each frame is a datagram to a multicast group.

See docs/protocol-data.md, "Devices".

All programs that have joined the group on this network are one Ethernet segment: other tinc daemons, and
virtual machines whose emulator speaks this (QEMU's ``-netdev socket,mcast=``). `pytinc.net.devices` makes the
device; `pytinc.net.tap.DeviceFeed` waits for frames.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pytinc.config.settings import MulticastGroup
from pytinc.errors import DeviceError
from pytinc.net.batch import one_by_one, receive_frames, write_each
from pytinc.net.log import reason
from pytinc.net.tap import BROADCAST_MAC

if TYPE_CHECKING:
    from pytinc.datapath.runs import FrameRun

MAX_OWN: Final = 1024
"""Frames remembered until they come back: more than a receive buffer of the usual size holds."""


class MulticastDevice:
    """A UDP socket that has joined ``group``. Raises `DeviceError` if it cannot be opened.

    The kernel returns our own datagrams too, because other programs on this host must get them. We recognise
    them by their content. tinc compares only the source MAC of the last frame, which fails as soon as two
    stations of the VPN send.
    """

    hwaddr = BROADCAST_MAC
    """In router mode: the host on the segment is known only after its first ARP request."""

    def __init__(self, group: MulticastGroup, path: str, name: str) -> None:
        self.name = name
        self.path = path
        self.dropped = 0
        """Datagrams that were too long or too short to be a frame."""
        self._own: dict[bytes, int] = {}
        family, self._address = _look_up(group)
        self._socket = _open(family, self._address, group)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def read_batch(self, limit: int) -> list[bytes]:
        """Return up to ``limit`` frames of others. Frames that are too long for the VPN are dropped."""
        frames, dropped = receive_frames(self._socket.recv, limit)
        self.dropped += dropped
        return [frame for frame in frames if not self._is_own(frame)]

    def write_batch(self, frames: Sequence[bytes | FrameRun]) -> None:
        """Send frames to the group, as `write_each` does."""
        write_each(self.write, one_by_one(frames))

    def write(self, frame: bytes) -> None:
        """Send one frame. If it raises `OSError`, the frame is lost."""
        self._socket.sendto(frame, self._address)
        own = self._own
        # The newest is last; the oldest, whose copy seems lost, is removed first.
        own[frame] = own.pop(frame, 0) + 1
        if len(own) > MAX_OWN:
            del own[next(iter(own))]

    def _is_own(self, frame: bytes) -> bool:
        """Return whether this is the copy of a frame that we sent; each sent frame has one copy."""
        expected = self._own.get(frame)
        if expected is None:
            return False
        if expected > 1:
            self._own[frame] = expected - 1
        else:
            del self._own[frame]
        return True

    def close(self) -> None:
        """Leave the group."""
        self._socket.close()


def _look_up(group: MulticastGroup) -> tuple[socket.AddressFamily, Any]:
    """Return the group's address family and socket address. Raises `DeviceError`."""
    try:
        found = socket.getaddrinfo(group.address, group.port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        raise DeviceError(
            f"Cannot look up multicast group {group.address} {group.port}: {reason(error)}"
        ) from error
    family, _, _, _, address = found[0]
    return family, address


def _open(family: socket.AddressFamily, address: Any, group: MulticastGroup) -> socket.socket:
    """Open a socket that receives the group's datagrams. Raises `DeviceError`."""
    opened = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    with contextlib.ExitStack() as undo:
        undo.callback(opened.close)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind(address)
        except OSError as error:
            raise DeviceError(f"Can't bind to {group.address} {group.port}: {reason(error)}") from error
        try:
            _join(opened, family, address, group.ttl)
        except OSError as error:
            raise DeviceError(
                f"Cannot join multicast group {group.address} {group.port}: {reason(error)}"
            ) from error
        undo.pop_all()
    return opened


def _join(opened: socket.socket, family: socket.AddressFamily, address: Any, ttl: int) -> None:
    raw = socket.inet_pton(family, address[0].partition("%")[0])
    if family == socket.AF_INET6:
        index = struct.pack("@I", address[3])
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, raw + index)
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 1)
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, ttl)
    else:
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, raw + bytes(4))
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, ttl)
