"""Targets: both ends of the control socket, the listener for Prometheus, and the UPnP helper."""

from __future__ import annotations

import asyncio
import functools
from types import SimpleNamespace
from typing import Any

from fuzz.registry import accepted, target
from net.test_control import COOKIE, HELLO, Target
from pytinc.control import events, messages, shared, statistics, vips
from pytinc.net.control import MAX_LINE, ControlConnection, ControlServer
from pytinc.net.metrics import MAX_REQUEST, MetricsClient, MetricsServer
from pytinc.net.upnp import MAX_OUTPUT, MAX_WORDS, Plan, PortMapper

ROWS: tuple[type[Any], ...] = (
    messages.NodeRow,
    messages.EdgeRow,
    messages.SubnetRow,
    messages.ConnectionRow,
    messages.TrafficRow,
)


LOOP: Any = SimpleNamespace(
    time=lambda: 0.0,
    call_later=lambda *_: SimpleNamespace(cancel=lambda: None),
    call_soon=lambda call: call(),
    run_in_executor=lambda *_: SimpleNamespace(add_done_callback=lambda _: None),
)
"""Runs at once what should run soon; takes timers and jobs, and never runs them."""
STATISTICS: Any = None


class Transport(asyncio.Transport):
    """Counts what is written."""

    def __init__(self) -> None:
        super().__init__({"socket": SimpleNamespace(fileno=lambda: 9)})
        self.written = self.ends = 0
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += len(data)

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        self.ends += 1

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def hello() -> list[bytes]:
    """Return conversations that begin as they should."""
    return [HELLO + b"18 %d %b\n" % (request, rest) for request in messages.Request for rest in (b"", b"0 1")]


@target("net/test_control.py", "control/test_messages.py", "control/test_vips.py", hello)
def control_clients(data: bytes) -> None:
    """Everything that a client writes, in pieces."""
    server = ControlServer(LOOP, Target(), COOKIE, clock=lambda: 0)
    client = ControlConnection(server)
    transport = Transport()
    client.connection_made(transport)
    size = 1 + len(data) % 97
    for start in range(0, len(data), size):
        if not transport.aborted:
            client.data_received(data[start : start + size])
    assert len(client._buffer) <= MAX_LINE + size
    assert not transport.written or COOKIE.encode() in data
    client.connection_lost(None)
    assert server.rows() == []


@target(
    "control/test_messages.py",
    "control/test_statistics.py",
    "control/test_shared.py",
    "control/test_vips.py",
    "control/test_events.py",
)
def control_answers(data: bytes) -> None:
    """Lines of a daemon, as the command reads them."""
    lines = data.decode("ascii", "replace").split("\n")
    for line in lines:
        accepted(messages.parse_greeting_id, line)
        accepted(messages.parse_greeting_ack, line)
        accepted(messages.parse_result, line, messages.Request.RELOAD)
        accepted(vips.parse_outcome, line)
        accepted(events.parse_event, line)
        for row in ROWS:
            parsed = accepted(row.parse, line)
            assert parsed is None or row.parse(parsed.format()) == parsed
    for parse in (statistics.parse_rows, shared.parse_rows, vips.parse_rows, events.parse_dump):
        accepted(functools.partial(parse, lines))


@target("net/test_metrics.py", lambda: [b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"])
def metrics_clients(data: bytes) -> None:
    """Everything that a client of the listener for Prometheus writes, in pieces: at most one answer."""
    server = MetricsServer(LOOP, lambda: STATISTICS)
    client = MetricsClient(server)
    transport = Transport()
    client.connection_made(transport)
    size = 1 + len(data) % 97
    for start in range(0, len(data), size):
        client.data_received(data[start : start + size])
        assert len(client._buffer) <= MAX_REQUEST + size
    assert transport.ends <= 1
    client.connection_lost(None)


@target("net/test_upnp.py")
def upnp_reports(data: bytes) -> None:
    """What the helper that talks to the router prints."""
    messages: list[str] = []
    mapper = PortMapper(Plan(("655/tcp",), wait=1, period=60), lambda *line: messages.append(line[2]))
    mapper._report(data[:MAX_OUTPUT], 0)
    assert all(message.isprintable() and len(message) < 2 * MAX_WORDS + 100 for message in messages)
