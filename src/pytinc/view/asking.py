"""Asks the daemon over its control socket for the lists that the page shows. Blocking.

The list of nodes is asked for each time. Long other lists are asked for less often, because the daemon
forwards no packets while it writes them: see `ROWS_A_SECOND`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pytinc.cli.lists import dump_connections, dump_edges, dump_nodes, dump_subnets
from pytinc.cli.shared import shared_addresses
from pytinc.cli.statistics import statistics
from pytinc.control.client import ControlClient
from pytinc.control.messages import ConnectionRow, EdgeRow, NodeRow, Request, SubnetRow
from pytinc.control.shared import Shared
from pytinc.control.statistics import Statistics
from pytinc.control.vips import Vips
from pytinc.control.vips import parse_rows as parse_vips
from pytinc.wire.bits import NodeStatus

ROWS_A_SECOND: Final = 60
"""A list of this many rows is asked for once a second, one of twice as many every two seconds."""
MAX_INTERVAL_S: Final = 5.0
TOLERANCE_S: Final = 0.2
"""A list is due if it will be this soon: otherwise one that is due each second would miss every other one."""


@dataclass(frozen=True, slots=True)
class Part:
    """The answer to one request."""

    asked_at: float
    answer: Any
    rows: int


@dataclass(frozen=True, slots=True)
class Answers:
    """What the daemon said, each list as it was when it was asked for last."""

    name: str
    """The daemon's node."""
    pid: int
    at: float
    """When the nodes were asked for, as all times here by the clock of `Asker`."""
    nodes: list[NodeRow]
    edges: list[EdgeRow]
    subnets: list[SubnetRow]
    connections: list[ConnectionRow]
    statistics: Statistics | None
    """None: the daemon has none. It is tincd, or an old pytincd."""
    statistics_at: float
    statistics_before: Part | None
    """The statistics asked for before these, from the same daemon."""
    shared: Shared | None
    vips: Vips | None


_PARTS: Final[dict[str, tuple[Callable[[ControlClient], Any], Callable[[Any], int]]]] = {
    "edges": (dump_edges, len),
    "subnets": (dump_subnets, len),
    "connections": (dump_connections, len),
    "statistics": (statistics, lambda answer: len(answer.nodes)),
    "shared": (shared_addresses, lambda answer: len(answer.addresses)),
    "vips": (
        lambda client: client.parsed_dump_if_known(Request.DUMP_VIPS, parse_vips),
        lambda answer: len(answer.addresses),
    ),
}
"""For each list: how to ask for it, and how to count its rows."""


class Asker:
    """Keeps one connection to the daemon while somebody watches."""

    def __init__(self, connect: Callable[[], ControlClient], clock: Callable[[], float]) -> None:
        """``connect`` opens a connection, or raises `ControlError`."""
        self._connect = connect
        self._clock = clock
        self._client: ControlClient | None = None
        self._parts: dict[str, Part] = {}
        self._statistics_before: Part | None = None
        self._ways: list[tuple[str, str, str, bool]] = []

    def ask(self) -> Answers:
        """Ask for what is due. Raises `ControlError` or OSError; the next call begins a new connection."""
        try:
            return self._ask()
        except BaseException:
            self.close()
            raise

    def interrupt(self) -> None:
        """Have an `ask` in another thread fail."""
        client = self._client
        if client is not None:
            client.interrupt()

    def close(self) -> None:
        """End the connection; a second call does nothing."""
        if self._client is not None:
            self._client.close()
        self._client = None
        self._parts.clear()
        self._statistics_before = None
        self._ways = []

    def _ask(self) -> Answers:
        if self._client is None:
            self._client = self._connect()
        client = self._client
        at = self._clock()
        nodes = dump_nodes(client)
        ways = [(row.name, row.nexthop, row.via, bool(row.status & NodeStatus.REACHABLE)) for row in nodes]
        topology_changed, self._ways = ways != self._ways, ways
        for name, (ask, count) in _PARTS.items():
            if self._is_due(name, at) or (topology_changed and name == "edges"):
                answer = ask(client)
                if name == "statistics":
                    self._statistics_before = self._parts.get(name)
                self._parts[name] = Part(at, answer, 0 if answer is None else count(answer))
        answers = {name: part.answer for name, part in self._parts.items()}
        return Answers(
            name=client.daemon_name,
            pid=client.pid,
            at=at,
            nodes=nodes,
            statistics_at=self._parts["statistics"].asked_at,
            statistics_before=self._statistics_before,
            **answers,
        )

    def _is_due(self, name: str, now: float) -> bool:
        part = self._parts.get(name)
        if part is None:
            return True
        if part.answer is None:  # this daemon will never know
            return False
        return now + TOLERANCE_S >= part.asked_at + min(part.rows / ROWS_A_SECOND, MAX_INTERVAL_S)
