"""``DeviceType = raw_socket``: the frames of an interface, through a packet socket.

See docs/protocol-data.md, "Devices".

Frames that arrive at the interface go into the VPN, and so do those that the host itself sends on it. Frames
from the VPN leave the interface for the wire, and never reach the host itself. The interface must not be the
one that carries the tunnels: otherwise each datagram would go into the VPN again.

Packet sockets support the virtio-net header of the tap, too (packet(7), PACKET_VNET_HDR). It is faster, and
it is needed: without it, frames of a virtual interface lack their checksums, and frames of most network cards
arrive joined. `pytinc.net.devices` makes the device; `pytinc.net.tap.DeviceFeed` waits for frames.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING, Final

from pytinc.errors import DeviceError
from pytinc.net.batch import end_of_batch, one_by_one
from pytinc.net.log import reason
from pytinc.net.tap import (
    BROADCAST_MAC,
    MAX_BATCH_BYTES,
    READ_SIZE,
    VirtioDevice,
    check_name,
    load_offload,
)

if TYPE_CHECKING:
    from pytinc.datapath.runs import FrameRun

RECEIVE_BUFFER: Final = 1048576
"""Bytes. The kernel's default holds only three super-frames."""

_ETH_P_ALL: Final = 3
_SOL_PACKET: Final = 263
_PACKET_AUXDATA: Final = 8
_PACKET_VNET_HDR: Final = 15
_SO_RCVBUFFORCE: Final = 33
_AUXDATA: Final = struct.Struct("=IIIHHHH")
"""struct tpacket_auxdata: status, length, captured length, two offsets, VLAN tag, its ethertype."""
_ANCILLARY_SIZE: Final = socket.CMSG_SPACE(_AUXDATA.size)
_VLAN_VALID: Final = 0x10
_VLAN_TYPE_VALID: Final = 0x40
_VLAN: Final = 0x8100


class RawSocketDevice(VirtioDevice):
    """A packet socket on ``interface``. Raises `DeviceError` if it cannot be opened.

    With ``join``, frames of one flow are written together.
    """

    hwaddr = BROADCAST_MAC
    """In router mode: the host behind the interface is known only after its first ARP request."""

    def __init__(self, interface: str, path: str, *, join: bool = True) -> None:
        check_name(interface)
        self.name = interface
        self.path = path
        self.dropped = 0
        self._offload = load_offload()
        self._socket = _open(interface)
        self._descriptor = self._socket.fileno()
        if self._offload is not None and not _set_option(self._socket, _PACKET_VNET_HDR):
            self._offload = None
        self._joins = join and self._offload is not None
        self.offloads = ("checksum", "TSO4", "TSO6", "ECN", "USO") if self._joins else ()
        """The offloads in use, in words for the log."""
        self._buffer = bytearray(READ_SIZE)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._descriptor

    def read_batch(self, limit: int) -> list[bytes | FrameRun]:
        """Return about ``limit`` frames, including those that are too long for the VPN (see `TapDevice`)."""
        frames: list[bytes | FrameRun] = []
        receive, buffers = self._socket.recvmsg_into, (self._buffer,)
        room, left = MAX_BATCH_BYTES, limit
        try:
            while left > 0 and room > 0:
                size, ancillary, flags, _address = receive(buffers, _ANCILLARY_SIZE)
                room -= size
                if flags & socket.MSG_TRUNC:
                    self.dropped += 1
                    left -= 1
                    continue
                first = len(frames)
                left -= self._take(frames, self._buffer, size)
                tag = _vlan_tag(ancillary)
                if tag:
                    frames[first:] = self._tagged(frames[first:], tag)
        except OSError as error:
            end_of_batch(error, frames)
        return frames

    def _tagged(self, frames: list[bytes | FrameRun], tag: bytes) -> list[bytes | FrameRun]:
        """Put the VLAN tag that the kernel keeps apart back into frames."""
        return [frame[:12] + tag + frame[12:] for frame in one_by_one(frames)]

    def close(self) -> None:
        """Close the socket; the interface stays as it is."""
        self._socket.close()


def _open(interface: str) -> socket.socket:
    """Open a packet socket on an interface. Raises `DeviceError`."""
    try:
        # Without a protocol, so that no frames of other interfaces arrive before it is bound.
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    except OSError as error:
        raise DeviceError(
            f"Could not open a raw_socket: {reason(error)}. This needs root or CAP_NET_RAW"
        ) from error
    try:
        _set_option(opened, _PACKET_AUXDATA)
        _enlarge(opened)
        opened.bind((interface, _ETH_P_ALL))
    except OSError as error:
        opened.close()
        if error.errno == errno.ENODEV:
            raise DeviceError(f"Can't find interface {interface}: {reason(error)}") from error
        raise DeviceError(f"Could not bind a raw_socket to {interface}: {reason(error)}") from error
    return opened


def _set_option(opened: socket.socket, option: int) -> bool:
    """Set an option of packet sockets; False if the kernel does not have it."""
    try:
        opened.setsockopt(_SOL_PACKET, option, 1)
    except OSError:
        return False
    return True


def _enlarge(opened: socket.socket) -> None:
    try:
        opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except OSError:  # needs CAP_NET_ADMIN; SO_RCVBUF has a limit
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)


def _vlan_tag(ancillary: list[tuple[int, int, bytes]]) -> bytes:
    """Return the VLAN tag that the kernel removed from a frame; empty if it had none."""
    for level, kind, data in ancillary:
        if level == _SOL_PACKET and kind == _PACKET_AUXDATA and len(data) >= _AUXDATA.size:
            status, _, _, _, _, tag, ethertype = _AUXDATA.unpack_from(data)
            if status & _VLAN_VALID:
                return struct.pack("!HH", ethertype if status & _VLAN_TYPE_VALID else _VLAN, tag)
    return b""
