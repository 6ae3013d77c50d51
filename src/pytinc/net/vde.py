"""``DeviceType = vde``: a port of a switch of Virtual Distributed Ethernet.

See docs/protocol-data.md, "Devices".

``Device`` is the directory of a vde_switch(1). We send a request for a port to its socket ``ctl``, with the
path of our datagram socket, and get the path of a socket of the switch; each datagram between the two is a
frame. The port is ours as long as the connection to ``ctl`` is open. Request and answer are not documented
anywhere: their form was observed between vde_plug(1) of Debian's vde2 and vde_switch. `pytinc.net.devices`
makes the device.
"""

from __future__ import annotations

import contextlib
import grp
import itertools
import os
import socket
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytinc.errors import DeviceError
from pytinc.net.batch import one_by_one, receive_frames, write_each
from pytinc.net.log import reason
from pytinc.net.tap import BROADCAST_MAC

if TYPE_CHECKING:
    from pytinc.datapath.runs import FrameRun

DEFAULT_SWITCH: Final = "/run/vde.ctl"
TIMEOUT: Final = 10.0
"""Seconds that the switch has to answer."""
MAX_PORT: Final = 0xFFFF
MAX_PATH: Final = 107
"""sizeof(sun_path) less the NUL byte."""

_MAGIC: Final = 0xFEEDFACE
_VERSION: Final = 3
_ADDRESS: Final = struct.Struct("=H108s")
_REQUEST: Final = struct.Struct("=III")
"""Magic number, version, and the wanted port times 256; 0: any free one."""

_numbers = itertools.count()


class VdeDevice:
    """A port of the switch in the directory ``path``. Raises `DeviceError` if it cannot be opened.

    ``port`` 0 means any; the group ``group`` may use our socket, which the switch may need.
    """

    hwaddr = BROADCAST_MAC
    """In router mode: the host on the switch is known only after its first ARP request."""

    def __init__(self, path: str, name: str, *, port: int = 0, group: str | None = None) -> None:
        if not 0 <= port <= MAX_PORT:
            raise DeviceError(f"VDEPort must be from 0 (any) to {MAX_PORT}, not {port}")
        self.name = name
        self.path = path
        self.dropped = 0
        """Datagrams that were too long or too short to be a frame."""
        self.own_path = f"{path}/.pytinc-{os.getpid()}-{next(_numbers)}"
        """Our socket in the directory of the switch, removed at the end."""
        if len(os.fsencode(self.own_path)) > MAX_PATH:
            raise DeviceError(f"The path of the switch {path} is too long for a UNIX socket in it")
        with contextlib.ExitStack() as undo:
            self._control = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            self._socket = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            self._plug_in(port, group, undo)
            self._undo = undo.pop_all()

    def _plug_in(self, port: int, group: str | None, undo: contextlib.ExitStack) -> None:
        try:
            self._control.settimeout(TIMEOUT)
            self._control.connect(f"{self.path}/ctl")
            undo.callback(_remove, self.own_path)
            _bind(self._socket, self.own_path, group)
            own = _ADDRESS.pack(socket.AF_UNIX, os.fsencode(self.own_path))
            self._control.sendall(_REQUEST.pack(_MAGIC, _VERSION, port << 8) + own + b"pytinc\0")
            answer = self._control.recv(_ADDRESS.size)
            if len(answer) != _ADDRESS.size:
                raise DeviceError(f"The switch {self.path} has no such port for us")
            self._socket.connect(_ADDRESS.unpack(answer)[1].partition(b"\0")[0])
        except TimeoutError as error:
            raise DeviceError(f"The switch {self.path} did not answer within {TIMEOUT:g} seconds") from error
        except OSError as error:
            raise DeviceError(f"Could not plug into the switch {self.path}: {reason(error)}") from error
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def read_batch(self, limit: int) -> list[bytes]:
        """Return up to ``limit`` frames. Frames that are too long for the VPN are dropped."""
        frames, dropped = receive_frames(self._socket.recv, limit)
        self.dropped += dropped
        return frames

    def write_batch(self, frames: Sequence[bytes | FrameRun]) -> None:
        """Give frames to the switch, as `write_each` does."""
        write_each(self.write, one_by_one(frames))

    def write(self, frame: bytes) -> None:
        """Send one frame. If it raises `OSError`, the frame is lost."""
        self._socket.send(frame)

    def close(self) -> None:
        """Close the port."""
        self._undo.close()


def _bind(opened: socket.socket, path: str, group: str | None) -> None:
    """Make our socket, for its owner only or also for a group. Raises `OSError`, `DeviceError`."""
    # Until the permissions are set, nobody else may send us frames.
    before = os.umask(0o077)
    try:
        opened.bind(path)
    finally:
        os.umask(before)
    if group is None:
        return
    try:
        number = grp.getgrnam(group).gr_gid
    except KeyError:
        raise DeviceError(f"Unknown group {group} in VDEGroup") from None
    os.chown(path, -1, number)
    Path(path).chmod(0o770)


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):  # gone with the switch, or no longer ours to remove
        Path(path).unlink()
