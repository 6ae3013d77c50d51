"""The virtual Ethernet device: reads frames of the host and writes frames to it.

See docs/protocol-data.md, "Devices" and "Offloads".

`FrameDevice` is the interface: the shell reads and writes batches of frames, and does not know the type of
device. `TapDevice` asks the kernel for its offloads: then a read returns up to 64 KiB of a flow at once,
which `pytinc.datapath.segment` cuts into frames, and a write accepts frames that `pytinc.datapath.coalesce`
has joined. Without offloads it does the same work one frame at a time. `DeviceFeed` waits for frames and
follows tinc's policy for read errors. The script tinc-up sets interface state, addresses and MTU; this module
never does.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from pytinc.errors import DecodeError, DeviceError
from pytinc.net.batch import Pace, end_of_batch, is_full, one_by_one, write_each
from pytinc.net.log import LogFunction, reason
from pytinc.net.tun import OpenInterface
from pytinc.wire.virtio import (
    CHECKSUM_PLACE,
    CHECKSUM_PLACE_AT,
    FLAGS,
    GSO_TYPE,
    HEADER,
    NEEDS_CSUM,
    NULL_HEADER,
)

if TYPE_CHECKING:
    from pytinc.datapath.coalesce import Write
    from pytinc.datapath.runs import FrameRun

MAX_BATCH: Final = 64
"""Frames read per readiness event, so that sockets and timers get their turn."""
MAX_BATCH_BYTES: Final = 131072
"""Reading stops after this many bytes: two super-frames, or more than `MAX_BATCH` frames."""
MAX_READ_ERRORS: Final = 10
"""More read errors in a row than this end the daemon (tinc: handle_device_data())."""
READ_ERROR_DELAY: Final = 0.05
"""Seconds to pause after a read error, times the number of errors so far."""
SAME_ERROR_INTERVAL: Final = 60.0
"""Seconds before the same write error is reported again: otherwise an interface that is down fills the
log."""
FRAME_LEVEL: Final = 5
"""The debug level at which each frame that is read from or written to the device is logged."""
DEFAULT_DEVICE: Final = "/dev/net/tun"
DEFAULT_HWADDR: Final = b"\xfe\xfd\x00\x00\x00\x00"
"""Used if the device has no address of its own (tinc: net_setup.c)."""

BROADCAST_MAC: Final = b"\xff" * 6
"""The destination of frames in router mode until a host behind the device has asked for a MAC."""

_IFF_TUN: Final = 0x0001
_IFF_TAP: Final = 0x0002
_IFF_NO_PI: Final = 0x1000
_IFF_ONE_QUEUE: Final = 0x2000
_IFF_VNET_HDR: Final = 0x4000
_TUNSETOFFLOAD: Final = 0x400454D0
_TUNSETVNETHDRSZ: Final = 0x400454D8
_OFFLOADS: Final = (
    (0x6F, ("checksum", "TSO4", "TSO6", "ECN", "USO")),
    (0x0F, ("checksum", "TSO4", "TSO6", "ECN")),
    (0x07, ("checksum", "TSO4", "TSO6")),
    (0x01, ("checksum",)),
    (0x00, ()),
)
"""Values for TUNSETOFFLOAD (TUN_F_CSUM, TUN_F_TSO4 ...) and what they mean, the best first."""
_HEADER_SIZE: Final = HEADER.size
READ_SIZE: Final = _HEADER_SIZE + 65536 + 512
"""The longest super-frame (GSO_LEGACY_MAX_SIZE) behind its virtio-net header, and room for Ethernet header
and tags."""
_GSO_MAX_SIZE: Final = 60_800
"""What the host's TCP may put into a super-frame, headers included: its frames then leave in one call of
UDP_SEGMENT, which carries 65,507 bytes of datagrams. With the kernel's 65,536 bytes each super-frame would
take two calls."""
_RTM_NEWLINK: Final = 16
_NLM_F_REQUEST: Final = 1
_IFLA_GSO_MAX_SIZE: Final = 41
_LINK_MESSAGE: Final = struct.Struct("=IHHII BxHiII HHI")
"""struct nlmsghdr, struct ifinfomsg, and one attribute of 32 bits."""
_SIOCGIFHWADDR: Final = 0x8927
_SIOCGIFFLAGS: Final = 0x8913
_SIOCGIFADDR: Final = 0x8915
_IFF_UP: Final = 1
_GLOBAL_SCOPE: Final = "00"  # in /proc/net/if_inet6
_IFREQ: Final = struct.Struct("16sH6s16x")
_PLAIN_START: Final = NULL_HEADER[: GSO_TYPE + 1]
"""The first bytes of the header of a frame that has its checksum and is no super-frame."""
_MAX_NAME: Final = 15
"""IFNAMSIZ less the NUL byte."""


class Offload(NamedTuple):
    """The functions that cut and join super-frames."""

    fill_checksum: Callable[[bytes, int, int], bytes]
    segment: Callable[[bytes | memoryview, bytes | memoryview], list[bytes] | FrameRun]
    gather: Callable[[Sequence[bytes]], tuple[list[bytes | FrameRun], int]]
    coalesce: Callable[[Sequence[bytes]], list[Write]]
    coalesce_run: Callable[[FrameRun], list[Write]]


class FrameDevice(Protocol):
    """A source and destination of Ethernet frames."""

    @property
    def name(self) -> str:
        """The interface's name, for logs and the INTERFACE variable of scripts."""

    @property
    def path(self) -> str:
        """The device's name, for the DEVICE variable of scripts."""

    @property
    def hwaddr(self) -> bytes | None:
        """The interface's MAC address, six bytes; None if it has none, as for a tun."""

    def fileno(self) -> int | None:
        """Return the descriptor to wait on, None if this device never has frames."""

    def read_batch(self, limit: int) -> Sequence[bytes | FrameRun]:
        """Return about ``limit`` frames that are ready. Raises `OSError` if none could be read.

        There can be more if the last read returned several at once.
        """

    def write(self, frame: bytes) -> None:
        """Give one frame to the host. If it raises `OSError`, the frame is lost."""

    def write_batch(self, frames: Sequence[bytes | FrameRun]) -> None:
        """Give frames to the host, in order. Raises the first `OSError` after all have been tried.

        Frames are lost silently when the kernel's queue is full, as on any busy Ethernet.
        """

    def close(self) -> None:
        """Close the device; the interface disappears unless it is persistent."""


