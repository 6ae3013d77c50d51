"""The table of device types, and the choice of the device that the settings ask for.

See docs/protocol-data.md, "Devices".

The daemon calls `open_device` at its start. Each type is a small class in a module of its own, with the
interface of `pytinc.net.tap.FrameDevice`; `pytinc.config.building` has already refused invalid
configurations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from pytinc.config.settings import Mode, Settings
from pytinc.errors import DeviceError
from pytinc.net.descriptor import open_descriptor
from pytinc.net.log import LogFunction
from pytinc.net.multicast import MulticastDevice
from pytinc.net.raw import RawSocketDevice
from pytinc.net.tap import DEFAULT_DEVICE, DEFAULT_HWADDR, FrameDevice, TapDevice, open_tun
from pytinc.net.tun import TunDevice
from pytinc.net.vde import DEFAULT_SWITCH, VdeDevice

if TYPE_CHECKING:
    from pytinc.datapath.runs import FrameRun

DEFAULT_RAW_INTERFACE: Final = "eth0"

Opener = Callable[[Settings, str | None, LogFunction], FrameDevice]
"""Opens one type of device for the settings and the net name, and logs what it is."""


class DummyDevice:
    """``DeviceType = dummy``: no frames arrive, and written frames vanish."""

    name = "dummy"
    path = "dummy"
    hwaddr = DEFAULT_HWADDR

    def fileno(self) -> None:
        """Return None: there is nothing to wait for."""

    def read_batch(self, limit: int) -> list[bytes]:
        """Return no frames."""
        return []

    def write(self, frame: bytes) -> None:
        """Discard the frame."""

    def write_batch(self, frames: Sequence[bytes | FrameRun]) -> None:
        """Discard the frames."""

    def close(self) -> None:
        """Do nothing."""


def open_device(settings: Settings, netname: str | None, log: LogFunction) -> FrameDevice:
    """Open the device that the settings ask for. Raises `DeviceError`, which names the place in a file."""
    kind = settings.device_type or ("tun" if settings.mode is Mode.ROUTER else "tap")
    try:
        return OPENERS[kind](settings, netname, log)
    except DeviceError as error:
        if not settings.device_place:
            raise
        raise DeviceError(f"{error} ({settings.device_place})") from error


def _open_tap(settings: Settings, netname: str | None, log: LogFunction) -> FrameDevice:
    device = TapDevice(
        settings.interface or netname,
        settings.device or DEFAULT_DEVICE,
        one_queue=settings.iff_one_queue,
        offload=settings.offload,
    )
    log(0, "info", f"{device.path} ({device.name}) is a Linux tap device")
    _log_offloads(device.offloads, log)
    return device


def _open_tun(settings: Settings, netname: str | None, log: LogFunction) -> FrameDevice:
    if settings.mode is not Mode.ROUTER:
        raise DeviceError(
            f"DeviceType tun carries no Ethernet frames, which Mode = {settings.mode.value} needs: use tap"
        )
    path = settings.device or DEFAULT_DEVICE
    name = settings.interface or netname or ""
    device = TunDevice(open_tun(name, path, one_queue=settings.iff_one_queue), path, log)
    log(0, "info", f"{device.path} ({device.name}) is a Linux tun device")
    return device


def _open_dummy(settings: Settings, netname: str | None, log: LogFunction) -> FrameDevice:
    log(0, "info", "dummy (dummy) is a dummy device")
    return DummyDevice()


def _open_raw_socket(settings: Settings, netname: str | None, log: LogFunction) -> FrameDevice:
    interface = settings.interface or DEFAULT_RAW_INTERFACE
    device = RawSocketDevice(interface, settings.device or interface, join=settings.offload)
    log(0, "info", f"{device.path} is a raw_socket")
    _log_offloads(device.offloads, log)
    return device


def _open_multicast(settings: Settings, netname: str | None, log: LogFunction) -> FrameDevice:
    assert settings.multicast is not None, "the parser has made sure"
    device = MulticastDevice(settings.multicast, settings.device or "", settings.interface or netname or "")
    log(0, "info", f"{device.path} is a multicast socket")
    return device


def _open_fd(settings: Settings, netname: str | None, log: LogFunction) -> FrameDevice:
    interface = open_descriptor(settings.device or "", settings.interface or netname or "", log)
    log(0, "info", f"fd/{interface.fileno()} adapter set up.")
    return TunDevice(interface, f"fd/{interface.fileno()}", log)


def _open_vde(settings: Settings, netname: str | None, log: LogFunction) -> FrameDevice:
    path = settings.device or DEFAULT_SWITCH
    name = settings.interface or netname or ""
    device = VdeDevice(path, name, port=settings.vde_port, group=settings.vde_group)
    log(0, "info", f"{device.path} is a VDE switch")
    return device


def _log_offloads(names: tuple[str, ...], log: LogFunction) -> None:
    log(0, "info", f"Device offloads: {', '.join(names) or 'none'}")


OPENERS: Final[dict[str, Opener]] = {
    "tun": _open_tun,
    "tap": _open_tap,
    "dummy": _open_dummy,
    "raw_socket": _open_raw_socket,
    "multicast": _open_multicast,
    "fd": _open_fd,
    "vde": _open_vde,
}
