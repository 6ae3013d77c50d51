from __future__ import annotations

import http.client
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest

from pytinc.lab import page
from pytinc.lab.namespaces import LabError
from view.fake_daemon import FakeDaemon, FakeMesh

PATIENCE_S = 60


@pytest.fixture(autouse=True)
def descriptor(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No socket from before; the one that is made is closed."""
    monkeypatch.delenv(page.DESCRIPTOR, raising=False)
    yield
    if (number := os.environ.pop(page.DESCRIPTOR, None)) is not None:
        os.close(int(number))


def node(directory: Path) -> Any:
    return SimpleNamespace(globals=(f"--pidfile={directory}/pid",))


def test_the_page_is_served_at_the_socket_that_was_made(tmp_path: Path) -> None:
    page.make_socket()
    first = os.environ[page.DESCRIPTOR]
    page.make_socket()
    assert os.environ[page.DESCRIPTOR] == first
    assert os.get_inheritable(int(first))
    with FakeDaemon(tmp_path, FakeMesh(3)), page.served(node(tmp_path)) as url:
        place = urlsplit(url)
        connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=PATIENCE_S)
        connection.request("GET", f"/?{place.query}")
        with connection.getresponse() as answer:
            assert answer.status == 303
        connection.close()


def test_another_port_is_taken_if_the_usual_one_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as used:
        monkeypatch.setattr(page, "PORTS", (used.getsockname()[1], 0))
        page.make_socket()
        with socket.socket(fileno=os.dup(int(os.environ[page.DESCRIPTOR]))) as made:
            assert made.getsockname()[1] not in (0, used.getsockname()[1])
        del os.environ[page.DESCRIPTOR]
        monkeypatch.setattr(page, "PORTS", (used.getsockname()[1],))
        with pytest.raises(LabError, match="Address already in use"):
            page.make_socket()


def test_why_there_is_no_page_is_told(tmp_path: Path) -> None:
    page.make_socket()
    with (
        pytest.raises(LabError, match="cannot be served: Could not open pid file"),
        page.served(node(tmp_path)),
    ):
        pass