class VirtioDevice:
    """The common part of devices with a virtio-net header before every frame: cutting and joining.

    If ``_offload`` is None, there is no such header, and frames are handled unchanged.
    """

    _descriptor: int
    _offload: Offload | None
    _joins: bool
    """The kernel takes super-frames, as far as is known."""
    dropped: int
    """Frames of the host that were malformed."""

    def _take(self, frames: list[bytes | FrameRun], buffer: bytearray, size: int) -> int:
        """Append the frames of one read; return how many there were."""
        view = memoryview(buffer)
        if self._offload is None:
            frames.append(bytes(view[:size]))
            return 1
        if buffer[GSO_TYPE]:
            return self._cut(frames, view[:_HEADER_SIZE], view[_HEADER_SIZE:size])
        frame = bytes(view[_HEADER_SIZE:size])
        if buffer[FLAGS] & NEEDS_CSUM:
            return self._fill(frames, frame, *CHECKSUM_PLACE.unpack_from(buffer, CHECKSUM_PLACE_AT))
        frames.append(frame)
        return 1

    def _fill(self, frames: list[bytes | FrameRun], frame: bytes, start: int, offset: int) -> int:
        """Append a frame that lacks its checksum; return 1, the number of frames."""
        assert self._offload is not None
        try:
            frames.append(self._offload.fill_checksum(frame, start, offset))
        except DecodeError:
            self.dropped += 1
        return 1

    def _cut(self, frames: list[bytes | FrameRun], header: memoryview, frame: memoryview) -> int:
        """Append the frames of a super-frame; return how many there were."""
        assert self._offload is not None
        try:
            pieces = self._offload.segment(header, frame)
        except DecodeError:
            self.dropped += 1
            return 1
        if isinstance(pieces, list):
            frames += pieces
        else:
            frames.append(pieces)
        return len(pieces)

    def write_batch(self, frames: Sequence[bytes | FrameRun]) -> None:
        """Give frames to the host, in order. Raises the first `OSError` after all have been tried."""
        if self._joins and not (len(frames) == 1 and isinstance(frames[0], bytes)):
            write_each(self._write_joined, self._joined(frames))
        else:
            write_each(self.write, one_by_one(frames))

    def _joined(self, frames: Sequence[bytes | FrameRun]) -> list[Write]:
        assert self._offload is not None
        writes: list[Write] = []
        single: list[bytes] = []
        for frame in frames:
            if isinstance(frame, bytes):
                single.append(frame)
                continue
            writes += self._offload.coalesce(single)
            writes += self._offload.coalesce_run(frame)
            single = []
        return writes + self._offload.coalesce(single)

    def _write_joined(self, write: Write) -> None:
        """Give a virtio-net header and a frame, perhaps a super-frame, to the host."""
        try:
            os.writev(self._descriptor, write)
        except OSError as error:
            if error.errno != errno.EINVAL or write[0] == NULL_HEADER or self._offload is None:
                raise
            # This kernel refuses such super-frames: from now on everything is written frame by frame.
            self._joins = False
            frames = self._offload.segment(*write)
            write_each(self.write, frames if isinstance(frames, list) else frames.frames())

    def write(self, frame: bytes) -> None:
        """Give one frame to the host. If it raises `OSError`, the frame is lost."""
        if self._offload is None:
            os.write(self._descriptor, frame)
        else:
            os.writev(self._descriptor, (NULL_HEADER, frame))


