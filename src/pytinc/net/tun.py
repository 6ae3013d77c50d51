"""The tun device of router mode: IP packets without Ethernet header (docs/protocol-data.md, "Devices").

The data path handles only frames, so each packet read gets an Ethernet header with the ethertype of IPv4 or
IPv6 and zero MACs, and each frame loses its header when it is written. `pytinc.net.devices.open_device` opens
the interface; `pytinc.net.tap.DeviceFeed` waits for packets.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from pytinc.net.batch import end_of_batch, one_by_one, write_each
from pytinc.net.log import LogFunction
from pytinc.wire.ethernet import HEADER_OF_IP, HEADER_SIZE

if TYPE_CHECKING:
    from pytinc.datapath.runs import FrameRun

UNKNOWN_VERSION_LEVEL: Final = 5
"""The debug level of packets that are not IP: anybody who can send on the interface causes these lines."""
_MAX_PACKET: Final = 65535
"""Of IP. `pytinc.datapath` answers packets that are too long for the VPN with ICMP, or fragments them."""


class OpenInterface(Protocol):
    """An interface that a library opened, without packet information (IFF_NO_PI)."""

    @property
    def name(self) -> str:
        """The interface's name as the kernel gave it back."""

    def fileno(self) -> int:
        """Return the descriptor."""

    def close(self) -> None:
        """Close it."""


class TunDevice:
    """A Linux tun interface."""

    hwaddr = None

    def __init__(self, interface: OpenInterface, path: str, log: LogFunction) -> None:
        self._interface = interface
        self._log = log
        self._descriptor = interface.fileno()
        self._buffer = bytearray(_MAX_PACKET)
        os.set_blocking(self._descriptor, False)
        self.name = interface.name
        self.path = path

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._descriptor

    def read_batch(self, limit: int) -> list[bytes]:
        """Return up to ``limit`` packets as frames. Packets that are not IP are dropped and logged.

        An end of file raises `OSError`, too: an inherited descriptor may be a socket or pipe.
        """
        frames: list[bytes] = []
        readv, descriptor, headers = os.readv, self._descriptor, HEADER_OF_IP
        buffers, view = (self._buffer,), memoryview(self._buffer)
        try:
            for _ in range(limit):
                size = readv(descriptor, buffers)
                if not size:
                    raise OSError(errno.EPIPE, "the other end has closed it")
                header = headers.get(bytes(view[:1]))
                if header is None:
                    self._log(
                        UNKNOWN_VERSION_LEVEL,
                        "error",
                        f"Unknown IP version while reading packet from {self.path}!",
                    )
                else:
                    frames.append(header + view[:size])
        except OSError as error:
            end_of_batch(error, frames)
        return frames

    def write(self, frame: bytes) -> None:
        """Give the packet in a frame to the host. Drop it if it is not IP: the kernel would refuse it."""
        packet = frame[HEADER_SIZE:]
        if packet[:1] in HEADER_OF_IP:
            os.write(self._descriptor, packet)

    def write_batch(self, frames: Sequence[bytes | FrameRun]) -> None:
        """Give the packets in frames to the host, as `write_each` does."""
        write_each(self.write, one_by_one(frames))

    def close(self) -> None:
        """Close the device."""
        self._interface.close()
