"""Multicast groups as an Ethernet: frames of others arrive once, our own frames do not return."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytinc.config.settings import Mode, MulticastGroup, Settings
from pytinc.errors import DeviceError
from pytinc.net import multicast
from pytinc.net.devices import open_device
from pytinc.net.multicast import MulticastDevice
from pytinc.wire.datagram import MTU_MAX

if TYPE_CHECKING:
    from net.conftest import LogLines

PORT = str(20000 + os.getpid() % 20000)
_IF_INET6 = Path("/proc/net/if_inet6")
_ZONES = [
    words[5]
    for words in map(str.split, _IF_INET6.read_text().splitlines() if _IF_INET6.exists() else ())
    if words[3] == "20"  # link-local
]
GROUPS = [
    MulticastGroup("239.192.77.77", PORT, 0),
    MulticastGroup(f"ff01::7777%{_ZONES[0] if _ZONES else 'lo'}", PORT, 0),
]
"""With a TTL of 0, nothing leaves this machine. Loopback has no IPv6 multicast."""


def frame_of(station: int, text: bytes = b"") -> bytes:
    return b"\xff" * 6 + bytes((2, 0, 0, 0, 0, station)) + b"\x08\x00" + text


def make(group: MulticastGroup) -> MulticastDevice:
    device = None
    try:
        device = MulticastDevice(group, f"{group.address} {group.port}", "vpn")
        device.write_batch([frame_of(0)])
    except (DeviceError, OSError) as error:
        if device is not None:
            device.close()
        pytest.skip(f"no way to this group here: {error}")
    assert read(device, 1, 0.05) == []
    return device


def read(device: MulticastDevice, count: int, seconds: float = 2.0) -> list[bytes]:
    """Read until ``count`` frames have arrived or no more arrive."""
    frames: list[bytes] = []
    while len(frames) < count and select.select([device.fileno()], [], [], seconds)[0]:
        frames += device.read_batch(64)
    return frames


@pytest.fixture(params=GROUPS, ids=["IPv4", "IPv6"])
def devices(request: pytest.FixtureRequest) -> Iterator[tuple[MulticastDevice, MulticastDevice]]:
    one, other = make(request.param), make(request.param)
    read(one, 1, 0.1)  # the other device's frames
    yield one, other
    one.close()
    other.close()


def test_frames_go_to_the_others_and_do_not_return(devices: tuple[MulticastDevice, MulticastDevice]) -> None:
    one, other = devices
    sent = [frame_of(1, b"a"), frame_of(2, b"b"), frame_of(1, b"a"), frame_of(3, b"c")]
    one.write_batch(sent)
    assert read(other, 4) == sent
    other.write_batch([frame_of(4)])
    assert read(one, 1) == [frame_of(4)]  # and none of its own four
    assert read(other, 1, 0.1) == []


def test_the_same_frame_from_another_is_not_taken_for_ours(
    devices: tuple[MulticastDevice, MulticastDevice],
) -> None:
    one, other = devices
    one.write_batch([frame_of(1)])
    assert read(other, 1) == [frame_of(1)]
    assert read(one, 1, 0.1) == []
    other.write_batch([frame_of(1)])
    assert read(one, 1) == [frame_of(1)]


def test_datagrams_that_cannot_be_frames_are_dropped_and_counted(
    devices: tuple[MulticastDevice, MulticastDevice],
) -> None:
    one, other = devices
    longest = frame_of(1).ljust(MTU_MAX, b"x")
    one.write_batch([b"x" * 13, longest + b"x", longest])
    assert read(other, 1) == [longest]
    assert other.dropped == 2


def test_the_size_of_a_batch_is_bounded(devices: tuple[MulticastDevice, MulticastDevice]) -> None:
    one, other = devices
    one.write_batch([frame_of(number) for number in range(5)])
    select.select([other.fileno()], [], [], 2)
    assert [len(other.read_batch(3)), len(other.read_batch(3))] == [3, 2]


def test_the_number_of_remembered_frames_is_bounded(
    devices: tuple[MulticastDevice, MulticastDevice], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _other = devices
    monkeypatch.setattr(multicast, "MAX_OWN", 2)
    one.write_batch([frame_of(number) for number in range(4)])
    assert read(one, 4, 0.2) == [frame_of(0), frame_of(1)]


def test_the_ttl_is_set() -> None:
    device = make(MulticastGroup("239.192.77.77", PORT, 7))
    try:
        with socket.socket(fileno=os.dup(device.fileno())) as same:
            assert same.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL) == 7
            assert same.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP) == 1
    finally:
        device.close()


@pytest.mark.parametrize(
    ("group", "complaint"),
    [
        (MulticastGroup("127.0.0.1", PORT), "Cannot join multicast group 127.0.0.1"),
        (MulticastGroup("192.0.2.1", PORT), "Can't bind to 192.0.2.1"),
        (MulticastGroup("239.1.2.3", "no-such-service"), "Cannot look up multicast group 239.1.2.3"),
    ],
)
def test_a_group_that_cannot_be_joined_is_explained(group: MulticastGroup, complaint: str) -> None:
    with pytest.raises(DeviceError, match=complaint):
        MulticastDevice(group, "path", "")


def test_the_log_names_the_group(log: LogLines) -> None:
    group = MulticastGroup("239.192.77.77", PORT)
    make(group).close()
    text = f"{group.address} {group.port}"
    settings = Settings("a", mode=Mode.SWITCH, device_type="multicast", device=text, multicast=group)
    device = open_device(settings, "net", log)
    assert log.messages == [f"{text} is a multicast socket"]
    assert (device.name, device.path) == ("net", text)
    device.close()