class TapDevice(VirtioDevice):
    """A Linux TAP interface. Raises `DeviceError` if it cannot be opened.

    With ``offload`` it uses all offloads of the kernel; `offloads` tells which these are.
    """

    def __init__(
        self,
        name: str | None = None,
        path: str = DEFAULT_DEVICE,
        *,
        one_queue: bool = False,
        offload: bool = True,
    ) -> None:
        wanted = name or ""
        check_name(wanted)
        flags = _IFF_TAP | _IFF_NO_PI | (_IFF_ONE_QUEUE if one_queue else 0)
        self._offload = load_offload() if offload else None
        self._device: Any = None if self._offload is None else _open_with_header(wanted, flags, path)
        if self._device is None:
            self._offload = None
            self._device = _open_plain(wanted, flags, path)
        self._joins = self._offload is not None
        self._descriptor: int = self._device.fileno()
        self.offloads = () if self._offload is None else _take_offloads(self._descriptor)
        """The offloads in use, in words for the log."""
        self.dropped = 0
        os.set_blocking(self._descriptor, False)
        self._buffer = bytearray(READ_SIZE)
        self._buffers, self._view = (self._buffer,), memoryview(self._buffer)
        self.name: str = self._device.name
        self.path = path
        if self.offloads:
            _limit_super_frames(self.name)

    @property
    def hwaddr(self) -> bytes:
        """The interface's MAC address as it is now: tinc-up may change it."""
        return read_hwaddr(self.name)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._descriptor

    def read_batch(self, limit: int) -> list[bytes | FrameRun]:
        """Return about ``limit`` frames, including frames that are too long for the VPN.

        `pytinc.datapath` answers the latter with ICMP or fragments them; tinc first truncates them.
        """
        frames: list[bytes | FrameRun] = []
        plain: list[bytes] = []
        try:
            if limit == 1:
                buffer = self._buffer
                size = os.readv(self._descriptor, self._buffers)
                if self._offload is not None and buffer[: GSO_TYPE + 1] == _PLAIN_START:
                    return [bytes(self._view[_HEADER_SIZE:size])]  # HOT PATH: the sender waits for the answer
                self._take(frames, buffer, size)
            else:
                self._read(frames, plain, limit)
        except OSError as error:
            end_of_batch(error, frames or plain)
        self._gather(frames, plain)
        return frames

    def _read(self, frames: list[bytes | FrameRun], plain: list[bytes], limit: int) -> None:
        """Read until there is nothing more, or enough. ``plain`` collects frames that still lack handling."""
        descriptor, buffer, readv, offload = self._descriptor, self._buffer, os.readv, self._offload
        buffers, view, room, left = self._buffers, self._view, MAX_BATCH_BYTES, limit
        while left > 0 and room > 0:
            size = readv(descriptor, buffers)
            room -= size
            if offload is None or buffer[GSO_TYPE]:
                self._gather(frames, plain)
                left -= self._take(frames, buffer, size)
            else:
                plain.append(bytes(view[:size]))
                left -= 1

    def _gather(self, frames: list[bytes | FrameRun], plain: list[bytes]) -> None:
        """Append the frames that were read one by one, each with its header."""
        if plain and self._offload is not None:
            taken, dropped = self._offload.gather(plain)
            frames += taken
            self.dropped += dropped
            plain.clear()

    def close(self) -> None:
        """Close the device."""
        self._device.close()


def open_tun(name: str, path: str, *, one_queue: bool) -> OpenInterface:
    """Open a tun interface. Raises `DeviceError`."""
    check_name(name)
    opened: OpenInterface = _open_plain(
        name, _IFF_TUN | _IFF_NO_PI | (_IFF_ONE_QUEUE if one_queue else 0), path
    )
    return opened


