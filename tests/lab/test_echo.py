"""Echoes between two hosts of a lab; where a test needs late or strange answers, it gives them itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import pytest

from pytinc.lab.echo import EchoReport, answers, ping, wait_steady
from pytinc.lab.frames import Port
from pytinc.lab.namespaces import Host, Lab, LabError, missing_means

pytestmark = [
    pytest.mark.namespaces,
    pytest.mark.skipif(missing_means() is not None, reason=str(missing_means())),
]

IPV4, ICMP, REQUEST = b"\x08\x00", 1, 8
NOBODY = "192.0.2.200"


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[Host, Host]]:
    """Two hosts that answer each other by IPv4 and, at fd00::1 and fd00::2, by IPv6."""
    with Lab() as lab:
        pair = lab.host("one"), lab.host("other")
        for number, host in enumerate(pair, 1):
            host.run("ip", "address", "add", f"fd00::{number}/64", "dev", "eth0", "nodad")
        wait_steady(pair[0], pair[1].address)
        wait_steady(pair[0], "fd00::2")
        yield pair


@pytest.fixture
def mute(hosts: tuple[Host, Host]) -> Iterator[Host]:
    """The other host, whose kernel answers no pings meanwhile."""
    host = hosts[1]
    host.run("sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=1")
    yield host
    host.run("sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=0")


def is_request(frame: bytes) -> bool:
    return frame[12:14] == IPV4 and frame[23] == ICMP and frame[34] == REQUEST


def answer(request: bytes) -> bytes:
    """What a host sends back: addresses swapped, another type, and a checksum that makes up for it."""
    checksum = int.from_bytes(request[36:38], "big") + (REQUEST << 8)
    checksum = (checksum & 0xFFFF) + (checksum >> 16)
    return (
        request[6:12] + request[:6] + request[12:26] + request[30:34] + request[26:30]
        + b"\0\0" + checksum.to_bytes(2, "big") + request[38:]
    )  # fmt: skip


@pytest.mark.parametrize("size", [16, 57, 1400, 4000])
@pytest.mark.parametrize("version", [4, 6])
def test_every_ping_is_answered_once(hosts: tuple[Host, Host], version: int, size: int) -> None:
    one, other = hosts
    report = ping(one, other.address if version == 4 else "fd00::2", 5, interval=0.01, size=size)
    assert (report.sent, report.received, report.lost, report.duplicates) == (5, 5, 0, 0)
    assert list(report.sent_at) == [1, 2, 3, 4, 5]
    assert 0 < report.slowest_s < 60


def test_a_late_answer_counts_though_others_came_at_once(hosts: tuple[Host, Host], mute: Host) -> None:
    with Port(mute, "eth0") as port, ThreadPoolExecutor(1) as worker:
        pinged = worker.submit(ping, hosts[0], mute.address, 3, interval=0.02)
        requests = []
        for frame in port.frames(60):
            if is_request(frame):
                requests.append(frame)
                if len(requests) < 3:
                    port.send(answer(frame))
                else:
                    break
        assert not pinged.done()
        time.sleep(0.5)  # the program ping has given up by now
        port.send(answer(requests[2]))
        report = pinged.result()
    assert (report.sent, report.lost) == (3, 0)
    assert report.slowest_s >= 0.5


def test_an_answer_that_comes_again_is_counted_apart(hosts: tuple[Host, Host], mute: Host) -> None:
    with Port(mute, "eth0") as port, ThreadPoolExecutor(1) as worker:
        pinged = worker.submit(ping, hosts[0], mute.address, 2, interval=0.02)
        requests = list(islice(filter(is_request, port.frames(60)), 2))
        for frame in (requests[0], requests[0], requests[1]):
            port.send(answer(frame))
        report = pinged.result()
    assert (report.sent, report.received, report.duplicates) == (2, 2, 1)


def test_nobody_waits_for_those_that_may_be_lost(hosts: tuple[Host, Host], mute: Host) -> None:
    report = ping(hosts[0], mute.address, 3, interval=0.01, may_lose=3)
    assert (report.sent, report.received, report.slowest_s) == (3, 0, 0.0)


def test_an_address_of_nobody_and_one_without_a_way_do_not_answer(hosts: tuple[Host, Host]) -> None:
    assert not answers(hosts[0], NOBODY, wait=0.05)
    report = ping(hosts[0], "198.51.100.1", 2, interval=0.01, wait=0.05)
    assert (report.sent, report.lost) == (2, 2)


def test_pings_end_when_it_is_enough(hosts: tuple[Host, Host]) -> None:
    enough = threading.Event()
    with ThreadPoolExecutor(1) as worker:
        pinged = worker.submit(ping, hosts[0], hosts[1].address, 1_000_000, interval=0.01, enough=enough)
        ping(hosts[0], hosts[1].address, 3, interval=0.01)
        enough.set()
        report = pinged.result()
    assert 0 < report.sent < 1_000_000
    assert report.lost == 0


def test_a_host_that_answers_a_whole_series_is_steady(hosts: tuple[Host, Host]) -> None:
    assert wait_steady(hosts[0], hosts[1].address, 7).received == 7


def test_a_host_that_is_gone_is_an_error() -> None:
    with Lab() as lab:
        host = lab.host("gone")
    with pytest.raises(LabError, match=r"cannot enter .*gone: No such file or directory"):
        ping(host, "127.0.0.1")


def test_a_report_without_pings_has_lost_none() -> None:
    report = EchoReport()
    assert (report.sent, report.received, report.lost, report.slowest_s) == (0, 0, 0, 0.0)
