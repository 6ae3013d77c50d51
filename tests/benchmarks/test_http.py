from __future__ import annotations

import socket

import pytest

from comparison.connect import count
from comparison.http import parse_wrk
from pytinc.lab.namespaces import LabError

REPORT = """\
Running 3s test @ http://10.1.1.200/
  2 threads and 12 connections
  12345 requests in 3.00s, 1.50MB read
Requests/sec:   4115.00
Transfer/sec:    512.00KB
"""


def test_wrk_tells_requests_a_second() -> None:
    assert parse_wrk(REPORT) == 4115


def test_errors_are_no_requests() -> None:
    with pytest.raises(LabError, match="12 answers are errors"):
        parse_wrk(REPORT.replace("Requests/sec", "  Non-2xx or 3xx responses: 12\nRequests/sec"))
    with pytest.raises(LabError, match="wrk: unable to connect"):
        parse_wrk("unable to connect to 10.1.1.200:http Connection refused\n")
    with pytest.raises(LabError, match="no report"):
        parse_wrk("")
    with pytest.raises(LabError, match="wrk"):
        parse_wrk("Requests/sec:      0.00\n")


def test_connections_are_counted_when_they_are_established() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=512) as server:
        assert count("127.0.0.1", server.getsockname()[1], 0.2, 4) > 0


def test_a_refused_connection_is_an_error() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            count("127.0.0.1", bound.getsockname()[1], 1, 1)