def check_name(name: str) -> None:
    """Raise `DeviceError` if this cannot be the name of an interface."""
    if len(os.fsencode(name)) > _MAX_NAME:
        raise DeviceError(f"Interface name `{name}' is longer than {_MAX_NAME} characters")
    if "/" in name or name in (".", "..") or any(letter.isspace() or letter == ":" for letter in name):
        raise DeviceError(f"`{name}' cannot be the name of an interface")
    if name.encode("utf-8", "replace") != os.fsencode(name):
        raise DeviceError(f"`{name}' cannot be the name of an interface: it is not UTF-8")


def _why_not_opened(error: OSError, name: str, path: str) -> str:
    interface = f"interface `{name}'" if name else "a new interface"
    match error.errno:
        case errno.ENOENT | errno.ENODEV | errno.ENXIO:
            return f"Could not open {path}: {reason(error)}. Is the tun module loaded?"
        case errno.EACCES | errno.EPERM:
            return f"Could not open {path} for {interface}: {reason(error)}. This needs root or CAP_NET_ADMIN"
        case errno.EBUSY:
            return f"Could not use {interface}: it is in use by another program"
        case errno.EINVAL:
            return (
                f"Could not use {interface}: the name is not allowed, or it is an interface of another kind"
            )
        case _:
            return f"Could not open {path} for {interface}: {reason(error)}"


def load_offload() -> Offload | None:
    """Return the functions that cut and join super-frames; None without numpy, which is loaded only here."""
    try:
        from pytinc.datapath.coalesce import coalesce, coalesce_run
        from pytinc.datapath.segment import fill_checksum, gather
        from pytinc.datapath.super_frames import take
    except ImportError:
        return None
    return Offload(fill_checksum, take, gather, coalesce, coalesce_run)


def _open_with_header(name: str, flags: int, path: str) -> Any:
    """Open a device that has a virtio-net header before each frame; None if this is not possible."""
    import pytun_pmd3

    try:
        device = pytun_pmd3.TunTapDevice(name, flags | _IFF_VNET_HDR, path)
    except OSError:
        return None  # opening without the header works, or reports the error
    try:
        fcntl.ioctl(device.fileno(), _TUNSETVNETHDRSZ, struct.pack("=i", _HEADER_SIZE))
    except OSError:
        device.close()
        return None
    return device


def _open_plain(name: str, flags: int, path: str) -> Any:
    """Open a device for frames with nothing before them. Raises `DeviceError`."""
    import pytun_pmd3

    try:
        device = pytun_pmd3.TunTapDevice(name, flags, path)
    except OSError as error:
        raise DeviceError(_why_not_opened(error, name, path)) from error
    # A persistent interface remembers the offloads of its last user.
    _set_offload(device.fileno(), 0)
    return device


def _take_offloads(descriptor: int) -> tuple[str, ...]:
    """Enable all offloads that this kernel supports, and return their description."""
    for value, names in _OFFLOADS:
        if _set_offload(descriptor, value):
            return names
    return ()


def _set_offload(descriptor: int, value: int) -> bool:
    """Enable these offloads; False if the kernel does not support them."""
    try:
        fcntl.ioctl(descriptor, _TUNSETOFFLOAD, value)
    except OSError:
        return False
    return True


def _limit_super_frames(name: str) -> None:
    """Ask the kernel for super-frames up to `_GSO_MAX_SIZE`; if it refuses, they stay longer."""
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as route,
    ):
        index = socket.if_nametoindex(name)
        message = (_LINK_MESSAGE.size, _RTM_NEWLINK, _NLM_F_REQUEST, 0, 0)
        interface = (socket.AF_UNSPEC, 0, index, 0, 0)
        attribute = (8, _IFLA_GSO_MAX_SIZE, _GSO_MAX_SIZE)
        route.send(_LINK_MESSAGE.pack(*message, *interface, *attribute))


def read_hwaddr(name: str) -> bytes:
    """Return the interface's address. pytun's getter is no use: it cuts the address at a NUL byte."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anything:
        try:
            answer = fcntl.ioctl(anything, _SIOCGIFHWADDR, _IFREQ.pack(os.fsencode(name), 0, b""))
        except OSError:
            return DEFAULT_HWADDR
    address: bytes = _IFREQ.unpack(answer)[2]
    return address


def missing_setup(name: str) -> str:
    """Return what an interface lacks before it can be used: ``is down``, ``has no address`` or nothing.

    An interface below another one needs no address: a port of a bridge, or one with VLANs or a macvlan. IPv6
    addresses of the link, which the kernel sets, do not count.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anything:
        request = _IFREQ.pack(os.fsencode(name), 0, b"")
        try:
            flags = _IFREQ.unpack(fcntl.ioctl(anything, _SIOCGIFFLAGS, request))[1]
        except OSError:
            return ""  # not an interface of this namespace
        if not flags & _IFF_UP:
            return "is down"
        with contextlib.suppress(OSError):
            fcntl.ioctl(anything, _SIOCGIFADDR, request)
            return ""
    if any(Path(f"/sys/class/net/{name}").glob("upper_*")) or _has_ipv6_address(name):
        return ""
    return "has no address"


