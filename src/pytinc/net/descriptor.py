"""``DeviceType = fd``: IP packets through a descriptor that another program has opened.

See docs/protocol-data.md, "Devices".

``Device`` is the number of a descriptor that the daemon has inherited, or the path of a UNIX socket from
which it gets one. tinc uses this where only another program may create network interfaces, as on Android.
`pytinc.net.devices` calls `open_descriptor`, and `pytinc.net.tun.TunDevice` does the rest.
"""

from __future__ import annotations

import array
import fcntl
import os
import re
import socket
import struct
from typing import Final

from pytinc.errors import DeviceError
from pytinc.net.log import LogFunction, reason

TIMEOUT: Final = 10.0
"""Seconds that the program behind a UNIX socket has to give us the descriptor; tinc waits for ever."""
MAX_PATH: Final = 107
"""sizeof(sun_path) less the NUL byte."""

_TUNGETIFF: Final = 0x800454D2
_IFREQ: Final = struct.Struct("16sH22x")
_IFF_TAP: Final = 0x0002
_IFF_VNET_HDR: Final = 0x4000


class Descriptor:
    """An open descriptor, and the name of its interface if known."""

    def __init__(self, number: int, name: str) -> None:
        self._number = number
        self.name = name

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._number

    def close(self) -> None:
        """Close it."""
        os.close(self._number)


def open_descriptor(device: str, name: str, log: LogFunction) -> Descriptor:
    """Get the descriptor that ``device`` specifies. Raises `DeviceError`.

    ``name`` is the interface's name if the kernel knows none: the descriptor need not be an interface.
    """
    if re.fullmatch(r"[+-]?\d+", device):
        number = int(device)
        try:
            if number < 0:
                raise DeviceError(f"Could not open {device}: a descriptor has no negative number")
            # Close it when a script or proxy command runs, as if we had opened it ourselves.
            os.set_inheritable(number, False)
        except (OSError, OverflowError) as error:
            text = reason(error) if isinstance(error, OSError) else str(error)
            raise DeviceError(
                f"Could not open descriptor {device}: {text}. The program that starts the daemon must open it"
            ) from error
    else:
        number = _receive(device, log)
    try:
        return Descriptor(number, _interface_name(number) or name)
    except DeviceError:
        os.close(number)
        raise


def _receive(path: str, log: LogFunction) -> int:
    """Get a descriptor from the program at a UNIX socket; ``@`` begins an abstract name."""
    raw = os.fsencode(path)
    if len(raw) > MAX_PATH:
        raise DeviceError(f"Unix socket path too long: {path} has more than {MAX_PATH} bytes")
    log(0, "info", f"Receiving fd from Unix socket at {path}.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.settimeout(TIMEOUT)
        try:
            peer.connect(b"\0" + raw[1:] if raw.startswith(b"@") else raw)
        except OSError as error:
            raise DeviceError(f"Could not connect to Unix socket {path}: {_why(error)}") from error
        try:
            data, ancillary, _, _ = peer.recvmsg(
                1, socket.CMSG_SPACE(array.array("i").itemsize), socket.MSG_CMSG_CLOEXEC
            )
        except OSError as error:
            raise DeviceError(f"Could not read from unix socket {path}: {_why(error)}") from error
    numbers = array.array("i")
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            numbers.frombytes(content[: len(content) - len(content) % numbers.itemsize])
    # The buffer may hold a second one, because of the alignment.
    for more in numbers[1:]:
        os.close(more)
    if not numbers:
        what = "it sent no descriptor" if data else "it closed the connection"
        raise DeviceError(f"Could not read from unix socket {path}: {what}")
    return numbers[0]


def _why(error: OSError) -> str:
    return f"no answer within {TIMEOUT:g} seconds" if isinstance(error, TimeoutError) else reason(error)


def _interface_name(number: int) -> str:
    """Return the name of the descriptor's interface, if any. `DeviceError` if it has no IP packets."""
    try:
        answer = fcntl.ioctl(number, _TUNGETIFF, bytes(_IFREQ.size))
    except OSError:
        return ""  # a socket or another device; anything that carries packets is accepted
    name, flags = _IFREQ.unpack(answer)
    text = os.fsdecode(name.rstrip(b"\0"))
    if flags & _IFF_TAP:
        raise DeviceError(f"The descriptor is a tap ({text}), but DeviceType fd needs IP packets: open a tun")
    if flags & _IFF_VNET_HDR:
        raise DeviceError(
            f"The descriptor of {text} has IFF_VNET_HDR, but DeviceType fd needs bare IP packets"
        )
    return text
