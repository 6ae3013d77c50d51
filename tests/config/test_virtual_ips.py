"""Settings and libraries that lines VirtualIP need. How they are named: `test_building.py`."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from pytinc.config.settings import Broadcast, Forwarding, Mode, Settings
from pytinc.config.virtual_ips import find_obstacle, missing
from pytinc.node.rules import hears_neighbours
from pytinc.wire.virtual_ip import parse_virtual_ip

SWITCH = Settings("alpha", mode=Mode.SWITCH)


def test_nothing_is_in_the_way_of_a_switch() -> None:
    assert find_obstacle(SWITCH) is None
    assert find_obstacle(replace(SWITCH, broadcast=Broadcast.DIRECT, forwarding=Forwarding.OFF)) is None
    assert find_obstacle(replace(SWITCH, device_type="raw_socket")) is None


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (replace(SWITCH, mode=Mode.ROUTER), ("Mode", "router")),
        (replace(SWITCH, mode=Mode.HUB), ("Mode", "hub")),
        (replace(SWITCH, broadcast=Broadcast.NO), ("Broadcast", "no")),
        (replace(SWITCH, forwarding=Forwarding.KERNEL), ("Forwarding", "kernel")),
        (replace(SWITCH, tunnel_server=True), ("TunnelServer", "yes")),
        (replace(SWITCH, neighbour_guard=False), ("NeighbourGuard", "no")),
    ],
)
def test_a_setting_that_is_in_the_way_is_named(settings: Settings, named: tuple[str, str]) -> None:
    found = find_obstacle(settings)
    assert found is not None
    assert found[:2] == named


def test_settings_that_silence_the_guard_are_reported_as_obstacles() -> None:
    for mode, broadcast, forwarding, tunnel_server, guard in itertools.product(
        Mode, Broadcast, Forwarding, (False, True), (False, True)
    ):
        settings = Settings(
            "alpha",
            mode=mode,
            broadcast=broadcast,
            forwarding=forwarding,
            tunnel_server=tunnel_server,
            neighbour_guard=guard,
        )
        assert (find_obstacle(settings) is None) == (guard and hears_neighbours(settings))


@pytest.mark.parametrize(
    ("line", "library", "hint"),
    [
        ("10.1.1.10 manage=yes", "pyroute2", "install pytinc[manage], or let tinc-up set the address"),
        ("10.1.1.10 check=tcp:80 check=https://a/", "httpx", "install pytinc[checks], or check tcp:PORT or"),
    ],
)
def test_a_library_is_needed_only_by_those_lines_that_use_it(
    line: str, library: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    complaint = missing(parse_virtual_ip(line), None)
    assert complaint is not None
    assert f"needs the Python library {library}, which is not installed: {hint}" in complaint
    assert missing(parse_virtual_ip("10.1.1.10 check=tcp:80 check=exec:x"), None) is None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert missing(parse_virtual_ip(line), None) is None


@pytest.mark.parametrize("device_type", ["raw_socket", "vde", "multicast", "dummy"])
def test_addresses_are_managed_on_a_tap_only(device_type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    managed, plain = parse_virtual_ip("10.1.1.10 manage=yes"), parse_virtual_ip("10.1.1.10")
    assert f"does not work with DeviceType = {device_type}" in str(missing(managed, device_type))
    assert missing(managed, "tap") is None
    assert missing(plain, device_type) is None
