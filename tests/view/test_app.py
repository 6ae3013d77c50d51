from __future__ import annotations

import hashlib
import re
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp

from pytinc.view.access import HEADERS, Access
from pytinc.view.app import STATIC, _messages, application
from pytinc.view.asking import Asker
from pytinc.view.hub import MAX_WATCHERS, Hub
from view.conftest import Connect

ACCESS = Access("127.0.0.1", 6550, "the-token", "the-session", "folder")
BASE = "http://127.0.0.1:6550"
COOKIE = {"Cookie": "pytinc_view_6550=the-session"}


@pytest.fixture
def hub(connect: Connect) -> Hub:
    return Hub(Asker(connect, time.monotonic), time.monotonic, interval=0.05)


@pytest.fixture
def app(hub: Hub) -> ASGIApp:
    return application(ACCESS, hub)


@pytest.fixture
async def client(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE) as made:
        yield made


async def test_the_token_is_exchanged_for_a_cookie_and_leaves_the_address(client: httpx.AsyncClient) -> None:
    answer = await client.get("/?token=the-token")
    assert (answer.status_code, answer.headers["location"]) == (303, "/folder/")
    assert answer.headers["set-cookie"].startswith("pytinc_view_6550=the-session; Path=/folder/;")
    page = await client.get("/folder/")
    assert page.status_code == 200
    assert "<title>pytinc view</title>" in page.text


@pytest.mark.parametrize("token", ["", "the-session", "the-toke", "x" * 5000])
async def test_a_wrong_token_gives_nothing(client: httpx.AsyncClient, token: str) -> None:
    answer = await client.get("/", params={"token": token}, headers=COOKIE)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "path", ["/", "/folder/", "/folder/stream", "/folder/static/main.js", "/static/style.css", "/nothing"]
)
async def test_nothing_is_shown_without_the_cookie(client: httpx.AsyncClient, path: str) -> None:
    for headers in ({}, {"Cookie": "pytinc_view_6550=wrong"}, {"Cookie": "pytinc_view_1=the-session"}):
        answer = await client.get(path, headers=headers)
        assert answer.status_code == 401
        assert len(answer.text) < 100


async def test_foreign_hosts_and_origins_are_refused_with_the_cookie(client: httpx.AsyncClient) -> None:
    assert (await client.get("/folder/", headers={**COOKIE, "Host": "attacker.example"})).status_code == 421
    assert (
        await client.get("/folder/", headers={**COOKIE, "Origin": "http://attacker.example"})
    ).status_code == 403
    twice = [("Host", "attacker.example"), ("Host", "localhost"), *COOKIE.items()]
    assert (await client.get("/folder/", headers=twice)).status_code == 421
    assert (await client.get("/?token=the-token", headers={"Host": "attacker.example"})).status_code == 421


async def test_a_path_is_what_is_asked_for_and_not_how_it_reads_as_an_address(
    client: httpx.AsyncClient,
) -> None:
    elsewhere = {**COOKIE, "Sec-Fetch-Site": "cross-site"}
    assert (await client.get("/folder/", headers=elsewhere)).status_code == 200
    for path in ("/%3Fx", "/%23x", "//static/main.js", "/folder/%3Fx", "/folder//static/main.js"):
        assert (await client.get(path, headers=elsewhere)).status_code == 403


async def test_the_page_takes_nothing(client: httpx.AsyncClient) -> None:
    answer = await client.post("/", headers=COOKIE)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "path",
    ["/", "/folder/", "/folder/static/main.js", "/folder/static/nothing.js", "/?token=the-token", "/nothing"],
)
@pytest.mark.parametrize("cookie", [COOKIE, {}])
async def test_every_answer_has_the_headers(client: httpx.AsyncClient, path: str, cookie: Any) -> None:
    answer = await client.get(path, headers=cookie)
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS


@pytest.mark.parametrize(
    "path",
    ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd",
     "/static/vendor/SHA256SUMS", "/static/", "/static/vendor", "/app.py"],
)  # fmt: skip
async def test_only_the_files_of_the_page_are_served(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(f"/folder{path}", headers=COOKIE)).status_code == 404
    assert (await client.get(path, headers=COOKIE)).status_code == 401, "outside of the folder"


async def test_every_file_that_the_page_names_is_there(client: httpx.AsyncClient) -> None:
    page = (STATIC / "index.html").read_text()
    wanted = set(re.findall(r'(?:src|href)="([^"#][^"]*)"', page))
    for script in STATIC.glob("*.js"):
        wanted |= {f"static/{name}" for name in re.findall(r'from "\./([^"]+)"', script.read_text())}
    assert len(wanted) > 10
    for path in sorted(wanted):
        answer = await client.get(f"/folder/{path}", headers=COOKIE)
        assert answer.status_code == 200, path
        assert answer.headers["content-type"].startswith(("text/javascript", "text/css", "image/svg+xml"))


def test_the_page_asks_nobody_else_and_writes_no_markup() -> None:
    own = [path for path in STATIC.iterdir() if path.suffix in (".html", ".js", ".css")]
    for path in own:
        text = path.read_text()
        assert not re.search(r"https?://|//[a-z]+\.", text), path.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|\.html\(", text)
        assert path.suffix != ".html" or not re.search(r"<style|style=|<script(?![^>]*src=)|\son\w+=", text)


def test_the_vendored_files_are_those_of_their_releases() -> None:
    vendor = STATIC / "vendor"
    lines = (vendor / "SHA256SUMS").read_text().splitlines()
    sums = {name: digest for digest, name in (line.split() for line in lines)}
    assert set(sums) == {path.name for path in vendor.iterdir()} - {"SHA256SUMS"}
    for name, digest in sums.items():
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == digest, name
    # The digests of the files in the packages of npm's registry.
    assert sums["d3.min.js"].startswith("912111098ea99503")
    assert sums["uPlot.min.js"].startswith("19c8d4c6ad88929a")
    assert {name for name in sums if name.endswith(".LICENSE")} == {"d3.LICENSE", "uPlot.LICENSE"}


async def test_the_stream_begins_with_what_the_server_knows(hub: Hub) -> None:
    messages = _messages(hub)
    assert await anext(messages) == "retry: 2000\n\n"
    assert (await anext(messages)).startswith("event: state\n")
    assert hub.watchers == 1
    await messages.aclose()  # type: ignore[attr-defined]
    assert hub.watchers == 0


async def test_one_watcher_too_many_is_told_so(hub: Hub) -> None:
    with ExitStack() as stack:
        for _ in range(MAX_WATCHERS):
            stack.enter_context(hub.watching())
        messages = [message async for message in _messages(hub)]
    assert messages[1].startswith("event: full\n")
    assert len(messages) == 2
