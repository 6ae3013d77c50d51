"""Ports of a VDE switch: the real switch of Debian's vde2, and one that misbehaves."""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytinc.config.settings import Mode, Settings
from pytinc.errors import DeviceError
from pytinc.net import vde
from pytinc.net.devices import open_device
from pytinc.net.vde import VdeDevice
from pytinc.wire.datagram import MTU_MAX

if TYPE_CHECKING:
    from net.conftest import LogLines

needs_vde = pytest.mark.skipif(shutil.which("vde_switch") is None, reason="needs Debian's package vde2")


def frame(source: int, text: bytes = b"") -> bytes:
    return (b"\xff" * 6 + bytes((2, 0, 0, 0, 0, source)) + b"\x88\xb5" + text).ljust(60, b"\0")


def names_in(directory: str) -> set[str]:
    return {path.name for path in Path(directory).iterdir()}


def read(device: VdeDevice, count: int, seconds: float = 5.0) -> list[bytes]:
    frames: list[bytes] = []
    while len(frames) < count and select.select([device.fileno()], [], [], seconds)[0]:
        frames += device.read_batch(64)
    return frames


def listens(path: Path) -> bool:
    """Tell whether a program listens: the file of a socket is there before.

    To connect would do more than ask: vde_switch now and then keeps the port of whoever connects just after
    somebody that has gone.
    """
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return any(row[3] == "00010000" and row[-1] == str(path) for row in rows)


@pytest.fixture
def switch(tmp_path: Path) -> Iterator[str]:
    path = tmp_path / "switch"
    process = subprocess.Popen(
        ["vde_switch", "-s", str(path)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not listens(path / "ctl") and time.monotonic() < deadline:
        time.sleep(0.02)
    yield str(path)
    process.kill()
    process.communicate()


@needs_vde
def test_frames_go_through_the_switch_and_closing_leaves_no_files(switch: str, log: LogLines) -> None:
    before = names_in(switch)
    settings = Settings("a", mode=Mode.SWITCH, device_type="vde", device=switch, vde_port=5)
    one = open_device(settings, "net", log)
    assert isinstance(one, VdeDevice)
    assert log.messages == [f"{switch} is a VDE switch"]
    assert (one.name, one.path) == ("net", switch)
    assert any(name.startswith("005.") for name in names_in(switch))
    other = VdeDevice(switch, "")
    try:
        sent = [frame(1, b"a"), frame(1, b"b").ljust(1514, b"\0")]
        one.write_batch(sent)
        assert read(other, 2) == sent
        other.write_batch([frame(2)])
        assert read(one, 1) == [frame(2)]
        assert one.read_batch(8) == []
    finally:
        one.close()
        other.close()
    deadline = time.monotonic() + 60
    while names_in(switch) != before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert names_in(switch) == before


@needs_vde
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_group_may_use_our_socket_and_others_may_not(switch: str, log: LogLines) -> None:
    for group, mode in ((None, 0o700), ("daemon", 0o770)):
        settings = Settings("a", mode=Mode.SWITCH, device_type="vde", device=switch, vde_group=group)
        device = open_device(settings, None, log)
        assert isinstance(device, VdeDevice)
        assert Path(device.own_path).stat().st_mode & 0o777 == mode
        device.close()
    with pytest.raises(DeviceError, match="Unknown group no-such-group in VDEGroup"):
        VdeDevice(switch, "", group="no-such-group")
    assert not list(Path(switch).glob(".pytinc*"))


class Switch:
    """A switch that answers one request as the test wants; the test has its end of the port."""

    def __init__(self, directory: Path, answer: bytes | None) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(directory / "ctl"))
        self.listener.listen()
        self.port = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.port.bind(str(directory / "port"))
        self.answer = vde._ADDRESS.pack(1, bytes(directory / "port")) if answer is None else answer
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self) -> None:
        self.peer, _ = self.listener.accept()
        self.request = self.peer.recv(1000)
        if self.answer != b"wait":
            self.peer.sendall(self.answer)
            self.peer.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.thread.join()
        for opened in (self.peer, self.port, self.listener):
            opened.close()


def test_the_request_equals_that_of_vde_plug_and_invalid_datagrams_are_dropped(tmp_path: Path) -> None:
    switch = Switch(tmp_path, None)
    device = VdeDevice(str(tmp_path), "", port=7)
    try:
        path = device.own_path
        assert switch.request[:14].hex() == "cefaedfe03000000" + "00070000" + "0100"
        assert switch.request[14:122].rstrip(b"\0") == os.fsencode(path)
        for datagram in (b"short", bytes(MTU_MAX + 1), bytes(MTU_MAX)):
            switch.port.sendto(datagram, path)
        assert read(device, 1) == [bytes(MTU_MAX)]
        assert device.dropped == 2
        for _ in range(1000):  # a switch that does not read: the rest is lost silently
            device.write_batch([frame(1)])
    finally:
        switch.close()
        with pytest.raises(ConnectionError):  # the switch is gone
            device.write_batch([frame(1)])
        device.close()
    assert not Path(path).exists()


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"", "has no such port for us"),
        (b"x", "has no such port for us"),
        (b"wait", "did not answer within 0.05 seconds"),
        (bytes(110), "Could not plug into the switch"),
    ],
)
def test_a_switch_that_gives_no_port_is_reported(
    tmp_path: Path, answer: bytes, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vde, "TIMEOUT", 0.05 if answer == b"wait" else 10.0)
    switch = Switch(tmp_path, answer)
    with pytest.raises(DeviceError, match=complaint):
        VdeDevice(str(tmp_path), "")
    switch.close()
    assert not list(tmp_path.glob(".pytinc*"))


@pytest.mark.parametrize(
    ("path", "port", "complaint"),
    [
        ("/nowhere", 0, "Could not plug into the switch /nowhere: No such file"),
        ("/" + "x" * 100, 0, "too long"),
        ("/nowhere", -1, "VDEPort must be from 0"),
        ("/nowhere", 65536, "VDEPort must be from 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(path: str, port: int, complaint: str) -> None:
    with pytest.raises(DeviceError, match=complaint):
        VdeDevice(path, "", port=port)
