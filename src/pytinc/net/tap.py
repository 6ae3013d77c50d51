"""The virtual Ethernet device: frames of the host come in here and go out here (dataplane.md 6).

`FrameDevice` is the seam: the shell reads batches and writes frames, and does not know what is behind.
`DeviceFeed` does the waiting and follows tinc's policy for read errors. Interface state, addresses and
MTU are the business of tinc-up, never of this module.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Callable
from typing import Final, Protocol

from pytinc.config.settings import Mode, Settings
from pytinc.errors import DeviceError
from pytinc.net.log import LogFunction, reason
from pytinc.net.tun import OpenInterface, TunDevice
from pytinc.wire.datagram import MTU_MAX

MAX_BATCH: Final = 64
"""Frames read for one readiness event, so that sockets and timers get their turn."""
MAX_READ_ERRORS: Final = 10
"""More read errors in a row than this end the daemon (tinc: handle_device_data())."""
READ_ERROR_DELAY: Final = 0.05
"""Seconds of rest after a read error, times the number of errors so far."""
SAME_ERROR_INTERVAL: Final = 60.0
"""Seconds before the same write error is reported again: an interface that is down would fill the log."""
DEFAULT_DEVICE: Final = "/dev/net/tun"
DEFAULT_HWADDR: Final = b"\xfe\xfd\x00\x00\x00\x00"
"""Used where the device has no address of its own (tinc: net_setup.c)."""

_IFF_TUN: Final = 0x0001
_IFF_TAP: Final = 0x0002
_IFF_NO_PI: Final = 0x1000
_IFF_ONE_QUEUE: Final = 0x2000
_SIOCGIFHWADDR: Final = 0x8927
_IFREQ: Final = struct.Struct("16sH6s16x")
_MAX_NAME: Final = 15
"""IFNAMSIZ less the NUL byte."""


class FrameDevice(Protocol):
    """What gives and takes Ethernet frames."""

    @property
    def name(self) -> str:
        """The interface's name, for logs and the INTERFACE variable of scripts."""

    @property
    def path(self) -> str:
        """The device's name, for the DEVICE variable of scripts."""

    @property
    def hwaddr(self) -> bytes | None:
        """The interface's MAC address, six bytes; None if it has none, as a tun."""

    def fileno(self) -> int | None:
        """Return the descriptor to wait on, None if frames never come from this device."""

    def read_batch(self, limit: int) -> list[bytes]:
        """Return up to ``limit`` frames that are ready. Raises `OSError` if not even one could be read."""

    def write(self, frame: bytes) -> None:
        """Give one frame to the host. Raises `OSError`; the frame is lost then."""

    def close(self) -> None:
        """Let the device go; the interface disappears unless it is persistent."""


class TapDevice:
    """A Linux TAP interface. Raises `DeviceError` if it cannot be had."""

    def __init__(
        self, name: str | None = None, path: str = DEFAULT_DEVICE, *, one_queue: bool = False
    ) -> None:
        import pytun_pmd3

        wanted = name or ""
        _check_name(wanted)
        flags = _IFF_TAP | _IFF_NO_PI | (_IFF_ONE_QUEUE if one_queue else 0)
        try:
            self._device = pytun_pmd3.TunTapDevice(wanted, flags, path)
        except OSError as error:
            raise DeviceError(_why_not_opened(error, wanted, path)) from error
        self._descriptor: int = self._device.fileno()
        os.set_blocking(self._descriptor, False)
        self.name: str = self._device.name
        self.path = path
        self.hwaddr = _read_hwaddr(self.name)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._descriptor

    def read_batch(self, limit: int) -> list[bytes]:
        """Return up to ``limit`` frames. What is too long for the VPN is dropped; tinc would cut it."""
        frames: list[bytes] = []
        read, descriptor = os.read, self._descriptor
        try:
            for _ in range(limit):
                frame = read(descriptor, MTU_MAX + 1)
                if len(frame) <= MTU_MAX:
                    frames.append(frame)
        except BlockingIOError:
            pass
        except OSError:
            if not frames:
                raise
        return frames

    def write(self, frame: bytes) -> None:
        """Give one frame to the host."""
        os.write(self._descriptor, frame)

    def close(self) -> None:
        """Let the device go."""
        self._device.close()


