"""Raw Ethernet frames on an interface of a lab host: sent as they are, and received with their VLAN tags.

The socket is opened in the host's namespace and used in this process, so that no program has to be started
for a frame. Used by the interop tests.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Final, Self

from pytinc.lab.namespaces import Host, LabError

_ALL_PROTOCOLS: Final = 3
_SOL_PACKET: Final = 263
_AUXDATA: Final = 8
"""PACKET_AUXDATA: the kernel removes the outer tag from a frame and reports it in struct tpacket_auxdata."""
_AUX: Final = struct.Struct("=IIIHHHH")
_TAG_VALID: Final = 1 << 4
_TPID_VALID: Final = 1 << 6
_BUFFER: Final = 4 << 20
_LONGEST: Final = 70000


def _open(interface: str) -> socket.socket:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    try:
        opened.setsockopt(_SOL_PACKET, _AUXDATA, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        opened.bind((interface, _ALL_PROTOCOLS))
    except OSError as error:
        opened.close()
        raise LabError(f"cannot open {interface}: {error.strerror}") from error
    return opened


class Port:
    """Sends frames by an interface of a host and receives those that come to it. Use it in ``with``.

    Raises LabError if the interface cannot be opened.
    """

    def __init__(self, host: Host, interface: str) -> None:
        self._socket = host.open_socket(lambda: _open(interface))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def send(self, frame: bytes) -> None:
        """Send a frame. Raises LabError if it is too long for the interface."""
        try:
            self._socket.send(frame)
        except OSError as error:
            raise LabError(f"cannot send {len(frame)} bytes: {error.strerror}") from error

    def frames(self, seconds: float) -> Iterator[bytes]:
        """Yield the frames that have come already, and those that come until the time is over."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._socket.settimeout(left)
            with contextlib.suppress(TimeoutError):
                data, others, _, address = self._socket.recvmsg(_LONGEST, 256)
                if address[2] != socket.PACKET_OUTGOING:
                    yield _with_tag(data, others)

    def until(self, wanted: Callable[[bytes], object], seconds: float) -> bytes | None:
        """Return the first frame for which ``wanted`` is true, or None when the time is over."""
        return next((frame for frame in self.frames(seconds) if wanted(frame)), None)


def _with_tag(frame: bytes, others: list[tuple[int, int, bytes]]) -> bytes:
    """Put back a VLAN tag that the kernel has removed."""
    for level, kind, data in others:
        if (level, kind) == (_SOL_PACKET, _AUXDATA):
            status, *_, tag, protocol = _AUX.unpack(data[: _AUX.size])
            if status & _TAG_VALID:
                outer = protocol if status & _TPID_VALID else 0x8100
                return frame[:12] + struct.pack("!HH", outer, tag) + frame[12:]
    return frame
