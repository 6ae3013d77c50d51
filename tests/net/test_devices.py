"""The table of device types: what is opened for which settings, and what errors say."""

from __future__ import annotations

import pytest

from pytinc.config.settings import Mode, MulticastGroup, Settings
from pytinc.errors import DeviceError
from pytinc.net.devices import open_device


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (Settings("a", device_type="raw_socket", interface="nowhere0"), "Can't find interface nowhere0"),
        (Settings("a", device_type="raw_socket", interface="a" * 16), "longer than 15 characters"),
        (Settings("a", device_type="fd", device="-1"), "Could not open -1"),
        (
            Settings("a", device_type="multicast", multicast=MulticastGroup("192.0.2.1", "5000")),
            "Can't bind to 192.0.2.1 5000",
        ),
    ],
)
def test_what_cannot_be_opened_is_told_with_its_place(settings: Settings, complaint: str, log) -> None:
    for place in ("", "variable Device in /etc/tinc/tinc.conf line 3"):
        changed = Settings(**{field: getattr(settings, field) for field in FIELDS}, device_place=place)
        with pytest.raises(DeviceError) as caught:
            open_device(changed, None, log)
        assert complaint in str(caught.value)
        assert str(caught.value).endswith(f" ({place})") is bool(place)


FIELDS = ("name", "mode", "device_type", "device", "interface", "multicast")


def test_a_tun_needs_router_mode(log) -> None:
    for mode in (Mode.SWITCH, Mode.HUB):
        with pytest.raises(DeviceError, match=f"Mode = {mode.value} needs: use tap"):
            open_device(Settings("a", mode=mode, device_type="tun"), None, log)