class DummyDevice:
    """``DeviceType = dummy``: no frames come, what is written vanishes."""

    name = "dummy"
    path = "dummy"
    hwaddr = DEFAULT_HWADDR

    def fileno(self) -> None:
        """Return None: there is nothing to wait for."""

    def read_batch(self, limit: int) -> list[bytes]:
        """Return no frames."""
        return []

    def write(self, frame: bytes) -> None:
        """Forget the frame."""

    def close(self) -> None:
        """Do nothing."""


def open_device(settings: Settings, netname: str | None, log: LogFunction) -> FrameDevice:
    """Open the device that the settings ask for. Raises `DeviceError`."""
    if settings.device_type == "dummy":
        log(0, "info", "dummy (dummy) is a dummy device")
        return DummyDevice()
    kind = settings.device_type or ("tun" if settings.mode is Mode.ROUTER else "tap")
    name, path = settings.interface or netname, settings.device or DEFAULT_DEVICE
    device: FrameDevice
    if kind == "tap":
        device = TapDevice(name, path, one_queue=settings.iff_one_queue)
    elif kind == "tun" and settings.mode is Mode.ROUTER:
        device = TunDevice(_open_tun(name or "", path, one_queue=settings.iff_one_queue), path)
    elif kind == "tun":
        raise DeviceError(
            f"DeviceType tun carries no Ethernet frames, which Mode = {settings.mode.value} needs: use tap"
        )
    else:
        raise DeviceError(f"DeviceType {kind} is not supported by this release: use tun, tap or dummy")
    log(0, "info", f"{device.path} ({device.name}) is a Linux {kind} device")
    return device


def _open_tun(name: str, path: str, *, one_queue: bool) -> OpenInterface:
    """Open a tun interface. Raises `DeviceError`."""
    import pytun_pmd3

    _check_name(name)
    flags = _IFF_TUN | _IFF_NO_PI | (_IFF_ONE_QUEUE if one_queue else 0)
    try:
        opened: OpenInterface = pytun_pmd3.TunTapDevice(name, flags, path)
    except OSError as error:
        raise DeviceError(_why_not_opened(error, name, path)) from error
    return opened


def _check_name(name: str) -> None:
    if len(os.fsencode(name)) > _MAX_NAME:
        raise DeviceError(f"Interface name `{name}' is longer than {_MAX_NAME} characters")
    if "/" in name or name in (".", "..") or any(letter.isspace() or letter == ":" for letter in name):
        raise DeviceError(f"`{name}' cannot be the name of an interface")


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


def _read_hwaddr(name: str) -> bytes:
    """Ask for the interface's address ourselves: pytun's getter cuts it at a NUL byte."""
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anything:
        try:
            answer = fcntl.ioctl(anything, _SIOCGIFHWADDR, _IFREQ.pack(os.fsencode(name), 0, b""))
        except OSError:
            return DEFAULT_HWADDR
    address: bytes = _IFREQ.unpack(answer)[2]
    return address


class DeviceFeed:
    """Waits for frames of a device, and copes with its errors. Frames go to ``on_frames`` in batches."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        device: FrameDevice,
        *,
        on_frames: Callable[[list[bytes]], None],
        on_fatal: Callable[[str], None],
        log: LogFunction,
        clock: Callable[[], float],
    ) -> None:
        self._loop = loop
        self._device = device
        self._on_frames = on_frames
        self._on_fatal = on_fatal
        self._log = log
        self._clock = clock
        self._read_errors = 0
        self._pause: asyncio.TimerHandle | None = None
        self._reported: tuple[int | None, float] | None = None

    def start(self) -> None:
        """Begin to read."""
        self._pause = None
        descriptor = self._device.fileno()
        if descriptor is not None:
            self._loop.add_reader(descriptor, self._readable)

    def stop(self) -> None:
        """Read no more."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        descriptor = self._device.fileno()
        if descriptor is not None:
            self._loop.remove_reader(descriptor)

    def write(self, frame: bytes) -> None:
        """Give a frame to the host; an error is reported, at most once a minute the same one."""
        try:
            self._device.write(frame)
        except BlockingIOError:
            pass  # the kernel's queue is full: lost, as on any busy Ethernet
        except OSError as error:
            self._report_write_error(error)

    def _readable(self) -> None:
        try:
            frames = self._device.read_batch(MAX_BATCH)
        except OSError as error:
            self._read_failed(error)
            return
        self._read_errors = 0
        if frames:
            self._on_frames(frames)

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
