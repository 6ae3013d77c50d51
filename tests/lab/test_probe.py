from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pytinc.lab.probe import checksum, echo_number, echo_request

IP_HEADER = bytes([0x45]) + bytes(19)
IP_HEADER_WITH_OPTIONS = bytes([0x46]) + bytes(23)


def answer(request: bytes, kind: int) -> bytes:
    """What a host makes of an echo request, its checksum aside."""
    return bytes([kind]) + request[1:]


def test_a_message_with_its_checksum_sums_up_to_zero() -> None:
    assert checksum(echo_request(4, 0xBEEF, 70000)) == 0
    assert checksum(bytes.fromhex("ffff 0001 fffe")) == 0xFFFF ^ 0xFFFF


@pytest.mark.parametrize("header", [IP_HEADER, IP_HEADER_WITH_OPTIONS])
def test_an_answer_by_ipv4_is_found_behind_its_header(header: bytes) -> None:
    request = echo_request(4, 7, 70000)
    assert echo_number(4, 7, header + answer(request, 0)) == 70000
    assert echo_number(4, 8, header + answer(request, 0)) is None, "somebody else's"
    assert echo_number(4, 7, header + request) is None, "a request"


def test_an_answer_by_ipv6_comes_without_a_header() -> None:
    request = echo_request(6, 7, 3)
    assert request[0] == 128
    assert echo_number(6, 7, answer(request, 129)) == 3
    assert echo_number(6, 7, request) is None


@pytest.mark.parametrize("packet", [b"", b"E", IP_HEADER, IP_HEADER + bytes(200)])
def test_packets_other_than_our_answers_have_no_number(packet: bytes) -> None:
    assert echo_number(4, 0, packet) is None
    assert echo_number(6, 0, packet) is None


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = free.getsockname()[1]
    command = (sys.executable, "-m", "pytinc.lab.probe", "serve", str(number))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "listening\n"
        yield number
        server.kill()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_the_server_echoes_what_a_client_sends_and_closes(port: int, address: str) -> None:
    for _ in range(3):
        with socket.create_connection((address, port), timeout=60) as client:
            client.sendall(b"?")
            assert client.recv(10) == b"?"
            assert client.recv(10) == b""


def test_a_silent_client_does_not_delay_others(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60):
        test_the_server_echoes_what_a_client_sends_and_closes(port, "127.0.0.1")
