from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytinc.control.client import ControlClient
from view.fake_daemon import FakeDaemon, FakeMesh

Connect = Callable[[], ControlClient]


@pytest.fixture
def mesh() -> FakeMesh:
    made = FakeMesh(12)
    made.add_addresses()
    return made


@pytest.fixture
def connect(tmp_path: Path, mesh: FakeMesh) -> Iterator[Connect]:
    """Opens connections to a daemon with the mesh."""
    with FakeDaemon(tmp_path, mesh) as daemon:
        yield lambda: ControlClient.connect(str(daemon.pidfile), str(daemon.socket))
