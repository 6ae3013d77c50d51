from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from pytinc.config.settings import AddressFamily, HostPort, Settings
from pytinc.errors import DeviceError
from pytinc.net import sockets
from pytinc.net.sockets import Listener, open_listeners, own_address, path_mtu
from pytinc.wire.address import Address

if TYPE_CHECKING:
    from net.conftest import LogLines

IP_MTU_DISCOVER = 10
SO_MARK = 36
IPV6_MTU_DISCOVER = 23


def settings_for(*hosts: str, **changes: Any) -> Settings:
    entries = tuple(HostPort(*host.split()) for host in hosts)
    return Settings("a", **{"port": "0", "listen_address": entries, **changes})


@contextmanager
def listening(settings: Settings, log: LogLines, **more: int) -> Iterator[list[Listener]]:
    listeners = open_listeners(settings, log, **more)
    try:
        yield listeners
    finally:
        for listener in listeners:
            listener.close()


def test_every_address_gets_a_tcp_and_a_udp_socket_on_one_port(log: LogLines) -> None:
    with listening(settings_for("127.0.0.1", "::1"), log) as listeners:
        assert [listener.family for listener in listeners] == [4, 6]
        ports = {int(listener.address.port) for listener in listeners}
        assert len(ports) == 1
        assert ports != {0}
        for listener in listeners:
            assert listener.udp.getsockname() == listener.tcp.getsockname()
        port = ports.pop()
        assert log.messages == [f"Listening on 127.0.0.1 port {port}", f"Listening on ::1 port {port}"]


def test_the_wildcard_of_each_allowed_family_is_the_default(log: LogLines) -> None:
    with listening(settings_for(address_family=AddressFamily.IPV4), log) as listeners:
        assert [listener.address.host for listener in listeners] == ["0.0.0.0"]
    with listening(settings_for(address_family=AddressFamily.IPV6), log) as listeners:
        assert [listener.address.host for listener in listeners] == ["::"]
    with listening(settings_for(), log) as listeners:
        assert {listener.address.host for listener in listeners} == {"0.0.0.0", "::"}


def test_duplicates_are_opened_once(log: LogLines) -> None:
    with listening(
        settings_for("127.0.0.1", "127.0.0.1 0", "localhost", address_family=AddressFamily.IPV4), log
    ) as found:
        assert len(found) == 1


def test_the_variable_port_applies_unless_an_address_has_its_own(log: LogLines) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        free = str(other.getsockname()[1])
    with listening(settings_for("127.0.0.1", "127.0.0.2 0", port=free), log) as (first, second):
        assert first.udp.getsockname() == first.tcp.getsockname() == ("127.0.0.1", int(free))
        assert second.udp.getsockname() == second.tcp.getsockname()


def test_a_port_may_be_a_service_name(log: LogLines, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = []
    monkeypatch.setattr(
        sockets, "_open_pair", lambda family, sockaddr, settings, log: wanted.append(sockaddr)
    )
    with pytest.raises(DeviceError):
        open_listeners(settings_for("127.0.0.1 http"), log)
    assert wanted == [("127.0.0.1", 80)]


def test_addresses_of_bind_to_address_come_first_and_are_sources(log: LogLines) -> None:
    settings = settings_for("127.0.0.2", bind_to_address=(HostPort("127.0.0.1"),))
    with listening(settings, log) as listeners:
        assert [(each.address.host, each.is_source) for each in listeners] == [
            ("127.0.0.1", True),
            ("127.0.0.2", False),
        ]


def test_an_address_that_cannot_be_bound_is_reported_and_skipped(log: LogLines) -> None:
    with listening(settings_for("203.0.113.1 655", "127.0.0.1"), log) as listeners:
        assert [listener.address.host for listener in listeners] == ["127.0.0.1"]
    assert log[0] == (
        0,
        "error",
        "Can't bind to 203.0.113.1 port 655/tcp: Cannot assign requested address",
    )


def test_a_udp_port_in_use_drops_the_pair(log: LogLines) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        with pytest.raises(DeviceError, match="Unable to create any listening socket!"):
            open_listeners(settings_for(f"127.0.0.1 {port}"), log)
    assert log.messages == [f"Can't bind to 127.0.0.1 port {port}/udp: Address already in use"]


def test_a_host_that_cannot_be_looked_up_is_reported_and_skipped(log: LogLines) -> None:
    with pytest.raises(DeviceError, match="Unable to create any listening socket!"):
        open_listeners(settings_for("no.such.host.invalid"), log)
    assert log.messages[0].startswith("Looking up no.such.host.invalid port 0 failed: ")


def test_a_port_that_is_only_a_service_of_tcp_is_refused(log: LogLines) -> None:
    # /etc/services has ssh for TCP only.
    with pytest.raises(DeviceError, match="Unable to create any listening socket!"):
        open_listeners(settings_for("127.0.0.1", port="ssh"), log)
    assert log.messages[0].startswith("Looking up 127.0.0.1 port ssh failed: ")


@pytest.mark.parametrize("entry", ["a..b", "a" * 64, "a\udcff", "127.0.0.1 a\udcff"])
def test_an_impossible_name_is_reported_in_plain_words(log: LogLines, entry: str) -> None:
    with pytest.raises(DeviceError, match="Unable to create any listening socket!"):
        open_listeners(settings_for(entry), log)
    assert log.messages[0].endswith(" failed: no name can be like this")


def test_more_than_eight_sockets_are_too_many(log: LogLines) -> None:
    hosts = [f"127.0.0.{number}" for number in range(1, 10)]
    with pytest.raises(DeviceError, match="Too many listening sockets"):
        open_listeners(settings_for(*hosts), log)
    with listening(settings_for(*hosts[:8]), log) as listeners:
        assert len(listeners) == 8
    with pytest.raises(DeviceError, match="Too many listening sockets"):
        open_listeners(settings_for(), log, inherited=9)


@pytest.mark.parametrize("discovery", [True, False])
def test_udp_sockets_have_the_options_of_tinc(log: LogLines, discovery: bool) -> None:
    with listening(settings_for("127.0.0.1", "::1", pmtu_discovery=discovery), log) as (four, six):
        for udp in (four.udp, six.udp):
            assert not udp.getblocking()
            assert not udp.get_inheritable()
            assert udp.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST) == 1
            assert udp.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 1
        assert six.udp.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
        assert (four.udp.getsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER) == 2) == discovery
        assert (six.udp.getsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER) == 2) == discovery


