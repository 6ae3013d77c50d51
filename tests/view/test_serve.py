from __future__ import annotations

import asyncio
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from pytinc.errors import DeviceError
from pytinc.view import serve
from pytinc.view.serve import DEFAULT_PORT, MAX_CONNECTIONS, is_local, listen, parse_listen
from view.fake_daemon import FakeDaemon, FakeMesh

PATIENCE_S = 60


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("localhost", ("127.0.0.1", DEFAULT_PORT)),
        ("8000", ("127.0.0.1", 8000)),
        ("0", ("127.0.0.1", 0)),
        ("192.0.2.1", ("192.0.2.1", DEFAULT_PORT)),
        ("192.0.2.1:80", ("192.0.2.1", 80)),
        ("localhost:80", ("127.0.0.1", 80)),
        ("::1", ("::1", DEFAULT_PORT)),
        ("[::1]", ("::1", DEFAULT_PORT)),
        ("[::1]:80", ("::1", 80)),
    ],
)
def test_the_place_to_listen_at(text: str, place: tuple[str, int]) -> None:
    assert parse_listen(text) == place


@pytest.mark.parametrize(
    "text", ["", "host.example", "1.2.3.4:x", "1.2.3.4:70000", "[::1]80", "1.2.3.4:", "-1"]
)
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(DeviceError, match="--listen needs"):
        parse_listen(text)


@pytest.mark.parametrize(("address", "local"), [("127.0.0.1", True), ("0.0.0.0", False)])
def test_it_is_known_who_can_connect(address: str, local: bool) -> None:
    with listen(address, 0) as made:
        assert is_local(made) is local


def test_a_port_in_use_is_refused_or_replaced() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(DeviceError, match=f"port {port}: Address already in use"):
            listen("127.0.0.1", port)
        with listen("127.0.0.1", port, or_any=True) as second:
            assert second.getsockname()[1] not in (0, port)


@contextmanager
def viewing(directory: Path, *words: str, descriptor: int | None = None) -> Iterator[tuple[str, int, str]]:
    """Run `pytinc view` for a daemon; yields host, port and token of the URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pytinc", f"--pidfile={directory}/pid", "view", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=() if descriptor is None else (descriptor,),
        env={**os.environ, "NETNAME": ""},
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline()
        found = re.fullmatch(r"http://(\S+):(\d+)/\?token=(\S+)\n", url)
        assert found is not None, url + (process.communicate()[1] if not url else "")
        yield found[1], int(found[2]), found[3]
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert "Traceback" not in errors
    assert errors.count("\n") == 1


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    with FakeDaemon(tmp_path, FakeMesh(5)) as made:
        yield made


@contextmanager
def get(host: str, port: int, path: str, cookie: str = "") -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE_S)
    try:
        connection.request("GET", path, headers={"Cookie": cookie} if cookie else {})
        with connection.getresponse() as answer:
            yield answer
    finally:
        connection.close()


def status(host: str, port: int, path: str, cookie: str = "") -> int:
    with get(host, port, path, cookie) as answer:
        return answer.status


def test_the_page_and_its_stream_are_served_until_a_signal(daemon: FakeDaemon, tmp_path: Path) -> None:
    with viewing(tmp_path, "--listen", "0") as (host, port, token):
        assert status(host, port, "/") == 401
        with get(host, port, f"/?token={token}") as answer:
            assert answer.status == 303
            assert answer.headers["server"] is None
            cookie = str(answer.headers["set-cookie"]).partition(";")[0]
            page = str(answer.headers["location"])
        assert status(host, port, page, cookie) == 200
        assert status(host, port, "/", cookie) == 401
        with ExitStack() as stack:
            stream = stack.enter_context(get(host, port, f"{page}stream", cookie))
            assert stream.headers["content-type"].startswith("text/event-stream")
            kinds = []
            while "picture" not in kinds:
                if (line := stream.readline()).startswith(b"event: "):
                    kinds.append(line.decode().split()[1])
            open_stream = stack.pop_all()
    open_stream.close()  # the stream was still open when the signal came


def test_a_socket_may_come_from_who_starts_it(daemon: FakeDaemon, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        words = ("--socket", str(given.fileno()))
        with viewing(tmp_path, *words, descriptor=given.fileno()) as (host, port, _):
            assert port == given.getsockname()[1]
            assert status(host, port, "/") == 401


def test_idle_connections_do_not_keep_others_out(daemon: FakeDaemon, tmp_path: Path) -> None:
    with viewing(tmp_path, "--listen", "0") as (host, port, token), ExitStack() as stack:
        crowd = [stack.enter_context(socket.create_connection((host, port))) for _ in range(MAX_CONNECTIONS)]
        for one in crowd[::2]:
            one.sendall(b"GET / HTTP/1.1\r\n")  # and no more of it
        assert status(host, port, f"/?token={token}") == 303
        crowd[0].settimeout(PATIENCE_S)
        with suppress(ConnectionResetError):
            assert crowd[0].recv(1) == b""


WHOLE = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "answer"),
    [(b"", b""), (WHOLE[:-2], b""), (WHOLE + WHOLE[:-2], b"204")],
    ids=["none", "part", "one"],
)
async def test_a_connection_does_not_wait_long_for_a_request(
    monkeypatch: pytest.MonkeyPatch, sent: bytes, answer: bytes
) -> None:
    monkeypatch.setattr(serve, "REQUEST_S", 1.0)
    finish = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/slow":
            await finish.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    config = uvicorn.Config(app, lifespan="off", log_config=None, ws="none")
    config.load()
    made = partial(serve._Connection, config=config, server_state=ServerState(), app_state={})
    server = await asyncio.get_running_loop().create_server(made, "127.0.0.1", 0)
    async with server, asyncio.timeout(PATIENCE_S):
        place = server.sockets[0].getsockname()
        slow_reader, slow = await asyncio.open_connection(*place)
        slow.write(WHOLE.replace(b"/", b"/slow", 1))
        reader, writer = await asyncio.open_connection(*place)
        writer.write(sent)
        heard = b""
        with suppress(ConnectionResetError):
            while piece := await reader.read(1000):
                heard += piece
        assert heard[9:12] == answer
        writer.close()
        finish.set()
        assert b"204" in await slow_reader.readline()  # a request under way may take longer
        slow.close()
