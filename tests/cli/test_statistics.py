"""Asking the daemon for its statistics: one that has none is no failure, one that tells nonsense is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from pytinc.cli.statistics import statistics
from pytinc.control.client import ControlClient
from pytinc.control.statistics import DAEMON, NODE, format_row
from pytinc.errors import ControlError

if TYPE_CHECKING:
    from cli.conftest import ScriptedDaemon

COUNTS = ("uptime_s", "connections", "macs", "own_macs", "macs_learned", "macs_moved")
DAEMON_ROW = format_row(DAEMON, {**dict.fromkeys(COUNTS, 1), "drops": {"short": 2}})
NODE_ROW = format_row(
    NODE,
    {
        "name": "beta",
        "path": "udp",
        "macs": 3,
        **dict.fromkeys(("rx_packets", "rx_bytes", "tx_packets", "tx_bytes"), 4),
        "drops": {},
    },
)


@pytest.fixture
def client(daemon: ScriptedDaemon) -> Iterator[ControlClient]:
    connection = ControlClient.connect(daemon.pidfile, daemon.pidfile + ".socket")
    yield connection
    connection.close()


def test_the_rows_of_the_daemon_are_read(daemon: ScriptedDaemon, client: ControlClient) -> None:
    daemon.answers["4096"] = f"{DAEMON_ROW}\n{NODE_ROW}\n18 4096\n"
    found = statistics(client)
    assert found is not None
    assert found.daemon["drops"]["short"] == 2
    assert found.nodes["beta"]["rx_bytes"] == 4
    assert daemon.requests == ["18 4096"]


def test_a_daemon_that_does_not_know_the_request_has_none(
    daemon: ScriptedDaemon, client: ControlClient
) -> None:
    daemon.answers["4096"] = "18 -1\n"
    assert statistics(client) is None


@pytest.mark.parametrize("row", [NODE_ROW, "18 4096 daemon []", "18 4096 daemon {}", "18 4096"])
def test_rows_that_are_not_statistics_are_an_error(
    daemon: ScriptedDaemon, client: ControlClient, row: str
) -> None:
    daemon.answers["4096"] = f"{row}\n18 4096\n"
    with pytest.raises(ControlError):
        statistics(client)