def _has_ipv6_address(name: str) -> bool:
    try:
        lines = Path("/proc/net/if_inet6").read_text().splitlines()
    except OSError:
        return False
    return any(line.split()[5] == name and line.split()[3] == _GLOBAL_SCOPE for line in lines)


class DeviceFeed:
    """Waits for frames of a device, and handles its errors.

    ``on_frames`` gets the frames in batches; a frame that comes alone is first offered to ``on_lone``, which
    tells whether it has taken it.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        device: FrameDevice,
        *,
        on_frames: Callable[[Sequence[bytes | FrameRun]], None],
        on_lone: Callable[[bytes], bool],
        on_fatal: Callable[[str], None],
        log: LogFunction,
        clock: Callable[[], float],
    ) -> None:
        self._loop = loop
        self._device = device
        self._on_frames = on_frames
        self._on_lone = on_lone
        self._on_fatal = on_fatal
        self._log = log
        self._clock = clock
        self._read_errors = 0
        self._pace = Pace()
        self._pause: asyncio.TimerHandle | None = None
        self._reported: tuple[int | None, float] | None = None
        self.traced = False
        """Each frame is logged, at `FRAME_LEVEL`."""

    @property
    def offloads(self) -> tuple[str, ...]:
        """The offloads in use, in words; empty for all but a tap."""
        return self._device.offloads if isinstance(self._device, TapDevice) else ()

    def start(self) -> None:
        """Start to read."""
        self._pause = None
        descriptor = self._device.fileno()
        if descriptor is not None:
            self._loop.add_reader(descriptor, self._readable)

    def stop(self) -> None:
        """Stop reading."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        descriptor = self._device.fileno()
        if descriptor is not None:
            self._loop.remove_reader(descriptor)

    def write_batch(self, frames: Sequence[bytes | FrameRun]) -> None:
        """Give frames to the host; an error is reported, the same one at most once a minute."""
        if self.traced:
            self._trace("Writing packet of {} bytes to {}", frames)
        try:
            self._device.write_batch(frames)
        except OSError as error:
            self._report_write_error(error)

    def write(self, frame: bytes) -> None:
        """Give one frame to the host, as `write_batch` does."""
        if self.traced:
            self._trace("Writing packet of {} bytes to {}", (frame,))
        try:
            self._device.write(frame)
        except OSError as error:
            if not is_full(error):
                self._report_write_error(error)

    def _readable(self) -> None:
        pace = self._pace
        try:
            frames = self._device.read_batch(1 if pace.lone else MAX_BATCH)
        except OSError as error:
            self._read_failed(error)
            return
        self._read_errors = 0
        if len(frames) == 1 and isinstance(frame := frames[0], bytes):
            pace.note(1)
            if not self.traced and self._on_lone(frame):
                return
        else:
            pace.note(MAX_BATCH if frames else 0)
        if frames:
            if self.traced:
                self._trace("Read packet of {} bytes from {}", frames)
            self._on_frames(frames)

    def _trace(self, text: str, frames: Sequence[bytes | FrameRun]) -> None:
        for frame in one_by_one(frames):
            self._log(FRAME_LEVEL, "debug", text.format(len(frame), self._device.path))

    def _read_failed(self, error: OSError) -> None:
        self._log(0, "error", f"Error while reading from {self._device.path}: {reason(error)}")
        delay = READ_ERROR_DELAY * self._read_errors
        self._read_errors += 1
        self.stop()
        if self._read_errors > MAX_READ_ERRORS:
            self._on_fatal(f"Too many errors from {self._device.path}, exiting!")
        else:
            self._pause = self._loop.call_later(delay, self.start)

    def _report_write_error(self, error: OSError) -> None:
        now = self._clock()
        if self._reported is not None:
            number, since = self._reported
            if number == error.errno and now < since + SAME_ERROR_INTERVAL:
                return
        self._reported = (error.errno, now)
        self._log(0, "error", f"Error while writing to {self._device.path}: {reason(error)}")
