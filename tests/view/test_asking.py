from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from pytinc.control.client import ControlClient
from pytinc.control.messages import Request
from pytinc.errors import ControlError
from pytinc.view.asking import Asker
from view.conftest import Connect
from view.fake_daemon import FakeDaemon, FakeMesh


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def asked(mesh: FakeMesh) -> Counter[Request]:
    counted = Counter(mesh.asked)
    mesh.asked.clear()
    return counted


def test_everything_is_asked_for_once_over_one_connection(
    connect: Connect, mesh: FakeMesh, clock: Clock
) -> None:
    connections = []

    def counting() -> ControlClient:
        connections.append(connect())
        return connections[-1]

    asker = Asker(counting, clock)
    answers = asker.ask()
    assert (answers.name, answers.pid) == ("node_0", 4242)
    assert len(answers.nodes) == 12
    assert len(answers.edges) == 2 * len(mesh.links)
    assert answers.statistics is not None
    assert answers.shared is not None
    assert answers.vips is not None
    assert set(asked(mesh).values()) == {1}
    clock.now += 1
    asker.ask()
    assert len(connections) == 1
    assert set(asked(mesh).values()) == {1}
    asker.close()
    asker.close()


def test_long_lists_are_asked_for_less_often(tmp_path: Path, clock: Clock) -> None:
    mesh = FakeMesh(300)
    with FakeDaemon(tmp_path, mesh) as daemon:
        asker = Asker(lambda: ControlClient.connect(str(daemon.pidfile), str(daemon.socket)), clock)
        for _ in range(10):
            asker.ask()
            clock.now += 1
        counted = asked(mesh)
        asker.close()
    assert counted[Request.DUMP_NODES] == 10
    assert counted[Request.DUMP_CONNECTIONS] == 10
    for request in (Request.DUMP_STATISTICS, Request.DUMP_EDGES, Request.DUMP_SUBNETS):
        assert counted[request] == 2


def test_edges_are_asked_for_at_once_when_a_route_has_changed(tmp_path: Path, clock: Clock) -> None:
    mesh = FakeMesh(300)
    with FakeDaemon(tmp_path, mesh) as daemon:
        asker = Asker(lambda: ControlClient.connect(str(daemon.pidfile), str(daemon.socket)), clock)
        asker.ask()
        mesh.unreachable.add(7)
        clock.now += 1
        answers = asker.ask()
        asker.close()
    assert not any("node_7" in (row.from_name, row.to_name) for row in answers.edges)


def test_tincd_is_not_asked_again_for_what_it_does_not_know(tmp_path: Path, clock: Clock) -> None:
    mesh = FakeMesh(4, tincd=True)
    with FakeDaemon(tmp_path, mesh) as daemon:
        asker = Asker(lambda: ControlClient.connect(str(daemon.pidfile), str(daemon.socket)), clock)
        for _ in range(2):
            answers = asker.ask()
            clock.now += 10
        asker.close()
    assert answers.statistics is None
    assert answers.shared is None
    assert answers.vips is None
    assert len(answers.nodes) == 4


def test_rates_have_the_statistics_before(connect: Connect, clock: Clock) -> None:
    asker = Asker(connect, clock)
    assert asker.ask().statistics_before is None
    clock.now += 2
    answers = asker.ask()
    assert answers.statistics_before is not None
    assert (answers.statistics_before.asked_at, answers.statistics_at) == (100.0, 102.0)
    asker.close()


def test_after_a_failure_a_new_connection_is_made(tmp_path: Path, mesh: FakeMesh, clock: Clock) -> None:
    paths = str(tmp_path / "pid"), str(tmp_path / "pid.socket")
    asker = Asker(lambda: ControlClient.connect(*paths), clock)
    with pytest.raises(ControlError):
        asker.ask()
    with FakeDaemon(tmp_path, mesh):
        assert len(asker.ask().nodes) == 12
    asker.close()