def test_tcp_sockets_send_at_once(log: LogLines) -> None:
    with listening(settings_for("127.0.0.1"), log) as (only,):
        assert only.tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert only.tcp.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 0x10


def test_a_configured_buffer_size_is_read_back(log: LogLines, monkeypatch: pytest.MonkeyPatch) -> None:
    too_much = 2**31 - 1
    with listening(settings_for("127.0.0.1", udp_rcvbuf=too_much), log):
        assert len(log) == 1  # a default size that the system does not grant is not reported
    log.clear()
    with listening(
        settings_for("127.0.0.1", udp_rcvbuf=too_much, udp_sndbuf=0, udp_buffers_explicit=True), log
    ):
        assert log.messages[0].startswith(f"UDPRcvBuf is {too_much}, but the system grants only ")


@pytest.mark.parametrize(("receive", "send"), [(20_000, 30_000), (30_000, 20_000)])
def test_udp_sockets_have_the_configured_buffers(log: LogLines, receive: int, send: int) -> None:
    with listening(settings_for("127.0.0.1", udp_rcvbuf=receive, udp_sndbuf=send), log) as (only,):
        # Linux doubles the size, for its own bookkeeping.
        assert only.udp.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 2 * receive
        assert only.udp.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * send


def test_a_buffer_size_of_0_keeps_the_default_of_the_system(log: LogLines) -> None:
    with (
        listening(settings_for("127.0.0.1", udp_rcvbuf=0, udp_sndbuf=0), log) as (only,),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain,
    ):
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            assert only.udp.getsockopt(socket.SOL_SOCKET, option) == plain.getsockopt(
                socket.SOL_SOCKET, option
            )


def test_both_sockets_are_bound_to_the_interface(log: LogLines) -> None:
    with listening(settings_for("127.0.0.1", bind_to_interface="lo"), log) as (only,):
        for made in (only.tcp, only.udp):
            assert made.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0") == b"lo"
    with listening(settings_for("127.0.0.1"), log) as (free,):
        assert free.udp.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16) == b""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("mark", [0, 42])
def test_both_sockets_have_the_firewall_mark(log: LogLines, mark: int) -> None:
    with listening(settings_for("127.0.0.1", fwmark=mark), log) as (only,):
        for made in (only.tcp, only.udp):
            assert made.getsockopt(socket.SOL_SOCKET, SO_MARK) == mark


def test_an_interface_that_does_not_exist_drops_the_socket(log: LogLines) -> None:
    with pytest.raises(DeviceError, match="Unable to create any listening socket!"):
        open_listeners(settings_for("127.0.0.1", bind_to_interface="nosuchif0"), log)
    assert log.messages == ["Can't bind to interface nosuchif0: No such device"]


def test_inherited_sockets_are_used_and_get_a_udp_socket_each(
    log: LogLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        monkeypatch.setattr(sockets, "FIRST_INHERITED", os.dup(given.fileno()))
        with listening(settings_for("203.0.113.1 1"), log, inherited=1) as (only,):
            assert only.tcp.getsockname() == given.getsockname() == only.udp.getsockname()
            assert not only.tcp.get_inheritable()
            assert not only.is_source


def test_an_inherited_descriptor_that_is_not_a_tcp_socket_is_refused(
    log: LogLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        monkeypatch.setattr(sockets, "FIRST_INHERITED", os.dup(ours.fileno()))
        with pytest.raises(DeviceError, match="Unable to create any listening socket!"):
            open_listeners(settings_for(), log, inherited=1)
    assert "is not a TCP socket" in log.messages[0]


def test_the_kernel_knows_the_path_mtu_of_a_destination() -> None:
    assert path_mtu(("127.0.0.1", 655), Settings("a")) == 65535  # the longest IPv4 packet
    assert path_mtu(("::1", 655, 0, 0), Settings("a")) == 65536


def test_there_is_no_path_mtu_without_route_or_interface() -> None:
    assert path_mtu(("127.0.0.1", 655), Settings("a", bind_to_interface="nosuchif0")) is None
    assert path_mtu(("255.255.255.255", 1), Settings("a")) is None


def test_the_kernel_knows_the_own_address_towards_another_host() -> None:
    assert own_address(bytes((127, 0, 0, 9))) == bytes((127, 0, 0, 1))
    assert own_address(bytes(15) + b"\1") == bytes(15) + b"\1"


def test_there_is_no_own_address_towards_a_broadcast_or_link_local_address() -> None:
    assert own_address(bytes((255,) * 4)) is None
    assert own_address(b"\xfe\x80" + bytes(13) + b"\1") is None  # of which interface?


def test_the_address_of_a_listener_is_numeric(log: LogLines) -> None:
    with listening(settings_for("localhost", address_family=AddressFamily.IPV4), log) as (only,):
        assert only.address == Address("127.0.0.1", only.address.port)
