"""The table of device types: the device that is opened for given settings, and the errors."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytinc.config.building import DEVICE_WORDS
from pytinc.config.settings import Mode, MulticastGroup, Settings
from pytinc.errors import DeviceError
from pytinc.net.devices import OPENERS, open_device

if TYPE_CHECKING:
    from net.conftest import LogLines

IFF_ONE_QUEUE = 0x2000


def test_every_type_that_the_configuration_allows_has_an_opener_and_no_other() -> None:
    assert set(OPENERS) == set(DEVICE_WORDS)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (Settings("a", device_type="raw_socket", interface="nowhere0"), "Can't find interface nowhere0"),
        (Settings("a", device_type="raw_socket", interface="a" * 16), "longer than 15 characters"),
        (Settings("a", device_type="raw_socket", interface="a\udcff"), "is not UTF-8"),
        (Settings("a", mode=Mode.SWITCH, interface="a\udcff"), "is not UTF-8"),
        (Settings("a", mode=Mode.ROUTER, interface="a\udcff"), "is not UTF-8"),
        (Settings("a", device_type="fd", device="-1"), "Could not open -1"),
        (
            Settings("a", device_type="multicast", multicast=MulticastGroup("192.0.2.1", "5000")),
            "Can't bind to 192.0.2.1 5000",
        ),
    ],
)
def test_the_error_names_the_place_of_a_device_that_cannot_be_opened(
    settings: Settings, complaint: str, log: LogLines
) -> None:
    for place in ("", "variable Device in /etc/tinc/tinc.conf line 3"):
        changed = Settings(**{field: getattr(settings, field) for field in FIELDS}, device_place=place)
        with pytest.raises(DeviceError) as caught:
            open_device(changed, None, log)
        assert complaint in str(caught.value)
        assert str(caught.value).endswith(f" ({place})") is bool(place)


FIELDS = ("name", "mode", "device_type", "device", "interface", "multicast")


def test_a_tun_needs_router_mode(log: LogLines) -> None:
    for mode in (Mode.SWITCH, Mode.HUB):
        with pytest.raises(DeviceError, match=f"Mode = {mode.value} needs: use tap"):
            open_device(Settings("a", mode=mode, device_type="tun"), None, log)


@pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/dev/net/tun").exists(), reason="needs root and /dev/net/tun"
)
@pytest.mark.parametrize("mode", [Mode.SWITCH, Mode.ROUTER])
@pytest.mark.parametrize("one_queue", [False, True])
def test_the_interface_has_the_configured_name_and_queue_flag(
    mode: Mode, one_queue: bool, log: LogLines
) -> None:
    name = f"pq{os.getpid() % 100000}"
    device = open_device(Settings("a", mode=mode, interface=name, iff_one_queue=one_queue), "net", log)
    try:
        assert device.name == name
        flags = int(Path(f"/sys/class/net/{name}/tun_flags").read_text(), 16)
        assert bool(flags & IFF_ONE_QUEUE) == one_queue
    finally:
        device.close()


@pytest.mark.parametrize(
    "settings",
    [Settings("a"), Settings("a", mode=Mode.SWITCH), Settings("a", mode=Mode.SWITCH, device_type="vde")],
)
def test_the_variable_device_names_the_device_node(settings: Settings, tmp_path: Path, log: LogLines) -> None:
    place = str(tmp_path / "nowhere")
    with pytest.raises(DeviceError, match=re.escape(place)):
        open_device(replace(settings, device=place), None, log)
