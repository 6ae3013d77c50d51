from __future__ import annotations

import socket
from pathlib import Path

import pytest

from pytinc.daemon.notify import Notifier, watchdog_interval


@pytest.mark.parametrize("abstract", [False, True])
def test_states_are_sent_as_datagrams(tmp_path: Path, abstract: bool) -> None:
    name = f"@pytinc-test-{tmp_path.name}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:] if abstract else name)
        notifier = Notifier({"NOTIFY_SOCKET": name})
        notifier.send("READY=1")
        assert manager.recv(99) == b"READY=1"
        notifier.close()
        notifier.send("STOPPING=1")


def test_without_a_service_manager_nothing_happens(tmp_path: Path) -> None:
    Notifier({}).send("READY=1")
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).send("READY=1")


@pytest.mark.parametrize(
    ("environment", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "10000000"}, 10.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "7"}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_for_this_process_only(environment: dict[str, str], interval: float | None) -> None:
    assert watchdog_interval(environment, 7) == interval
