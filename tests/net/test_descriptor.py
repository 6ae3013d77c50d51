"""Descriptors of other programs, inherited or received over a UNIX socket; and those that are refused."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytinc.config.settings import Settings
from pytinc.errors import DeviceError
from pytinc.net import descriptor
from pytinc.net.descriptor import open_descriptor
from pytinc.net.devices import open_device
from pytinc.net.tun import TunDevice

if TYPE_CHECKING:
    from net.conftest import LogLines

needs_tun = pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/dev/net/tun").exists(), reason="needs root and /dev/net/tun"
)
V4 = bytes(12) + b"\x08\x00"
TUN, TAP, NO_PI, VNET_HDR = 0x0001, 0x0002, 0x1000, 0x4000


def pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def test_an_inherited_descriptor_carries_packets_and_is_not_passed_on(log: LogLines) -> None:
    host, ours = pair()
    number = ours.detach()
    os.set_inheritable(number, True)
    settings = Settings("a", device_type="fd", device=str(number), interface="name")
    device = open_device(settings, None, log)
    try:
        assert isinstance(device, TunDevice)
        assert log.messages == [f"fd/{number} adapter set up."]
        assert (device.name, device.path, device.fileno()) == ("name", f"fd/{number}", number)
        assert not os.get_inheritable(number)
        host.send(b"\x45packet")
        assert device.read_batch(8) == [V4 + b"\x45packet"]
        device.write_batch([V4 + b"\x45answer"])
        assert host.recv(100) == b"\x45answer"
        host.close()
        with pytest.raises(OSError, match="closed"):
            device.read_batch(8)
    finally:
        device.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


@pytest.mark.parametrize("number", ["-1", "1000000", "99999999999999999999"])
def test_a_number_without_an_open_descriptor_is_refused(number: str, log: LogLines) -> None:
    with pytest.raises(DeviceError, match="Could not open"):
        open_descriptor(number, "", log)


@contextmanager
def giver(path: str, give: Callable[[socket.socket], object]) -> Iterator[None]:
    """Listen at a UNIX socket and call ``give`` with the first connection."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0" + path[1:] if path.startswith("@") else path)
        listener.listen()
        listener.settimeout(60)

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                give(peer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join()


@pytest.mark.parametrize("abstract", [False, True])
def test_a_unix_socket_passes_a_descriptor(tmp_path: Path, abstract: bool, log: LogLines) -> None:
    path = f"@pytinc-{os.getpid()}" if abstract else str(tmp_path / "socket")
    host, theirs = pair()
    with host, theirs:
        with giver(path, lambda peer: socket.send_fds(peer, [b"x"], [theirs.fileno()])):
            received = open_descriptor(path, "vpn", log)
        try:
            assert log.messages == [f"Receiving fd from Unix socket at {path}."]
            assert received.name == "vpn"
            assert not os.get_inheritable(received.fileno())
            os.write(received.fileno(), b"hello")
            assert host.recv(10) == b"hello"
        finally:
            received.close()


def test_only_the_first_of_several_descriptors_stays_open(tmp_path: Path, log: LogLines) -> None:
    path = str(tmp_path / "socket")
    host, theirs = pair()
    other_host, other = pair()
    with host, other_host:
        numbers = [theirs.fileno(), other.fileno()]
        with giver(path, lambda peer: socket.send_fds(peer, [b"x"], numbers)):
            received = open_descriptor(path, "", log)
        theirs.close()
        other.close()
        assert other_host.recv(10) == b""  # no process has it open
        received.close()


@pytest.mark.parametrize(
    ("give", "complaint"),
    [
        (lambda peer: None, "it closed the connection"),
        (lambda peer: peer.send(b"x"), "it sent no descriptor"),
        (lambda peer: threading.Event().wait(0.3), "no answer within 0.05 seconds"),
    ],
)
def test_a_program_that_passes_no_descriptor_is_reported(
    tmp_path: Path,
    give: Callable[[socket.socket], object],
    complaint: str,
    log: LogLines,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(descriptor, "TIMEOUT", 0.05 if "no answer" in complaint else 10.0)
    path = str(tmp_path / "socket")
    with giver(path, give), pytest.raises(DeviceError) as caught:
        open_descriptor(path, "", log)
    assert str(caught.value) == f"Could not read from unix socket {path}: {complaint}"


def test_a_path_that_is_too_long_or_does_not_exist_is_refused(tmp_path: Path, log: LogLines) -> None:
    with pytest.raises(DeviceError, match="Unix socket path too long"):
        open_descriptor("/" + "x" * 107, "", log)
    nowhere = str(tmp_path / "nowhere")
    with pytest.raises(DeviceError, match=f"Could not connect to Unix socket {nowhere}: No such file"):
        open_descriptor(nowhere, "", log)


@needs_tun
@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (TUN | NO_PI, None),
        (TAP | NO_PI, "is a tap"),
        (TUN | NO_PI | VNET_HDR, "has IFF_VNET_HDR"),
    ],
)
def test_an_interface_has_its_name_and_must_carry_bare_ip_packets(
    flags: int, complaint: str | None, log: LogLines
) -> None:
    number = os.open("/dev/net/tun", os.O_RDWR)
    name = f"pf{os.getpid() % 100000}"
    fcntl.ioctl(number, 0x400454CA, struct.pack("16sH22x", name.encode(), flags))
    if complaint is None:
        taken = open_descriptor(str(number), "other", log)
        assert taken.name == name
        taken.close()
    else:
        with pytest.raises(DeviceError, match=complaint):
            open_descriptor(str(number), "other", log)
    with pytest.raises(OSError, match="Bad file") as closed:
        os.fstat(number)
    assert closed.value.errno == errno.EBADF
